"""PatchGAN discriminators.

Source: Isola et al. 2017 (70×70 patches); several scales as in Wang et al. 2018.
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from mskdex.models.layers import initialise, norm_factory


def patchgan(inputs: int, ndf: int) -> nn.Sequential:
    """The 70×70 PatchGAN: (B, inputs, H, W) to one score per patch, (B, 1, about H/8 - 2, W/8 - 2).

    Images too small for three halvings get as many as fit at call time through `Discriminator`.
    """
    norm = norm_factory("instance")
    layers: list[nn.Module] = [nn.Conv2d(inputs, ndf, 4, 2, 1), nn.LeakyReLU(0.2, inplace=True)]
    width = ndf
    for stride in (2, 2, 1):
        outputs = min(2 * width, 8 * ndf)
        layers += [nn.Conv2d(width, outputs, 4, stride, 1, bias=False), norm(outputs), nn.LeakyReLU(0.2, inplace=True)]
        width = outputs
    return nn.Sequential(*layers, nn.Conv2d(width, 1, 4, 1, 1))


class Discriminator(nn.Module):
    """PatchGANs of the same build on the image and on ever halved versions of it."""

    def __init__(self, inputs: int, ndf: int, scales: int):
        super().__init__()
        self.scales = nn.ModuleList(patchgan(inputs, ndf) for _ in range(scales))

    def forward(self, image: Float[Tensor, "b inputs h w"]) -> list[Float[Tensor, "b 1 _ _"]]:
        """Scores (logits) of every scale, fine to coarse."""
        scores = []
        for number, scale in enumerate(self.scales):
            if number:
                image = functional.avg_pool2d(image, 2)
            scores.append(scale(image))
        return scores


SMALLEST_IMAGE = 32
"""Side of the smallest image that three halvings and two 4×4 convolutions leave a patch of."""


def make_discriminator(inputs: int, ndf: int, scales: int, seed: int) -> Discriminator:
    """A discriminator with weights from a seed; small normal ones, as is usual for GANs."""
    discriminator = Discriminator(inputs, ndf, scales)
    generator = torch.Generator().manual_seed(seed)
    initialise(discriminator, generator)
    with torch.no_grad():
        for layer in discriminator.modules():
            if isinstance(layer, nn.Conv2d):
                layer.weight.normal_(0.0, 0.02, generator=generator)
    return discriminator
