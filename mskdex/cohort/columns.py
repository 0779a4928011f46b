"""The columns of the cohort sheet: what each holds, and how its text is read."""

import difflib
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from mskdex.cohort.cell import SheetCell
from mskdex.cohort.number_cell import number


@dataclass(frozen=True)
class ColumnRule:
    """What a column holds.

    Attributes:
        meaning: for messages and the documentation.
        parse: text to `SheetCell`; blank text gives the value of "not known".
        required: whether the sheet must have the column.
        needed: whether every patient must have a value.
    """

    meaning: str
    parse: Callable[[str], SheetCell] = field(default=lambda text: SheetCell(text or None))
    required: bool = False
    needed: bool = False


_RESERVED = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", re.IGNORECASE | re.ASCII)
"""Names that Windows gives to devices."""


def _patient_id(text: str) -> SheetCell:
    if re.fullmatch(r"\d+\.0*|\d+(\.\d+)?[eE][+-]\d+|\d+\.\d+[eE]\d+", text, re.ASCII):
        return SheetCell(text, f"{text} was turned into a number by a spreadsheet; write the id as text")
    if re.fullmatch(r"\d{1,4}[-/.]\d{1,2}[-/.]\d{1,4}|\d{1,2}-[A-Z][a-z]{2}|[A-Z][a-z]{2}-\d{2}", text, re.ASCII):
        return SheetCell(text, f"{text} was turned into a date by a spreadsheet; write the id as text", "/" not in text)
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}", text) or text.endswith("."):
        allowed = "letters, digits, '_', '-' and '.', at most 64, the first a letter or digit"
        return SheetCell(text, f"{text!r} cannot name files; allowed are {allowed}")
    if _RESERVED.fullmatch(text):
        return SheetCell(text, f"{text} cannot name files on Windows; give another pseudonym")
    return SheetCell(text)


def _choice(allowed: dict[str, Any], blank: Any) -> Callable[[str], SheetCell]:
    def parse(text: str) -> SheetCell:
        if not text:
            return SheetCell(blank)
        if text.lower() not in allowed:
            return SheetCell(blank, f"{text!r} is not among {', '.join(allowed)}")
        return SheetCell(allowed[text.lower()])

    return parse


_SEX = {"f": "F", "m": "M", "female": "F", "male": "M"}
_YES = {"true": True, "false": False, "yes": True, "no": False, "1": True, "0": False}
_VIEW = {"ap": "AP", "pa": "PA"}
_TOWARDS = [a + b for a in "LR" for b in "FH"] + [a + b for a in "FH" for b in "LR"]
_ORIENTATION = {o.lower(): o for o in _TOWARDS} | {f"{o[0]}\\{o[1]}".lower(): o for o in _TOWARDS}
_INTENSITY = {"linear": "linear", "log": "log", "processed": "processed"}
TRAIN_AND_EVALUATE, EVALUATE_ONLY = "train_and_evaluate", "evaluate_only"
_USE = {u: u for u in (TRAIN_AND_EVALUATE, EVALUATE_ONLY)}
_AFFECTED = {"left": "left", "right": "right", "both": "both", "none": "none", "l": "left", "r": "right"}
_GREY = {"exposure": "exposure", "attenuation": "attenuation"}

