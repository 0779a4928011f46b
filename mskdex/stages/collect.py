"""Stage `collect`: the truth and the registrations of all patients, in one table each."""

import math
import time
from pathlib import Path
from typing import Any

import pandas as pd

from mskdex.artifacts import manifest, read_json, read_parquet, write_json, write_parquet

REGISTRATION_COLUMNS = ("patient_id", "body", "similarity", "confidence", "accepted", "reason", "seconds")
_NOT_SCALAR = ("objects", "camera_from_ct", "start")


def collect(patients_root: Path, patients: Path, out: Path) -> None:
    """Writes quantities.parquet and registration.parquet, one patient in memory at a time.

    Args:
        patients_root: results/patients.
        patients: patients.parquet of the cohort.
        out: folder to write to.

    Raises:
        MskdexError: a patient's artifact cannot be read.
    """
    started = time.time()
    quantities, registrations = [], []
    for patient in read_parquet(patients)["patient_id"].astype(str):
        table = read_parquet(patients_root / patient / "quantities.parquet")
        quantities.append(table.assign(patient_id=patient))
        pose = patients_root / patient / "pose.json"
        registrations += [{"patient_id": patient, "body": b, **_scalars(r)} for b, r in _bodies(pose).items()]
    truth = pd.concat(quantities, ignore_index=True)
    write_parquet(out / "quantities.parquet", truth[["patient_id", *truth.columns.drop("patient_id")]])
    write_parquet(out / "registration.parquet", _registration_table(registrations))
    write_json(out / "collect.json", manifest("collect", started, patients=len(quantities)))


def _bodies(pose: Path) -> dict[str, dict[str, Any]]:
    return read_json(pose)["bodies"]


def _scalars(registration: dict[str, Any]) -> dict[str, Any]:
    """What of a registration fits a cell; of a list of numbers its root sum of squares."""
    row: dict[str, Any] = {}
    for key, value in registration.items():
        if key in _NOT_SCALAR:
            continue
        if value is None or isinstance(value, str | bool | int | float):
            row[key] = value
        elif isinstance(value, list) and value and all(isinstance(v, int | float) for v in value):
            row[key] = math.sqrt(sum(float(v) ** 2 for v in value))
    return row


def _registration_table(rows: list[dict[str, Any]]) -> pd.DataFrame:
    table = pd.DataFrame(rows)
    for column in REGISTRATION_COLUMNS:
        if column not in table:
            table[column] = None
    further = sorted(set(table.columns) - set(REGISTRATION_COLUMNS))
    table["accepted"] = table["accepted"].eq(True)
    table["reason"] = table["reason"].astype(object).where(table["reason"].notna(), None)
    return table[[*REGISTRATION_COLUMNS, *further]]
