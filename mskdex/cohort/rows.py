"""What the cells of a row, or of a column, say together that none says alone."""

from collections.abc import Iterator, Mapping
from math import isfinite
from typing import Any

import pandas as pd

_BMI = (8.0, 100.0)
_USUAL_BMI = (12.0, 60.0)
_USUAL_MEDIAN_BMI = (15.0, 38.0)
_LEAST_FOR_A_MEDIAN = 5
"""Body mass indices in kg/m². Medians of hospitals' cohorts lie between 20 and 32; pounds taken for kilograms give 2.2
times as much."""

_INCHES, _ADULT_YEARS = (50.0, 85.0), 18.0
"""A median height of adults between these is one in inches."""


def row_problems(cells: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    """Contradictions between the cells of a row.

    Args:
        cells: values by column, as parsed.

    Yields:
        Column, what is wrong, and "error" or "warning".
    """
    if cells.get("ct") and cells.get("ct") == cells.get("labels"):
        yield "labels", "is the same file as the CT; name the label map", "error"
    sdd, isocentre = _number(cells, "sdd_mm"), _number(cells, "source_to_isocentre_mm")
    if sdd is not None and isocentre is not None and isocentre >= sdd:
        detail = f"{isocentre:g} is not smaller than sdd_mm {sdd:g}, so the patient would lie behind the detector"
        yield "source_to_isocentre_mm", f"{detail}; correct one of them", "error"
    height, weight = _number(cells, "height_cm"), _number(cells, "weight_kg")
    if height is None or weight is None:
        return
    bmi = weight / (height / 100) ** 2
    detail = f"{weight:g} kg at a height of {height:g} cm are {bmi:.0f} kg/m²; correct them if they are in other units"
    if not _BMI[0] <= bmi <= _BMI[1]:
        yield "weight_kg", detail, "error"
    elif not _USUAL_BMI[0] <= bmi <= _USUAL_BMI[1]:
        yield "weight_kg", detail, "warning"


def unit_doubts(sheet: pd.DataFrame) -> Iterator[tuple[str, str]]:
    """Columns whose values are possible one by one, but unlikely for a whole cohort: column and warning."""
    bmi = (sheet["weight_kg"] / (sheet["height_cm"] / 100) ** 2).dropna()
    low, high = _USUAL_MEDIAN_BMI
    if len(bmi) >= _LEAST_FOR_A_MEDIAN and not low <= bmi.median() <= high:
        detail = f"half of the patients are above and half below {bmi.median():.0f} kg/m²"
        yield "weight_kg", f"{detail}; are the weights in kg (a pound is 0.454 kg) and the heights in cm?"
    height = sheet["height_cm"][~(sheet["age"] < _ADULT_YEARS)].dropna()
    if len(height) >= _LEAST_FOR_A_MEDIAN and _INCHES[0] <= height.median() <= _INCHES[1]:
        detail = f"half of the patients are taller and half smaller than {height.median():.0f} cm"
        yield "height_cm", f"{detail}; are the heights in inches (an inch is 2.54 cm)?"


def _number(cells: Mapping[str, Any], column: str) -> float | None:
    value = cells.get(column)
    return value if isinstance(value, float) and isfinite(value) else None
