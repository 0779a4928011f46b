"""Stored grey values as they are meant: bits in place, sign right, padding known, and the range they span."""

from dataclasses import dataclass, field

import numpy as np
from pydicom.dataset import Dataset

from mskdex.imaging.radiograph_tags import stated_numbers

_DEPTHS = (8, 10, 12, 14, 16, 32)
_UNUSED = 4.0
"""Values that stay below this fraction of their range are of fewer bits than stated."""
_WRAPPED = 0.5
"""The other reading of the sign bit is right where it changes this much less from pixel to pixel."""
_SIGNED_ZERO = 0.01


@dataclass(frozen=True)
class StoredGreys:
    """Grey values before any LUT.

    Attributes:
        grey: (rows, columns).
        valid: False where the file says that pixels are padding, bool (rows, columns).
        low: smallest value of the range; where values are linear in exposure and rise with it, no exposure.
        high: largest value of the range.
        narrow: why the range is smaller than the stated bits span, None if it is not.
        warnings: what a human should know.
    """

    grey: np.ndarray
    valid: np.ndarray
    low: float
    high: float
    narrow: str | None = None
    warnings: list[str] = field(default_factory=list)


def as_meant(grey: np.ndarray, bits: int, dataset: Dataset | None) -> StoredGreys:
    """Puts bits and sign right and finds the range.

    Args:
        grey: decoded values (rows, columns).
        bits: BitsStored, or bits per pixel of a picture.
        dataset: the DICOM header; None for pictures.
    """
    if not np.issubdtype(grey.dtype, np.integer):
        return StoredGreys(grey, np.ones(grey.shape, bool), float(grey.min()), float(grey.max()))
    warnings: list[str] = []
    valid = np.ones(grey.shape, bool)
    if dataset is not None:
        valid, told = _unpadded(grey, dataset)
        warnings += told
        grey, bits = _right_justified(grey, valid, bits, dataset, warnings)
    grey, signed = _right_sign(grey, valid, bits, warnings)
    low, high, narrow = _range(grey[valid], bits, signed, warnings)
    return StoredGreys(grey, valid, low, high, narrow, warnings)


def _unpadded(grey: np.ndarray, dataset: Dataset) -> tuple[np.ndarray, list[str]]:
    value = stated_numbers(dataset, "PixelPaddingValue", 1).first
    if value is None:
        return np.ones(grey.shape, bool), []
    limit = stated_numbers(dataset, "PixelPaddingRangeLimit", 1).first
    low, high = sorted((value, value if limit is None else limit))
    valid = (grey < low) | (grey > high)
    if valid.mean() < 0.05:
        told = (
            f"tags PixelPaddingValue and PixelPaddingRangeLimit ({low:g} to {high:g}) would leave no image; passed over"
        )
        return np.ones(grey.shape, bool), [told]
    return valid, []


def _right_justified(
    grey: np.ndarray, valid: np.ndarray, bits: int, dataset: Dataset, warnings: list[str]
) -> tuple[np.ndarray, int]:
    """Moves bits down that the header, or the values, say are at the upper end of each word."""
    high_bit = stated_numbers(dataset, "HighBit", 1).first
    shift = 0 if high_bit is None else int(high_bit) + 1 - bits
    inside = grey[valid]
    if shift > 0 and int(inside.max()) >= 2**bits:
        return grey >> shift, bits
    spare = 8 * grey.dtype.itemsize - bits
    if spare > 0 and grey.dtype.kind == "u" and int(inside.max()) >= 2**bits:
        if not np.any(inside & ((1 << spare) - 1)):
            warnings.append(f"its {bits} bits are stored at the upper end of each word, though HighBit does not say so")
            return grey >> spare, bits
        needed = _depth(int(inside.max()))
        warnings.append(f"BitsStored is {bits}, but grey values reach {int(inside.max())}: taken as {needed} bits")
        return grey, needed
    return grey, bits


def _right_sign(grey: np.ndarray, valid: np.ndarray, bits: int, warnings: list[str]) -> tuple[np.ndarray, bool]:
    """Reads the sign bit the other way where that makes the image smooth; and whether values are signed."""
    inside = grey[valid]
    signed = grey.dtype.kind == "i"
    if (signed and inside.min() >= 0) or (not signed and int(inside.max()) < 2 ** (bits - 1)) or bits > 16:
        return grey, signed
    wide = grey.astype(np.int32)
    other = wide % 2**bits if signed else np.where(wide >= 2 ** (bits - 1), wide - 2**bits, wide)
    if _roughness(other, valid) >= _WRAPPED * _roughness(wide, valid):
        return grey, signed
    told, meant = ("signed", "unsigned") if signed else ("unsigned", "signed")
    warnings.append(f"grey values are said to be {told}, but only as {meant} ones do they make an image")
    return other, not signed


def _roughness(grey: np.ndarray, valid: np.ndarray) -> float:
    both = valid[:, 1:] & valid[:, :-1]
    return float(np.abs(np.diff(grey.astype(np.float32), axis=1))[both].sum())


def _range(inside: np.ndarray, bits: int, signed: bool, warnings: list[str]) -> tuple[float, float, str | None]:
    """Lowest and highest value of the range, and why it is narrower than `bits`.

    Signed values that do not fall below 0 begin at 0.
    """
    lowest, highest = int(inside.min()), int(inside.max())
    if lowest < -_SIGNED_ZERO * (highest - lowest):
        half = 2.0 ** (bits - 1)
        if half > _UNUSED * max(-lowest, highest):
            half = 2.0 ** (_depth(2 * max(-lowest, highest)) - 1)
        warnings.append(f"grey values are signed, from {lowest} to {highest}: {-half:g} is taken for the lower end")
        return -half, half - 1, None
    most = 2.0 ** (bits - signed) - 1
    if most > _UNUSED * max(highest, 1):
        needed = _depth(highest)
        return 0.0, 2.0**needed - 1, f"no grey value of {bits} bits is above {highest}: taken as {needed} bits"
    return 0.0, max(most, float(highest)), None


def _depth(highest: int) -> int:
    """The usual depth that holds a value."""
    return next((d for d in _DEPTHS if highest < 2**d), 32)
