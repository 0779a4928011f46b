"""Numbers of a radiograph's camera: from the sheet, else its tags, else the config; and its pixel grid."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from mskdex.config.imaging import RadiographSettings
from mskdex.errors import MskdexError
from mskdex.imaging.camera_numbers import NumberLookup, has_value, isocentre, require_possible, spacing_warnings
from mskdex.imaging.detector_crop import central_ray
from mskdex.imaging.radiograph_camera import CameraTags

_TARGET = {"AP": "LF", "PA": "RF"}
"""Where the camera's columns and rows point to: `mskdex.geometry.camera`."""


@dataclass(frozen=True)
class ViewGeometry:
    """How the stored image was taken.

    Attributes:
        sdd_mm: distance from source to detector.
        source_to_isocentre_mm: distance from source to the middle of the patient.
        pixel_mm: (row, column) distances of the stored image at the detector.
        view: AP or PA.
        orientation: where the stored image's rows and columns point to, e.g. LF.
        principal_px: (row, column) of the central ray in the stored image.
        laterality: L or R where only one side is shown, else None.
        sources: where each number came from.
        warnings: disagreements between sources.
    """

    sdd_mm: float
    source_to_isocentre_mm: float
    pixel_mm: tuple[float, float]
    view: str
    orientation: str
    principal_px: tuple[float, float]
    laterality: str | None
    sources: dict[str, str]
    warnings: list[str]


def resolve_geometry(
    tags: CameraTags, row: Mapping[str, Any], settings: RadiographSettings, shape: tuple[int, int]
) -> ViewGeometry:
    """Finds every number of the camera in the sheet, else in the tags, else in the config.

    Args:
        tags: what the file says.
        row: the patient's row of the sheet.
        settings: the config's radiograph section.
        shape: of the stored image.

    Raises:
        MskdexError: a number is nowhere, or impossible; or the tags name another view or body part and the sheet gives
            no view.
    """
    pick = NumberLookup(tags, row, settings)
    _require_hip(tags, row, pick)
    sdd = float(pick("sdd_mm", "the distance from source to detector (tag DistanceSourceToDetector)"))
    pixel = pick("pixel_mm", "the detector's pixel size (tag ImagerPixelSpacing)")
    pixel = (float(pixel[0]), float(pixel[1])) if isinstance(pixel, tuple) else (float(pixel), float(pixel))
    require_possible(pick, sdd, pixel, shape)
    middle = isocentre(pick, sdd)
    pick.warnings += spacing_warnings(tags, pixel, sdd / middle)
    view, orientation = pick("view", ""), pick("orientation", "")
    principal = _principal(pick, shape, pixel)
    return ViewGeometry(
        sdd, middle, pixel, view, orientation, principal, tags.laterality, pick.sources, tags.warnings + pick.warnings
    )


def _require_hip(tags: CameraTags, row: Mapping[str, Any], pick: NumberLookup) -> None:
    if not tags.problems:
        return
    problems = "; ".join(tags.problems)
    if not has_value(row.get("view")):
        msg = (
            f"its tags say that it is no AP or PA radiograph of the hip ({problems}); leave the patient out or, if the "
            "tags are wrong, write AP or PA into the sheet's column view"
        )
        raise MskdexError(msg)
    pick.warnings.append(f"the sheet's view {row['view']} overrules what the tags say ({problems})")


def _principal(pick: NumberLookup, shape: tuple[int, int], pixel_mm: tuple[float, float]) -> tuple[float, float]:
    names = ("principal_row_px", "principal_column_px")
    by_tags, warnings = central_ray(pick.tags.detector, shape, pixel_mm)
    if not all(has_value(pick.row.get(name)) for name in names):
        pick.warnings += warnings
    found = []
    for i, name in enumerate(names):
        if has_value(pick.row.get(name)):
            found.append(float(pick.row[name]))
            pick.sources[name] = "sheet"
        elif by_tags is not None:
            found.append(by_tags[i])
            pick.sources[name] = "tags FieldOfViewOrigin and DetectorActiveDimensions"
        else:
            found.append((shape[i] - 1) / 2)
            pick.sources[name] = "assumed: middle of the image"
    return found[0], found[1]


def to_camera_frame(array: np.ndarray, view: str, stored: str) -> np.ndarray:
    """Turns and flips a stored image so that rows and columns run as the camera's of this view."""
    if stored[0] in "FH":
        array, stored = array.T, stored[::-1]
    if stored[0] != _TARGET[view][0]:
        array = array[:, ::-1]
    if stored[1] != _TARGET[view][1]:
        array = array[::-1]
    return array


def pair_to_camera_frame(
    pair: tuple[float, float], view: str, stored: str, shape: tuple[int, int] | None = None
) -> tuple[float, float]:
    """As `to_camera_frame`, for a (row, column) pair: of sizes, or with `shape` of the stored image, of a position."""
    rows, columns = shape or (0, 0)
    (row, column) = pair
    if stored[0] in "FH":
        row, column, rows, columns, stored = column, row, columns, rows, stored[::-1]
    if shape and stored[0] != _TARGET[view][0]:
        column = columns - 1 - column
    if shape and stored[1] != _TARGET[view][1]:
        row = rows - 1 - row
    return row, column


def average_down(
    image: np.ndarray, pixel_mm: tuple[float, float], to_mm: float, shape: tuple[int, int] | None = None
) -> np.ndarray:
    """Averages an image over the area of larger square pixels; both grids have the same centre.

    Args:
        image: (H, W).
        pixel_mm: (row, column) distances.
        to_mm: side of the new pixels, at least as large.
        shape: of the result; what fits if None.
    """
    for axis in (0, 1):
        n, p = image.shape[axis], pixel_mm[axis]
        count = shape[axis] if shape else max(1, int(n * p / to_mm + 1e-6))
        start = (n * p - count * to_mm) / 2
        edges = (start + to_mm * np.arange(count + 1)) / p
        image = np.moveaxis(_cell_means(np.moveaxis(image, axis, 0), edges), 0, axis)
    return image


def _cell_means(values: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """Means along the first axis between fractional edges, exact for piecewise constant values."""
    total = np.zeros((values.shape[0] + 1, values.shape[1]))
    np.cumsum(values, axis=0, out=total[1:])
    edges = np.clip(edges, 0, values.shape[0])
    low = np.minimum(edges.astype(int), values.shape[0] - 1)
    at = total[low] + (edges - low)[:, None] * (total[low + 1] - total[low])
    return np.diff(at, axis=0) / np.maximum(np.diff(edges), 1e-9)[:, None]
