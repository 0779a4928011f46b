"""What a DICOM radiograph's tags say of its camera: distances, pixel size, view, crop."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from pydicom.dataset import Dataset

from mskdex.imaging.radiograph_tags import tag_numbers, text_of
from mskdex.imaging.radiograph_view import view_tags
from mskdex.io.files import quote

_TO_ISOCENTRE = ("XA", "RF")
"""Modalities whose DistanceSourceToPatient is to the isocentre; of the others it is to the table or support
(DICOM PS3.3, X-Ray Positioner and DX Positioning modules)."""


@dataclass(frozen=True)
class DetectorTags:
    """Where the image lies on the detector, each None where the file is silent.

    Attributes:
        origin_elements: (row, column) of the field of view's first pixel, in detector elements, before it is turned.
        rotation_deg: by which the field of view was then turned clockwise: 0, 90, 180 or 270.
        flipped: whether it was then flipped left to right.
        element_mm: (row, column) distances of the detector's elements.
        active_origin_elements: (row, column) of the active area's first element.
        active_mm: (row, column) size of the active area.
        field_mm: (row, column) size of the field of view.
    """

    origin_elements: np.ndarray | None = None
    rotation_deg: float = 0.0
    flipped: bool = False
    element_mm: np.ndarray | None = None
    active_origin_elements: np.ndarray | None = None
    active_mm: np.ndarray | None = None
    field_mm: np.ndarray | None = None


@dataclass
class CameraTags:
    """Facts of the camera that a file's tags give, each absent where the file is silent.

    Attributes:
        values: sdd_mm, table_mm or source_to_isocentre_mm, magnification, pixel_mm (row, column), pixel_spacing_mm,
            view, orientation.
        where: which tag each came from.
        broken: what a tag holds that is no number, by the value it would give.
        laterality: L or R where one side is shown, else None.
        calibration: PixelSpacingCalibrationType.
        detector: where the image lies on the detector.
        problems: why this is no AP or PA radiograph of the hip.
        warnings: what a human should know.
    """

    values: dict[str, Any] = field(default_factory=dict)
    where: dict[str, str] = field(default_factory=dict)
    broken: dict[str, str] = field(default_factory=dict)
    laterality: str | None = None
    calibration: str = ""
    detector: DetectorTags = field(default_factory=DetectorTags)
    problems: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


def camera_tags(header: Dataset) -> CameraTags:
    """Reads the camera's tags; whether they are possible is for `view_geometry.resolve_geometry` to say."""
    found = CameraTags(detector=_detector(header))
    to_patient = "source_to_isocentre_mm" if text_of(header, "Modality").upper() in _TO_ISOCENTRE else "table_mm"
    for key, keyword in (
        ("sdd_mm", "DistanceSourceToDetector"),
        (to_patient, "DistanceSourceToPatient"),
        ("magnification", "EstimatedRadiographicMagnificationFactor"),
    ):
        stated = tag_numbers(header, keyword, 1)
        if stated.broken is not None:
            found.broken[key] = f"tag {keyword} is {quote(stated.broken, 60)!r}, no number"
        elif stated.first:  # 0 stands for "not known".
            found.values[key], found.where[key] = stated.first, f"tag {keyword}"
    _pixel_size(header, found)
    _view(header, found)
    return found


def _pixel_size(header: Dataset, tags: CameraTags) -> None:
    """At the detector: ImagerPixelSpacing; PixelSpacing where nothing says that it was calibrated at the patient."""
    tags.calibration = text_of(header, "PixelSpacingCalibrationType").upper()
    sizes: dict[str, tuple[float, float]] = {}
    for keyword in ("ImagerPixelSpacing", "PixelSpacing"):
        stated = tag_numbers(header, keyword, 2)
        if stated.broken is not None or (stated.values is not None and stated.values.min() < 0):
            value = stated.broken if stated.broken is not None else stated.values
            tags.broken.setdefault("pixel_mm", f"tag {keyword} is {quote(value, 60)!r}, not two numbers above 0")
        elif stated.values is not None and stated.values.min() > 0:
            sizes[keyword] = (float(stated.values[0]), float(stated.values[1]))
    aspect, plain = tag_numbers(header, "PixelAspectRatio", 2).values, sizes.get("PixelSpacing")
    rows, columns = sizes.get("ImagerPixelSpacing") or plain or (1.0, 1.0)
    if aspect is not None and aspect.min() > 0 and abs(aspect[0] * columns / (aspect[1] * rows) - 1) > 0.01:
        tags.warnings.append(f"PixelAspectRatio {aspect[0]:g} to {aspect[1]:g} contradicts the pixel size")
    if plain:
        tags.values["pixel_spacing_mm"] = plain
    if "ImagerPixelSpacing" in sizes:
        tags.values["pixel_mm"], tags.where["pixel_mm"] = sizes["ImagerPixelSpacing"], "tag ImagerPixelSpacing"
    elif plain and not tags.calibration:
        tags.values["pixel_mm"], tags.where["pixel_mm"] = plain, "tag PixelSpacing"
        tags.warnings.append("the pixel size is PixelSpacing, of which no tag says that it is the detector's")
    elif plain and tags.calibration == "GEOMETRY" and tags.values.get("magnification", 0) > 1:
        factor = tags.values["magnification"]
        tags.values["pixel_mm"] = (plain[0] * factor, plain[1] * factor)
        tags.where["pixel_mm"] = "tag PixelSpacing (GEOMETRY) times EstimatedRadiographicMagnificationFactor"


def _view(header: Dataset, tags: CameraTags) -> None:
    view = view_tags(header)
    for key, value in (("view", view.view), ("orientation", view.orientation)):
        if value:
            tags.values[key] = value
    tags.where |= view.where
    tags.laterality = view.laterality
    tags.problems += view.problems
    tags.warnings += view.warnings


def _detector(header: Dataset) -> DetectorTags:
    def pair(keyword: str) -> np.ndarray | None:
        return tag_numbers(header, keyword, 2, one_for_all="Dimension" in keyword).values

    element = pair("DetectorElementSpacing")
    spacing, binning = pair("ImagerPixelSpacing"), pair("DetectorBinning")
    if element is None and spacing is not None:
        element = spacing / binning if binning is not None and binning.min() > 0 else spacing
    return DetectorTags(
        origin_elements=pair("FieldOfViewOrigin"),
        rotation_deg=(tag_numbers(header, "FieldOfViewRotation", 1).first or 0.0) % 360,
        flipped=text_of(header, "FieldOfViewHorizontalFlip").upper() == "YES",
        element_mm=element,
        active_origin_elements=pair("DetectorActiveOrigin"),
        active_mm=pair("DetectorActiveDimensions"),
        field_mm=pair("FieldOfViewDimensions"),
    )
