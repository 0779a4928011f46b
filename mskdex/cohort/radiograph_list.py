"""The radiographs that are to be predicted: of files, folders and a sheet, each with a name of its own."""

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mskdex.cohort.columns import COLUMNS, column_named
from mskdex.cohort.paths import check_path
from mskdex.cohort.table import read_table
from mskdex.errors import MskdexError

_NO_IMAGES = (
    ".csv",
    ".tsv",
    ".txt",
    ".json",
    ".xml",
    ".html",
    ".htm",
    ".md",
    ".pdf",
    ".doc",
    ".docx",
    ".xls",
    ".xlsx",
    ".ods",
    ".log",
    ".parquet",
    ".yaml",
    ".yml",
    ".ini",
    ".exe",
    ".db",
    ".css",
    ".js",
    ".py",
    ".sha256",
    ".md5",
)
_NO_IMAGE_NAMES = frozenset({"dicomdir", "thumbs.db", "desktop.ini"})
_LONGEST_NAME = 100


@dataclass(frozen=True)
class ListedRadiograph:
    """A radiograph to predict.

    Attributes:
        path: its file.
        name: unlike all others', also where case does not count; names the output files.
        patient_id: as the sheet has it, "" without one.
        row: what the sheet says of camera and grey values.
        problem: why it cannot be predicted, where that is known already.
        excluded: whether the sheet leaves it out.
    """

    path: Path
    name: str = ""
    patient_id: str = ""
    row: dict[str, Any] = field(default_factory=dict)
    problem: str | None = None
    excluded: bool = False


def list_radiographs(
    paths: Sequence[Path], sheet: Path | None = None, outs: Sequence[Path] = ()
) -> tuple[list[ListedRadiograph], list[Path]]:
    """The radiographs among files and folders, with what a sheet says of them.

    Args:
        paths: files, and folders of which every file but hidden ones and texts counts; without any, the sheet's.
        sheet: with columns patient_id and radiograph and, where wanted, those of camera and grey values; paths in it
            are relative to its folder.
        outs: folders that are passed over, because results are written to them.

    Returns:
        The radiographs, and the files of folders that were passed over.

    Raises:
        MskdexError: neither paths nor a sheet, a sheet that is no table or lacks a column, or one that has none of the
            given files.
    """
    if not paths and sheet is None:
        msg = "no radiograph is given; name files, folders or a sheet"
        raise MskdexError(msg)
    rows = _sheet_rows(sheet) if sheet else []
    if not paths:
        return _named(rows), []
    files, passed_over = _files(paths, outs)
    known = {os.path.realpath(row.path): row for row in rows}
    found = [known.get(os.path.realpath(path), ListedRadiograph(path)) for path in files]
    if sheet and not any(item.patient_id for item in found):
        msg = f"{sheet} has none of the given files in its column radiograph; its paths start at {sheet.parent}"
        raise MskdexError(msg)
    return _named([_present(item) for item in found]), passed_over


def _present(item: ListedRadiograph) -> ListedRadiograph:
    if item.problem or item.path.is_file():
        return item
    problem = "holds no file" if item.path.is_dir() else "does not exist"
    return ListedRadiograph(item.path, "", item.patient_id, item.row, f"{item.path} {problem}; correct the path")


def _files(paths: Sequence[Path], outs: Sequence[Path]) -> tuple[list[Path], list[Path]]:
    found: dict[str, Path] = {}
    passed_over = []
    for path in paths:
        inside = _walk(path, outs) if path.is_dir() else [path]
        images = [p for p in inside if not path.is_dir() or not _is_no_image(p)]
        passed_over += [p for p in inside if p not in images]
        for image in images or [path]:
            found.setdefault(os.path.realpath(image), image)
    return list(found.values()), passed_over


def _is_no_image(path: Path) -> bool:
    return path.suffix.lower() in _NO_IMAGES or path.name.lower() in _NO_IMAGE_NAMES


def _walk(folder: Path, outs: Sequence[Path]) -> list[Path]:
    found = []
    here = {os.path.realpath(out) for out in outs}
    for place, folders, names in os.walk(folder):
        folders[:] = sorted(f for f in folders if f[0] != "." and os.path.realpath(Path(place, f)) not in here)
        found += [Path(place, name) for name in sorted(names) if name[0] != "."]
    return found


def _sheet_rows(sheet: Path) -> list[ListedRadiograph]:
    raw = read_table(sheet)
    raw = raw.rename(columns={c: column_named(c) for c in raw.columns if column_named(c)})
    for name in ("patient_id", "radiograph"):
        if list(raw.columns).count(name) != 1:
            msg = f"sheet {sheet} needs one column {name}: {COLUMNS[name].meaning}"
            raise MskdexError(msg)
    raw = raw.loc[:, ~raw.columns.duplicated()]
    wanted = [c for c in COLUMNS if c in raw.columns and c not in ("ct", "labels")]
    return [
        _sheet_row(sheet, int(i) + 1, texts) for i, texts in zip(raw.index, raw[wanted].to_dict("records"), strict=True)
    ]


def _sheet_row(sheet: Path, number: int, texts: dict[Any, str]) -> ListedRadiograph:
    cells = {str(name): COLUMNS[name].parse(text) for name, text in texts.items() if text and name != "radiograph"}
    patient, root = texts["patient_id"], sheet.parent.resolve()
    path = check_path(texts["radiograph"], root, patient) if texts["radiograph"] else None
    wrong = [f"column {name}: {cell.problem}" for name, cell in cells.items() if cell.problem and not cell.warning]
    if path is None:
        wrong.append("column radiograph: is blank")
    elif path.problem:
        wrong.append(f"column radiograph: {path.problem}")
    excluded = "exclude" in cells and cells["exclude"].value is True
    problem = f"row {number} of {sheet.name}: {'; '.join(wrong)}" if wrong else None
    if excluded:
        problem = texts.get("exclude_reason") or "excluded by the sheet, without a reason"
    file = Path(path.value) if path and path.value else root / texts["radiograph"]
    row = {name: cell.value for name, cell in cells.items() if cell.value is not None}
    return ListedRadiograph(file, "", patient or f"row-{number}", row, problem, excluded)


def _named(items: list[ListedRadiograph]) -> list[ListedRadiograph]:
    """Each item with its patient's id or its file's name, with folders before it or a number after it where needed."""
    parts = [[i.patient_id] if i.patient_id else [*i.path.parts[:-1], i.path.stem] for i in items]
    depth = [1] * len(items)
    while True:
        names = [_safe("_".join(p[-d:])) for p, d in zip(parts, depth, strict=True)]
        folded = [name.casefold() for name in names]
        again = [n for n, p in enumerate(parts) if folded.count(folded[n]) > 1 and depth[n] < len(p)]
        if not again:
            break
        for n in again:
            depth[n] += 1
    taken: set[str] = set()
    found = []
    for item, name in zip(items, names, strict=True):
        unique, number = name, 1
        while unique.casefold() in taken or (number > 1 and unique.casefold() in folded):
            number += 1
            unique = f"{name}-{number}"
        taken.add(unique.casefold())
        found.append(ListedRadiograph(item.path, unique, item.patient_id, item.row, item.problem, item.excluded))
    return found


def _safe(name: str) -> str:
    return re.sub(r"[^\w.-]+", "_", name).strip("._-")[-_LONGEST_NAME:] or "radiograph"
