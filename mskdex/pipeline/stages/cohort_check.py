"""`mskdex cohort check`: every problem of every row of a cohort sheet, and of the cohort as a whole, in one table."""

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from mskdex.cohort.folds import too_few
from mskdex.cohort.sheet import Problem, check_sheet
from mskdex.config import Config, load_config
from mskdex.config.reading import read_config_file
from mskdex.pipeline.attempt import attempt
from mskdex.pipeline.settings import cohort_stage, import_stage
from mskdex.pipeline.stages.cohort import lacking_objects

log = logging.getLogger("mskdex")
_HEADINGS = ("row", "patient", "column", "severity", "problem")
_MOST_NAMED = 3
DEFAULT_CONFIG = Path("config.yaml")


def read_config(path: Path | None) -> Config:
    """Reads config.yaml.

    Args:
        path: the file; None takes config.yaml of this folder, or the defaults where there is none.

    Raises:
        MskdexError: absent, no YAML, or with unknown keys or values out of range.
    """
    if path is None and not DEFAULT_CONFIG.exists():
        log.info("no %s in this folder: checked with the default config", DEFAULT_CONFIG)
        return load_config({})
    return read_config_file(Path(path or DEFAULT_CONFIG))


def check_cohort(sheet: Path, config: Config, *, quick: bool = False) -> list[Problem]:
    """Checks a sheet and, unless `quick`, reads every patient's files as the import would; nothing is written.

    CT, labels and radiograph are checked apart, so that one error does not hide the others, and whatever happens to
    one patient's files, the next one's are read.

    Args:
        sheet: the cohort sheet.
        config: the whole config.
        quick: check the sheet alone.

    Raises:
        MskdexError: the sheet cannot be read as a table.
    """
    table, problems = check_sheet(sheet, config.cohort)
    table = table.assign(row=table.attrs["rows"])
    included = table[~table["exclude"] & table["patient_id"].notna()]
    broken = {(p.row, p.column) for p in problems if p.severity == "error"}
    problems += _cohort_problems(included, config, {row for row, column in broken if column.startswith("label")})
    if not quick:
        problems += _file_problems(included, config, broken)
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


def _file_problems(included: pd.DataFrame, config: Config, broken: set[tuple[int | None, str]]) -> list[Problem]:
    from mskdex.cohort.identity import clashes
    from mskdex.pipeline.stages.patient_check import check_patient

    problems, cohort, numbers = [], [], {}
    for i, row in enumerate(included.to_dict("records"), start=1):
        known: dict[str, Any] = {str(k): v for k, v in row.items() if not pd.isna(v)}
        number, patient = int(known.pop("row")), str(known["patient_id"])
        log.info("%d of %d: %s", i, len(included), patient)
        usable = {k: v for k, v in known.items() if (number, k) not in broken}
        checked = check_patient(usable | {"patient_id": patient}, import_stage(config, str(known.get("label_source"))))
        problems += [Problem(number, patient, *notes) for notes in checked.problems]
        numbers[patient] = number
        cohort.append(checked.evidence)
    for clash in clashes(cohort):
        severity = "error" if clash.certain else "warning"
        problems.append(Problem(numbers.get(clash.patient_id), clash.patient_id, clash.column, clash.message, severity))
    return problems


def _cohort_problems(included: pd.DataFrame, config: Config, unlabelled: set[int | None]) -> list[Problem]:
    """What the cohort as a whole lacks: persons for the folds, and objects that some label source has not."""
    found = []
    if detail := too_few(included, config.folds.count):
        detail = f"{detail}; images can be imported and looked at (snakemake --until stack qc), nothing can be trained"
        found.append(Problem(None, "", "patient_id", detail, "warning"))
    sourced = included[included["label_source"].notna() & ~included["row"].isin(unlabelled)]
    lacking: dict[str, list[str]] = {}
    if detail := attempt(lambda: lacking.update(_lacking(sourced, config))):
        return [*found, Problem(None, "", "label_source", detail)]
    for source, objects in lacking.items():
        patients = list(sourced.loc[sourced["label_source"] == source, "patient_id"])
        detail = f"{source} lacks {', '.join(objects)}: left out for everyone, because of {_some(patients)}"
        found.append(Problem(None, "", "label_source", detail, "warning"))
    return found


def _lacking(rows: pd.DataFrame, config: Config) -> Mapping[str, list[str]]:
    """By label source, the objects of the config that it lacks.

    Raises:
        MskdexError: no object is left, or a source's name is nearly that of a known one.
    """
    found: dict[str, list[str]] = {}
    for name, sources in (lacking_objects(rows, cohort_stage(config)) if len(rows) else {}).items():
        for source in sources:
            found.setdefault(source, []).append(name)
    return found


def _some(patients: list[str]) -> str:
    more = len(patients) - _MOST_NAMED
    named = ", ".join(patients[:_MOST_NAMED])
    return f"{named} and {more} more" if more > 0 else named
