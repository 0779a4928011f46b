"""From a radiograph file to log attenuation, field and camera."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mskdex.config.imaging import RadiographSettings
from mskdex.errors import MskdexError
from mskdex.imaging.field import field_from_tags, without_blades, without_blank_borders, without_markers
from mskdex.imaging.intensity import GreyScale, grey_scale, log_attenuation, physical_values, relative_exposure
from mskdex.imaging.radiograph_source import Source, read_source, read_tags
from mskdex.imaging.view_geometry import (
    ViewGeometry,
    average_down,
    pair_to_camera_frame,
    resolve_geometry,
    to_camera_frame,
)
from mskdex.projection.camera import Camera

_FIELD_LEAST = 0.5
"""An averaged pixel is in the field where at least this share of it is."""
_DOUBT_NEPERS = 0.2
_NO_AIR = (
    "the radiograph shows no unattenuated beam, so all its attenuations are too low by one unknown amount; set "
    "radiograph.air_grey to the grey value of the bare beam if it is known, or exclude the patient"
)


@dataclass(frozen=True)
class Imported:
    """A radiograph in the camera's frame.

    Attributes:
        image: log attenuation, float32 (H, W).
        field: exposed and unmarked, bool (H, W).
        camera: of the image's grid.
        geometry: of the stored image.
        facts: what import.json records.
        warnings: what a human should know.
    """

    image: np.ndarray
    field: np.ndarray
    camera: Camera
    geometry: ViewGeometry
    facts: dict[str, Any]
    warnings: list[str]


def import_radiograph(
    path: Path, row: Mapping[str, Any], settings: RadiographSettings, root: Path | None = None
) -> Imported:
    """Imports a radiograph.

    Args:
        path: see `radiograph_source.read_source`.
        row: the patient's row of the sheet, for camera columns.
        settings: the config's radiograph section.
        root: folder that links may lead into.

    Raises:
        MskdexError: names the file, what is wrong and what to do.
    """
    source = read_source(path, settings.max_megapixels, root)
    try:
        geometry = resolve_geometry(source.tags, source.where, row, settings, source.grey.shape)
        values, ends, voi = physical_values(source, settings)
        scale = grey_scale(source, row, settings, ends)
        exposure, field, tags = _exposure_and_field(source, values, scale)
        exposure, field, camera = _to_camera_grid(exposure, field, geometry, settings.working_pixel_mm)
        field = without_blades(_rough_attenuation(exposure, scale), field)
        image, air = log_attenuation(exposure, field, scale, settings.air_grey)
    except MskdexError as error:
        msg = f"{path}: {error}"
        raise MskdexError(msg) from error
    if settings.mask_markers:
        field = without_markers(image, field, camera.pixel_mm)
    facts = source.facts | {
        "intensity": scale.kind,
        "grey_increases_with": scale.rises_with,
        "sources": scale.sources,
        "voi_lut_applied": voi,
        "field_by_tags": tags,
        "field_fraction": round(float(field.mean()), 4),
        "stored_shape": list(source.grey.shape),
        "stored_orientation": geometry.orientation,
    }
    doubts = _doubts(source, image, field) + ([] if air["air_in_field"] else [_NO_AIR])
    return Imported(image, field, camera, geometry, facts | air, source.warnings + geometry.warnings + doubts)


def camera_from_dicom(path: Path, row: Mapping[str, Any], settings: RadiographSettings) -> Camera:
    """The camera of a DICOM radiograph by its header alone: what `import_radiograph` gives with the image.

    Args:
        path: DICOM file.
        row: the patient's row of the sheet, for what the tags leave out; may be empty.
        settings: the config's radiograph section, likewise; its `working_pixel_mm` sets the pixels.

    Raises:
        MskdexError: not a radiograph, or geometry that is nowhere or impossible.
    """
    tags, where, shape = read_tags(path)
    try:
        return _camera(resolve_geometry(tags, where, row, settings, shape), shape, settings.working_pixel_mm)
    except MskdexError as error:
        msg = f"{path}: {error}"
        raise MskdexError(msg) from error


def _exposure_and_field(
    source: Source, values: np.ndarray, scale: GreyScale
) -> tuple[np.ndarray, np.ndarray, list[str]]:
    field, tags = field_from_tags(source.dataset, source.grey.shape)
    field = without_blank_borders(source.grey, field)
    return relative_exposure(values, scale), field, tags


def _rough_attenuation(exposure: np.ndarray, scale: GreyScale) -> np.ndarray:
    if scale.kind == "log":
        return -exposure
    return -np.log(np.maximum(exposure, 1e-5 * max(float(exposure.max()), 1e-9)))


def _to_camera_grid(
    exposure: np.ndarray, field: np.ndarray, geometry: ViewGeometry, working_mm: float | None
) -> tuple[np.ndarray, np.ndarray, Camera]:
    """Turns the stored image to the camera's frame and averages it down to square working pixels."""
    view, stored = geometry.view, geometry.orientation
    camera = _camera(geometry, (exposure.shape[0], exposure.shape[1]), working_mm)
    pixel = pair_to_camera_frame(geometry.pixel_mm, view, stored)
    exposure, field = (np.ascontiguousarray(to_camera_frame(a, view, stored)) for a in (exposure, field))
    if camera.shape == exposure.shape:
        return exposure, field, camera
    to = (pixel, camera.pixel_mm, camera.shape)
    weight = average_down(field.astype(np.float32), *to)
    mean = average_down(np.where(field, exposure, 0), *to) / np.maximum(weight, 1e-6)
    inside = weight >= _FIELD_LEAST
    mean = np.where(weight > 1e-3, mean, average_down(exposure, *to))
    return mean.astype(np.float32), inside, camera


