"""Whether a CT's voxels can be HU of a patient: air, tissue, a window, the size of the body, order of voxels."""

from pathlib import Path

import numpy as np

from mskdex.errors import MskdexError
from mskdex.imaging.coherence import require_coherent
from mskdex.imaging.odd_slices import odd_planes
from mskdex.io.volume import Volume
from mskdex.quantities import HU_MIN

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
_AIR_HU, _FAT_HU = (-1100, -850), -250
_LEAST_BETWEEN = 0.1
"""Share of voxels between air and fat; lungs in a CT of a whole trunk are some percent."""

_AIR_PEAK_HU, _AIR_SHARE = (-1020, -900), 0.02
"""Air beside a patient is a narrow peak, of at least this share of the voxels within 5 HU of it; lungs are broad."""

_AIR_OFF_HU = 20
"""Scanners are calibrated to air at -1000 HU and hold it within some HU."""

_FILL_SHARE, _FILL_TIMES = 0.02, 4.0
"""Voxels of 0 HU in the volume's faces are a fill value if they are this share, and this many times as many as those
of -1 and 1 HU."""

_SMALL = 1 << 23
"""Voxels that are all counted; of a larger CT every second column and row are."""


def check_hu(volume: Volume, path: Path, lowest: float) -> list[str]:
    """Refuses values that are not HU and a body that is none.

    Args:
        volume: int16, clipped, RAS.
        path: for messages.
        lowest: HU before they were clipped.

    Returns:
        What a reader should know: the CT was cut to a window, or its air is not where air is.

    Raises:
        MskdexError: no air, no soft tissue, voxels out of order, or a body larger than `LARGEST_BODY_MM`.
    """
    step = max(1, len(volume.array) // 64)
    sample = volume.array[::step, ::4, ::4]
    soft = float(np.mean((sample > -200) & (sample < 200)))
    detail = f"median {np.median(sample):.0f}, from {sample.min()} to {sample.max()}"
    if sample.min() > -50:
        msg = (
            f"{path} has no air and no fat ({detail}): its values are not HU; apply slope and intercept (often "
            "-1024) first"
        )
        raise MskdexError(msg)
    if soft < 0.002:
        msg = (
            f"{path} has hardly any voxel between -200 and 200 HU ({detail}): its values are not HU, or it shows no "
            "patient"
        )
        raise MskdexError(msg)
    require_coherent(volume.array, path, "sizes of its header")
    _require_body_size(sample > _BODY_HU, np.array(volume.spacing_mm[::-1]) * (step, 4, 4), path)
    apart = 1 if volume.array.size < _SMALL else 2
    told_of_values = _window_warnings(volume.array[::step, ::apart, ::apart]) or _air_warnings(sample, lowest)
    return told_of_values + _fill_warnings(volume.array) + odd_planes(volume.array)


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
    notes = []
    if high < _SCANNER_MAX_HU and _is_end(counts[::-1], len(counts) - 1 - int(values[-1]), body):
        notes.append((high, counts[values[-1]] / body))
    if low > -900 and counts[values[0]] > 0.01 * hu.size:
        notes.append((low, counts[values[0]] / hu.size))
    return [
        f"{100 * share:.2g} % of the voxels are at exactly {value} HU, the {'highest' if value == high else 'lowest'} "
        "value: the CT was cut to a display window, and HU beyond it are lost, or its slope and intercept are wrong; "
        "use the original CT"
        for value, share in notes
    ]


def _air_warnings(hu: np.ndarray, lowest: float) -> list[str]:
    """That air is not near -1000 HU, as where a slope or intercept is wrong, or was left out."""
    between = float(np.mean((hu > _AIR_HU[1]) & (hu < _FAT_HU)))
    if between > _LEAST_BETWEEN:
        return [
            f"{100 * between:.0f} % of the voxels lie between {_AIR_HU[1]} and {_FAT_HU} HU, where a patient in air "
            "has next to none: slope or intercept may be wrong; look at the HU of air and muscle"
        ]
    lower, air = float(np.mean(hu <= HU_MIN)), float(np.mean((hu > HU_MIN) & (hu <= _AIR_HU[1])))
    if lowest < HU_MIN - 5 and lower > 0.01 and air < 0.001:
        return [
            f"{100 * lower:.0f} % of the voxels lie below {HU_MIN} HU (down to {lowest:.0f}) and none is air, near "
            "-1000: that is padding around a narrow field, or slope or intercept are wrong; look at the HU of muscle"
        ]
    peak = _air_peak(hu)
    if peak is not None and peak > -1000 + _AIR_OFF_HU:
        return [
            f"air lies at {peak} HU instead of -1000: the intercept may be wrong by {peak + 1000}, and so the HU of "
            "muscle; compare with the original CT"
        ]
    return []


def _air_peak(hu: np.ndarray) -> int | None:
    """The HU that most of the air has, None where there is hardly any."""
    low, high = _AIR_PEAK_HU
    near = np.bincount((hu[(hu >= low) & (hu < high)] - low).astype(np.int64), minlength=high - low)
    smooth = np.convolve(near, np.ones(11), "same")
    best = int(np.flatnonzero(smooth == smooth.max()).mean())
    return low + best if smooth.max() > _AIR_SHARE * hu.size else None


def _fill_warnings(hu: np.ndarray) -> list[str]:
    """That what a turned or shifted volume did not hold was filled with 0 HU, which is water."""
    faces = np.concatenate([np.take(hu, end, axis).ravel() for axis in range(3) for end in (0, -1)])
    zero, beside = (int(np.count_nonzero(np.abs(faces) == n)) for n in (0, 1))
    if zero <= _FILL_SHARE * faces.size or zero <= _FILL_TIMES * beside / 2:
        return []
    return [
        f"{100 * zero / faces.size:.2g} % of the voxels in its faces are exactly 0 HU: what it did not hold was filled "
        "with water instead of air, as when it was turned or shifted; use the original CT, or fill with -1000"
    ]


def _is_end(counts: np.ndarray, at: int, body: int) -> bool:
    """Whether the first value stands out from those next to it as the end of a window does."""
    beside = counts[at + 1 : at + 1 + _WINDOW_HU]
    most = int(beside.max()) if beside.size else 0
    return bool(counts[at] > max(_WINDOW_SHARE * body, _WINDOW_TIMES * most, 20))
