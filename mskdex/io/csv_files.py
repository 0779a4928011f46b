"""CSV and TSV for people: text that a spreadsheet would run as a formula is written as text."""

import re
from pathlib import Path
from typing import Any

from mskdex.io.artifacts import atomic_path

_FORMULA = re.compile(r"\s*[=+\-@＝＋－＠]|[\t\n]")
_NUMBER = re.compile(r"[+-]?(\d[\d.,]*|\.\d+)([eE][+-]?\d+)?(\s?%)?")


def spreadsheet_text(value: Any) -> Any:
    """A cell as it goes into a CSV: an apostrophe before what begins as a formula does, unless it is a number.

    A carriage return becomes a line feed: only the latter is quoted, and spreadsheets begin a new row at either.

    Source: OWASP, CSV Injection, https://owasp.org/www-community/attacks/CSV_Injection.
    """
    if not isinstance(value, str):
        return value
    text = value.replace("\r\n", "\n").replace("\r", "\n")
    return f"'{text}" if _FORMULA.match(text) and not _NUMBER.fullmatch(text) else text


def write_csv(path: Path, table: Any, *, separator: str = ",", float_format: str | None = None) -> None:
    """Writes a pandas table as CSV, whole or not at all, its cells and headings as of `spreadsheet_text`.

    Args:
        path: the file.
        table: its index is left out.
        separator: between cells.
        float_format: printf format of floating-point numbers.
    """
    safe = table.map(spreadsheet_text).rename(columns=spreadsheet_text)
    with atomic_path(path) as temporary:
        safe.to_csv(temporary, sep=separator, index=False, float_format=float_format)
