"""Noise of a CT in muscle, and its smoothing: the clipped lean fraction turns noise into lost lean mass."""

from collections.abc import Sequence

import numpy as np
from scipy import ndimage

MIN_VOXELS = 500
"""Fewer voxels within muscles tell nothing of the noise."""

_NORMAL_MAD = 0.6745
"""Median absolute value of a standard normal variable."""

_REACH = 3.0
"""Kernels end at so many standard deviations."""


def muscle_noise_hu(ct: np.ndarray, labels: np.ndarray, muscles: Sequence[int]) -> float | None:
    """SD of the noise within muscles, HU, robustly; None where too few voxels lie within them.

    Along z, the second difference (2·v_k − v_{k−1} − v_{k+1})/√6 of white noise has the noise's SD. Muscles run that
    way and hardly change from slice to slice, and the median of its absolute value passes over what does.

    Args:
        ct: HU, (z, y, x).
        labels: (z, y, x).
        muscles: labels of the muscles.
    """
    found = [_second_differences(ct[k - 1 : k + 2], labels[k - 1 : k + 2], muscles) for k in range(1, len(labels) - 1)]
    if sum(f.size for f in found) < MIN_VOXELS:
        return None
    return float(np.median(np.abs(np.concatenate(found))) / _NORMAL_MAD / np.sqrt(6.0))


def _second_differences(hu: np.ndarray, labels: np.ndarray, muscles: Sequence[int]) -> np.ndarray:
    """Of the voxels of the second of three slices whose muscle is above and below them too; float32 (n,)."""
    below, own, above = (plane.ravel() for plane in labels)
    place = np.flatnonzero(own)
    place = place[(own[place] == below[place]) & (own[place] == above[place])]
    place = place[np.isin(own[place], list(muscles))]
    lower, middle, upper = (plane.ravel()[place].astype(np.float32) for plane in hu)
    second: np.ndarray = 2.0 * middle - lower - upper
    return second


def smoothing_mm(noise_hu: float, wanted_hu: float, spacing_mm: tuple[float, float, float]) -> float:
    """SD of the Gaussian that takes white noise of a CT down to a level, mm; 0 where it is there already.

    Args:
        noise_hu: SD of the noise.
        wanted_hu: SD that it shall have.
        spacing_mm: of the voxels, along x, y, z.
    """
    if noise_hu <= wanted_hu:
        return 0.0
    low, high = 0.0, 10.0 * max(spacing_mm)
    for _ in range(40):
        middle = 0.5 * (low + high)
        low, high = (middle, high) if _left(middle, spacing_mm) > wanted_hu / noise_hu else (low, middle)
    return high


def _left(sigma_mm: float, spacing_mm: tuple[float, float, float]) -> float:
    """SD of white noise after the Gaussian over that before."""
    return float(np.prod([np.linalg.norm(_kernel(sigma_mm / s)) for s in spacing_mm]))


def _kernel(sigma: float) -> np.ndarray:
    reach = np.arange(-np.ceil(_REACH * sigma), np.ceil(_REACH * sigma) + 1.0)
    weight = np.exp(-0.5 * (reach / max(sigma, 1e-6)) ** 2)
    found: np.ndarray = weight / weight.sum()
    return found


def smooth_muscles(
    ct: np.ndarray, labels: np.ndarray, muscles: Sequence[int], sigma_mm: float, spacing_mm: tuple[float, float, float]
) -> np.ndarray:
    """The CT with each muscle smoothed within its own label, int16; what has no muscle's label keeps its HU.

    Gaussian means over the voxels of the same label (normalised convolution, Knutsson and Westin 1993), so that
    neighbours do not mix.

    Args:
        ct: HU int16, (z, y, x).
        labels: (z, y, x).
        muscles: labels of the muscles.
        sigma_mm: SD of the Gaussian.
        spacing_mm: of the voxels, along x, y, z.
    """
    smoothed = ct.copy()
    kernels = [_kernel(sigma_mm / s) for s in spacing_mm[::-1]]
    for label, box in enumerate(ndimage.find_objects(labels), start=1):
        if box is None or label not in muscles:
            continue
        own = labels[box] == label
        weight = _convolved(own.astype(np.float32), kernels)
        mean = _convolved(np.where(own, ct[box], 0).astype(np.float32), kernels) / np.maximum(weight, 1e-6)
        smoothed[box][own] = np.rint(mean[own]).astype(np.int16)
    return smoothed


def _convolved(values: np.ndarray, kernels: list[np.ndarray]) -> np.ndarray:
    for axis, kernel in enumerate(kernels):
        values = ndimage.correlate1d(values, kernel, axis=axis, mode="constant")
    return values
