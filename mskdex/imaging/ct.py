"""CTs as others deliver them: read, checked, and brought to RAS and HU."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mskdex.config.imaging import CtSettings
from mskdex.errors import MskdexError
from mskdex.imaging.ct_checks import check_hu
from mskdex.imaging.dicom_frames import frames
from mskdex.imaging.dicom_hu import frame_hu, opened_frames
from mskdex.imaging.dicom_left_out import left_out
from mskdex.imaging.dicom_series import choose_series
from mskdex.imaging.dicom_slices import Slices, order_slices, require_even, require_upright
from mskdex.imaging.odd_slices import require_like_neighbours
from mskdex.io.dicom import dicom_files, headers
from mskdex.io.files import content_hash, file_kind, reading, require_size
from mskdex.io.tilt import ROUNDED, skew, slice_axis, straighten, tilt_deg
from mskdex.io.volume import Volume
from mskdex.io.volume_files import read_volume_file, require_voxel_size
from mskdex.io.volume_grid import obliquity_deg, orientation, to_ras
from mskdex.quantities import HU_MAX, HU_MIN

_SLAB = 16
"""Slices converted at a time, so that no second copy of the volume is held in floating point."""


@dataclass(frozen=True)
class Ct:
    """A CT on its native grid, in RAS order.

    Attributes:
        volume: HU, int16, clipped to [HU_MIN, HU_MAX].
        facts: what import.json records; nothing in it tells who the patient is.
        warnings: what a human should know.
    """

    volume: Volume
    facts: dict[str, Any]
    warnings: list[str]


def read_ct(path: Path, settings: CtSettings, series_uid: str | None = None, root: Path | None = None) -> Ct:
    """Reads a CT.

    Args:
        path: a DICOM folder (the series may lie deeper), a multi-frame DICOM file, NIfTI, NRRD, MHA or MHD.
        settings: the config's ct section.
        series_uid: the series to take where a folder has several.
        root: folder that links within a DICOM folder may lead into.

    Raises:
        MskdexError: says what is wrong with which file, and what to do.
    """
    path = Path(path)
    with reading(path):
        if path.is_dir() or file_kind(path) == "dicom":
            raw, facts, warnings = _read_dicom(path, settings, series_uid, root)
        else:
            raw, facts, warnings = _read_file(path, settings)
        facts["orientation"] = orientation(raw.world_from_voxel)
        if skew(raw.world_from_voxel) > ROUNDED:
            raw, warning = _upright(raw, facts)
            warnings.append(warning)
        volume = to_ras(raw)
        warnings += check_hu(volume, path, facts["hu_range_read"][0])
    facts |= {
        "shape_zyx": list(volume.array.shape),
        "spacing_mm": list(volume.spacing_mm),
        "obliquity_deg": round(obliquity_deg(volume.world_from_voxel), 3),
    }
    return Ct(volume, facts, warnings)


def _read_file(path: Path, settings: CtSettings) -> tuple[Volume, dict[str, Any], list[str]]:
    raw, found = read_volume_file(path, "the CT", settings.max_megavoxels, tilted=settings.resample_tilted)
    hu, facts = _to_hu(raw.array, path)
    facts |= {"format": found["format"], "sha256": content_hash(found["files"])}
    return Volume(hu, raw.world_from_voxel), facts, list(found["warnings"])


def _upright(raw: Volume, facts: dict[str, Any]) -> tuple[Volume, str]:
    """A volume of a tilted gantry on a grid at right angles."""
    axis = slice_axis(raw.world_from_voxel)
    angle = tilt_deg(raw.world_from_voxel, 2 if axis is None else axis)
    facts["tilt_resampled_deg"] = round(angle, 3)
    warning = (
        f"the gantry was tilted by {angle:.1f} degrees; slices were moved back onto a grid at right angles (linear)"
    )
    return straighten(raw, nearest=False, outside=HU_MIN), warning


def _to_hu(array: np.ndarray, path: Path) -> tuple[np.ndarray, dict[str, Any]]:
    """Rounded and clipped to int16 HU, slab by slab, with what was found on the way; int16 is changed in place."""
    low, high = float(array.min()), float(array.max())
    if not (np.isfinite(low) and np.isfinite(high)):
        count = int((~np.isfinite(array)).sum())
        msg = f"{path} has {count} voxels that are no number (NaN or infinite); replace them by -1024"
        raise MskdexError(msg)
    out = array if array.dtype == np.int16 and array.flags.writeable else np.empty(array.shape, np.int16)
    below = above = 0
    for start in range(0, len(array), _SLAB):
        slab = array[start : start + _SLAB]
        if np.issubdtype(slab.dtype, np.floating):
            slab = np.rint(slab)
        if low < HU_MIN:
            below += int(np.count_nonzero(slab < HU_MIN))
        if high > HU_MAX:
            above += int(np.count_nonzero(slab > HU_MAX))
        if out is not array or below or above:
            np.clip(slab, HU_MIN, HU_MAX, out=out[start : start + _SLAB], casting="unsafe")
    return out, {"hu_range_read": [low, high], "voxels_clipped_below": below, "voxels_clipped_above": above}


def _read_dicom(
    path: Path, settings: CtSettings, series_uid: str | None, root: Path | None
) -> tuple[Volume, dict[str, Any], list[str]]:
    found = list(headers(dicom_files(path, root)))
    chosen = choose_series(found, path, series_uid, "ct_series", "CT")
    beside = left_out(found, chosen) if path.is_dir() else []
    slices = order_slices(frames(chosen, settings.max_megavoxels), path)
    require_voxel_size(Volume(np.empty(0), slices.world_from_voxel).spacing_mm, path)
    if not settings.resample_uneven_slices:
        require_even(slices, path)
    if not settings.resample_tilted:
        require_upright(slices, path)
    array, facts, warnings = _read_slices(slices, settings)
    warnings += require_like_neighbours(array, slices, path)
    volume = Volume(array, slices.world_from_voxel)
    if not slices.even:
        volume = _even_out(volume, slices.positions_mm)
        facts["slices_resampled_to_mm"] = volume.spacing_mm[2]
    facts |= {"format": "dicom", "sha256": content_hash([p for p, _ in chosen])}
    return volume, facts, [*slices.warnings, *warnings, *beside]


def _read_slices(slices: Slices, settings: CtSettings) -> tuple[np.ndarray, dict[str, Any], list[str]]:
    shape = (len(slices.frames), *slices.shape)
    require_size(slices.frames[0].path, (1, *slices.shape), 0, settings.max_megavoxels)
    if np.prod(shape) > settings.max_megavoxels * 1e6:
        where = slices.frames[0].path.parent
        msg = f"{where} holds {np.prod(shape) / 1e6:.0f} million voxels, more than ct.max_megavoxels"
        raise MskdexError(msg)
    out = np.empty(shape, np.int16)
    facts: dict[str, Any] = {"hu_range_read": [np.inf, -np.inf], "voxels_clipped_below": 0, "voxels_clipped_above": 0}
    warnings: list[str] = []
    for k, (frame, dataset) in enumerate(opened_frames(slices.frames)):
        plane, notes = frame_hu(frame, dataset, slices.shape)
        warnings += [w for w in notes if w not in warnings]
        out[k : k + 1], found = _to_hu(plane[None], frame.path)
        low, high = found["hu_range_read"]
        facts["hu_range_read"] = [min(low, facts["hu_range_read"][0]), max(high, facts["hu_range_read"][1])]
        for key in ("voxels_clipped_below", "voxels_clipped_above"):
            facts[key] += found[key]
    return out, facts, warnings


def _even_out(volume: Volume, positions_mm: np.ndarray) -> Volume:
    """Interpolates unevenly spaced slices linearly at even distances, the median one."""
    step = volume.spacing_mm[2]
    wanted = np.arange(0.0, positions_mm[-1] + 1e-3 * step, step)
    upper = np.clip(np.searchsorted(positions_mm, wanted), 1, len(positions_mm) - 1)
    out = np.empty((wanted.size, *volume.array.shape[1:]), np.int16)
    for k, (z, hi) in enumerate(zip(wanted, upper, strict=True)):
        weight = np.float32((z - positions_mm[hi - 1]) / (positions_mm[hi] - positions_mm[hi - 1]))
        out[k] = np.rint(volume.array[hi - 1] * (1 - weight) + volume.array[hi] * weight)
    return Volume(out, volume.world_from_voxel)
