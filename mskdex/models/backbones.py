"""Backbones by their names in the config."""

from mskdex.models.hrnet import SHAPES, Hrnet
from mskdex.models.layers import Backbone, NormFactory
from mskdex.models.unet import SMALL, Unet


def make_backbone(name: str, inputs: int, norm: NormFactory, stem_stride: int) -> Backbone:
    """A network from images (B, inputs, H, W) to feature maps.

    Args:
        name: as in `NetworkSettings.backbone`.
        inputs: channels of the images.
        norm: makes its normalisation layers.
        stem_stride: image pixels per pixel of the finest map: 1, 2 or 4.
    """
    if name == "unet_small":
        return Unet(inputs, SMALL, norm, stem_stride)
    return Hrnet(inputs, SHAPES[name], norm, stem_stride)
