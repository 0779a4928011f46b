"""Charts as SVG, PNG and CSV, for papers and for readers without JavaScript."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from mskdex.artifacts import atomic_path
from mskdex.report.charts import Chart, Series

_STYLE = {
    "font.size": 8, "axes.titlesize": 9, "axes.titleweight": "bold", "axes.spines.top": False,
    "axes.spines.right": False, "axes.grid": True, "grid.color": "#e3e6ea", "grid.linewidth": 0.6,
    "axes.edgecolor": "#8a929c", "axes.linewidth": 0.7, "svg.fonttype": "none", "svg.hashsalt": "mskdex",
    "legend.frameon": False, "figure.dpi": 160,
}  # fmt: skip
_MANY = 2000


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
        for suffix, more in ((".svg", {"metadata": {"Date": None}}), (".png", {})):
            with atomic_path(folder / f"{name}{suffix}") as path:
                figure.savefig(path, bbox_inches="tight", **more)
    with atomic_path(folder / f"{name}.csv") as path:
        _table(charts).to_csv(path, index=False)


def _table(charts: Sequence[Chart]) -> Any:
    import pandas as pd

    return pd.concat([c.table().assign(panel=c.title) for c in charts], ignore_index=True).dropna(axis=1, how="all")


def _figure(charts: Sequence[Chart], columns: int) -> Figure:
    across = min(columns, len(charts))
    down = math.ceil(len(charts) / across)
    size = (6.4, 3.6) if len(charts) == 1 else (2.7 * across, 2.4 * down)
    figure = Figure(figsize=size, layout="constrained")
    grid = figure.subplots(down, across, squeeze=False).ravel()
    for axes, chart in zip(grid, charts, strict=False):
        _draw(axes, chart, with_title=len(charts) > 1)
    for axes in grid[len(charts) :]:
        axes.set_visible(False)
    handles: dict[str, Any] = {}
    for axes in grid:
        for handle, label in zip(*axes.get_legend_handles_labels(), strict=True):
            handles.setdefault(label, handle)
    if len(handles) > 1:
        rows = min(4, len(handles))
        figure.legend(list(handles.values()), list(handles), loc="outside lower center", ncols=rows, fontsize=7)
    return figure


def _draw(axes: Axes, chart: Chart, *, with_title: bool) -> None:
    categories = list(dict.fromkeys(v for s in chart.series for v in s.x if isinstance(v, str)))
    for i, series in enumerate(chart.series):
        shift = (i - (len(chart.series) - 1) / 2) * min(0.12, 0.7 / len(chart.series)) if categories else 0.0
        positions = [categories.index(v) + shift for v in series.x] if categories else list(series.x)
        _draw_series(axes, series, positions)
    if categories:
        axes.set_xticks(range(len(categories)), categories, rotation=30 if len(categories) > 3 else 0, ha="right"
                        if len(categories) > 3 else "center")  # fmt: skip
    if chart.x_log:
        axes.set_xscale("log")
    if chart.y_range:
        axes.set_ylim(*chart.y_range)
    axes.set_xlabel(chart.x_label)
    axes.set_ylabel(chart.y_label)
    if with_title:
        axes.set_title(chart.title)


def _draw_series(axes: Axes, s: Series, x: list[Any]) -> None:
    label = None if s.name.endswith(": limit") else s.name
    if s.low is not None and s.high is not None:
        axes.vlines(x, s.low, s.high, color=s.colour, linewidth=1.0, alpha=0.8)
    if "lines" in s.mark:
        axes.plot(x, s.y, color=s.colour, linewidth=1.2, alpha=0.45 if s.muted else 1, linestyle="--" if s.muted else "-",
                  label=label, marker="o" if "markers" in s.mark else None, markersize=3)  # fmt: skip
    else:
        face = "none" if s.muted else s.colour
        axes.scatter(x, s.y, s=14 if s.low is not None or s.muted else 9, facecolors=face, edgecolors=s.colour, label=label,
                     linewidths=0.8 if s.muted else 0, alpha=0.85, rasterized=len(x) > _MANY)  # fmt: skip
