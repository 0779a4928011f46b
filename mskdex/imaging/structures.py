"""What can be counted of each structure of a label map: voxels, HU, contact with the edge of the scan."""

import numpy as np

from mskdex.imaging.quantities import HU_MAX, HU_MIN

_LEVELS = HU_MAX - HU_MIN + 1
_PADDING_CONTACT_VOXELS = 30
"""A structure cut by the scan circle lies along it; fewer voxels beside padding are noise in air."""


def hu_histograms(ct: np.ndarray, labels: np.ndarray, count: int) -> np.ndarray:
    """Histograms of HU of every label, exact.

    Args:
        ct: HU int16 in [HU_MIN, HU_MAX], (z, y, x).
        labels: uint8, (z, y, x), at most `count`.
        count: number of labels, background not counted.

    Returns:
        int64 (count + 1, HU_MAX - HU_MIN + 1); row 0 is the background, which is not counted and stays zero.
    """
    total = np.zeros((count + 1) * _LEVELS, np.int64)
    for hu, ids in zip(ct, labels, strict=True):
        inside = ids > 0
        key = ids[inside].astype(np.int32) * _LEVELS + (hu[inside].astype(np.int32) - HU_MIN)
        if key.size:
            total += np.bincount(key, minlength=total.size)
    return total.reshape(count + 1, _LEVELS)


def mean_hu(histogram: np.ndarray) -> float:
    """Mean HU of a histogram; NaN if it is empty."""
    count = histogram.sum()
    return float(histogram @ np.arange(HU_MIN, HU_MAX + 1) / count) if count else float("nan")


def median_hu(histogram: np.ndarray) -> float:
    """Median HU (the lower one of an even number) of a histogram; NaN if it is empty."""
    count = histogram.sum()
    return float(HU_MIN + np.searchsorted(histogram.cumsum(), (count + 1) // 2)) if count else float("nan")


def truncated_labels(ct: np.ndarray, labels: np.ndarray) -> set[int]:
    """Labels that the field of view cuts: at a face of the volume, or at the padding outside the scan circle.

    Args:
        ct: HU int16, padding at HU_MIN, (z, y, x).
        labels: uint8, (z, y, x).
    """
    found: set[int] = set()
    for axis in range(3):
        for end in (0, -1):
            found.update(np.unique(np.take(labels, end, axis)).tolist())
    return (found | _beside_padding(ct, labels)) - {0}


def _beside_padding(ct: np.ndarray, labels: np.ndarray) -> set[int]:
    """Labels with many voxels in contact, within their slice, with HU_MIN."""
    contact = np.zeros(256, np.int64)
    step = 1 + len(ct) // 128
    for hu, ids in zip(ct[::step], labels[::step], strict=True):
        if not ids.any():
            continue
        padding = hu == HU_MIN
        if not padding.any():
            continue
        near = np.zeros_like(padding)
        near[1:] |= padding[:-1]
        near[:-1] |= padding[1:]
        near[:, 1:] |= padding[:, :-1]
        near[:, :-1] |= padding[:, 1:]
        contact += np.bincount(ids[near & ~padding], minlength=256)
    return set(np.flatnonzero(contact * step > _PADDING_CONTACT_VOXELS).tolist())
