"""CTs as others deliver them: read, checked, and brought to RAS and HU."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mskdex.config.imaging import CtSettings
from mskdex.errors import MskdexError
from mskdex.imaging.dicom import dicom_files, headers, number, read_dataset, stored_values
from mskdex.imaging.dicom_series import ENHANCED_CT, Slices, choose_series, order_slices, require_even
from mskdex.imaging.files import content_hash, file_kind, require_size
from mskdex.imaging.grid import obliquity_deg, orientation, to_ras
from mskdex.imaging.quantities import HU_MAX, HU_MIN
from mskdex.imaging.volume import Volume
from mskdex.imaging.volume_files import read_volume_file

_SLAB = 16
"""Slices converted at a time, so that no second copy of the volume is held in floating point."""


@dataclass(frozen=True)
class Ct:
    """A CT on its native grid, in RAS order.

    Attributes:
        volume: HU, int16, clipped to [HU_MIN, HU_MAX].
        facts: what import.json records; nothing in it tells who the patient is.
    """

    volume: Volume
    facts: dict[str, Any]


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
    if path.is_dir() or file_kind(path) == "dicom":
        volume, facts = _read_dicom(path, settings, series_uid, root)
    else:
        raw, found = read_volume_file(path, "the CT", settings.max_megavoxels)
        volume, facts = _ras_hu(raw, path)
        facts |= {"format": found["format"], "sha256": content_hash(found["files"])}
    _check_hu(volume.array, path)
    facts |= {
        "shape_zyx": list(volume.array.shape),
        "spacing_mm": list(volume.spacing_mm),
        "obliquity_deg": round(obliquity_deg(volume.world_from_voxel), 3),
    }
    return Ct(volume, facts)


def _ras_hu(raw: Volume, path: Path) -> tuple[Volume, dict[str, Any]]:
    hu, facts = _to_hu(raw.array, path)
    return to_ras(Volume(hu, raw.world_from_voxel)), facts | {"orientation": orientation(raw.world_from_voxel)}


def _to_hu(array: np.ndarray, path: Path) -> tuple[np.ndarray, dict[str, Any]]:
    """A copy rounded and clipped to int16 HU, slab by slab, with what was found on the way."""
    low, high = float(array.min()), float(array.max())
    if not (np.isfinite(low) and np.isfinite(high)):
        count = int((~np.isfinite(array)).sum())
        msg = f"{path} has {count} voxels that are no number (NaN or infinite); replace them by -1024"
        raise MskdexError(msg)
    out = np.empty(array.shape, np.int16)
    below = above = 0
    for start in range(0, len(array), _SLAB):
        slab = array[start : start + _SLAB]
        if np.issubdtype(slab.dtype, np.floating):
            slab = np.rint(slab)
        if low < HU_MIN:
            below += int(np.count_nonzero(slab < HU_MIN))
        if high > HU_MAX:
            above += int(np.count_nonzero(slab > HU_MAX))
        np.clip(slab, HU_MIN, HU_MAX, out=out[start : start + _SLAB], casting="unsafe")
    return out, {"hu_range_read": [low, high], "voxels_clipped_below": below, "voxels_clipped_above": above}


def _check_hu(hu: np.ndarray, path: Path) -> None:
    sample = hu[:: max(1, len(hu) // 64), ::4, ::4]
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


def _read_dicom(
    path: Path, settings: CtSettings, series_uid: str | None, root: Path | None
) -> tuple[Volume, dict[str, Any]]:
    found = list(headers(dicom_files(path, root)))
    chosen = choose_series(found, path, series_uid, "ct_series", "CT")
    if len(chosen) == 1 and str(chosen[0][1].get("SOPClassUID")) in ENHANCED_CT:
        from mskdex.imaging.dicom_multiframe import read_enhanced_ct

        raw = read_enhanced_ct(chosen[0][0], settings.max_megavoxels)
        volume, facts = _ras_hu(raw, path)
    else:
        slices = order_slices(chosen, path)
        if not settings.resample_uneven_slices:
            require_even(slices, path)
        array, facts = _read_slices(slices, settings)
        volume = Volume(array, slices.world_from_voxel)
        facts["orientation"] = orientation(volume.world_from_voxel)
        if not slices.even:
            volume = _even_out(volume, slices.positions_mm)
            facts["slices_resampled_to_mm"] = volume.spacing_mm[2]
        volume = to_ras(volume)
        volume = Volume(np.ascontiguousarray(volume.array), volume.world_from_voxel)
    return volume, {"format": "dicom", "sha256": content_hash([p for p, _ in chosen])} | facts


def _read_slices(slices: Slices, settings: CtSettings) -> tuple[np.ndarray, dict[str, Any]]:
    shape = (len(slices.files), *slices.shape)
    require_size(slices.files[0], (1, *slices.shape), 1, settings.max_megavoxels)
    if np.prod(shape) > settings.max_megavoxels * 1e6:
        msg = f"{slices.files[0].parent} holds {np.prod(shape) / 1e6:.0f} million voxels, more than ct.max_megavoxels"
        raise MskdexError(msg)
    out = np.empty(shape, np.int16)
    facts: dict[str, Any] = {"hu_range_read": [np.inf, -np.inf], "voxels_clipped_below": 0, "voxels_clipped_above": 0}
    for k, path in enumerate(slices.files):
        plane = _slice_hu(path, slices.shape)[None]
        out[k : k + 1], found = _to_hu(plane, path)
        low, high = found["hu_range_read"]
        facts["hu_range_read"] = [min(low, facts["hu_range_read"][0]), max(high, facts["hu_range_read"][1])]
        for key in ("voxels_clipped_below", "voxels_clipped_above"):
            facts[key] += found[key]
    return out, facts


def _slice_hu(path: Path, shape: tuple[int, int]) -> np.ndarray:
    dataset = read_dataset(path)
    pixels = stored_values(dataset, path)
    if pixels.shape != shape:
        msg = f"{path} decodes to {pixels.shape} values instead of {shape}; export the series again"
        raise MskdexError(msg)
    slope, intercept = number(dataset, "RescaleSlope"), number(dataset, "RescaleIntercept")
    if slope is None or intercept is None or slope == 0:
        msg = f"{path} has no rescale slope and intercept, so its values are not HU; export the series again"
        raise MskdexError(msg)
    kind = str(dataset.get("RescaleType") or "HU")
    if kind not in {"HU", "US"}:
        msg = f"{path} holds {kind}, not HU; name the series of the CT itself"
        raise MskdexError(msg)
    if slope == 1 and intercept == int(intercept) and pixels.dtype.itemsize <= 2:
        hu: np.ndarray = pixels.astype(np.int32) + int(intercept)
    else:
        hu = pixels * np.float32(slope) + np.float32(intercept)
    padding = number(dataset, "PixelPaddingValue")
    if padding is not None:
        limit = number(dataset, "PixelPaddingRangeLimit")
        ends = sorted([_as_stored(padding, pixels), _as_stored(padding if limit is None else limit, pixels)])
        hu[(pixels >= ends[0]) & (pixels <= ends[1])] = HU_MIN
    return hu


def _as_stored(value: float, pixels: np.ndarray) -> int:
    """PixelPaddingValue is often written signed where pixels are not, or the reverse; both have the same bits."""
    return int(np.array(int(value)).astype(pixels.dtype))


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
