"""What a radiograph says, read by few lines on pydicom's tags, or by SimpleITK; asked only of files that were taken."""

import re
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import SimpleITK as sitk


def radiograph(path: Path, row: dict) -> dict | None:
    """What a linear radiograph FOR PROCESSING, or a picture by its sheet, says: attenuation up to a constant, camera.

    Returns:
        image (in the camera's frame), sdd_mm, pixel_mm, source_to_isocentre_mm, view; None where it is not so plain.
    """
    try:
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            if path.suffix != ".dcm":
                grey = sitk.GetArrayFromImage(sitk.ReadImage(str(path))).squeeze().astype(float)
                if grey.ndim != 2:
                    return None
                camera = {k: float(row[k]) for k in ("sdd_mm", "pixel_mm", "source_to_isocentre_mm")}
                view, towards = row["view"].upper(), [*row["orientation"].upper().replace("\\", "")]
                image = -np.log(np.maximum(grey, 0.5)) if row["intensity"] == "linear" else grey
                return {"image": _turned(image, towards, view), "view": view} | camera
            return _linear_dicom(pydicom.dcmread(path, force=True))
    except Exception:
        return None


def _linear_dicom(dataset: pydicom.Dataset) -> dict | None:
    def first(keyword: str, fallback: str = "") -> str:
        return _text(dataset.get(keyword) or fallback).upper()

    sign, view = first("PixelIntensityRelationshipSign"), re.sub("[^A-Z]", "", first("ViewPosition", "AP"))
    plain = (
        first("PixelIntensityRelationship") == "LIN"
        and first("PresentationIntentType", "FOR PROCESSING") == "FOR PROCESSING"
    )
    if not plain or sign not in ("1", "-1", "") or view not in ("AP", "PA") or "CollimatorShape" in dataset:
        return None
    rises = sign == "1" if sign else first("PhotometricInterpretation") == "MONOCHROME1"
    kind = "i" if int(dataset.PixelRepresentation) else "u"
    values = np.frombuffer(dataset.PixelData, f"<{kind}2").reshape(dataset.Rows, dataset.Columns).astype(float)
    slope, intercept = float(dataset.get("RescaleSlope") or 1), float(dataset.get("RescaleIntercept") or 0)
    values = values * slope + intercept
    exposure = values if rises == (slope > 0) else values.max() + 1 - values
    towards = [v.upper() for v in _texts(dataset.get("PatientOrientation") or ["L", "F"])]
    image = -np.log(np.maximum(exposure, 0.5))
    image = _turned(image, towards, view)
    sdd = _number(dataset.DistanceSourceToDetector)
    pixel = [_number(v) for v in _texts(dataset.get("ImagerPixelSpacing") or dataset.get("PixelSpacing"))]
    factor = _number(dataset.get("EstimatedRadiographicMagnificationFactor") or 1)
    distance = _number(dataset.get("DistanceSourceToPatient") or 0)
    table = 0.0 if first("Modality") in ("XA", "RF") else 100.0
    middle = sdd / factor if factor != 1 else distance - table if distance else sdd - 150.0
    if not np.isclose(*pixel, rtol=1e-3):
        return None
    return {"image": image, "sdd_mm": sdd, "pixel_mm": pixel[0], "source_to_isocentre_mm": middle, "view": view}


def _number(value: object) -> float:
    return float(_text(value))


def _texts(values: Any) -> list[str]:
    """The values of a tag; a text that is said to have one value (UT, OB) may spell several."""
    return _text(values).split("\\") if isinstance(values, str | bytes) else [_text(v) for v in values]


def _text(value: object) -> str:
    """Of a value whatever type it says it is, padded by blanks or zero bytes."""
    return (value.decode("latin-1") if isinstance(value, bytes) else str(value)).strip(" \0")


def _turned(image: np.ndarray, towards: list[str], view: str) -> np.ndarray:
    """An image in the camera's frame: rows towards the feet, columns as the view sees the patient."""
    if {towards[0][0], towards[1][0]} & set("FH") == {towards[0][0]}:
        image, towards = image.T, towards[::-1]
    return image[:: 1 if towards[1][0] == "F" else -1, :: 1 if (towards[0][0] == "L") == (view == "AP") else -1]


def offset(found: np.ndarray, wanted: np.ndarray, scale: str) -> float:
    """How far two images of the same pixels differ, one pixel in a hundred left out.

    Of an absolute scale a constant (the air) does not count, of a relative one a factor does not either.
    """
    factor, constant = 1.0, float(np.median(found - wanted))
    if scale == "relative":
        factor, constant = np.polyfit(wanted, found, 1)
        if factor <= 0:
            return float("inf")
    return float(np.quantile(np.abs(found - factor * wanted - constant), 0.99))
