"""The cohort sheet: reading it, and every problem of every row."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from mskdex.cohort.cell import SheetCell
from mskdex.cohort.columns import COLUMNS, PATHS, close_names, column_named
from mskdex.cohort.paths import check_path
from mskdex.cohort.persons import persons
from mskdex.cohort.rows import row_problems, unit_doubts
from mskdex.cohort.table import read_table
from mskdex.config.cohort import CohortSettings
from mskdex.errors import MskdexError
from mskdex.io.files import quote

_MOST_LISTED = 40
_NO_REASON = "is blank, but the patient is excluded; say why, nothing is dropped silently"


@dataclass(frozen=True)
class Problem:
    """Something wrong with the sheet.

    Attributes:
        row: row as a spreadsheet numbers it, the header being row 1; None concerns the whole sheet.
        patient_id: as the sheet has it.
        column: name of the column.
        message: what is wrong and what to do.
        severity: "error" stops a run; a "warning" does not.
    """

    row: int | None
    patient_id: str
    column: str
    message: str
    severity: str = "error"

    def __str__(self) -> str:
        where = f"row {self.row}, " if self.row else ""
        return f"{where}column {self.column}: {quote(self.message, 600)}"


def read_sheet(path: Path, settings: CohortSettings, *, files: bool = True) -> pd.DataFrame:
    """Reads and checks a cohort sheet.

    Args:
        path: TSV or CSV (comma or semicolon), UTF-8 or UTF-16, one row a patient.
        settings: the config's cohort section; its `data_root` is where the paths start and must stay.
        files: whether the patients' files must exist.

    Returns:
        One row a patient; every column of `COLUMNS`: ids, choices and paths as text (paths absolute; missing
        where blank), numbers as float (NaN where blank), exclude and allow_id_mismatch as bool. Column
        `data_root` holds the folder that links inside a patient's data must stay in, `person` is alike in rows that
        `same_patient_as` ties together. Where labels are blank because `segmenter` is set,
        label_source is the segmenter.

    Raises:
        MskdexError: lists every problem with its row and column.
    """
    sheet, problems = check_sheet(path, settings, files=files)
    errors = [p for p in problems if p.severity == "error"]
    if errors:
        detail = "".join(f"\n  {p}" for p in errors[:_MOST_LISTED])
        more = f"\n  and {len(errors) - _MOST_LISTED} more" if len(errors) > _MOST_LISTED else ""
        msg = f"cohort sheet {path} has {len(errors)} problem{'s' * (len(errors) > 1)}:{detail}{more}"
        raise MskdexError(msg)
    return sheet


def check_sheet(path: Path, settings: CohortSettings, *, files: bool = True) -> tuple[pd.DataFrame, list[Problem]]:
    """As `read_sheet`, but returns the problems, warnings too, instead of raising the errors among them.

    The table's `attrs["rows"]` holds the number of each row as a spreadsheet counts it.

    Raises:
        MskdexError: the file cannot be read as a table at all.
    """
    path = Path(path)
    raw = read_table(path)
    root = Path(settings.data_root) if settings.data_root else path.parent
    problems = list(_header_problems(raw))
    raw = raw.rename(columns={c: column_named(c) for c in raw.columns if column_named(c)})
    raw = raw.loc[:, ~raw.columns.duplicated()]
    given = [c for c in COLUMNS if c in raw.columns]
    parsed, found = _parse(raw[given], settings, root.resolve(), files=files)
    problems += found
    numbers = [int(i) + 1 for i in raw.index]
    problems += _ties(parsed, numbers)
    sheet = _table(parsed)
    sheet.attrs["rows"] = numbers
    problems += _uses(sheet)
    problems += _duplicates(sheet)
    problems += [Problem(None, "", column, doubt, "warning") for column, doubt in unit_doubts(sheet)]
    problems.sort(key=lambda p: (p.row or 0, p.column))
    return sheet, problems


def _header_problems(raw: pd.DataFrame) -> Iterator[Problem]:
    names = [column_named(c) for c in raw.columns]
    for name in sorted({n for n in names if n and names.count(n) > 1}):
        yield Problem(None, "", name, "stands twice in the header; keep one")
    for name, rule in COLUMNS.items():
        if rule.required and name not in names:
            yield Problem(None, "", name, f"is missing; the sheet needs {rule.meaning}")
    for name in raw.columns:
        if not column_named(name) and (near := close_names(name)):
            yield Problem(None, "", name, f"is unknown; did you mean {near}? Otherwise give it another name")


def _table(parsed: list[dict[str, Any]]) -> pd.DataFrame:
    blank = {name: rule.parse("").value for name, rule in COLUMNS.items()}
    sheet = pd.DataFrame([blank | cells for cells in parsed], columns=[*COLUMNS, "data_root"])
    kinds = {name: type(value) if isinstance(value, float | bool) else "str" for name, value in blank.items()}
    sheet = sheet.astype(kinds | {"data_root": "str"})
    person = persons({str(c["patient_id"]): c.get("same_patient_as") for c in parsed if c.get("patient_id")})
    return sheet.assign(person=sheet["patient_id"].map(person).astype("str"))


def _parse(
    raw: pd.DataFrame, settings: CohortSettings, root: Path, *, files: bool
) -> tuple[list[dict[str, Any]], list[Problem]]:
    rows, problems = [], []
    for index, texts in zip(raw.index, raw.to_dict("records"), strict=True):
        number, patient = int(index) + 1, str(texts.get("patient_id", ""))
        cells: dict[str, Any] = {"data_root": str(root)}
        excluded = COLUMNS["exclude"].parse(texts.get("exclude", "")).value is True
        to_segment = settings.segmenter and not texts.get("labels")
        for name, text in texts.items():
            if name in PATHS and text:
                cell = check_path(text, root, patient, must_exist=files and not excluded)
            else:
                cell = _cell(str(name), text, settings, excluded)
            if name == "label_source" and to_segment:
                cell = SheetCell(settings.segmenter)
            cells[str(name)] = cell.value
            if cell.problem:
                severity = "warning" if cell.warning else "error"
                problems.append(Problem(number, patient, str(name), cell.problem, severity))
        if excluded and "exclude_reason" not in texts:
            problems.append(Problem(number, patient, "exclude_reason", _NO_REASON))
        problems += [Problem(number, patient, *notes) for notes in row_problems(cells)]
        rows.append(cells)
    return rows, problems


def _cell(name: str, text: str, settings: CohortSettings, excluded: bool) -> SheetCell:
    rule = COLUMNS[name]
    if not text:
        if name == "exclude_reason" and excluded:
            return SheetCell(None, _NO_REASON)
        if name == "labels" and settings.segmenter:
            return SheetCell(None)
        if rule.needed and not (excluded and name != "patient_id"):
            hint = ", or set cohort.segmenter to have the CT segmented" if name == "labels" else ""
            return SheetCell(None, f"is blank; give {rule.meaning}{hint}")
        return SheetCell(rule.parse("").value)
    return rule.parse(text)


def _ties(rows: list[dict[str, Any]], numbers: list[int]) -> Iterator[Problem]:
    """What is wrong with `same_patient_as`: unknown ids, and one person of two sexes."""
    sexes = {str(c.get("patient_id")): c.get("sex") for c in rows}
    for number, cells in zip(numbers, rows, strict=True):
        patient, other = str(cells.get("patient_id") or ""), cells.get("same_patient_as")
        if not other:
            continue
        if other == patient or other not in sexes:
            why = "is the row's own id" if other == patient else "is no patient_id of the sheet"
            yield Problem(number, patient, "same_patient_as", f"{other} {why}; give the id of another row")
        elif None not in (cells.get("sex"), sexes[other]) and cells.get("sex") != sexes[other]:
            msg = f"{other} is of sex {sexes[other]}, this row of sex {cells['sex']}; correct one of them"
            yield Problem(number, patient, "same_patient_as", msg)


def _uses(sheet: pd.DataFrame) -> Iterator[Problem]:
    """Persons of two uses, whom a fold would train on although they are to be evaluated only."""
    included = sheet.assign(row=sheet.attrs["rows"])[~sheet["exclude"]]
    first: dict[str, dict[Any, Any]] = {}
    for cells in included.to_dict("records"):
        one = first.setdefault(cells["person"], cells)
        if one["use"] != cells["use"]:
            msg = (
                f"is {cells['use']}, but row {one['row']}, {one['patient_id']}, of the same person is {one['use']}; "
                "give all rows of a person one use"
            )
            yield Problem(cells["row"], str(cells["patient_id"]), "use", msg)


def _duplicates(sheet: pd.DataFrame) -> Iterator[Problem]:
    """Ids that stand twice or differ in case alone, and files that several persons are to have."""
    rows = list(zip(sheet.attrs["rows"], sheet.to_dict("records"), strict=True))
    first: dict[str, tuple[int, str]] = {}
    for number, cells in rows:
        if not isinstance(patient := cells["patient_id"], str):
            continue
        earlier, known = first.setdefault(patient.casefold(), (number, patient))
        if earlier != number:
            how = "stands there already" if known == patient else "differs in case alone, which not every disk keeps"
            msg = f"{patient}: row {earlier} has {known}, which {how}; one row a patient, ids unique"
            yield Problem(number, patient, "patient_id", msg)
    for column in PATHS:
        yield from _files_twice(column, [(n, c) for n, c in rows if not c["exclude"] and isinstance(c[column], str)])


def _files_twice(column: str, rows: list[tuple[int, dict[Any, Any]]]) -> Iterator[Problem]:
    first: dict[str, tuple[int, dict[Any, Any]]] = {}
    for number, cells in rows:
        earlier, other = first.setdefault(os.path.realpath(cells[column]), (number, cells))
        if earlier != number and other["person"] != cells["person"]:
            whose = other["patient_id"]
            msg = (
                f"{Path(cells[column]).name} is also that of row {earlier}, {whose}; correct the path, or write "
                f"{whose} into same_patient_as if both are one person"
            )
            yield Problem(number, str(cells["patient_id"]), column, msg)
