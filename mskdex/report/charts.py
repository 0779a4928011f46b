"""A chart described once: drawn by plotly in the page, by matplotlib for papers, and written as CSV."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import pandas as pd

from mskdex.report.number_format import significant


@dataclass(frozen=True)
class Series:
    """Points of one colour.

    Attributes:
        name: in the legend.
        x: positions, numbers or categories.
        y: values.
        text: what a reader sees on hovering, beside the values.
        low: lower end of each point's interval, or None.
        high: upper end.
        colour: CSS colour.
        mark: points, lines, both, or bars.
        muted: drawn fainter, for what stands beside for orientation.
    """

    name: str
    x: Sequence[Any]
    y: Sequence[float]
    text: Sequence[str] | None = None
    low: Sequence[float] | None = None
    high: Sequence[float] | None = None
    colour: str = "#2f6fde"
    mark: Literal["markers", "lines", "lines+markers", "bars"] = "markers"
    muted: bool = False


@dataclass(frozen=True)
class Chart:
    """A chart.

    Attributes:
        id: file name of its static forms.
        title: heading.
        caption: what it shows, in one or two sentences.
        x_label: with unit.
        y_label: with unit.
        series: what is drawn.
        x_log: logarithmic x axis.
        y_range: fixed range of y.
        categories: order of the x values where they are words; those of the series, as they come, where it is empty.
    """

    id: str
    title: str
    caption: str
    x_label: str
    y_label: str
    series: list[Series] = field(default_factory=list)
    x_log: bool = False
    y_range: tuple[float, float] | None = None
    categories: tuple[str, ...] = ()

    def table(self) -> pd.DataFrame:
        """All points: series, x, y, low, high, text."""
        parts = []
        for s in self.series:
            content = {"series": s.name, "x": list(s.x), "y": list(s.y), "low": s.low, "high": s.high, "text": s.text}
            parts.append(pd.DataFrame({k: v for k, v in content.items() if v is not None}))
        columns = ["series", "x", "y", "low", "high", "text"]
        return pd.concat(parts, ignore_index=True).reindex(columns=columns) if parts else pd.DataFrame(columns=columns)

    def payload(self) -> dict[str, Any]:
        """What the page's script draws it from; numbers with four significant digits."""
        return {
            "id": self.id,
            "x_label": self.x_label,
            "y_label": self.y_label,
            "x_log": self.x_log,
            "y_range": self.y_range,
            "categories": list(self.categories),
            "series": [
                {
                    "name": s.name,
                    "x": _short(s.x),
                    "y": _short(s.y),
                    "text": list(s.text) if s.text else None,
                    "low": _short(s.low),
                    "high": _short(s.high),
                    "colour": s.colour,
                    "mark": s.mark,
                    "muted": s.muted,
                }
                for s in self.series
            ],
        }


def _short(values: Sequence[Any] | None) -> list[Any] | None:
    if values is None:
        return None
    return [significant(v) if isinstance(v, float | int | np.number) else str(v) for v in values]
