"""Every module of backbones, so that each registers its own; a new one is named here."""

from mskdex.models import hrnet, unet

__all__ = ["hrnet", "unet"]
