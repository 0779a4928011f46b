"""How much of an object a radiograph shows: the one definition that training, truth and evaluation share."""

import numpy as np
from scipy import ndimage


def exposed_pixels(field: np.ndarray) -> np.ndarray:
    """The exposed field without the holes that markers and burnt-in letters leave in it, bool (H, W).

    Args:
        field: exposed and unmarked pixels, bool (H, W). Behind a marker the patient was exposed all the same.
    """
    exposed: np.ndarray = ndimage.binary_fill_holes(field)
    return exposed


def visible_fractions(mass: np.ndarray, outside: np.ndarray, exposed: np.ndarray) -> np.ndarray:
    """Share of each object's mass that projects into the exposed field.

    Args:
        mass: images of the objects' mass at the poses that the radiograph shows them in, (N, H, W), g per pixel:
            the weighted volume, which is that of water with the same attenuation.
        outside: share of each object that projects outside the image, (N,); NaN where the CT lacks the object.
        exposed: pixels of the image that were exposed, bool (H, W).

    Returns:
        (N,), 0 to 1; NaN where the CT lacks the object.
    """
    total = mass.sum(axis=(-2, -1), dtype=np.float64)
    inside = (mass * exposed).sum(axis=(-2, -1), dtype=np.float64)
    share = np.divide(inside, total, out=np.zeros_like(total), where=total > 0)
    return np.asarray(share * (1.0 - np.clip(outside, 0.0, 1.0)))
