"""Slices of a CT that differ from their neighbours as no patient does: scaled otherwise, blank, or given twice."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from mskdex.errors import MskdexError
from mskdex.imaging.dicom_frames import Frame
from mskdex.imaging.dicom_slices import Slices
from mskdex.io.dicom import integer, number

_BODY_HU = -300
_MOST_LISTED = 6
_NAMES = ("RescaleSlope", "RescaleIntercept", "BitsStored", "PixelRepresentation", "PixelPaddingValue")
_MOST_KINDS = 4
"""More ways of scaling than this are a slope of its own in every slice."""

_ODD_SHARE = 0.25
"""Slices scaled unlike the others are odd while they are at most this share of all."""

_JUMP_TIMES, _JUMP_HU = 1.5, 20.0
"""A slice fits its neighbours up to this many times the usual mean difference of neighbours' tissue, and this more."""


def require_like_neighbours(hu: np.ndarray, slices: Slices, where: Path) -> list[str]:
    """Refuses a slice whose slope, intercept or bits differ from all others and whose HU do not fit its neighbours.

    A PET-like slope of its own in every slice, or two kinds of slices that alternate, are no single odd slice.

    Args:
        hu: (n, rows, columns) int16, in the order of `slices`.
        slices: with their tags.
        where: the folder, for messages.

    Returns:
        What a reader should know: an odd slice that fits its neighbours.

    Raises:
        MskdexError: names the slice, its values and those of the others.
    """
    kinds = [_scaling(f) for f in slices.frames]
    usual = max(set(kinds), key=kinds.count)
    odd = [k for k, kind in enumerate(kinds) if kind != usual]
    if len(odd) > _ODD_SHARE * len(kinds):
        _require_no_step(hu, kinds, where)
        return []
    if not odd:
        return []
    pairs = [k for k in range(len(kinds) - 1) if kinds[k] == kinds[k + 1] == usual]
    pairs = pairs[:: max(1, len(pairs) // 20)]
    jumps = [_jump(hu[k].astype(np.float32), hu[k + 1]) for k in pairs]
    allowed = _JUMP_TIMES * float(np.median(jumps or [0.0])) + _JUMP_HU
    for k in odd:
        beside = [i for i in (k - 1, k + 1) if 0 <= i < len(kinds) and kinds[i] == usual]
        if not beside:
            continue
        own = hu[k].astype(np.float32)
        jump = min(_jump(own, hu[i]) for i in beside)
        if jump > allowed:
            differ = [f"{n} {a:g} instead of {b:g}" for n, a, b in zip(_NAMES, kinds[k], usual, strict=True) if a != b]
            msg = (
                f"{where}: {slices.frames[k].name} has {', '.join(differ)} of the other slices, and its HU differ "
                f"from its neighbours' by {jump:.0f}; export the series again"
            )
            raise MskdexError(msg)
    first = slices.frames[odd[0]].name
    scaled = any(kinds[k][:-1] != usual[:-1] for k in odd)
    what = "slope, intercept or bits" if scaled else "PixelPaddingValue"
    return [f"{len(odd)} slices (e.g. {first}) have another {what} than the rest, but fit them"]


def _require_no_step(hu: np.ndarray, kinds: Sequence[tuple[float, ...]], where: Path) -> None:
    """Refuses two kinds of scaling, in parts or by turns, between which all tissue steps up or down."""
    different = sorted(set(kinds))
    if len(different) > _MOST_KINDS:
        return
    rank = [different.index(kind) for kind in kinds]
    steps = np.array([_step(hu[k], hu[k + 1]) for k in range(len(hu) - 1)])
    way = np.sign(np.diff(rank))
    usual = float(np.median(np.abs(steps[way == 0]))) if (way == 0).any() else 0.0
    off = float(np.median((steps * way)[way != 0]))
    if abs(off) > _JUMP_TIMES * usual + _JUMP_HU:
        low, high = different[0], different[-1]
        differ = [f"{n} {a:g} and {b:g}" for n, a, b in zip(_NAMES, low, high, strict=True) if a != b]
        msg = (
            f"{where}: its slices have {', '.join(differ)}, and their HU differ by {abs(off):.0f} from one kind to the "
            "other: one of them is wrong; export the series again"
        )
        raise MskdexError(msg)


def _step(one: np.ndarray, other: np.ndarray) -> float:
    """Mean difference, with its sign, of two slices where both show tissue, in HU."""
    inside = (one > _BODY_HU) & (other > _BODY_HU)
    return float((other[inside].astype(np.float32) - one[inside]).mean()) if inside.any() else 0.0


def odd_planes(hu: np.ndarray) -> list[str]:
    """Slices between others that are blank, or exact copies of the one below.

    Noise makes no two slices alike; where more than a quarter are, the CT was made so (interpolated, or a phantom).

    Args:
        hu: (z, y, x).
    """
    shows = np.array([bool((plane > _BODY_HU).any()) for plane in hu])
    blank = [
        k for k in range(1, len(hu) - 1) if hu[k].min() == hu[k].max() and shows[:k].any() and shows[k + 1 :].any()
    ]
    copies = [k for k in range(1, len(hu)) if shows[k] and k not in blank and np.array_equal(hu[k], hu[k - 1])]
    notes = []
    if blank:
        notes.append(f"slices {_listed(blank)} of {len(hu)} (from below) hold one value throughout: they are missing")
    if 0 < len(copies) <= _ODD_SHARE * len(hu):
        notes.append(f"slices {_listed(copies)} of {len(hu)} (from below) are exact copies of the one below them")
    return notes


def _listed(places: Sequence[int]) -> str:
    return ", ".join(str(k + 1) for k in places[:_MOST_LISTED]) + (", ..." if len(places) > _MOST_LISTED else "")


def _scaling(frame: Frame) -> tuple[float, ...]:
    header = frame.header
    scale = [number(header, key) or 0.0 for key in ("RescaleSlope", "RescaleIntercept")]
    whole_numbers = [float(integer(header, key)) for key in ("BitsStored", "PixelRepresentation")]
    padding = number(header, "PixelPaddingValue")
    return (*scale, *whole_numbers, np.inf if padding is None else padding)


def _jump(one: np.ndarray, other: np.ndarray) -> float:
    """Mean difference of two slices where either shows tissue, in HU."""
    inside = (one > _BODY_HU) | (other > _BODY_HU)
    inside = inside if inside.any() else np.ones_like(inside)
    return float(np.abs(one - other)[inside].mean())
