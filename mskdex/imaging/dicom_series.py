"""A CT's DICOM series: choosing it, checking its slices, reading it as a volume."""

from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from pydicom.dataset import Dataset

from mskdex.errors import MskdexError
from mskdex.imaging.dicom import number, numbers

_CT_CLASSES = {"1.2.840.10008.5.1.4.1.1.2": "CT Image", "1.2.840.10008.5.1.4.1.1.2.2": "Legacy Converted Enhanced CT"}
ENHANCED_CT = ("1.2.840.10008.5.1.4.1.1.2.1", "1.2.840.10008.5.1.4.1.1.2.2")
"""SOP classes whose one file holds all slices."""

_MISSING_SHARE = 0.1
"""Gaps of whole slices are missing slices while they are at most this share of all gaps; else the spacing is uneven."""


@dataclass(frozen=True)
class Slices:
    """The slices of a series, in order along their normal.

    Attributes:
        files: one a slice.
        positions_mm: distances along the normal, increasing, (n,).
        world_from_voxel: 4×4 RAS of the regular grid that starts at the first slice; the third column is the
            median distance.
        shape: (rows, columns).
        even: whether the distances are all alike.
    """

    files: tuple[Path, ...]
    positions_mm: np.ndarray
    world_from_voxel: np.ndarray
    shape: tuple[int, int]
    even: bool


def choose_series(
    found: list[tuple[Path, Dataset]], where: Path, series_uid: str | None, column: str, modality: str
) -> list[tuple[Path, Dataset]]:
    """The files of the one series that is meant.

    Args:
        found: headers of all DICOM files of a folder.
        where: the folder, for messages.
        series_uid: the SeriesInstanceUID that the sheet names, or None.
        column: the sheet's column that names it.
        modality: of the series, CT or SEG.

    Raises:
        MskdexError: no such series, or several and none is named.
    """
    groups: dict[str, list[tuple[Path, Dataset]]] = defaultdict(list)
    for path, header in found:
        if header.get("Modality") == modality and not _localizer(header):
            groups[str(header.get("SeriesInstanceUID", "without a UID"))].append((path, header))
    if series_uid:
        if series_uid not in groups:
            msg = f"{where} has no {modality} series {series_uid}; it has {_list(groups, found)}. Correct {column}"
            raise MskdexError(msg)
        return groups[series_uid]
    many = {uid: files for uid, files in groups.items() if modality != "CT" or _frames(files) > 1} or groups
    if not many:
        msg = f"{where} has no {modality} series; it has {_list(groups, found)}"
        raise MskdexError(msg)
    if len(many) > 1:
        msg = (
            f"{where} has {len(many)} {modality} series: {_list(many, found)}. Name one in the sheet's column {column}"
        )
        raise MskdexError(msg)
    return next(iter(many.values()))


def order_slices(files: list[tuple[Path, Dataset]], where: Path) -> Slices:
    """Sorts the slices along their normal and checks that they make a regular volume.

    Raises:
        MskdexError: a single slice, slices of different sizes or directions, duplicates, gaps (their positions are
            named), or a tilted gantry.
    """
    if len(files) < 2:
        msg = f"{where} has a single slice; a CT needs the whole series"
        raise MskdexError(msg)
    first_path, first = files[0]
    rows, columns = int(first.get("Rows", 0)), int(first.get("Columns", 0))
    directions, spacing = _plane(first, first_path)
    for path, header in files[1:]:
        d, s = _plane(header, path)
        if (int(header.get("Rows", 0)), int(header.get("Columns", 0))) != (rows, columns) or not np.allclose(
            s, spacing, rtol=1e-3
        ):
            msg = (
                f"{where}: {path.name} has another size or pixel spacing than {first_path.name}; remove it or name "
                "the series"
            )
            raise MskdexError(msg)
        if np.abs(d - directions).max() > 1e-3:
            msg = f"{where}: {path.name} has another orientation than {first_path.name}; remove it or name the series"
            raise MskdexError(msg)
    origins = np.array([_position(header, path) for path, header in files])
    normal = np.cross(directions[0], directions[1])
    along = origins @ normal
    order = np.argsort(along, kind="stable")
    along, origins = along[order], origins[order]
    step, even = _spacing(along, where)
    _check_tilt(origins, normal, float(spacing.min()), where, first)
    affine = np.eye(4)
    affine[:3, 0], affine[:3, 1], affine[:3, 2] = directions[0] * spacing[1], directions[1] * spacing[0], normal * step
    affine[:3, 3] = origins[0]
    ras = np.diag([-1.0, -1.0, 1.0, 1.0]) @ affine
    return Slices(tuple(files[i][0] for i in order), along - along[0], ras, (rows, columns), even)


