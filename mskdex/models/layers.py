"""Layers that the networks share."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

NormFactory = Callable[[int], nn.Module]


class Backbone(nn.Module):
    """A network from images (B, C, H, W) to a list of feature maps, the finest first.

    Attributes:
        widths: channels of each feature map.
    """

    widths: list[int]


def norm_factory(kind: str) -> NormFactory:
    """Makes the normalisation layer for a number of channels.

    Args:
        kind: "instance" (affine; a group norm of one channel a group, which is the same function with a
            faster kernel), "group" (8 channels a group), "none", or "batch", which is
            only for comparing with other implementations.
    """
    factories: dict[str, NormFactory] = {
        "instance": lambda channels: nn.GroupNorm(channels, channels),
        "group": lambda channels: nn.GroupNorm(max(1, channels // 8) if channels % 8 == 0 else 1, channels),
        "none": nn.Identity,  # takes and passes over the number of channels
        "batch": nn.BatchNorm2d,
    }
    return factories[kind]


def conv_norm(
    inputs: int, outputs: int, norm: NormFactory, *, kernel: int = 3, stride: int = 1, relu: bool = True
) -> nn.Sequential:
    """Convolution, normalisation and, if wanted, ReLU."""
    layers = [
        nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=isinstance(norm(outputs), nn.Identity)),
        norm(outputs),
    ]
    return nn.Sequential(*layers, *([nn.ReLU(inplace=True)] if relu else []))


class BasicBlock(nn.Module):
    """Two 3×3 convolutions and a skip (He et al. 2016)."""

    def __init__(self, inputs: int, outputs: int, norm: NormFactory):
        super().__init__()
        self.body = nn.Sequential(conv_norm(inputs, outputs, norm), conv_norm(outputs, outputs, norm, relu=False))
        self.skip = nn.Identity() if inputs == outputs else conv_norm(inputs, outputs, norm, kernel=1, relu=False)

    def forward(self, x: Tensor) -> Tensor:
        """(B, inputs, H, W) to (B, outputs, H, W)."""
        return torch.relu(self.body(x) + self.skip(x))


class Bottleneck(nn.Module):
    """1×1, 3×3, 1×1 convolutions and a skip; four times as many outputs as inner channels (He et al. 2016)."""

    def __init__(self, inputs: int, width: int, norm: NormFactory):
        super().__init__()
        outputs = 4 * width
        self.body = nn.Sequential(
            conv_norm(inputs, width, norm, kernel=1),
            conv_norm(width, width, norm),
            conv_norm(width, outputs, norm, kernel=1, relu=False),
        )
        self.skip = nn.Identity() if inputs == outputs else conv_norm(inputs, outputs, norm, kernel=1, relu=False)

    def forward(self, x: Tensor) -> Tensor:
        """(B, inputs, H, W) to (B, 4·width, H, W)."""
        return torch.relu(self.body(x) + self.skip(x))


def initialise(module: nn.Module, generator: torch.Generator) -> None:
    """Fills every weight from one generator: convolutions He-normal, norms one and zero.

    Nothing random comes from torch's global state, so a seed alone decides the weights.
    """
    for layer in module.modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            fan_in = layer.weight[0].numel()
            with torch.no_grad():
                layer.weight.normal_(0.0, (2.0 / fan_in) ** 0.5, generator=generator)
                if layer.bias is not None:
                    layer.bias.zero_()
        elif isinstance(layer, nn.GroupNorm | nn.BatchNorm2d):
            nn.init.ones_(layer.weight)
            nn.init.zeros_(layer.bias)
