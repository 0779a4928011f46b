"""Of whom a radiograph is: demographics of flags, sheet and DICOM header, for the estimate that is joined with them."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mskdex.cohort.columns import COLUMNS
from mskdex.imaging.person_tags import person_in_header

COLUMNS_OF_PERSONS = ("sex", "age", "height_cm", "weight_kg")


@dataclass(frozen=True)
class Demographics:
    """What is known of a patient.

    Attributes:
        known: sex (F, M), age in years, height_cm, weight_kg; what is not known is left out.
        sources: flag, sheet or header, by the same names.
        warnings: what a header says that cannot be.
    """

    known: dict[str, Any]
    sources: dict[str, str]
    warnings: list[str]


def person_of(path: Path, row: Mapping[str, Any], flags: Mapping[str, Any]) -> Demographics:
    """Demographics of a radiograph's patient: a flag goes before the sheet, the sheet before the header.

    Args:
        path: of the radiograph.
        row: of the sheet.
        flags: of the command line, without those that were not given.

    Returns:
        The person; a header's value outside what the cohort sheet allows is left out, with a warning.
    """
    values, sources, warnings = {}, {}, []
    header = person_in_header(path)
    for column in COLUMNS_OF_PERSONS:
        for source, given in (("flag", flags), ("sheet", row)):
            if column not in values and given.get(column) is not None:
                values[column], sources[column] = given[column], source
        if column in values or column not in header:
            continue
        cell = COLUMNS[column].parse(header[column])
        if cell.problem:
            warnings.append(f"{column} of its header is passed over: {cell.problem}")
        else:
            values[column], sources[column] = cell.value, "header"
    return Demographics(values, sources, warnings)
