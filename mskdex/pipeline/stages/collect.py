"""Stage `collect`: the truth, the registrations and who does not count, of all patients, in one table each."""

import logging
import math
import time
from collections.abc import Iterator, Mapping, Sequence
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
from mskdex.io.csv_files import write_csv
from mskdex.registration.patient_match import refusal

log = logging.getLogger("mskdex")

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
FIT_COLUMNS = ("slope", "offset", "at_reference", "residual", "bend", "pixels")
_NOT_SCALAR = ("objects", "camera_from_ct", "camera_from_ct_estimated", "start")


def collect(patients_root: Path, patients: Path, out: Path, kept_pairs: Mapping[str, str] | None = None) -> None:
    """Writes quantities.parquet, registration.parquet, calibration.parquet, pairs.parquet and excluded.csv.

    calibration.parquet has a row for each patient: patient_id, scale, the numbers of the fit of grey values, and flags.

    pairs.parquet has patient_id, refused (why radiograph and CT are taken not to belong together, null where they do)
    and kept_because (null, or why the patient counts all the same). excluded.csv lists for people whom the sheet
    excludes and whom a refused pair does. No more than 10,000 rows of truth are in memory.

    Args:
        patients_root: results/patients.
        patients: patients.parquet of the cohort; excluded.parquet beside it has those whom the sheet excludes.
        out: folder to write to.
        kept_pairs: patients who count although their pair is refused, each with the reason.

    Raises:
        MskdexError: a patient's artifact cannot be read.
    """
    started = time.time()
    names = list(read_parquet(patients)["patient_id"].astype(str))
    registrations, pairs = [], []
    for patient in names:
        content = read_json(patients_root / patient / "pose.json")
        bodies = content["bodies"]
        registrations += [{"patient_id": patient, "body": b, **_scalars(r)} for b, r in bodies.items()]
        pairs.append({"patient_id": patient, "refused": refusal(content), "kept_because": None})
    table = _pairs_table(pairs, kept_pairs or {})
    _write_quantities(patients_root, names, out / "quantities.parquet")
    write_parquet(out / "registration.parquet", _registration_table(registrations))
    write_parquet(out / "calibration.parquet", _calibrations(patients_root, names))
    write_parquet(out / "pairs.parquet", table)
    write_csv(out / "excluded.csv", _excluded(patients.with_name("excluded.parquet"), table))
    write_json(out / "collect.json", manifest("collect", started, patients=len(names)))


def _calibrations(patients_root: Path, names: Sequence[str]) -> pd.DataFrame:
    """Of the patients whose grey values have been compared with the CT."""
    rows = []
    for patient in names:
        path = patients_root / patient / "calibration.json"
        if path.is_file():
            content = read_json(path)
            fit = {name: (content["fit"] or {}).get(name) for name in FIT_COLUMNS}
            rows.append({"patient_id": patient, "scale": content["scale"], **fit, "flags": "; ".join(content["flags"])})
    table = pd.DataFrame(rows, columns=["patient_id", "scale", *FIT_COLUMNS, "flags"])
    return table.astype(dict.fromkeys(FIT_COLUMNS, float))


def _pairs_table(pairs: list[dict[str, Any]], reasons: Mapping[str, str]) -> pd.DataFrame:
    for pair in pairs:
        if pair["refused"]:
            pair["kept_because"] = reasons.get(pair["patient_id"])
            consequence = (
                "kept: " + pair["kept_because"] if pair["kept_because"] else "left out of training and evaluation"
            )
            log.warning("patient %s: %s; %s", pair["patient_id"], pair["refused"], consequence)
    return pd.DataFrame(pairs, columns=["patient_id", "refused", "kept_because"]).astype(object)


def _excluded(by_the_sheet: Path, pairs: pd.DataFrame) -> pd.DataFrame:
    """Columns patient_id and reason: first whom the sheet excludes, then the refused pairs."""
    refused = pairs[pairs["refused"].notna() & pairs["kept_because"].isna()]
    found = refused[["patient_id", "refused"]].rename(columns={"refused": "reason"})
    sheet = [read_parquet(by_the_sheet)] if by_the_sheet.is_file() else []
    return pd.concat([*sheet, found], ignore_index=True)


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
