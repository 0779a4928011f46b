"""The cohort sheet as a table of text, whatever encoding, separator and line ends a spreadsheet gave it."""

import codecs
import io
import re
from pathlib import Path

import pandas as pd

from mskdex.cohort.columns import column_named
from mskdex.errors import MskdexError
from mskdex.io.files import quote

_ADVICE = "save it as UTF-8 CSV or as tab-separated text"
_BOMS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
"""The mark of UTF-32 begins as that of UTF-16 does, so it is looked for first."""
_INVISIBLE = "\ufeff\u200b\u200e\u200f\u2060"
"""Marks without width that copying from a document or a web page leaves at a cell's ends."""


def read_table(path: Path) -> pd.DataFrame:
    """Reads a TSV or CSV as text, cell by cell; blank cells are empty strings.

    Excel's first line `sep=;` is honoured and its `="007"` is the text 007. UTF-16 is read where its mark or its
    zero bytes show it.

    Returns:
        The rows below the header; their index is one less than the number that a spreadsheet gives them.

    Raises:
        MskdexError: absent, a spreadsheet's own format, of another encoding, no rows, or rows of different lengths.
    """
    if path.suffix.lower() in {".xlsx", ".xls", ".xlsm", ".ods", ".numbers"}:
        msg = f"cohort sheet {path} is a spreadsheet file; {_ADVICE}"
        raise MskdexError(msg)
    text, separator = _separated(_decoded(path))
    blank = re.match(r"(?:[ \t;,]*(?:\r\n|\r|\n))*", text)
    above = blank.group() if blank else ""
    try:
        table = pd.read_csv(
            io.StringIO(text[len(above) :]),
            sep=separator,
            dtype=str,
            keep_default_na=False,
            skip_blank_lines=False,
            header=None,
        )
    except (pd.errors.ParserError, pd.errors.EmptyDataError, pd.errors.ParserWarning, ValueError) as error:
        msg = f"cohort sheet {path} is not a table ({str(error).strip()}); {_ADVICE}, one line a patient"
        raise MskdexError(msg) from error
    table = table.fillna("").map(_bare)
    table.index += len(above.splitlines())
    table.columns = table.iloc[0].to_list()
    if not any(column_named(name) for name in table.columns):
        first = quote(", ".join(table.columns), 100)
        msg = f"cohort sheet {path}: its first row ({first}) names no column; write patient_id, ct, ... above the rows"
        raise MskdexError(msg)
    table = table.iloc[1:]
    table = table[(table != "").any(axis=1)]
    if table.empty:
        msg = f"cohort sheet {path} has no patients; give one row a patient below the header"
        raise MskdexError(msg)
    return table


def _decoded(path: Path) -> str:
    try:
        content = path.read_bytes()
    except OSError as error:
        msg = f"cohort sheet {path} cannot be read ({error.strerror}); check cohort.sheet in config.yaml"
        raise MskdexError(msg) from error
    if content.startswith((b"PK\x03\x04", b"\xd0\xcf\x11\xe0")):
        msg = f"cohort sheet {path} is an Excel workbook or an archive; {_ADVICE}"
        raise MskdexError(msg)
    try:
        text = content.decode(_encoding(content))
    except UnicodeDecodeError as error:
        msg = f"cohort sheet {path} is not UTF-8 (byte {error.start}); {_ADVICE}"
        raise MskdexError(msg) from error
    if "\0" in text:
        msg = f"cohort sheet {path} holds zero bytes, so it is no text or is damaged; {_ADVICE}"
        raise MskdexError(msg)
    return text


def _encoding(content: bytes) -> str:
    marked = next((name for bom, name in _BOMS if content.startswith(bom)), None)
    if marked or len(content) < 2 or 0 not in content[:2]:
        return marked or "utf-8"
    return "utf-16-be" if content[0] == 0 else "utf-16-le"


def _separated(text: str) -> tuple[str, str]:
    """The text without Excel's `sep=` line, and the separator: Excel's, or the one that gives most known columns."""
    said = re.match(r'"?sep=(.)"?[ \t]*(\r\n|\r|\n)', text, re.IGNORECASE)
    if said:
        return text[said.end() :], said.group(1)
    header = re.split(r"[\r\n]", text.lstrip(" \t;,\r\n"), maxsplit=1)[0]

    def known(separator: str) -> tuple[int, int]:
        cells = [c.strip().strip('"') for c in header.split(separator)]
        return sum(column_named(c) is not None for c in cells), len(cells)

    return text, max("\t,;", key=known)


def _bare(cell: str) -> str:
    cell = cell.strip().strip(_INVISIBLE).strip()
    as_text = re.fullmatch(r'="([^"]*)"', cell)
    return as_text.group(1).strip() if as_text else cell
