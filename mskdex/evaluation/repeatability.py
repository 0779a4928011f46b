"""How far repeated predictions of the same patients differ: other postures, exposures, departments, days."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from mskdex.errors import MskdexError
from mskdex.evaluation.user_tables import read_predictions, structure_and_side

COLUMNS = (
    "structure",
    "side",
    "channel",
    "quantity",
    "patients",
    "repeats",
    "mean",
    "within_sd",
    "rms_cv_percent",
    "smallest_detectable_change",
    "icc",
    "icc_form",
    "icc_patients",
    "undefined",
)

CHANGE = 1.96 * np.sqrt(2.0)
"""A difference of two measurements exceeds so many within-patient SDs by chance in 5 %."""


def repeatability_table(path: Path) -> pd.DataFrame:
    """Repeatability per channel and quantity of a table of repeated predictions.

    Args:
        path: CSV, TSV or Parquet with patient, object (or structure and side, or channel), quantity, predicted and,
            where repeats are told apart, condition.

    Returns:
        `COLUMNS`, a row per channel and quantity.

    Raises:
        MskdexError: the table cannot be used, holds a condition twice, or repeats nobody.
    """
    table = read_predictions(path, "repeated predictions")
    _check(path, table)
    groups = table.groupby(["channel", "quantity"], sort=False)
    return pd.DataFrame([_row(str(c), str(q), rows) for (c, q), rows in groups], columns=list(COLUMNS))


def _check(path: Path, table: pd.DataFrame) -> None:
    """Asserts that every row has a number and, where conditions are told apart, each of them once."""
    keys = ["patient_id", "channel", "quantity"]
    if (empty := table["predicted"].isna()).any():
        row = table[empty].iloc[0]
        msg = f"{path}: patient {row['patient_id']} has no prediction of {row['channel']}; leave the row out"
        raise MskdexError(msg)
    if "condition" in table:
        if table["condition"].isna().any():
            patient = table.loc[table["condition"].isna(), "patient_id"].iloc[0]
            msg = f"{path}: patient {patient} has a row without condition; name each, or leave the column out"
            raise MskdexError(msg)
        if (twice := table.duplicated([*keys, "condition"])).any():
            row = table[twice].iloc[0]
            msg = (
                f"{path}: patient {row['patient_id']} has {row['channel']} {row['quantity']} of condition "
                f"{row['condition']} twice; give each condition once, or leave the column condition out"
            )
            raise MskdexError(msg)
    if not table.duplicated(keys).any():
        msg = f"{path}: no patient has two predictions of the same structure and quantity; nothing is repeated"
        raise MskdexError(msg)


def _row(channel: str, quantity: str, rows: pd.DataFrame) -> dict[str, Any]:
    structure, side = structure_and_side(channel)
    row: dict[str, object] = {"structure": structure, "side": side, "channel": channel, "quantity": quantity}
    repeated = rows.groupby("patient_id")["predicted"].filter(lambda v: len(v) > 1)
    some = rows.loc[repeated.index]
    row |= {"patients": some["patient_id"].nunique(), "repeats": len(some)}
    if some.empty:
        return row | {"undefined": "nobody has two predictions of it"}
    spread = within(some)
    icc, form, patients = reliability(some)
    reasons = ["a patient's mean is not positive"] * bool(np.isnan(spread["rms_cv_percent"]))
    reasons += ["the ICC needs two patients who differ"] * bool(np.isnan(icc))
    agreement = {"icc": icc, "icc_form": form, "icc_patients": patients, "undefined": "; ".join(reasons) or None}
    return row | spread | agreement


def within(rows: pd.DataFrame) -> dict[str, float]:
    """Within-patient spread, pooled over the patients by their degrees of freedom.

    Args:
        rows: patient_id, predicted; at least two rows per patient.

    Returns:
        mean and within_sd in the quantity's unit; rms_cv_percent, the root mean square of the patients' coefficients of
        variation; smallest_detectable_change, 1.96·√2·within_sd.

    Source: Glüer 1995 (precision errors); Bland and Altman 1999 (repeatability).
    """
    each = rows.groupby("patient_id")["predicted"].agg(["mean", "std", "size"])
    freedom = each["size"] - 1
    sd = float(np.sqrt((freedom * each["std"] ** 2).sum() / freedom.sum()))
    cv = float("nan")
    if (each["mean"] > 0).all():
        cv = 100.0 * float(np.sqrt((freedom * (each["std"] / each["mean"]) ** 2).sum() / freedom.sum()))
    return {
        "mean": float(each["mean"].mean()),
        "within_sd": sd,
        "rms_cv_percent": cv,
        "smallest_detectable_change": CHANGE * sd,
    }


def reliability(rows: pd.DataFrame) -> tuple[float, str, int]:
    """Intraclass correlation of single predictions: (ICC, its form, patients that it rests on).

    Where conditions are named, ICC(2,1), absolute agreement with the conditions as raters, over the patients who have
    all of them; else ICC(1,1), which allows for unequal numbers of repeats.

    Source: Shrout and Fleiss 1979; for unequal numbers, Donner 1986.
    """
    if "condition" in rows:
        wide = rows.pivot(index="patient_id", columns="condition", values="predicted").dropna()  # noqa: PD010
        return _two_way(wide.to_numpy(np.float64)), "ICC(2,1)", len(wide)
    return _one_way(rows), "ICC(1,1)", int(rows["patient_id"].nunique())


def _two_way(values: np.ndarray) -> float:
    n, k = values.shape
    if n < 2 or k < 2 or np.ptp(values) == 0:
        return float("nan")
    mean, patients, raters = values.mean(), values.mean(axis=1), values.mean(axis=0)
    between = k * ((patients - mean) ** 2).sum() / (n - 1)
    of_raters = n * ((raters - mean) ** 2).sum() / (k - 1)
    error = ((values - patients[:, None] - raters + mean) ** 2).sum() / ((n - 1) * (k - 1))
    return float((between - error) / (between + (k - 1) * error + k * (of_raters - error) / n))


def _one_way(rows: pd.DataFrame) -> float:
    groups = rows.groupby("patient_id")["predicted"]
    sizes, means = groups.size().to_numpy(), groups.mean().to_numpy()
    n, total = len(sizes), sizes.sum()
    if n < 2 or np.ptp(rows["predicted"]) == 0:
        return float("nan")
    between = (sizes * (means - rows["predicted"].mean()) ** 2).sum() / (n - 1)
    error = ((rows["predicted"] - groups.transform("mean")) ** 2).sum() / (total - n)
    k = (total - (sizes**2).sum() / total) / (n - 1)
    return float((between - error) / (between + (k - 1) * error))
