"""How many held-out patients the prediction intervals cover, measured, in groups."""

from collections.abc import Iterator

import numpy as np
import pandas as pd

from mskdex.evaluation.added_value import MEAN_OF_MUSCLES, SEXES
from mskdex.evaluation.conformal import COVERAGE, alike, offsets
from mskdex.evaluation.subgroups import device_group, scale_group

COLUMNS = ("method", "quantity", "structure", "group", "nominal", "covered", "n", "without", "width_percent")
_KNOWN = ("sex", "scale", "device")


def coverage_table(
    points: pd.DataFrame,
    methods: list[str],
    sexes: pd.Series,
    scales: pd.Series,
    persons: pd.Series,
    devices: pd.Series | None = None,
) -> pd.DataFrame:
    """Measured coverage of conformal intervals, of all patients and in groups of sex, grey scale and X-ray unit.

    The interval of a patient is calibrated on the other persons of the same fold: those of the same sex and grey scale
    where they are enough for the coverage, else all of them.

    Args:
        points: completed points of the reported folds.
        methods: those to measure.
        sexes: F, M or missing, indexed by patient.
        scales: of the radiographs' grey values, absolute or relative, indexed by patient.
        persons: person of each patient, indexed by patient.
        devices: maker and model of the X-ray unit, missing where unknown, indexed by patient.

    Returns:
        `COLUMNS`: share of the `n` intervals that hold the truth, rows `without` an interval because the patients are
        too few, and the mean width in per cent of the mean truth. `mean_of_muscles` counts the intervals of all
        muscles.
    """
    some = points[points["method"].isin(methods) & points["left_out"].isna() & points["predicted"].notna()]
    some = some.assign(
        sex=some["patient_id"].map(sexes),
        scale=some["patient_id"].map(scales),
        person=some["patient_id"].map(persons),
        device=None if devices is None else some["patient_id"].map(devices),
    )
    parts = [part for _, part in some.groupby(["method", "fold", "channel", "quantity"], sort=False)]
    return _table([part.assign(**_bounds(part, part)) for part in parts])


def coverage_of_new(
    held_out: pd.DataFrame, new: pd.DataFrame, methods: list[str], people: pd.DataFrame
) -> pd.DataFrame:
    """As `coverage_table`, of patients whom no fold trained on: calibrated on all held-out patients.

    Args:
        held_out: completed points of the reported folds.
        new: completed points of the others.
        methods: those to measure.
        people: sex, scale and device of both, indexed by patient_id.

    Returns:
        `COLUMNS`, as of `coverage_table`.
    """
    found = []
    for table in (held_out, new):
        some = table[table["method"].isin(methods) & table["left_out"].isna() & table["predicted"].notna()]
        found.append(some.assign(person=some["patient_id"], **{c: some["patient_id"].map(people[c]) for c in _KNOWN}))
    keys = ["method", "channel", "quantity"]
    known = dict(iter(found[0].groupby(keys, sort=False)))
    parts = [(part, known.get(key, found[0].iloc[:0])) for key, part in found[1].groupby(keys, sort=False)]
    return _table([part.assign(**_bounds(part, others)) for part, others in parts])


def _table(parts: list[pd.DataFrame]) -> pd.DataFrame:
    if not parts:
        return pd.DataFrame(columns=list(COLUMNS))
    bounded = pd.concat(parts, ignore_index=True)
    muscles = bounded[bounded["kind"] == "muscle"].assign(structure=MEAN_OF_MUSCLES)
    every = pd.concat([muscles, bounded], ignore_index=True)
    rows = [
        {"method": m, "quantity": q, "structure": s, "group": group, "nominal": COVERAGE, **_covered(own)}
        for (m, q, s), of in every.groupby(["method", "quantity", "structure"], sort=False)
        for group, own in _groups(of)
    ]
    return pd.DataFrame(rows, columns=list(COLUMNS))


def _bounds(rows: pd.DataFrame, held_out: pd.DataFrame) -> dict[str, np.ndarray]:
    """Ends of each row's interval, calibrated on the other persons of `held_out`; NaN where there is none."""
    errors = (held_out["truth"] - held_out["predicted"]).to_numpy(np.float64)
    sexes, scales, persons = (held_out[c].to_numpy(object) for c in ("sex", "scale", "person"))
    predicted, ends = rows["predicted"].to_numpy(np.float64), np.full((2, len(rows)), np.nan)
    for i, (sex, scale, person) in enumerate(zip(rows["sex"], rows["scale"], rows["person"], strict=True)):
        chosen = alike(sexes, scales, sex, scale, persons != person)
        if (found := offsets(errors[chosen])) is not None:
            ends[:, i] = max(predicted[i] + found[0], 0.0), predicted[i] + found[1]
    return {"low": ends[0], "high": ends[1]}


def _groups(rows: pd.DataFrame) -> Iterator[tuple[str, pd.DataFrame]]:
    yield "all", rows
    for name, code in SEXES.items():
        if len(own := rows[rows["sex"] == code]):
            yield name, own
    if len(rows["scale"].unique()) > 1:
        yield from ((scale_group(str(scale)), own) for scale, own in rows.groupby("scale"))
    if len(rows["device"].dropna().unique()) > 1:
        yield from ((device_group(str(device)), own) for device, own in rows.groupby("device"))


def _covered(rows: pd.DataFrame) -> dict[str, float]:
    given = rows[rows["low"].notna()]
    inside = (given["truth"] >= given["low"]) & (given["truth"] <= given["high"])
    width = 100.0 * (given["high"] - given["low"]).mean() / given["truth"].mean() if len(given) else float("nan")
    covered = float(inside.mean()) if len(given) else float("nan")
    return {"covered": covered, "n": len(given), "without": len(rows) - len(given), "width_percent": float(width)}
