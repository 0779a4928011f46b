"""Generators: an HRNet and a head that brings its features back to the image's grid."""

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from mskdex.config.learning import NetworkSettings
from mskdex.learning.hrnet import SHAPES, Hrnet
from mskdex.learning.layers import conv_norm, initialise, norm_factory


class Generator(nn.Module):
    """Image to image at the same resolution.

    The head is HRNetV2's: all branches enlarged to the finest grid, joined, mixed by a 1×1 convolution,
    then doubled in size with a 3×3 convolution until the image's own grid is reached. Its last level,
    before the activation, is the sum of a map and, with `global_context`, of one number per channel that is computed
    from the spatial means of all branches: normalisation layers divide a feature map's level out, and
    this is the short way for an object's total back in.
    """

    def __init__(self, inputs: int, outputs: int, settings: NetworkSettings, *, non_negative: bool):
        super().__init__()
        norm = norm_factory(settings.norm)
        self.backbone = Hrnet(inputs, SHAPES[settings.backbone], norm, settings.stem_stride)
        joined, width = sum(self.backbone.widths), 2 * self.backbone.widths[0]
        self.mix = conv_norm(joined, width, norm, kernel=1)
        self.enlarge = nn.ModuleList(conv_norm(width, width, norm) for _ in range(int(math.log2(settings.stem_stride))))
        self.last = nn.Conv2d(width, outputs, 1)
        self.context = _context(inputs, joined, outputs) if settings.global_context else None
        self.non_negative = non_negative

    def forward(self, image: Float[Tensor, "b inputs h w"]) -> Float[Tensor, "b outputs h w"]:
        """Normalised image in, normalised image out."""
        features = self.backbone(image)
        size = features[0].shape[-2:]
        enlarged = [features[0]] + [
            functional.interpolate(f, size=size, mode="bilinear", align_corners=False) for f in features[1:]
        ]
        joined = torch.cat(enlarged, dim=1)
        x = self.mix(joined)
        for layer in self.enlarge:
            x = layer(functional.interpolate(x, scale_factor=2, mode="nearest"))
        level = self.last(x[..., : image.shape[-2], : image.shape[-1]])
        if self.context is not None:
            means = torch.cat([f.mean(dim=(-2, -1)) for f in (image, *features)], dim=1)
            level = level + self.context(means)[:, :, None, None]
        return functional.softplus(level, beta=SHARPNESS) if self.non_negative else level

    @torch.no_grad()
    def start_at(self, means: Float[Tensor, " outputs"]) -> None:
        """Sets the last bias so that the untrained network gives about these mean levels (normalised)."""
        if self.non_negative:
            means = torch.log(torch.expm1(SHARPNESS * means.clamp_min(1e-4))) / SHARPNESS
        assert self.last.bias is not None
        self.last.bias.copy_(means)


SHARPNESS = 10.0
"""Softplus(x·10)/10: its bend is about 0.1 wide, small beside the normalised range of 0 to 1."""


def _context(inputs: int, joined: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(inputs + joined, 64), nn.ReLU(), nn.Linear(64, outputs))


def make_generator(
    inputs: int, outputs: int, settings: NetworkSettings, *, non_negative: bool, seed: int, start: Tensor | None = None
) -> Generator:
    """A generator with weights from a seed.

    Args:
        inputs: channels in.
        outputs: channels out.
        settings: the network's settings.
        non_negative: whether the output is a DRR stack, which cannot be negative; `settings.output` decides how.
        seed: seed of the weights.
        start: mean level of each output channel in the training data, normalised; the head starts there.
    """
    generator = Generator(inputs, outputs, settings, non_negative=non_negative and settings.output == "softplus")
    initialise(generator, torch.Generator().manual_seed(seed))
    with torch.no_grad():  # the image starts flat at the mean level, and every channel's detail grows from there
        generator.last.weight.mul_(0.1)
        if generator.context is not None:
            generator.context[-1].weight.mul_(0.1)  # type: ignore[operator, union-attr]
    if start is not None:
        generator.start_at(start)
    return generator
