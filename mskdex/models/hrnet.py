"""HRNet: parallel branches at several resolutions that exchange features throughout.

Source: Wang et al., Deep High-Resolution Representation Learning for Visual Recognition, 2020 (HRNetV2).
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from mskdex.config.registries import backbone
from mskdex.models.layers import Backbone, BasicBlock, Bottleneck, NormFactory, conv_norm


@dataclass(frozen=True)
class HrnetShape:
    """Sizes of an HRNet.

    Attributes:
        stem: channels of the stem, and inner width of the first stage's bottlenecks.
        bottlenecks: number of those.
        width: channels of the finest branch; each coarser branch has twice as many.
        modules: exchange modules of the stages with two, three and four branches.
        blocks: basic blocks of each branch in a module.
    """

    stem: int
    bottlenecks: int
    width: int
    modules: tuple[int, ...]
    blocks: int


SHAPES = {
    "hrnet_tiny": HrnetShape(stem=16, bottlenecks=1, width=16, modules=(1, 1, 1), blocks=1),
    "hrnet_w18": HrnetShape(stem=64, bottlenecks=4, width=18, modules=(1, 4, 3), blocks=4),
    "hrnet_w32": HrnetShape(stem=64, bottlenecks=4, width=32, modules=(1, 4, 3), blocks=4),
    "hrnet_w48": HrnetShape(stem=64, bottlenecks=4, width=48, modules=(1, 4, 3), blocks=4),
}
"""The published variants, and a small one for CPUs."""


class Exchange(nn.Module):
    """Basic blocks on every branch, then each branch takes in the sum of all, resized to its own grid."""

    def __init__(self, widths: list[int], blocks: int, norm: NormFactory):
        super().__init__()
        self.branches = nn.ModuleList(nn.Sequential(*(BasicBlock(w, w, norm) for _ in range(blocks))) for w in widths)
        self.fuse = nn.ModuleList(
            nn.ModuleList(_resample(widths, source, target, norm) for source in range(len(widths)))
            for target in range(len(widths))
        )

    def forward(self, features: list[Tensor]) -> list[Tensor]:
        """A list of (B, width·2^i, H/2^i, W/2^i) to one of the same shapes."""
        features = [branch(x) for branch, x in zip(self.branches, features, strict=True)]
        return [torch.relu(_fused(row, features, features[target])) for target, row in enumerate(self.fuse)]


def _fused(row: nn.Module, features: list[Tensor], like: Tensor) -> Tensor:
    total: Tensor | None = None
    for layer, x in zip(row.children(), features, strict=True):
        y = layer(x)
        if y.shape[-2:] != like.shape[-2:]:
            y = functional.interpolate(y, size=like.shape[-2:], mode="nearest")
        total = y if total is None else total + y
    assert total is not None
    return total


def _resample(widths: list[int], source: int, target: int, norm: NormFactory) -> nn.Module:
    if source == target:
        return nn.Identity()
    if source > target:  # to a finer grid; the enlargement itself is in `_fused`, where the size is known
        return conv_norm(widths[source], widths[target], norm, kernel=1, relu=False)
    steps = []
    for step in range(target - source):
        last = step == target - source - 1
        outputs = widths[target] if last else widths[source]
        steps.append(conv_norm(widths[source], outputs, norm, stride=2, relu=not last))
    return nn.Sequential(*steps)


class Hrnet(Backbone):
    """Image to a list of feature maps, fine to coarse.

    Attributes:
        widths: channels of each feature map.
    """

    def __init__(self, inputs: int, shape: HrnetShape, norm: NormFactory, stem_stride: int = 4):
        super().__init__()
        strides = {1: (1, 1), 2: (2, 1), 4: (2, 2)}[stem_stride]
        self.stem = nn.Sequential(
            conv_norm(inputs, shape.stem, norm, stride=strides[0]),
            conv_norm(shape.stem, shape.stem, norm, stride=strides[1]),
        )
        outputs = 4 * shape.stem
        self.first = nn.Sequential(
            *(Bottleneck(shape.stem if i == 0 else outputs, shape.stem, norm) for i in range(shape.bottlenecks))
        )
        self.transitions, self.stages = nn.ModuleList(), nn.ModuleList()
        before = [outputs]
        for number, modules in enumerate(shape.modules):
            widths = [shape.width * 2**i for i in range(number + 2)]
            self.transitions.append(_transition(before, widths, norm))
            self.stages.append(nn.ModuleList(Exchange(widths, shape.blocks, norm) for _ in range(modules)))
            before = widths
        self.widths = before

    def forward(self, image: Float[Tensor, "b inputs h w"]) -> list[Float[Tensor, "b _ _ _"]]:
        """(B, inputs, H, W) to four maps of H/stem_stride/2^i rows, i = 0…3."""
        features = [self.first(self.stem(image))]
        for transition, stage in zip(self.transitions, self.stages, strict=True):
            layers = list(transition.children())
            # A new branch grows from the coarsest one; the others go on.
            features = [layer(features[min(i, len(features) - 1)]) for i, layer in enumerate(layers)]
            for module in stage.children():
                features = module(features)
        return features


@backbone("hrnet_tiny")
def hrnet_tiny(inputs: int, norm: NormFactory, stem_stride: int) -> Hrnet:
    """A small HRNet, for training without a GPU."""
    return Hrnet(inputs, SHAPES["hrnet_tiny"], norm, stem_stride)


@backbone("hrnet_w18")
def hrnet_w18(inputs: int, norm: NormFactory, stem_stride: int) -> Hrnet:
    """HRNet-W18."""
    return Hrnet(inputs, SHAPES["hrnet_w18"], norm, stem_stride)


@backbone("hrnet_w32")
def hrnet_w32(inputs: int, norm: NormFactory, stem_stride: int) -> Hrnet:
    """HRNet-W32, the paper's."""
    return Hrnet(inputs, SHAPES["hrnet_w32"], norm, stem_stride)


@backbone("hrnet_w48")
def hrnet_w48(inputs: int, norm: NormFactory, stem_stride: int) -> Hrnet:
    """HRNet-W48."""
    return Hrnet(inputs, SHAPES["hrnet_w48"], norm, stem_stride)


def _transition(before: list[int], after: list[int], norm: NormFactory) -> nn.ModuleList:
    layers: list[nn.Module] = []
    for branch, width in enumerate(after):
        if branch >= len(before):
            layers.append(conv_norm(before[-1], width, norm, stride=2))
        elif before[branch] != width:
            layers.append(conv_norm(before[branch], width, norm))
        else:
            layers.append(nn.Identity())
    return nn.ModuleList(layers)
