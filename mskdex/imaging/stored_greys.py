"""Stored grey values as they are meant: bits in place, sign right, padding known, and the range they span."""

from dataclasses import dataclass, field

import numpy as np
from pydicom.dataset import Dataset

from mskdex.imaging.radiograph_tags import tag_numbers

_DEPTHS = (8, 10, 12, 14, 16, 32)
_UNUSED = 4.0
"""Values that stay below this fraction of their range are of fewer bits than stated."""
_BINS, _STRAY, _LEAST_ARC = 256, 1e-4, 0.05
"""Bins of the ring of grey values, share of pixels that may stray into an unused one, least share of unused bins."""
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


def correct_bits_and_sign(grey: np.ndarray, bits: int, dataset: Dataset | None) -> StoredGreys:
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
        valid, notes = _unpadded(grey, dataset)
        warnings += notes
        grey, bits = _right_justified(grey, valid, bits, dataset, warnings)
    grey, signed = _right_sign(grey, valid, bits, warnings)
    low, high, narrow = _range(grey[valid], bits, signed, warnings)
    return StoredGreys(grey, valid, low, high, narrow, warnings)


def _unpadded(grey: np.ndarray, dataset: Dataset) -> tuple[np.ndarray, list[str]]:
    value = tag_numbers(dataset, "PixelPaddingValue", 1).first
    if value is None:
        return np.ones(grey.shape, bool), []
    limit = tag_numbers(dataset, "PixelPaddingRangeLimit", 1).first
    low, high = sorted((value, value if limit is None else limit))
    valid = (grey < low) | (grey > high)
    if valid.mean() < 0.05:
        warning = (
            f"tags PixelPaddingValue and PixelPaddingRangeLimit ({low:g} to {high:g}) would leave no image; passed over"
        )
        return np.ones(grey.shape, bool), [warning]
    return valid, []


def _right_justified(
    grey: np.ndarray, valid: np.ndarray, bits: int, dataset: Dataset, warnings: list[str]
) -> tuple[np.ndarray, int]:
    """Moves bits down that the header, or the values, say are at the upper end of each word."""
    high_bit = tag_numbers(dataset, "HighBit", 1).first
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
    """Values said to be signed that are not; and whether values are signed.

    Of all 2^bits values, laid on a ring, an image leaves an arc unused. It holds the largest and the smallest value of
    the right reading side by side: 2^bits - 1 and 0 of unsigned values.
    """
    signed = grey.dtype.kind == "i"
    if not signed or grey[valid].min() >= 0 or bits > 16:
        return grey, signed
    ring = grey.astype(np.int32) % 2**bits
    counts, _ = np.histogram(ring[valid], bins=_BINS, range=(0, 2**bits))
    empty = counts <= _STRAY * counts.sum()
    runs = [(_empty_run(empty, at), at) for at in (0, _BINS // 2)]
    if runs[0][0] < _LEAST_ARC * _BINS or runs[0][0] <= runs[1][0]:
        return grey, signed
    warnings.append("grey values are said to be signed, but only as unsigned ones do they make an image")
    return ring, False


def _empty_run(empty: np.ndarray, at: int) -> int:
    """Number of empty bins in one run around the edge below bin `at` of a ring, 0 unless both sides are empty."""
    turned = np.roll(empty, -at)
    after = int(np.argmin(turned)) if not turned.all() else len(turned)
    before = int(np.argmin(turned[::-1])) if not turned.all() else 0
    return after + before


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
