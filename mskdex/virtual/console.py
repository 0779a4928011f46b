"""What a department's console makes of an exposure: grey values, and their relation to attenuation."""

import numpy as np
from scipy.ndimage import gaussian_filter

from mskdex.virtual.departments import Department, Processing

LOG_DECADES = 4.095
"""Decades of exposure that the grey range of a log image spans: a grey value is a thousandth of optical density."""

_BAND_MM = (0.8, 2.4, 7.2)
_LEAST_EXPOSURE = 1e-4
_LINEAR_AIR, _LOG_OFFSET = 0.8, 0.05
_CURVE_NEPERS = np.linspace(0.0, 9.0, 46)
Box = tuple[int, int, int, int]


def grey_values(
    exposure: np.ndarray, department: Department, field: Box | None, pixel_mm: float
) -> tuple[np.ndarray, list[float]]:
    """An exposure as its department stores it.

    Args:
        exposure: float32 (H, W), 1 in the open beam.
        department: whose detector and console.
        field: exposed rows and columns (first row, last row, first column, last column), None if all.
        pixel_mm: pixel size.

    Returns:
        uint16 (H, W), and the tone curve: the grey value of an even area at the attenuations of `curve_nepers`.
    """
    most = 2**department.bits - 1
    if department.saturation is not None:
        exposure = np.minimum(exposure, department.saturation)
    even = np.exp(-_CURVE_NEPERS)
    if department.saturation is not None:
        even = np.minimum(even, department.saturation)
    if department.processing is not None:
        shown, curve = _processed(exposure, even, department.processing, field, pixel_mm)
    elif department.kind == "log":
        shown, curve = (_LOG_OFFSET - np.log10(np.maximum(e, 1e-6)) / LOG_DECADES for e in (exposure, even))
    else:
        shown, curve = (1.0 - _LINEAR_AIR * e for e in (exposure, even))
    grey, curve = (np.clip(np.rint(most * v), 0, most) for v in (shown, curve))
    if department.edges == "blanked" and field is not None:
        inside = np.zeros(grey.shape, bool)
        inside[field[0] : field[1] + 1, field[2] : field[3] + 1] = True
        grey = np.where(inside, grey, 0.0)
    if department.inverted:
        grey, curve = most - grey, most - curve
    return grey.astype(np.uint16), [float(v) for v in curve]


def curve_nepers() -> list[float]:
    """Attenuations in nepers of the tone curve's nodes."""
    return [round(float(v), 3) for v in _CURVE_NEPERS]


def _processed(
    exposure: np.ndarray, even: np.ndarray, how: Processing, field: Box | None, pixel_mm: float
) -> tuple[np.ndarray, np.ndarray]:
    """Shares of the grey range of the image and of the tone curve."""
    attenuation, curve = (-np.log10(np.maximum(e, _LEAST_EXPOSURE)) for e in (exposure, even))
    enhanced = _enhanced(attenuation.astype(np.float32), how, pixel_mm)
    middle, width = how.window_decades
    if how.ranged is not None:
        rows = slice(None) if field is None else slice(field[0], field[1] + 1)
        columns = slice(None) if field is None else slice(field[2], field[3] + 1)
        low, high = np.quantile(enhanced[rows, columns][::4, ::4], how.ranged)
        middle, width = (low + high) / 2.0, max(float(high - low), 0.1)
    slope = how.steepness / width
    shown, curve = (1.0 / (1.0 + np.exp(-slope * (v - middle))) for v in (enhanced, curve))
    return shown, curve


def _enhanced(attenuation: np.ndarray, how: Processing, pixel_mm: float) -> np.ndarray:
    """Detail of each size amplified; a power below 1 lifts weak detail more (Vuylsteke and Schoeters 1994)."""
    finer, result = attenuation, np.zeros_like(attenuation)
    for size, gain in zip(_BAND_MM, how.gains, strict=True):
        coarser = gaussian_filter(finer, size / pixel_mm, truncate=2.5, mode="nearest")
        band = finer - coarser
        result += gain * np.sign(band) * 0.1 * (np.abs(band) / 0.1) ** how.power
        finer = coarser
    return result + finer