def _spacing(along: np.ndarray, where: Path) -> tuple[float, bool]:
    gaps = np.diff(along)
    if (gaps < 0.01).any():
        twice = along[:-1][gaps < 0.01]
        msg = (
            f"{where} has {twice.size + 1} or more slices at one position, at {_some(twice)} mm; remove the duplicates"
        )
        raise MskdexError(msg)
    step = float(np.median(gaps))
    off = np.abs(gaps - step) > max(0.02 * step, 0.02)
    if not off.any():
        return float(gaps.mean()), True
    multiple = gaps[off] / step
    whole = (np.abs(multiple - multiple.round()) < 0.05) & (multiple.round() >= 2)
    if whole.all() and off.sum() <= max(1, _MISSING_SHARE * gaps.size):
        starts = along[:-1][off]
        lost = [s + step * i for s, m in zip(starts, multiple.round(), strict=True) for i in range(1, int(m))]
        msg = (
            f"{where} lacks {len(lost)} of {along.size + len(lost)} slices, at {_some(lost)} mm; copy or export "
            "the series again"
        )
        raise MskdexError(msg)
    return step, False


def require_even(slices: Slices, where: Path) -> None:
    """Refuses uneven slice distances.

    Raises:
        MskdexError: names the smallest and the largest distance and where they stand.
    """
    if not slices.even:
        gaps = np.diff(slices.positions_mm)
        odd = slices.positions_mm[:-1][np.abs(gaps - np.median(gaps)) > 0.02 * np.median(gaps)]
        msg = (
            f"{where}: slice distances vary from {gaps.min():.4g} to {gaps.max():.4g} mm (uneven "
            f"{_some(odd)} mm from the "
            f"first slice); set ct.resample_uneven_slices: true to resample, or name another series"
        )
        raise MskdexError(msg)


def _check_tilt(origins: np.ndarray, normal: np.ndarray, pixel_mm: float, where: Path, header: Dataset) -> None:
    shift = origins - origins[0]
    sideways = shift - np.outer(shift @ normal, normal)
    largest = float(np.linalg.norm(sideways, axis=1).max())
    if largest > 0.5 * pixel_mm:
        length = float(np.abs(shift @ normal).max())
        tilt = number(header, "GantryDetectorTilt") or np.degrees(np.arctan2(largest, length))
        msg = (
            f"{where}: the gantry was tilted by {abs(tilt):.1f} degrees, so slices are displaced against "
            "each other; correct "
            f"the tilt first (e.g. dcm2niix writes a corrected file, ending in _Tilt) and name that file as ct"
        )
        raise MskdexError(msg)


def _plane(header: Dataset, path: Path) -> tuple[np.ndarray, np.ndarray]:
    cosines, spacing = numbers(header, "ImageOrientationPatient", 6), numbers(header, "PixelSpacing", 2)
    if cosines is None or spacing is None:
        lacking = "ImageOrientationPatient" if cosines is None else "PixelSpacing"
        msg = f"{path} has no {lacking}; it is no CT slice that can be placed, export the series again"
        raise MskdexError(msg)
    if spacing.min() <= 0:
        msg = f"{path}: its PixelSpacing is {spacing.tolist()} mm; export the series again"
        raise MskdexError(msg)
    directions = cosines.reshape(2, 3)
    if np.abs(directions @ directions.T - np.eye(2)).max() > 1e-2:
        msg = (
            f"{path}: its ImageOrientationPatient {cosines.tolist()} are no two directions at right angles; "
            "export the series again"
        )
        raise MskdexError(msg)
    return directions / np.linalg.norm(directions, axis=1, keepdims=True), spacing


def _position(header: Dataset, path: Path) -> np.ndarray:
    position = numbers(header, "ImagePositionPatient", 3)
    if position is None:
        msg = f"{path} has no ImagePositionPatient; it cannot be placed, export the series again"
        raise MskdexError(msg)
    return position


def _localizer(header: Dataset) -> bool:
    return "LOCALIZER" in [str(v).upper() for v in (header.get("ImageType") or [])]


def _frames(files: list[tuple[Path, Dataset]]) -> int:
    return sum(int(h.get("NumberOfFrames") or 1) for _, h in files)


def _list(groups: dict[str, list[tuple[Path, Dataset]]], found: list[tuple[Path, Dataset]]) -> str:
    if not groups:
        kinds = sorted({str(h.get("Modality", "unknown")) for _, h in found})
        return f"files of modality {', '.join(kinds)}"
    return "; ".join(f"{uid} ({_frames(files)} slices)" for uid, files in sorted(groups.items())[:10])


def _some(values: list[float] | np.ndarray) -> str:
    told = ", ".join(f"{v:.4g}" for v in values[:6])
    return told + (", ..." if len(values) > 6 else "")
