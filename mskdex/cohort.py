"""The cohort sheet: reading it, and every problem of every row."""

import io
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from mskdex.config.cohort import CohortSettings
from mskdex.errors import MskdexError
from mskdex.sheet_columns import COLUMNS, PATHS, Cell, close_names, column_named
from mskdex.sheet_paths import check_path

SEGMENTED_SOURCE = "totalsegmentator"
"""Label source of the CTs that rule `segment` gives labels."""

_MOST_PROBLEMS_TOLD = 40
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
        return f"{where}column {self.column}: {self.message}"


def read_sheet(path: Path, settings: CohortSettings, *, files: bool = True) -> pd.DataFrame:
    """Reads and checks a cohort sheet.

    Args:
        path: TSV or CSV (comma or semicolon), UTF-8, one row a patient.
        settings: the config's cohort section; its `data_root` is where the paths start and must stay.
        files: whether the patients' files must exist.

    Returns:
        One row a patient; every column of `COLUMNS`: ids, choices and paths as text (paths absolute; missing
        where blank), numbers as float (NaN where blank), exclude as bool. Column `data_root` holds the folder
        that links inside a patient's data must stay in. Where labels are blank because `segment` is set,
        label_source is that of the segmentation.

    Raises:
        MskdexError: lists every problem with its row and column.
    """
    sheet, problems = check_sheet(path, settings, files=files)
    errors = [p for p in problems if p.severity == "error"]
    if errors:
        told = "".join(f"\n  {p}" for p in errors[:_MOST_PROBLEMS_TOLD])
        more = f"\n  and {len(errors) - _MOST_PROBLEMS_TOLD} more" if len(errors) > _MOST_PROBLEMS_TOLD else ""
        msg = f"cohort sheet {path} has {len(errors)} problem{'s' * (len(errors) > 1)}:{told}{more}"
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
    problems += _duplicates(parsed, list(raw.index))
    problems.sort(key=lambda p: (p.row or 0, p.column))
    sheet = _table(parsed)
    sheet.attrs["rows"] = [int(i) + 1 for i in raw.index]
    return sheet, problems


def read_table(path: Path) -> pd.DataFrame:
    """Reads a TSV or CSV as text, cell by cell; blank cells are empty strings.

    Raises:
        MskdexError: absent, a spreadsheet's own format, not UTF-8, no rows, or rows of different lengths.
    """
    advice = "save it as UTF-8 CSV or as tab-separated text"
    if path.suffix.lower() in {".xlsx", ".xls", ".ods", ".numbers"}:
        msg = f"cohort sheet {path} is a spreadsheet file; {advice}"
        raise MskdexError(msg)
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except OSError as error:
        msg = f"cohort sheet {path} cannot be read ({error.strerror}); check cohort.sheet in config.yaml"
        raise MskdexError(msg) from error
    except UnicodeDecodeError as error:
        msg = f"cohort sheet {path} is not UTF-8 (byte {error.start}); {advice}"
        raise MskdexError(msg) from error
    header = text.split("\n", 1)[0]
    separator = max("\t,;", key=header.count)
    try:
        table = pd.read_csv(
            io.StringIO(text), sep=separator, dtype=str, keep_default_na=False, skip_blank_lines=False, header=None
        )
    except (pd.errors.ParserError, pd.errors.EmptyDataError, pd.errors.ParserWarning, ValueError) as error:
        msg = f"cohort sheet {path} is not a table ({str(error).strip()}); {advice}, one line a patient"
        raise MskdexError(msg) from error
    table = table.fillna("").map(str.strip)
    table.columns = table.iloc[0].to_list()
    table = table.iloc[1:]
    table = table[(table != "").any(axis=1)]
    if table.empty:
        msg = f"cohort sheet {path} has no patients; give one row a patient below the header"
        raise MskdexError(msg)
    return table


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


def _table(parsed: list[dict[str, object]]) -> pd.DataFrame:
    blank = {name: rule.parse("").value for name, rule in COLUMNS.items()}
    sheet = pd.DataFrame([blank | cells for cells in parsed], columns=[*COLUMNS, "data_root"])
    numbers = [name for name, value in blank.items() if isinstance(value, float)]
    texts = [c for c in sheet.columns if c not in numbers and c != "exclude"]
    return sheet.astype(dict.fromkeys(numbers, float) | dict.fromkeys(texts, "str") | {"exclude": bool})


def _parse(
    raw: pd.DataFrame, settings: CohortSettings, root: Path, *, files: bool
) -> tuple[list[dict[str, object]], list[Problem]]:
    rows, problems = [], []
    for index, texts in zip(raw.index, raw.to_dict("records"), strict=True):
        cells: dict[str, object] = {"data_root": str(root)}
        excluded = COLUMNS["exclude"].parse(texts.get("exclude", ""))
        to_segment = settings.segment and not texts.get("labels")
        for name, text in texts.items():
            if name in PATHS and text:
                must_exist = files and excluded.value is not True
                cell = check_path(text, root, texts.get("patient_id", ""), must_exist=must_exist)
            else:
                cell = _cell(str(name), text, settings, excluded.value is True)
            if name == "label_source" and to_segment:
                cell = Cell(SEGMENTED_SOURCE)
            cells[str(name)] = cell.value
            if cell.problem:
                severity = "warning" if cell.warning else "error"
                problems.append(Problem(int(index) + 1, texts.get("patient_id", ""), str(name), cell.problem, severity))
        if excluded.value is True and "exclude_reason" not in texts:
            problems.append(Problem(int(index) + 1, texts.get("patient_id", ""), "exclude_reason", _NO_REASON))
        rows.append(cells)
    return rows, problems


def _cell(name: str, text: str, settings: CohortSettings, excluded: bool) -> Cell:
    rule = COLUMNS[name]
    if not text:
        if name == "exclude_reason" and excluded:
            return Cell(None, _NO_REASON)
        if name == "labels" and settings.segment:
            return Cell(None)
        if rule.needed and not (excluded and name != "patient_id"):
            hint = ", or set cohort.segment: true to have the CT segmented" if name == "labels" else ""
            return Cell(None, f"is blank; give {rule.meaning}{hint}")
        return Cell(rule.parse("").value)
    return rule.parse(text)


def _duplicates(rows: list[dict[str, object]], indices: list[int]) -> Iterator[Problem]:
    for column in ("patient_id", *PATHS):
        first: dict[str, int] = {}
        for index, cells in zip(indices, rows, strict=True):
            number = int(index) + 1
            value = cells.get(column)
            if not value:
                continue
            key = str(value).lower() if column == "patient_id" else str(value)
            if key in first:
                yield _twice(column, str(value), number, first[key], str(cells.get("patient_id") or ""))
            first.setdefault(key, number)


def _twice(column: str, value: str, row: int, first: int, patient: str) -> Problem:
    if column == "patient_id":
        return Problem(row, patient, column, f"{value} stands in row {first} already; one row a patient, ids unique")
    msg = f"{Path(value).name} is also that of row {first}; copies of one patient in two folds make results worthless"
    return Problem(row, patient, column, msg, "warning")
