"""Stage `collect`: the truth and the registrations of all patients, in one table each."""

import math
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa

from mskdex.io.artifacts import (
    manifest,
    parquet_writer,
    read_json,
    read_parquet,
    read_rows,
    write_json,
    write_parquet,
)

QUANTITIES = pa.schema(
    [
        ("patient_id", pa.string()),
        ("object", pa.string()),
        *((name, pa.float64()) for name in ("volume_cm3", "lean_mass_g", "weighted_volume_cm3", "mean_hu")),
        ("voxels", pa.int64()),
        ("present", pa.bool_()),
        ("truncated", pa.bool_()),
    ]
)
_ROWS_AT_ONCE = 10_000
REGISTRATION_COLUMNS = ("patient_id", "body", "similarity", "confidence", "accepted", "reason", "seconds")
_NOT_SCALAR = ("objects", "camera_from_ct", "start")


def collect(patients_root: Path, patients: Path, out: Path) -> None:
    """Writes quantities.parquet and registration.parquet; no more than 10,000 rows of truth are in memory.

    Args:
        patients_root: results/patients.
        patients: patients.parquet of the cohort.
        out: folder to write to.

    Raises:
        MskdexError: a patient's artifact cannot be read.
    """
    started = time.time()
    names = list(read_parquet(patients)["patient_id"].astype(str))
    registrations = []
    for patient in names:
        pose = patients_root / patient / "pose.json"
        registrations += [{"patient_id": patient, "body": b, **_scalars(r)} for b, r in _bodies(pose).items()]
    _write_quantities(patients_root, names, out / "quantities.parquet")
    write_parquet(out / "registration.parquet", _registration_table(registrations))
    write_json(out / "collect.json", manifest("collect", started, patients=len(names)))


def _write_quantities(patients_root: Path, names: Sequence[str], path: Path) -> None:
    """Streams the patients' tables into one."""
    with parquet_writer(path, QUANTITIES) as writer:
        for rows in _blocks(patients_root, names):
            writer.write_table(pa.Table.from_pylist(rows, QUANTITIES))


def _blocks(patients_root: Path, names: Sequence[str]) -> Iterator[list[dict[str, Any]]]:
    rows: list[dict[str, Any]] = []
    for patient in names:
        rows += [{"patient_id": patient} | r for r in read_rows(patients_root / patient / "quantities.parquet")]
        if len(rows) >= _ROWS_AT_ONCE:
            yield rows
            rows = []
    yield rows


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
