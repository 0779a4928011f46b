"""Layers that the networks share."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

NormFactory = Callable[[int], nn.Module]


class Backbone(nn.Module):
    """A network from images (B, C, H, W) to a list of feature maps, the finest first.

    Attributes:
        widths: channels of each feature map.
    """

    widths: list[int]


class GroupNorm(nn.GroupNorm):
    """Group norm that leaves channels-last images as they are: their layout, and half precision under autocast.

    PyTorch's own makes both float32 and rows of channels, which a GPU then turns back for the next convolution and
    keeps, more than twice as large, for the way back. Other images go to PyTorch's kernel.
    """

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to the same."""
        if x.dim() == 4 and x.is_contiguous(memory_format=torch.channels_last) and not x.is_contiguous():
            found: Tensor = _ChannelsLastNorm.apply(x, self.weight, self.bias, self.num_groups, self.eps)
            return found
        return super().forward(x)


class _ChannelsLastNorm(torch.autograd.Function):
    """y = w·(x - µ)/σ + b; of the image only x itself is kept, in its own precision. Statistics are float32."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, groups: int, eps: float) -> Tensor:
        grouped = x.unflatten(1, (groups, -1))
        variance, mean = torch.var_mean(grouped.float(), dim=(2, 3, 4), correction=0)
        scale = torch.rsqrt(variance + eps)
        each = x.shape[1] // groups
        mean, scale = (_per_channel(t.repeat_interleave(each, 1)) for t in (mean, scale))
        ctx.groups = groups
        ctx.save_for_backward(x, weight, mean, scale)
        factor = scale * _per_channel(weight)
        return torch.addcmul(_per_channel(bias) - mean * factor, x, factor).to(x.dtype)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, Tensor, None, None]:
        x, weight, mean, scale = ctx.saved_tensors
        own = _per_channel(weight)
        level = gradient.sum(dim=(2, 3), keepdim=True, dtype=torch.float32)
        along = (gradient * (x - mean)).sum(dim=(2, 3), keepdim=True) * scale
        # How the group's mean and spread change with each pixel.
        of_mean, of_spread = (_group_mean(own * t, ctx.groups) / x[0, 0].numel() for t in (level, along))
        slope = -scale.square() * of_spread
        rest = torch.addcmul(-scale * of_mean - slope * mean, x, slope)
        back = torch.addcmul(rest, gradient, scale * own).to(x.dtype)
        return back, along.sum(0).flatten(), level.sum(0).flatten(), None, None


def _per_channel(values: Tensor) -> Tensor:
    return values.float()[..., None, None]


def _group_mean(values: Tensor, groups: int) -> Tensor:
    grouped = values.unflatten(1, (groups, -1))
    return grouped.mean(2, keepdim=True).expand_as(grouped).flatten(1, 2)


def norm_factory(kind: str) -> NormFactory:
    """Makes the normalisation layer for a number of channels.

    Args:
        kind: "instance" (affine; a group norm of one channel a group, which is the same function with a
            faster kernel), "group" (8 channels a group), "none", or "batch", which is
            only for comparing with other implementations.

    Raises:
        KeyError: another kind.
    """
    factories: dict[str, NormFactory] = {
        "instance": lambda channels: GroupNorm(channels, channels),
        "group": lambda channels: GroupNorm(max(1, channels // 8) if channels % 8 == 0 else 1, channels),
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
