"""U-Net: a path down to coarse scales and one back up, with the features of the same scale joined.

Source: Ronneberger et al., U-Net: Convolutional Networks for Biomedical Image Segmentation, MICCAI 2015.
"""

import itertools

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from mskdex.config.registries import backbone
from mskdex.models.layers import Backbone, NormFactory, conv_norm


class Unet(Backbone):
    """Image to one feature map at 1/stem_stride of its size.

    Each scale has two 3×3 convolutions on the way down and two on the way up. The first of each coarser scale has a
    stride of 2; on the way up the features are enlarged bilinearly to the finer scale's size, so any size will do.

    Attributes:
        widths: channels of the feature map, as a list of one.
    """

    def __init__(self, inputs: int, channels: tuple[int, ...], norm: NormFactory, stem_stride: int = 1):
        super().__init__()
        first = {1: (1, 1), 2: (2, 1), 4: (2, 2)}[stem_stride]
        strides = [first, *((2, 1) for _ in channels[1:])]
        self.down = nn.ModuleList(
            nn.Sequential(conv_norm(a, b, norm, stride=s[0]), conv_norm(b, b, norm, stride=s[1]))
            for (a, b), s in zip(itertools.pairwise((inputs, *channels)), strides, strict=True)
        )
        self.up = nn.ModuleList(
            nn.Sequential(conv_norm(fine + coarse, fine, norm), conv_norm(fine, fine, norm))
            for fine, coarse in reversed(list(itertools.pairwise(channels)))
        )
        self.widths = [channels[0]]

    def forward(self, image: Float[Tensor, "b inputs h w"]) -> list[Float[Tensor, "b _ _ _"]]:
        """(B, inputs, H, W) to one map of H/stem_stride rows, rounded up."""
        scales: list[Tensor] = []
        x = image
        for layer in self.down:
            x = layer(x)
            scales.append(x)
        for layer, finer in zip(self.up, reversed(scales[:-1]), strict=True):
            size = (finer.shape[-2], finer.shape[-1])
            x = layer(torch.cat([finer, functional.interpolate(x, size=size, mode="bilinear")], dim=1))
        return [x]


SMALL = (24, 48, 96, 160)
"""Channels of the scales of the small U-Net."""


@backbone("unet_small")
def unet_small(inputs: int, norm: NormFactory, stem_stride: int) -> Unet:
    """A U-Net of 0.9 million parameters, for training without a GPU."""
    return Unet(inputs, SMALL, norm, stem_stride)
