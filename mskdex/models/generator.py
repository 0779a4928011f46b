"""Generators: a backbone, layers that bring its features back to the image's grid, and a head."""

import itertools
from collections.abc import Sequence

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional

from mskdex.config.learning import NetworkSettings
from mskdex.config.objects import Channel
from mskdex.config.registries import backbone
from mskdex.models import backbones  # noqa: F401  # each module registers its backbones
from mskdex.models.heads import CompositionHead, PlainHead
from mskdex.models.layers import Backbone, conv_norm, initialise, norm_factory


class Generator(nn.Module):
    """Image to image at the same resolution.

    All of the backbone's feature maps are enlarged to the finest grid, joined and mixed by a 1×1 convolution (HRNetV2).
    For a plain head they are then doubled in size, bilinearly, with a 3×3 convolution until the image's own grid is
    reached: doubled pixels would leave a checkerboard in the images. A composition head takes them as they are. The
    head makes images of them.
    """

    def __init__(self, inputs: int, settings: NetworkSettings, *, enlarged: bool = True):
        """`enlarged`: features on the image's own grid, not on the backbone's finest."""
        super().__init__()
        norm = norm_factory(settings.norm)
        self.backbone: Backbone = backbone[settings.backbone](inputs, norm, settings.stem_stride)
        widths = self.backbone.widths
        joined, width = sum(widths), 2 * widths[0]
        self.mix = conv_norm(joined, width, norm, kernel=1)
        # Half as many channels on the image's own grid, where a convolution costs the most.
        on_the_way = {1: [width], 2: [width, width // 2], 4: [width, width, width // 2]}[settings.stem_stride]
        widths = on_the_way if enlarged else [width]
        self.enlarge = nn.ModuleList(conv_norm(a, b, norm) for a, b in itertools.pairwise(widths))
        self.width = widths[-1]
        self.head: PlainHead | CompositionHead

    def features(self, image: Float[Tensor, "b inputs h w"]) -> Float[Tensor, "b width fh fw"]:
        """What the head sees."""
        features = self.backbone(image)
        size = features[0].shape[-2:]
        enlarged = [features[0]] + [
            functional.interpolate(f, size=size, mode="bilinear", align_corners=False) for f in features[1:]
        ]
        x = self.mix(torch.cat(enlarged, dim=1))
        for layer in self.enlarge:
            x = layer(functional.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False))
        found: Tensor = x[..., : image.shape[-2], : image.shape[-1]]
        return found

    def forward(
        self,
        image: Float[Tensor, "b inputs h w"],
        water: Float[Tensor, "b 1 rows columns"] | None = None,
        relative: Bool[Tensor, " b"] | None = None,
    ) -> Float[Tensor, "b outputs rows columns"]:
        """Normalised image in, normalised image out.

        Args:
            image: radiographs, or DRR stacks on the way back.
            water: what a composition head shares out, see there; another does not look at it. On a coarser grid than
                the image's, so are the DRRs.
            relative: see there.
        """
        features, head = self.features(image), self.head
        found: Tensor = head(features, water, relative) if isinstance(head, CompositionHead) else head(features)
        return found


class MeanGenerator(nn.Module):
    """The mean of several decomposers' DRRs.

    Each has normalisation constants of its own: `radiograph_factors`, (M,), bring a radiograph of the common scale to a
    member's, `drr_factors`, (M, 3N, 1, 1), a member's DRRs to the common scale.
    """

    radiograph_factors: Tensor
    drr_factors: Tensor

    def __init__(self, members: Sequence[nn.Module], outputs: int):
        super().__init__()
        self.members = nn.ModuleList(members)
        self.register_buffer("radiograph_factors", torch.ones(len(members)))
        self.register_buffer("drr_factors", torch.ones(len(members), outputs, 1, 1))

    def forward(
        self,
        image: Float[Tensor, "b 1 h w"],
        water: Float[Tensor, "b 1 rows columns"] | None = None,
        relative: Bool[Tensor, " b"] | None = None,
    ) -> Float[Tensor, "b outputs rows columns"]:
        """Arguments as of `Generator.forward`."""
        scales = zip(self.members, self.radiograph_factors, self.drr_factors, strict=True)
        found = [member(image * there, water, relative).float() * back for member, there, back in scales]
        return torch.stack(found).mean(dim=0)


def make_decomposer(
    channels: Sequence[Channel], shape: tuple[int, int], settings: NetworkSettings, *, seed: int
) -> Generator:
    """G, radiographs to the DRRs of N objects, with weights from a seed; its head's `start_at` gives it a level.

    Args:
        channels: the N objects.
        shape: (H, W) of the images.
        settings: the network's settings.
        seed: seed of the weights.
    """
    generator = Generator(1, settings, enlarged=settings.head == "plain")
    if settings.head == "composition":
        generator.head = CompositionHead(generator.width, channels, shape)
    else:
        generator.head = PlainHead(generator.width, 3 * len(channels), non_negative=settings.output == "softplus")
    return _initialised(generator, seed)


def make_composer(objects: int, settings: NetworkSettings, *, seed: int) -> Generator:
    """F, the DRRs of so many objects to radiographs, with weights from a seed."""
    generator = Generator(3 * objects, settings)
    generator.head = PlainHead(generator.width, 1, non_negative=False)
    return _initialised(generator, seed)


def _initialised(generator: Generator, seed: int) -> Generator:
    initialise(generator, torch.Generator().manual_seed(seed))
    with torch.no_grad():  # starts flat, or at the mean shares, and detail grows from there
        generator.head.last.weight.mul_(0.1)
    return generator