def _camera(geometry: ViewGeometry, stored_shape: tuple[int, int], working_mm: float | None) -> Camera:
    """The camera of a stored image, turned to its frame and averaged down to square pixels of `working_mm` or more."""
    view, stored = geometry.view, geometry.orientation
    rows, columns = (int(n) for n in pair_to_camera_frame(stored_shape, view, stored))
    pixel = pair_to_camera_frame(geometry.pixel_mm, view, stored)
    point = pair_to_camera_frame(geometry.principal_px, view, stored, stored_shape)
    target = max(*pixel, working_mm or 0.0)
    if max(target / p for p in pixel) < 1.001:
        return Camera(geometry.sdd_mm, target, (rows, columns), point)
    count = [max(1, int(n * p / target + 1e-6)) for n, p in zip((rows, columns), pixel, strict=True)]
    row, column = (
        (at - (n - 1) / 2) * p / target + (m - 1) / 2
        for at, n, p, m in zip(point, (rows, columns), pixel, count, strict=True)
    )
    return Camera(geometry.sdd_mm, target, (count[0], count[1]), (row, column))


def _doubts(source: Source, image: np.ndarray, field: np.ndarray) -> list[str]:
    found = []
    if source.tags.get("presentation") == "FOR PRESENTATION":
        found.append("the radiograph is FOR PRESENTATION: its grey values were processed and only resemble attenuation")
    h, w = image.shape
    rows, sides = slice(h // 4, h - h // 4), np.r_[: max(w // 10, 1), w - max(w // 10, 1) : w]
    core = image[rows, w // 4 : w - w // 4][field[rows, w // 4 : w - w // 4]]
    beside = image[rows, sides][field[rows, sides]]
    if core.size and beside.size and np.median(core) < np.median(beside) - _DOUBT_NEPERS:
        found.append("the radiograph attenuates more at its sides than in its middle; check grey_increases_with")
    if field.mean() < 0.2:
        found.append(f"only {100 * field.mean():.0f} % of the radiograph is exposed field; look at it")
    return found
