"""What a CT shows beside the patient: the table, cushions, cables. A radiograph does not have them."""

import numpy as np
from scipy import ndimage

from mskdex.deformation.labelled_ct import AIR_HU

_SAMPLE_MM = 4.0
_BODY_HU = -200.0
_THINNER_MM = 6.0
"""What is thinner than twice this, and hangs together with the body by that alone, is not the body."""


def without_surroundings(hu: np.ndarray, labels: np.ndarray, spacing_mm: tuple[float, float, float]) -> np.ndarray:
    """The CT with air wherever the patient's body is not.

    Args:
        hu: int16 (z, y, x). labels: (z, y, x); what has a label always stays.
        spacing_mm: along x, y, z.
    """
    steps = [max(1, round(_SAMPLE_MM / s)) for s in spacing_mm[::-1]]
    coarse = tuple(slice(None, None, s) for s in steps)
    body = _body(
        hu[coarse] > _BODY_HU, labels[coarse] > 0, [s * n for s, n in zip(spacing_mm[::-1], steps, strict=True)]
    )
    for axis, step in enumerate(steps):
        body = np.repeat(body, step, axis)
    body = body[tuple(slice(n) for n in hu.shape)]
    return np.where(body | (labels > 0), hu, np.int16(AIR_HU))


def _body(dense: np.ndarray, labelled: np.ndarray, spacing: list[float]) -> np.ndarray:
    """The part of what is dense that holds the labels, its holes filled, slice by slice; skin included."""
    filled = np.stack([ndimage.binary_fill_holes(plane) for plane in dense | labelled])
    inner = ndimage.distance_transform_edt(np.pad(filled, 1, mode="edge"), sampling=spacing)[1:-1, 1:-1, 1:-1]
    thin = max(_THINNER_MM, 1.01 * max(spacing))
    parts, count = ndimage.label(inner > thin)
    if count == 0:
        return filled
    held = np.bincount(parts[labelled], minlength=count + 1)
    sizes = np.bincount(parts.ravel(), minlength=count + 1)
    held[0] = sizes[0] = 0
    # Thighs are apart from each other, and from the trunk where the CT begins below it: all that hold labels stay.
    keep = np.flatnonzero(held) if held.any() else np.array([int(np.argmax(sizes))])
    away = ndimage.distance_transform_edt(~np.isin(parts, keep), sampling=spacing)
    return (away <= thin + 0.5 * max(spacing)) & ndimage.binary_dilation(filled)
