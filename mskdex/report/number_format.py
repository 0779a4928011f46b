"""Numbers as a reader wants them."""

import math
from typing import Any


def significant(value: Any, digits: int = 4) -> float | None:
    """A number with so many significant digits, for the page's data; None for what is no number."""
    number = float(value)
    return float(f"{number:.{digits}g}") if math.isfinite(number) else None


def decimals(value: float, places: int) -> str:
    """A number with so many decimals and a true minus sign; "–" for what is no number."""
    if not math.isfinite(value):
        return "∞" if value == math.inf else "–"
    text = f"{value:.{places}f}"
    return "−" + text[1:] if text.startswith("-") and float(text) != 0 else text.lstrip("-")


def quantity(value: float) -> str:
    """A volume or mass: three significant digits, at least none after the point from 100 on."""
    if not math.isfinite(value):
        return "–"
    places = max(0, 2 - math.floor(math.log10(abs(value)))) if value else 1
    return decimals(value, min(places, 3))


def p_value(value: float) -> str:
    """A p value, not below what is worth printing."""
    if not math.isfinite(value):
        return "–"
    return "< 0.001" if value < 0.001 else f"{value:.3f}"


def duration(seconds: float) -> str:
    """Seconds, minutes or hours."""
    if not math.isfinite(seconds):
        return "–"
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
