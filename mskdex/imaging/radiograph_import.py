"""From a radiograph file to log attenuation, field and camera."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from mskdex.config.imaging import RadiographSettings
from mskdex.errors import MskdexError
from mskdex.geometry.camera import Camera
from mskdex.imaging.burnt_in import burnt_in_text, turned_corners
from mskdex.imaging.camera_numbers import has_value
from mskdex.imaging.dead_lines import dead_lines
from mskdex.imaging.field import dilated, field_from_tags, without_blades, without_blank_borders, without_markers
from mskdex.imaging.grey_scale import GreyScale, grey_scale
from mskdex.imaging.grey_values import GreyValues, grey_values
from mskdex.imaging.intensity import clipped, log_attenuation, relative_exposure, require_possible_attenuation
from mskdex.imaging.picture_header import header_doubts
from mskdex.imaging.radiograph_source import Source, read_source, read_tags
from mskdex.imaging.relative import standardisation
from mskdex.imaging.seen_direction import seen_direction
from mskdex.imaging.view_geometry import (
    ViewGeometry,
    average_down,
    pair_to_camera_frame,
    resolve_geometry,
    to_camera_frame,
)
from mskdex.io.files import no_memory, quote

log = logging.getLogger("mskdex")

_FIELD_LEAST = 0.5
"""An averaged pixel is in the field where at least this share of it is."""
_NO_AIR = (
    "the radiograph shows no unattenuated beam, so all its attenuations are too low by one unknown amount; set "
    "air_grey to the grey value of the bare beam if it is known, or exclude the patient"
)
_CLIPPED = (
    "its exposure seems cut off below that of air ({why}), so all its attenuations are too low by one unknown amount; "
    "set air_grey to the grey value of the bare beam if it is known, give intensity processed, or exclude the patient"
)
_TEXT = (
    "burnt-in text or a letter of lead is found ({pixels} pixels); it may name the patient and is out of the field; "
    "radiograph.hide_text_in_pictures paints it over in all pictures"
)


@dataclass(frozen=True)
class ImportedRadiograph:
    """A radiograph in the camera's frame.

    Attributes:
        image: log attenuation, float32 (H, W): in nepers where `scale` is absolute, else on a like scale.
        field: exposed and unmarked, bool (H, W).
        camera: of the image's grid.
        geometry: of the stored image.
        facts: what import.json records; among them `device_profile`, and of a relative image `standardisation`, the
            gain and offset that took the file's grey values to it, from 0 to 1 over their range and rising with
            attenuation.
        warnings: what a human should know.
    """

    image: np.ndarray
    field: np.ndarray
    camera: Camera
    geometry: ViewGeometry
    facts: dict[str, Any]
    warnings: list[str]

    @property
    def scale(self) -> str:
        """Absolute (nepers, air at 0), or relative (standardised by soft tissue and bone)."""
        return str(self.facts["scale"])


@dataclass(frozen=True)
class _Exposed:
    """Exposure and field on the stored grid, and what was found on the way."""

    exposure: np.ndarray
    field: np.ndarray
    scale: GreyScale
    facts: dict[str, Any]
    warnings: list[str]


def import_radiograph(
    path: Path, row: Mapping[str, Any], settings: RadiographSettings, root: Path | None = None
) -> ImportedRadiograph:
    """Imports a radiograph.

    Args:
        path: see `radiograph_source.read_source`.
        row: the patient's row of the sheet, for camera and grey value columns.
        settings: the config's radiograph section.
        root: folder that links may lead into.

    Raises:
        MskdexError: names the file, what is wrong and what to do.
    """
    source = read_source(path, settings.max_megapixels, root)
    try:
        return _imported(source, row, settings)
    except MskdexError as error:
        msg = f"{path}: {error}"
        raise MskdexError(msg) from error
    except MemoryError as error:
        raise no_memory(path) from error
    except Exception as error:
        log.debug("while %s was imported", path, exc_info=True)
        msg = (
            f"{path} cannot be imported ({type(error).__name__}: {quote(error)}); look at its tags, or export it again"
        )
        raise MskdexError(msg) from error


def _imported(source: Source, row: Mapping[str, Any], settings: RadiographSettings) -> ImportedRadiograph:
    shape = (source.grey.shape[0], source.grey.shape[1])
    geometry = resolve_geometry(source.camera, row, settings, shape)
    greys = grey_values(source, settings)
    found = _exposed(source, greys, row, settings)
    exposure, field, camera = _to_camera_grid(found.exposure, found.field, geometry, settings.working_pixel_mm)
    field = without_blades(_rough_attenuation(exposure, found.scale), field)
    air_grey = row["air_grey"] if has_value(row.get("air_grey")) else settings.air_grey
    image, facts = _attenuation(exposure, field, found.scale, air_grey)
    if settings.mask_markers:
        field = without_markers(image, field, camera.pixel_mm)
    if found.scale.absolute:
        require_possible_attenuation(image, field)
    if settings.hide_text_in_pictures:
        image = np.where(field, image, np.float32(np.median(image[field])))
    own = quote(row["device"]) if has_value(row.get("device")) else None
    facts = (
        source.facts
        | found.facts
        | facts
        | {
            "device": source.facts.get("device") or own,
            "device_profile": own or source.facts.get("device_profile", ""),
            "standardisation": _in_turn(found.facts["standardisation"], facts.get("standardisation")),
            "voi_lut_applied": greys.voi,
            "field_fraction": round(float(field.mean()), 4),
            "stored_shape": list(shape),
            "stored_orientation": geometry.orientation,
        }
    )
    warnings = source.warnings + geometry.warnings + greys.warnings + found.warnings
    warnings += header_doubts(source.facts, geometry.pixel_mm, absolute=found.scale.absolute)
    return ImportedRadiograph(image, field, camera, geometry, facts, warnings + _doubts(found, facts, air_grey, field))


def camera_from_dicom(path: Path, row: Mapping[str, Any], settings: RadiographSettings) -> Camera:
    """The camera of a DICOM radiograph by its header alone: what `import_radiograph` gives with the image.

    Args:
        path: DICOM file.
        row: the patient's row of the sheet, for what the tags leave out; may be empty.
        settings: the config's radiograph section, likewise; its `working_pixel_mm` sets the pixels.

    Raises:
        MskdexError: not a radiograph, or geometry that is nowhere or impossible.
    """
    tags, shape = read_tags(path)
    try:
        return _camera(resolve_geometry(tags, row, settings, shape), shape, settings.working_pixel_mm)
    except MskdexError as error:
        msg = f"{path}: {error}"
        raise MskdexError(msg) from error


def _exposed(source: Source, greys: GreyValues, row: Mapping[str, Any], settings: RadiographSettings) -> _Exposed:
    """Finds what the grey values mean and which pixels are image, on the stored grid."""
    field, tags, wrong = field_from_tags(source.dataset, source.grey.shape)
    field = without_blank_borders(source.grey, field & greys.valid & ~turned_corners(source.grey))
    if not field.any():
        msg = "no pixel of it is in the exposed field; check its collimator, shutter and padding tags"
        raise MskdexError(msg)
    dead, lines = dead_lines(source.grey, field)
    field = field & ~dead
    scale = grey_scale(source, greys, seen_direction(greys.values, field), row, settings)
    exposure = relative_exposure(greys.values, scale)
    text = burnt_in_text(_rough_attenuation(exposure, scale), field, source.tags.lossy)
    if text.any():
        field = field & ~dilated(text)
    facts: dict[str, Any] = {
        "intensity": scale.kind,
        "scale": "absolute" if scale.absolute else "relative",
        "grey_increases_with": scale.rises_with,
        "sources": scale.sources,
        "field_by_tags": tags,
        "burnt_in_pixels": int(text.sum()),
        "clipped": clipped(exposure, field, scale) if scale.absolute else None,
    }
    facts["standardisation"] = None
    if not scale.absolute:
        gain, offset = standardisation(-exposure, field)
        exposure = -(gain * -exposure + offset)
        lowest = scale.low if scale.rises_with == "attenuation" else -scale.high
        facts["standardisation"] = [gain * (scale.high - scale.low), offset + gain * lowest]
        scale = replace(scale, nepers_per_unit=None)
    return _Exposed(exposure.astype(np.float32), field, scale, facts, wrong + lines + scale.warnings)


def _attenuation(
    exposure: np.ndarray, field: np.ndarray, scale: GreyScale, air_grey: float | None
) -> tuple[np.ndarray, dict[str, Any]]:
    """Log attenuation on the working grid, and how its level was found."""
    if scale.absolute:
        return log_attenuation(exposure, field, scale, air_grey)
    gain, offset = standardisation(-exposure, field)
    facts = {"standardised_by": "soft tissue and bone", "standardisation": [gain, offset]}
    return (gain * -exposure + offset).astype(np.float32), facts


def _in_turn(first: list[float] | None, second: list[float] | None) -> list[float] | None:
    """Gain and offset of two lines after each other; None of absolute images."""
    if first is None or second is None:
        return None
    return [second[0] * first[0], second[0] * first[1] + second[1]]


def _rough_attenuation(exposure: np.ndarray, scale: GreyScale) -> np.ndarray:
    if scale.kind != "linear":
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


def _doubts(exposed: _Exposed, facts: Mapping[str, Any], air_grey: float | None, field: np.ndarray) -> list[str]:
    doubts = []
    if exposed.facts["burnt_in_pixels"]:
        doubts.append(_TEXT.format(pixels=exposed.facts["burnt_in_pixels"]))
    if exposed.scale.absolute and air_grey is None:
        if exposed.facts["clipped"]:
            doubts.append(_CLIPPED.format(why=exposed.facts["clipped"]))
        if not facts["air_in_field"]:
            doubts.append(_NO_AIR)
    if field.mean() < 0.2:
        doubts.append(f"only {100 * field.mean():.0f} % of the radiograph is exposed field; look at it")
    return doubts
