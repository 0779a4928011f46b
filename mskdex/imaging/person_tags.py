"""Sex, age, height and weight as a radiograph's header tells them."""

import re
from pathlib import Path

from mskdex.imaging.radiograph_source import only_radiograph
from mskdex.imaging.radiograph_tags import tag_numbers, text_of
from mskdex.io.dicom import read_header
from mskdex.io.files import file_kind

_YEARS = {"Y": 1.0, "M": 1.0 / 12.0, "W": 7.0 / 365.25, "D": 1.0 / 365.25, "": 1.0}


def person_in_header(path: Path) -> dict[str, str]:
    """What a radiograph's header says of its patient, as a cell of the cohort sheet would; it is checked like one.

    Args:
        path: of the radiograph; a picture tells nothing.

    Returns:
        sex, age (years), height_cm, weight_kg; a blank, broken or zero tag is left out.
    """
    if path.is_dir():
        path = only_radiograph(path)
    if file_kind(path) != "dicom":
        return {}
    header = read_header(path)
    found = {"sex": text_of(header, "PatientSex"), "age": _age(text_of(header, "PatientAge"))}
    for column, keyword, factor in (("height_cm", "PatientSize", 100.0), ("weight_kg", "PatientWeight", 1.0)):
        value = tag_numbers(header, keyword, 1).first
        found[column] = f"{value * factor:.6g}" if value else ""
    return {column: text for column, text in found.items() if text}


def _age(text: str) -> str:
    """Years of an age string such as 065Y or 018M."""
    match = re.fullmatch(r"(\d{1,3})([YMWD]?)", text.strip().upper(), re.ASCII)
    if match is None or int(match[1]) == 0:
        return ""
    return f"{int(match[1]) * _YEARS[match[2]]:.4g}"
