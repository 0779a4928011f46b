"""What can be counted of each structure of a label map: voxels, HU, contact with the edge of the scan."""

import numpy as np

from mskdex.quantities import HU_MAX, HU_MIN

_LEVELS = HU_MAX - HU_MIN + 1
_PADDING_CONTACT_VOXELS = 30
"""A structure cut by the scan circle lies along it; fewer voxels beside padding are noise in air."""
_AIR_HU = (-1020, -950)


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
    """Labels that the field of view cuts: at a face of the volume, or at padding.

    Padding is what lies outside the scan circle (HU_MIN), and slices that hold one value throughout.

    Args:
        ct: HU int16, padding at HU_MIN, (z, y, x).
        labels: uint8, (z, y, x).
    """
    found: set[int] = set()
    for axis in range(3):
        for end in (0, -1):
            found.update(np.unique(np.take(labels, end, axis)).tolist())
    return (found | _beside_padding(ct, labels) | _beside_blank_slices(ct, labels)) - {0}


def _beside_blank_slices(ct: np.ndarray, labels: np.ndarray) -> set[int]:
    """Labels in or next to a slice of one value throughout, as scanners and programs fill up a volume.

    Slices of air do not count: around a phantom they are real.
    """
    blank = [k for k, plane in enumerate(ct) if not _AIR_HU[0] < plane[0, 0] < _AIR_HU[1] and _of_one_value(plane)]
    if len(blank) == len(ct):
        return set()
    near = {n for k in blank for n in (k - 1, k, k + 1) if 0 <= n < len(labels)}
    return {int(label) for k in sorted(near) for label in np.unique(labels[k])}


def _of_one_value(plane: np.ndarray) -> bool:
    return bool(plane[0, 0] == plane[-1, -1] and (plane == plane[0, 0]).all())


def _beside_padding(ct: np.ndarray, labels: np.ndarray) -> set[int]:
    """Labels with many voxels in contact with HU_MIN, within their slice or across."""
    contact = np.zeros(256, np.int64)
    step = 1 + len(ct) // 128
    for k in range(0, len(ct), step):
        ids = labels[k]
        if not ids.any():
            continue
        around = [ct[n] == HU_MIN for n in range(max(k - 1, 0), min(k + 2, len(ct)))]
        padding = around[min(k, 1)]
        near = np.any(around, axis=0)
        if not near.any():
            continue
        near[1:] |= padding[:-1]
        near[:-1] |= padding[1:]
        near[:, 1:] |= padding[:, :-1]
        near[:, :-1] |= padding[:, 1:]
        contact += np.bincount(ids[near & ~padding], minlength=256)
    return set(np.flatnonzero(contact * step > _PADDING_CONTACT_VOXELS).tolist())
