"""The report's tables: the same cells as HTML and as CSV."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import pandas as pd

from mskdex.report.number_format import decimals, p_value, quantity


@dataclass(frozen=True)
class Cell:
    """A cell.

    Attributes:
        text: what is shown.
        sort: what it is sorted by.
        below: a second, smaller line, e.g. the interval.
        hint: shown on hovering.
        style: CSS classes.
        link: address it leads to.
    """

    text: str
    sort: Any = None
    below: str = ""
    hint: str = ""
    style: str = ""
    link: str = ""

    @property
    def sort_key(self) -> str:
        """What the page's script compares."""
        if isinstance(self.sort, float):
            return f"{self.sort:.7g}"
        return self.text if self.sort is None else str(self.sort)


@dataclass(frozen=True)
class Column:
    """A column's heading; `group` stands above neighbours that share it."""

    label: str
    group: str = ""
    style: str = ""
    hint: str = ""


@dataclass(frozen=True)
class Table:
    """A table.

    Attributes:
        id: file name of its CSV.
        caption: what it shows.
        columns: headings.
        groups: rows that sort together, the first of which they are sorted by.
        quantity: the quantity it is of, when the page switches quantities.
        notes: footnotes.
    """

    id: str
    caption: str
    columns: list[Column]
    groups: list[list[list[Cell]]]
    quantity: str = ""
    notes: list[str] = field(default_factory=list)

    @property
    def headings(self) -> list[tuple[str, int, str]]:
        """The upper row of headings: (label, columns that it spans, style)."""
        spans: list[tuple[str, int, str]] = []
        for column in self.columns:
            if spans and spans[-1][0] == column.group:
                spans[-1] = (column.group, spans[-1][1] + 1, column.style)
            else:
                spans.append((column.group, 1, column.style))
        return spans if any(label for label, _, _ in spans) else []

    def is_text(self, column: int) -> bool:
        """Whether a column holds words, by its first row: they stand on the left."""
        first = self.groups[0][0][column] if self.groups else Cell("")
        return first.sort is None or isinstance(first.sort, str)

    def frame(self) -> pd.DataFrame:
        """The cells for CSV; an interval gets columns of its own."""
        rows = []
        for row in (row for group in self.groups for row in group):
            content: dict[str, Any] = {}
            for column, cell in zip(self.columns, row, strict=True):
                name = f"{column.group}: {column.label}" if column.group else column.label
                content[name] = cell.text if cell.sort is None or isinstance(cell.sort, str) else cell.sort
                if cell.below:
                    content[f"{name} interval"] = cell.below
            rows.append(content)
        return pd.DataFrame(rows, columns=None if rows else [c.label for c in self.columns])


def estimate(row: Any, places: int | None = 3) -> Cell:
    """A statistic with its interval; an undefined one says why.

    Args:
        row: row of the table of agreement, or None where there is none.
        places: decimals; None shows three significant digits.
    """
    if row is None:
        return Cell("–", float("nan"), hint="not part of this evaluation", style="none")
    if pd.isna(row.value):
        return Cell("undefined", float("nan"), below=str(row.undefined), hint=str(row.undefined), style="undefined")
    show = (lambda v: decimals(v, places)) if places is not None else quantity
    has_interval = pd.notna(row.low)
    below = f"{show(row.low)} to {show(row.high)}" if has_interval else "interval undefined"
    left_out = f", {row.left_out} left out" if row.left_out else ""
    return Cell(show(row.value), float(row.value), below=below, hint=f"n = {row.n}{left_out}")


def number(value: Any, places: int | None = 3, **more: Any) -> Cell:
    """A plain number."""
    text = quantity(float(value)) if places is None else decimals(float(value), places)
    return Cell(text, float(value), **more)


def probability(value: Any) -> Cell:
    """A p value; bold below 0.05."""
    return Cell(p_value(float(value)), float(value), style="strong" if float(value) < 0.05 else "")


def words(value: Any, **more: Any) -> Cell:
    """Text; what is missing is a dash."""
    missing = (
        value is None or (isinstance(value, float) and value != value) or str(value) in ("", "nan", "None", "<NA>")
    )
    return Cell("–" if missing else str(value), "" if missing else str(value), **more)


def plain(
    table_id: str, caption: str, labels: Sequence[str | Column], rows: Sequence[Sequence[Cell]], **more: Any
) -> Table:
    """A table whose rows each sort alone."""
    columns = [c if isinstance(c, Column) else Column(c) for c in labels]
    return Table(table_id, caption, columns, [[list(row)] for row in rows], **more)
