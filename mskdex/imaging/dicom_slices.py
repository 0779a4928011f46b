"""The slices of a CT series in order along their normal: one grid, checked."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mskdex.errors import MskdexError
from mskdex.imaging.dicom_frames import Frame
from mskdex.imaging.dicom_stacks import require_apart, require_one_acquisition, require_one_kind
from mskdex.io.dicom import has_value, integer, number, numbers, text
from mskdex.io.tilt import EXACT, ROUNDED

_MISSING_SHARE = 0.1
"""Gaps of whole slices are missing slices while they are at most this share of all gaps; else the spacing is uneven."""

_RAS_FROM_LPS = np.diag([-1.0, -1.0, 1.0, 1.0])


@dataclass(frozen=True)
class Slices:
    """The slices of a series, in order along their normal.

    Attributes:
        frames: one a slice.
        positions_mm: distances along the normal, increasing, (n,).
        world_from_voxel: 4×4 RAS of the regular grid that starts at the first slice; the third column is the step from
            slice to slice (the median one), sheared where the gantry was tilted.
        shape: (rows, columns).
        even: whether the distances are all alike.
        tilt_deg: angle between the way from slice to slice and their normal, 0 unless the gantry was tilted.
        warnings: what a reader should know.
    """

    frames: tuple[Frame, ...]
    positions_mm: np.ndarray
    world_from_voxel: np.ndarray
    shape: tuple[int, int]
    even: bool
    tilt_deg: float
    warnings: tuple[str, ...]


def order_slices(frames: Sequence[Frame], where: Path) -> Slices:
    """Sorts slices along their normal and checks that they make one volume.

    Args:
        frames: of one series.
        where: the folder, for messages.

    Raises:
        MskdexError: slices missing or at one position, of two acquisitions, sizes, orientations or kinds, or without
            a position.
    """
    if len(frames) < 2:
        msg = f"{where} has a single slice; a CT needs the whole series: name its folder"
        raise MskdexError(msg)
    first = frames[0]
    (directions, spacing), warnings = _plane(first), _rounded(first)
    shape = integer(first.header, "Rows"), integer(first.header, "Columns")
    for frame in frames:
        _require_alike(frame, first, where)
    origins = np.array([_position(frame) for frame in frames])
    normal = np.cross(directions[0], directions[1])
    order = np.argsort(origins @ normal, kind="stable")
    frames, origins = [frames[i] for i in order], origins[order]
    along = origins @ normal
    require_apart(frames, along, where)
    warnings += require_one_kind(frames, where)
    require_one_acquisition(frames, where)
    step, even = _spacing(along, where)
    way, tilt = _way(origins, normal, float(spacing.min()), where)
    affine = np.eye(4)
    affine[:3, 0], affine[:3, 1], affine[:3, 2] = directions[0] * spacing[1], directions[1] * spacing[0], way * step
    line = np.median(origins - np.outer(along, way), axis=0)  # one slice's position does not move the whole volume
    affine[:3, 3] = line + along[0] * way
    warnings += _count_warnings(frames) + _distance_warnings(frames, step) + _tilt_warnings(frames, tilt)
    return Slices(tuple(frames), along - along[0], _RAS_FROM_LPS @ affine, shape, even, tilt, tuple(warnings))


def require_even(slices: Slices, where: Path) -> None:
    """Refuses uneven slice distances.

    Raises:
        MskdexError: names the smallest and the largest distance and where they stand.
    """
    if not slices.even:
        gaps = np.diff(slices.positions_mm)
        odd = slices.positions_mm[:-1][np.abs(gaps - np.median(gaps)) > 0.02 * np.median(gaps)]
        msg = (
            f"{where}: slice distances vary from {gaps.min():.4g} to {gaps.max():.4g} mm (uneven {shortened(odd)} mm "
            f"from the first slice); set ct.resample_uneven_slices: true to resample, or name another series"
        )
        raise MskdexError(msg)


def require_upright(slices: Slices, where: Path) -> None:
    """Refuses a tilted gantry.

    Raises:
        MskdexError: names the angle and what mends it.
    """
    if slices.tilt_deg:
        msg = (
            f"{where}: the gantry was tilted by {slices.tilt_deg:.1f} degrees, so slices are displaced against each "
            "other; set ct.resample_tilted: true to resample them, or name a file with the tilt corrected (dcm2niix "
            "writes one, ending in _Tilt)"
        )
        raise MskdexError(msg)


def shortened(values: Sequence[float] | np.ndarray) -> str:
    """The first values of a list, for messages."""
    detail = ", ".join(f"{v:.4g}" for v in values[:6])
    return detail + (", ..." if len(values) > 6 else "")


def _require_alike(frame: Frame, first: Frame, where: Path) -> None:
    (directions, spacing), (wanted, size) = _plane(frame), _plane(first)
    shapes = [(integer(f.header, "Rows"), integer(f.header, "Columns")) for f in (frame, first)]
    if shapes[0] != shapes[1] or not np.allclose(spacing, size, rtol=1e-3):
        msg = f"{where}: {frame.name} has another size or pixel spacing than {first.name}; remove it or name the series"
        raise MskdexError(msg)
    if np.abs(directions - wanted).max() > 1e-3:
        msg = f"{where}: {frame.name} has another orientation than {first.name}; remove it or name the series"
        raise MskdexError(msg)


def _spacing(along: np.ndarray, where: Path) -> tuple[float, bool]:
    gaps = np.diff(along)
    step = float(np.median(gaps))
    off = np.abs(gaps - step) > max(0.02 * step, 0.02)
    if not off.any():
        return float(gaps.mean()), True
    multiple = gaps[off] / step
    are_whole = (np.abs(multiple - multiple.round()) < 0.05) & (multiple.round() >= 2)
    if are_whole.all() and off.sum() <= max(1, _MISSING_SHARE * gaps.size):
        starts = along[:-1][off]
        lost = [s + step * i for s, m in zip(starts, multiple.round(), strict=True) for i in range(1, int(min(m, 1e4)))]
        msg = (
            f"{where} lacks {len(lost)} of {along.size + len(lost)} slices, at {shortened(lost)} mm; copy or export "
            "the series again"
        )
        raise MskdexError(msg)
    return step, False


def _way(origins: np.ndarray, normal: np.ndarray, pixel_mm: float, where: Path) -> tuple[np.ndarray, float]:
    """The way from slice to slice per millimetre along the normal, and its angle to the normal in degrees."""
    shift = origins - origins[0]
    sideways = shift - np.outer(shift @ normal, normal)
    if float(np.linalg.norm(sideways, axis=1).max()) <= 0.5 * pixel_mm:
        return normal, 0.0
    way = shift[-1] / (shift[-1] @ normal)
    off = np.linalg.norm(shift - np.outer(shift @ normal, way), axis=1)
    if off.max() > 0.5 * pixel_mm:
        msg = (
            f"{where}: its slices do not lie on one line (slice {int(off.argmax()) + 1} is {off.max():.3g} mm off it); "
            "export the series again"
        )
        raise MskdexError(msg)
    return way, float(np.degrees(np.arccos(1 / np.linalg.norm(way))))


def _plane(frame: Frame) -> tuple[np.ndarray, np.ndarray]:
    header = frame.header
    cosines, spacing = numbers(header, "ImageOrientationPatient", 6), numbers(header, "PixelSpacing", 2)
    if cosines is None or spacing is None:
        lacking = "ImageOrientationPatient" if cosines is None else "PixelSpacing"
        detail = f"its {lacking} is no list of numbers" if has_value(header, lacking) else f"has no {lacking}"
        msg = f"{frame.path}: {detail}; it is no CT slice that can be placed, export the series again"
        raise MskdexError(msg)
    if spacing.min() <= 0:
        msg = f"{frame.path}: its PixelSpacing is {spacing.tolist()} mm; export the series again"
        raise MskdexError(msg)
    directions = cosines.reshape(2, 3)
    off = directions @ directions.T - np.eye(2)
    if np.abs(np.diag(off)).max() > 2 * ROUNDED + 1e-9 or abs(off[0, 1]) > ROUNDED:
        msg = (
            f"{frame.path}: its ImageOrientationPatient {cosines.tolist()} are no two directions of length 1 at right "
            f"angles (their product is {off[0, 1]:.2g}, up to {ROUNDED:g} is rounding); export the series again"
        )
        raise MskdexError(msg)
    left, _, right = np.linalg.svd(directions, full_matrices=False)
    return left @ right, spacing


def _rounded(frame: Frame) -> list[str]:
    directions = np.array(numbers(frame.header, "ImageOrientationPatient", 6)).reshape(2, 3)
    off = abs(float(directions[0] @ directions[1]))
    if off <= EXACT:
        return []
    return [f"ImageOrientationPatient is rounded ({off:.1e} off right angles); the nearest rotation was taken"]


def _position(frame: Frame) -> np.ndarray:
    position = numbers(frame.header, "ImagePositionPatient", 3)
    if position is None:
        lacking = "not three numbers as" if "ImagePositionPatient" in frame.header else "no"
        msg = f"{frame.path} has {lacking} ImagePositionPatient; it cannot be placed, export the series again"
        raise MskdexError(msg)
    return position


def _count_warnings(frames: Sequence[Frame]) -> list[str]:
    """Whether a slice at either end may be missing, which positions alone cannot show."""
    notes = []
    stated = {n for f in frames if (n := integer(f.header, "ImagesInAcquisition"))}
    groups = {text(f.header, "AcquisitionNumber") for f in frames}
    if len(stated) == 1 and len(groups) == 1 and (most := max(stated)) > len(frames):
        notes.append(f"ImagesInAcquisition is {most}, but the series has {len(frames)} slices: some may be missing")
    numbers_ = [integer(f.header, "InstanceNumber") for f in frames if f.index is None]
    if numbers_ and len(set(numbers_)) == len(numbers_):
        low, high = min(numbers_), max(numbers_)
        if high - low + 1 > len(numbers_):
            notes.append(f"InstanceNumbers run from {low} to {high} for {len(numbers_)} slices: some may be missing")
        elif low > 1:
            notes.append(f"InstanceNumbers begin at {low}: slices before it may be missing")
    elif numbers_ and len(groups) == 1 and len(set(numbers_)) > 1:
        twice = len(numbers_) - len(set(numbers_))
        notes.append(
            f"{twice} InstanceNumbers occur again: slices of two stacks may lie between each other; look at it"
        )
    return notes


def _distance_warnings(frames: Sequence[Frame], step: float) -> list[str]:
    said = {round(abs(v), 4) for f in frames if (v := number(f.header, "SpacingBetweenSlices"))}
    if said and all(abs(v - step) > 0.02 * step for v in said):
        return [
            f"slices lie {step:.4g} mm apart, but SpacingBetweenSlices is {shortened(sorted(said))} mm; "
            "positions are taken"
        ]
    thickest = max((number(f.header, "SliceThickness") or 0.0 for f in frames), default=0.0)
    if 0 < thickest < step / 1.5:
        return [f"slices of {thickest:.4g} mm lie {step:.4g} mm apart: every other one may be missing"]
    return []


def _tilt_warnings(frames: Sequence[Frame], tilt_deg: float) -> list[str]:
    said = {round(v, 2) for f in frames if (v := number(f.header, "GantryDetectorTilt"))}
    if tilt_deg or not said or max(map(abs, said)) < 0.5:
        return []
    detail = shortened(sorted(said))
    return [f"GantryDetectorTilt is {detail} degrees, but the positions show none: taken as corrected; look at it"]
