"""Numbers in the cohort sheet, as people and spreadsheets of several countries write them."""

import re
from collections.abc import Callable, Mapping
from math import nan

from mskdex.cohort.cell import SheetCell

_PLAIN = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?", re.ASCII)
_COMMA = re.compile(r"[-+]?\d+,\d+", re.ASCII)
_GROUPED = re.compile(r"([-+]?[1-9]\d{0,2}([.,])\d{3}(?:\2\d{3})*)(?:([.,])(\d+))?", re.ASCII)


def number(name: str, low: float, high: float, unit: str = "", others: Mapping[str, float] | None = None) -> Callable:
    """A reader of cells that hold a number.

    A decimal comma is read as one. A text that may also mean thousands (1,150 or 1.150) is refused where that
    reading is possible too.

    Args:
        name: for messages.
        low: smallest value allowed.
        high: largest value allowed.
        unit: of the column.
        others: units that are often written by mistake, with their factors to `unit`.

    Returns:
        Text to `SheetCell`; NaN for blank text and where there is a problem.
    """

    def parse(text: str) -> SheetCell:
        if not text:
            return SheetCell(nan)
        decimal, grouped = _decimal(text), _thousands(text)
        possible = [v for v in (decimal, grouped) if v is not None]
        if not possible:
            return SheetCell(nan, f"{text!r} is no number; give {name} or leave it blank")
        allowed = [v for v in possible if low <= v <= high]
        if not allowed:
            detail = (
                f"{text} is outside {low:g} to {high:g}{unit and f' {unit}'}{_hint(possible[0], low, high, others)}"
            )
            return SheetCell(nan, f"{detail}; correct it or leave it blank")
        if decimal is not None and grouped is not None and grouped in allowed:
            return SheetCell(nan, f"{text} may mean {grouped:g} or {decimal:g}; write it without a thousands separator")
        return SheetCell(allowed[0])

    return parse


def _decimal(text: str) -> float | None:
    if _PLAIN.fullmatch(text):
        return float(text)
    return float(text.replace(",", ".")) if _COMMA.fullmatch(text) else None


def _thousands(text: str) -> float | None:
    match = _GROUPED.fullmatch(text)
    if not match or match[2] == match[3]:
        return None
    return float(f"{match[1].replace(match[2], '')}.{match[4] or 0}")


def _hint(value: float, low: float, high: float, others: Mapping[str, float] | None) -> str:
    for unit, factor in (others or {}).items():
        if low <= value * factor <= high:
            return f" (if it is in {unit}, write {value * factor:g})"
    return ""
