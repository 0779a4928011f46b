"""`mskdex cohort check`: every problem of every row of a cohort sheet, in one table."""

import logging
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import yaml

from mskdex.cohort import Problem, check_sheet
from mskdex.config import Config, load_config
from mskdex.config.stages import ImportStage, import_stage
from mskdex.errors import MskdexError

log = logging.getLogger("mskdex")
_HEADINGS = ("row", "patient", "column", "severity", "problem")


def read_config(path: Path) -> Config:
    """Reads config.yaml.

    Raises:
        MskdexError: absent, no YAML, or with unknown keys or values out of range.
    """
    try:
        content = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError) as error:
        msg = f"config {path} cannot be read ({str(error).splitlines()[0]}); name it with --config"
        raise MskdexError(msg) from error
    return load_config(content or {})


def check_cohort(sheet: Path, config: Config, *, quick: bool = False) -> list[Problem]:
    """Checks a sheet and, unless `quick`, reads every patient's files as the import would; nothing is written.

    A patient's CT with its labels and its radiograph are checked apart, so that one error does not hide the other.

    Args:
        sheet: the cohort sheet.
        config: the whole config.
        quick: check the sheet alone.

    Raises:
        MskdexError: the sheet cannot be read as a table.
    """
    table, problems = check_sheet(sheet, config.cohort)
    if not quick:
        broken = {(p.patient_id, p.column) for p in problems if p.severity == "error"}
        rows = table[~table["exclude"] & table["patient_id"].notna()]
        for i, (index, row) in enumerate(rows.iterrows(), start=1):
            log.info("%d of %d: %s", i, len(rows), row["patient_id"])
            known = {str(k): v for k, v in row.dropna().items()}
            number = int(str(table.attrs["rows"][index]))
            problems += _check_patient(number, known, broken, import_stage(config, str(known.get("label_source"))))
    return sorted(problems, key=lambda p: (p.row or 0, p.column))


def problem_table(problems: list[Problem]) -> str:
    """The problems as text, one a line under each other."""
    if not problems:
        return "no problem found"
    rows = [(str(p.row or "-"), p.patient_id or "-", p.column, p.severity, p.message) for p in problems]
    widths = [max(len(r[i]) for r in [_HEADINGS, *rows]) for i in range(4)]
    lines = ["  ".join([*(v.ljust(w) for v, w in zip(r[:4], widths, strict=True)), r[4]]) for r in [_HEADINGS, *rows]]
    errors = sum(p.severity == "error" for p in problems)
    return "\n".join([*lines, "", f"{errors} errors, {len(problems) - errors} warnings"])


def _check_patient(
    number: int, row: Mapping[str, Any], broken: set[tuple[str, str]], settings: ImportStage
) -> list[Problem]:
    from mskdex.stages.importing import read_patient_radiograph, read_patient_volumes

    def usable(*columns: str) -> bool:
        return all(c in row and (row["patient_id"], c) not in broken for c in columns)

    found: list[Problem] = []
    if usable("ct", "labels", "label_source"):
        found += _attempt(number, row, "ct, labels", lambda: read_patient_volumes(row, settings).warnings)
    elif usable("ct"):
        found += _attempt(number, row, "ct", lambda: _read_ct(row, settings))
    if usable("radiograph"):
        found += _attempt(number, row, "radiograph", lambda: read_patient_radiograph(row, settings).warnings)
    return found


def _read_ct(row: Mapping[str, Any], settings: ImportStage) -> list[str]:
    from mskdex.imaging.ct import read_ct

    read_ct(Path(row["ct"]), settings.ct, row.get("ct_series"), Path(row["data_root"]))
    return []


def _attempt(number: int, row: Mapping[str, Any], column: str, read: Callable[[], list[str]]) -> list[Problem]:
    try:
        return [Problem(number, row["patient_id"], column, warning, "warning") for warning in read()]
    except MskdexError as error:
        return [Problem(number, row["patient_id"], column, str(error))]
