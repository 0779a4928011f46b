"""Numbers of a radiograph's camera: from its tags, else the sheet, else the config; and its pixel grid."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from mskdex.config.imaging import RadiographSettings
from mskdex.errors import MskdexError

_AGREE = 0.01
"""Tag and sheet may differ by this share before a warning says so."""

_TARGET = {"AP": "LF", "PA": "RF"}
"""Where the camera's columns and rows point to: `mskdex.projection.camera`."""


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
    tags: Mapping[str, Any], where: Mapping[str, str], row: Mapping[str, Any], settings: RadiographSettings,
    shape: tuple[int, int],
) -> ViewGeometry:  # fmt: skip
    """Finds every number of the camera in the tags, else in the sheet, else in the config.

    Args:
        tags: of `radiograph_source.Source`.
        where: which tag each came from.
        row: the patient's row of the sheet.
        settings: the config's radiograph section.
        shape: of the stored image.

    Raises:
        MskdexError: a number is nowhere, or impossible.
    """
    pick = _Picker(tags, where, row, settings)
    sdd = pick("sdd_mm", "the distance from source to detector (tag DistanceSourceToDetector)")
    pixel = pick("pixel_mm", "the detector's pixel size (tag ImagerPixelSpacing)")
    pixel = (float(pixel[0]), float(pixel[1])) if isinstance(pixel, tuple) else (float(pixel), float(pixel))
    isocentre = _isocentre(pick, sdd)
    if not 200 <= sdd <= 5000 or not 0.01 <= min(pixel) <= max(pixel) <= 10 or not 0 < isocentre < sdd:
        msg = (
            f"its geometry is impossible: sdd_mm {sdd:g} ({pick.sources['sdd_mm']}), source_to_isocentre_mm "
            f"{isocentre:g} "
            f"({pick.sources['source_to_isocentre_mm']}), pixel_mm {pixel} ({pick.sources['pixel_mm']}); "
            "correct the source"
        )
        raise MskdexError(msg)
    view, orientation = pick("view", ""), pick("orientation", "")
    principal = [(n - 1) / 2 for n in shape]
    for i, name in enumerate(("principal_row_px", "principal_column_px")):
        if _given(row.get(name)):
            principal[i] = float(row[name])
            pick.sources[name] = "sheet"
        else:
            pick.sources[name] = "assumed: middle of the image"
    return ViewGeometry(
        float(sdd), float(isocentre), pixel, view, orientation, (principal[0], principal[1]),
        tags.get("laterality"), pick.sources, pick.warnings,
    )  # fmt: skip


class _Picker:
    """Looks a number up in the three places, keeping account of where it was found."""

    def __init__(
        self, tags: Mapping[str, Any], where: Mapping[str, str], row: Mapping[str, Any], settings: RadiographSettings
    ):
        self.tags, self.where, self.row, self.settings = tags, where, row, settings
        self.sources: dict[str, str] = {}
        self.warnings: list[str] = []

    def find(self, name: str) -> Any:
        """The value, or None where it is nowhere."""
        sheet = self.row.get(name)
        if name in self.tags:
            self.sources[name] = self.where[name]
            value = self.tags[name]
            if _given(sheet) and not _agree(value, sheet):
                self.warnings.append(
                    f"{name}: the {self.where[name]} says {_told(value)}, the sheet {sheet}; the tag is used"
                )
            return value
        if _given(sheet):
            self.sources[name] = "sheet"
            return sheet
        value = getattr(self.settings, name)
        if value is not None:
            self.sources[name] = f"config radiograph.{name}"
        return value

    def __call__(self, name: str, what: str) -> Any:
        value = self.find(name)
        if value is None:
            msg = f"{what} is nowhere; give it in the sheet's column {name} or as radiograph.{name} in config.yaml"
            raise MskdexError(msg)
        return value


def _isocentre(pick: _Picker, sdd: float) -> float:
    if "source_to_isocentre_mm" not in pick.tags and pick.tags.get("magnification", 0) > 1:
        pick.sources["source_to_isocentre_mm"] = f"{pick.where['magnification']} and sdd_mm"
        return sdd / pick.tags["magnification"]
    value = pick.find("source_to_isocentre_mm")
    if value is None:
        pick.sources["source_to_isocentre_mm"] = "assumed: sdd_mm less config radiograph.isocentre_to_detector_mm"
        return sdd - pick.settings.isocentre_to_detector_mm
    return float(value)


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


def _given(value: Any) -> bool:
    return value is not None and value == value and value != ""


def _agree(one: Any, other: Any) -> bool:
    if isinstance(one, str) or isinstance(other, str):
        return str(one) == str(other)
    return bool(np.allclose(np.asarray(one, float), float(other), rtol=_AGREE))


def _told(value: Any) -> str:
    return ", ".join(f"{v:.4g}" for v in value) if isinstance(value, tuple) else str(value)