COLUMNS: dict[str, ColumnRule] = {
    "patient_id": ColumnRule("the patient's pseudonym, which names files", _patient_id, required=True, needed=True),
    "ct": ColumnRule("the CT: a DICOM folder, NIfTI, NRRD, MHA or MHD", required=True, needed=True),
    "labels": ColumnRule("the CT's labels: a label map, a folder of masks or a DICOM SEG", required=True, needed=True),
    "label_source": ColumnRule(
        "whose labels they are: a key of label_sources, or named where the file has names", required=True, needed=True
    ),
    "radiograph": ColumnRule("the radiograph: DICOM, PNG, JPEG or TIFF", required=True, needed=True),
    "sex": ColumnRule("F or M", _choice(_SEX, None)),
    "age": ColumnRule("age in years", number("age in years", 0, 120, "years")),
    "height_cm": ColumnRule("height in cm", number("height in cm", 40, 250, "cm", {"m": 100, "mm": 0.1})),
    "weight_kg": ColumnRule("weight in kg", number("weight in kg", 2, 400, "kg", {"g": 0.001})),
    "affected_side": ColumnRule("side of the diseased hip: left, right, both or none", _choice(_AFFECTED, None)),
    "exclude": ColumnRule("yes leaves the patient out", _choice(_YES, False)),
    "exclude_reason": ColumnRule("why the patient is left out"),
    "use": ColumnRule(
        "train_and_evaluate, or evaluate_only for patients whom no fold may train on",
        _choice(_USE, TRAIN_AND_EVALUATE),
    ),
    "same_patient_as": ColumnRule("patient_id of another row that is the same person"),
    "allow_id_mismatch": ColumnRule(
        "yes where the DICOM files' PatientID says nothing about the person", _choice(_YES, False)
    ),
    "ct_series": ColumnRule("SeriesInstanceUID of the CT where its folder has several series"),
    "label_series": ColumnRule("SeriesInstanceUID of the DICOM SEG where its folder has several"),
    "sdd_mm": ColumnRule("distance from source to detector", number("sdd_mm", 200, 5000, "mm", {"cm": 10, "m": 1000})),
    "source_to_isocentre_mm": ColumnRule(
        "distance from source to the middle of the patient",
        number("source_to_isocentre_mm", 100, 5000, "mm", {"cm": 10, "m": 1000}),
    ),
    "half_thickness_mm": ColumnRule(
        "from the table's side of the patient to the patient's middle",
        number("half_thickness_mm", 0, 400, "mm"),
    ),
    "isocentre_to_detector_mm": ColumnRule(
        "distance from the middle of the patient to the detector",
        number("isocentre_to_detector_mm", 0, 2000, "mm"),
    ),
    "pixel_mm": ColumnRule("pixel size on the detector", number("pixel_mm", 0.05, 10, "mm", {"cm": 10, "µm": 0.001})),
    "view": ColumnRule("AP or PA; overrules tags that name another view or body part", _choice(_VIEW, None)),
    "orientation": ColumnRule(
        "where rows and columns of the stored radiograph point to: LF, RF, ...", _choice(_ORIENTATION, None)
    ),
    "principal_row_px": ColumnRule(
        "row where the central ray meets the stored image, from 0", number("a row", -20000, 40000)
    ),
    "principal_column_px": ColumnRule(
        "column where the central ray meets the stored image, from 0", number("a column", -20000, 40000)
    ),
    "intensity": ColumnRule("grey values of the radiograph: linear, log or processed", _choice(_INTENSITY, None)),
    "grey_increases_with": ColumnRule("what a higher stored grey value means", _choice(_GREY, None)),
    "device": ColumnRule("name of the device and its processing where the file has none, as in PNG exports"),
    "log_decades": ColumnRule(
        "decades of exposure that the full grey range of a log image spans", number("log_decades", 0.1, 20)
    ),
    "air_grey": ColumnRule("grey value of the unattenuated beam", number("air_grey", -1e9, 1e9)),
}
"""All columns that are read; others are passed over and go nowhere."""

PATHS = ("ct", "labels", "radiograph")
"""Columns that hold paths."""


def column_named(header: str) -> str | None:
    """The column that a header cell means, whatever its case and blanks; None if none."""
    name = re.sub(r"[\s-]+", "_", header.strip().lower())
    return name if name in COLUMNS else None


def close_names(header: str) -> str:
    """A column whose name is so close to an unknown header that it is likely meant, or ""."""
    name = re.sub(r"[\s-]+", "_", header.strip().lower())
    shortened = {c.removesuffix("_mm").removesuffix("_cm").removesuffix("_kg"): c for c in COLUMNS}
    if name in shortened:
        return shortened[name]
    return next(iter(difflib.get_close_matches(name, COLUMNS, n=1, cutoff=0.86)), "")
