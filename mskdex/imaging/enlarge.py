"""Images of quantities drawn with more pixels than they have."""

import numpy as np
from scipy import ndimage

DRAWN_PIXELS = 128
"""Pictures of DRRs have at least so many pixels along the longer side."""


def drawn_factor(shape: tuple[int, ...]) -> int:
    """Whole factor by which images (…, H, W) of a shape are enlarged to be drawn; 1 where they are large enough."""
    return -(-DRAWN_PIXELS // max(shape[-2:]))


def enlarged(images: np.ndarray, factor: int) -> np.ndarray:
    """Images with more pixels, linear between the old ones' centres; what each old pixel holds stays within it.

    No detail is added: it is for the eye, and for a comparison with finer images. What linear interpolation moves over
    the border of an old pixel is brought back by one factor for each of them, so sums over the image stay too.

    Args:
        images: (…, H, W), a quantity per pixel, of either sign.
        factor: new pixels along the edge of an old one.

    Returns:
        (…, H·factor, W·factor) float64.
    """
    images = np.asarray(images, dtype=np.float64)
    if factor == 1:
        return images
    if (images < 0.0).any():  # a factor is a sound correction of one sign only
        return enlarged(np.maximum(images, 0.0), factor) - enlarged(np.maximum(-images, 0.0), factor)
    zoom = (*(1 for _ in images.shape[:-2]), factor, factor)
    linear = ndimage.zoom(images, zoom, order=1, mode="nearest", grid_mode=True)
    rows, columns = images.shape[-2:]
    blocks = linear.reshape(*images.shape[:-2], rows, factor, columns, factor)
    held = blocks.sum(axis=(-3, -1), keepdims=True)
    wanted = images[..., :, None, :, None]
    return np.asarray(blocks * np.divide(wanted, held, out=np.zeros_like(held), where=held > 0.0)).reshape(linear.shape)
