"""Charts as SVG, PNG and CSV, for papers and for readers without JavaScript."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from mskdex.io.artifacts import atomic_path
from mskdex.io.csv_files import write_csv
from mskdex.report.charts import Chart, Series

_STYLE: Any = {
    "font.size": 8,
    "axes.titlesize": 9,
    "axes.titleweight": "bold",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#e3e6ea",
    "grid.linewidth": 0.6,
    "axes.edgecolor": "#8a929c",
    "axes.linewidth": 0.7,
    "svg.fonttype": "none",
    "svg.hashsalt": "mskdex",
    "legend.frameon": False,
    "figure.dpi": 140,
}
_MANY = 500
"""Points of a series from which they stand in the SVG as pixels, which does not grow with the patients."""

_DPI = 200
_PANEL_IN = (2.6, 2.3)
_SINGLE_IN = (6.4, 3.8)
_LEGEND_IN, _LINE_IN = 1.9, 0.14
"""Width of a column of the legend, and height of its lines beyond two."""

_LEFT_IN, _RIGHT_IN, _TOP_IN, _BOTTOM_IN, _BETWEEN_IN = 0.6, 0.15, 0.3, 0.85, (0.62, 0.62)


def save(charts: Sequence[Chart], name: str, folder: Path, *, columns: int = 3) -> None:
    """Writes {name}.svg, {name}.png and {name}.csv: one panel per chart.

    Args:
        charts: panels, in reading order.
        name: file name without suffix.
        folder: figures folder.
        columns: panels side by side, at most.
    """
    if not charts:
        return
    with mpl.rc_context(_STYLE):
        figure = _figure(charts, columns)
        for suffix, metadata in ((".svg", {"Date": None}), (".png", None)):
            with atomic_path(folder / f"{name}{suffix}") as path:
                figure.savefig(path, metadata=metadata, dpi=_DPI if suffix == ".svg" else "figure")
    table = pd.concat([c.table().assign(panel=c.title) for c in charts], ignore_index=True)
    write_csv(folder / f"{name}.csv", table.dropna(axis=1, how="all"), float_format="%.7g")


def _figure(charts: Sequence[Chart], columns: int) -> Figure:
    """Panels at fixed places: an automatic layout would draw everything several times."""
    across = min(columns, len(charts))
    down = math.ceil(len(charts) / across)
    width, height = _SINGLE_IN if len(charts) == 1 else _PANEL_IN
    below = 0.45 if any(len(_categories(c)) > 3 for c in charts) else 0.0
    names = {s.name for c in charts for s in c.series}
    below += _LINE_IN * max(0, math.ceil(len(names) / max(1, int(across * width / _LEGEND_IN))) - 2)
    total = (across * width, down * height + below)
    figure = Figure(figsize=total)
    grid = figure.subplots(down, across, squeeze=False).ravel()
    inner = (width - _BETWEEN_IN[0], height - _BETWEEN_IN[1])
    figure.subplots_adjust(
        left=_LEFT_IN / total[0],
        right=1 - _RIGHT_IN / total[0],
        top=1 - _TOP_IN / total[1],
        bottom=(_BOTTOM_IN + below) / total[1],
        wspace=_BETWEEN_IN[0] / inner[0],
        hspace=_BETWEEN_IN[1] / inner[1],
    )
    for axes, chart in zip(grid, charts, strict=False):
        _draw(axes, chart, with_title=len(charts) > 1)
    for axes in grid[len(charts) :]:
        axes.set_visible(False)
    _legend(figure, list(grid))
    return figure


def _legend(figure: Figure, grid: list[Axes]) -> None:
    handles: dict[str, Any] = {}
    for axes in grid:
        for handle, label in zip(*axes.get_legend_handles_labels(), strict=True):
            handles.setdefault(label, handle)
    if len(handles) > 1:
        columns = min(len(handles), max(1, int(figure.get_figwidth() / _LEGEND_IN)))
        figure.legend(list(handles.values()), list(handles), loc="lower center", ncols=columns, fontsize=6.5)


def _categories(chart: Chart) -> list[str]:
    return list(dict.fromkeys([*chart.categories, *(v for s in chart.series for v in s.x if isinstance(v, str))]))


def _draw(axes: Axes, chart: Chart, *, with_title: bool) -> None:
    categories = _categories(chart)
    for i, series in enumerate(chart.series):
        shift = (i - (len(chart.series) - 1) / 2) * min(0.12, 0.7 / len(chart.series)) if categories else 0.0
        _draw_series(axes, series, [categories.index(v) + shift for v in series.x] if categories else list(series.x))
    if categories:
        many = len(categories) > 3
        axes.set_xticks(
            range(len(categories)), categories, rotation=30 if many else 0, ha="right" if many else "center"
        )
    if chart.x_log:
        axes.set_xscale("log")
    if chart.y_range:
        axes.set_ylim(*chart.y_range)
    axes.set_xlabel(chart.x_label, fontsize=7)
    axes.set_ylabel(chart.y_label, fontsize=7)
    axes.tick_params(labelsize=7)
    if with_title:
        axes.set_title(chart.title)


def _draw_series(axes: Axes, s: Series, x: list[Any]) -> None:
    label = None if s.name.endswith(": limit") else s.name
    if s.low is not None and s.high is not None:
        axes.vlines(x, s.low, s.high, color=s.colour, linewidth=1.0, alpha=0.8)
    if "lines" in s.mark:
        line, strength = ("--", 0.45) if s.muted else ("-", 1.0)
        marker = "o" if "markers" in s.mark else None
        axes.plot(x, s.y, line, color=s.colour, lw=1.2, alpha=strength, label=label, marker=marker, markersize=3)
        return
    face, edge = ("none", 0.8) if s.muted else (s.colour, 0.0)
    size = 14 if s.low is not None or s.muted else 9
    axes.scatter(
        x,
        s.y,
        s=size,
        facecolors=face,
        edgecolors=s.colour,
        linewidths=edge,
        label=label,
        alpha=0.85,
        rasterized=len(x) > _MANY,
    )
