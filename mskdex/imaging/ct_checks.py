"""Whether a CT's voxels can be HU of a patient: air, tissue, a window, one odd slice, the size of the body."""

from pathlib import Path

import numpy as np

from mskdex.errors import MskdexError
from mskdex.imaging.dicom_frames import Frame
from mskdex.imaging.dicom_slices import Slices
from mskdex.io.dicom import number, whole
from mskdex.io.volume import Volume

_BODY_HU = -300
LARGEST_BODY_MM = 1200.0
_TABLE_SHARE = 0.05
"""A plane belongs to the body while it has at least this share of the body's voxels in the fullest plane."""

_SCANNER_MAX_HU = 2900
"""Scanners of 12 bits end at 3071 HU; metal at that value is no window."""

_WINDOW_SHARE = 2e-4
_WINDOW_TIMES = 5
"""A window's end holds this many times the voxels of any HU within `_WINDOW_HU` of it."""

_WINDOW_HU = 100
_SMALL = 1 << 23
"""Voxels that are all counted; of a larger CT every second column and row are."""

_ODD_SHARE = 0.25
"""Slices scaled unlike the others are odd while they are at most this share of all."""

_JUMP_TIMES, _JUMP_HU = 1.5, 20.0
"""A slice fits its neighbours up to this many times the usual mean difference of neighbours' tissue, and this more."""


def check_hu(volume: Volume, path: Path) -> list[str]:
    """Refuses values that are not HU and a body that is none.

    Args:
        volume: int16, clipped, RAS.
        path: for messages.

    Returns:
        What a reader should know: the CT was cut to a window.

    Raises:
        MskdexError: no air, no soft tissue, or a body larger than `LARGEST_BODY_MM`.
    """
    step = max(1, len(volume.array) // 64)
    sample = volume.array[::step, ::4, ::4]
    soft = float(np.mean((sample > -200) & (sample < 200)))
    told = f"median {np.median(sample):.0f}, from {sample.min()} to {sample.max()}"
    if sample.min() > -50:
        msg = (
            f"{path} has no air and no fat ({told}): its values are not HU; apply slope and intercept (often "
            "-1024) first"
        )
        raise MskdexError(msg)
    if soft < 0.002:
        msg = (
            f"{path} has hardly any voxel between -200 and 200 HU ({told}): its values are not HU, or it shows no "
            "patient"
        )
        raise MskdexError(msg)
    _require_body_size(sample > _BODY_HU, np.array(volume.spacing_mm[::-1]) * (step, 4, 4), path)
    apart = 1 if volume.array.size < _SMALL else 2
    return _window_warnings(volume.array[::step, ::apart, ::apart])


def _require_body_size(body: np.ndarray, spacing_mm: np.ndarray, path: Path) -> None:
    for axis, spacing in enumerate(spacing_mm):
        count = body.sum(axis=tuple(a for a in range(3) if a != axis))
        inside = np.flatnonzero(count >= max(1, _TABLE_SHARE * count.max()))
        extent = float(np.ptp(inside) * spacing) if inside.size else 0.0
        if extent > LARGEST_BODY_MM:
            msg = (
                f"{path}: what is above {_BODY_HU} HU is {extent:.0f} mm {('long', 'deep', 'wide')[axis]}, and "
                f"{LARGEST_BODY_MM:.0f} mm is allowed: its voxel size may be wrong; correct "
                "it, or crop the CT to the hips"
            )
            raise MskdexError(msg)


def _window_warnings(hu: np.ndarray) -> list[str]:
    counts = np.bincount((hu.ravel().astype(np.int32) + 1024).clip(0), minlength=1)
    values = np.flatnonzero(counts)
    low, high = int(values[0]) - 1024, int(values[-1]) - 1024
    body = int(counts[_BODY_HU + 1024 :].sum())
    told = []
    if high < _SCANNER_MAX_HU and _is_end(counts[::-1], len(counts) - 1 - int(values[-1]), body):
        told.append((high, counts[values[-1]] / body))
    if low > -900 and counts[values[0]] > 0.01 * hu.size:
        told.append((low, counts[values[0]] / hu.size))
    return [
        f"{100 * share:.2g} % of the voxels are at exactly {value} HU, the {'highest' if value == high else 'lowest'} "
        "value: the CT was cut to a display window, and HU beyond it are lost; use the original CT"
        for value, share in told
    ]


def _is_end(counts: np.ndarray, at: int, body: int) -> bool:
    """Whether the first value stands out from those next to it as the end of a window does."""
    beside = counts[at + 1 : at + 1 + _WINDOW_HU]
    most = int(beside.max()) if beside.size else 0
    return bool(counts[at] > max(_WINDOW_SHARE * body, _WINDOW_TIMES * most, 20))


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
    if not odd or len(odd) > _ODD_SHARE * len(kinds):
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
            names = ("RescaleSlope", "RescaleIntercept", "BitsStored", "PixelRepresentation")
            differ = [f"{n} {a:g} instead of {b:g}" for n, a, b in zip(names, kinds[k], usual, strict=True) if a != b]
            msg = (
                f"{where}: {slices.frames[k].name} has {', '.join(differ)} of the other slices, and its HU differ "
                f"from its neighbours' by {jump:.0f}; export the series again"
            )
            raise MskdexError(msg)
    first = slices.frames[odd[0]].name
    return [f"{len(odd)} slices (e.g. {first}) have another slope, intercept or bits than the rest, but fit them"]


def _scaling(frame: Frame) -> tuple[float, ...]:
    header = frame.header
    scale = [number(header, key) or 0.0 for key in ("RescaleSlope", "RescaleIntercept")]
    return (*scale, *(float(whole(header, key)) for key in ("BitsStored", "PixelRepresentation")))


def _jump(one: np.ndarray, other: np.ndarray) -> float:
    """Mean difference of two slices where either shows tissue, in HU."""
    inside = (one > _BODY_HU) | (other > _BODY_HU)
    inside = inside if inside.any() else np.ones_like(inside)
    return float(np.abs(one - other)[inside].mean())
