"""Tables of predictions that a user brings."""

from pathlib import Path

import numpy as np
import pandas as pd

from mskdex.errors import MskdexError

_UNITLESS = {"lean_mass": "lean_mass_g", "volume": "volume_cm3", "weighted_volume": "weighted_volume_cm3"}


def read_predictions(path: Path, whose: str) -> pd.DataFrame:
    """Reads patient, structure, quantity and predicted value; other columns stay as they are.

    Args:
        path: CSV, TSV or Parquet with `patient`, `quantity`, `predicted` and what was predicted: a `channel`
            (gluteus_maximus_left), or a `structure` or `object` with its `side`, or a channel in one of these.
        whose: for the messages, e.g. "method another".

    Returns:
        The table with `patient_id` and `channel` as text, `quantity` with its unit, and `predicted` as numbers; NaN
        where the cell is empty.

    Raises:
        MskdexError: it cannot be read, a column is missing, or a prediction is not a number.
    """
    table = _read(path, whose)
    place = next((c for c in ("channel", "structure", "object") if c in table), None)
    missing = [c for c in ("patient", "quantity", "predicted") if c not in table] + ["object"] * (place is None)
    if missing or place is None:
        needed = "patient, object (or structure and side, or channel), quantity, predicted"
        msg = f"{path} ({whose}): column {', '.join(missing)} missing; needed are {needed}"
        raise MskdexError(msg)
    predicted = table["predicted"]
    table = table.assign(
        patient_id=table["patient"].astype(str),
        channel=_channel(table, place),
        quantity=table["quantity"].replace(_UNITLESS),
        predicted=pd.to_numeric(predicted, errors="coerce"),
    )
    if (bad := predicted.notna() & ~np.isfinite(table["predicted"].astype(np.float64))).any():
        row = table[bad].iloc[0]
        what = f"patient {row['patient_id']}, {row['channel']} {row['quantity']}: {predicted[bad].iloc[0]!r}"
        msg = f"{path} ({whose}): {what} is not a number; leave the row out, or correct it"
        raise MskdexError(msg)
    return table


def _read(path: Path, whose: str) -> pd.DataFrame:
    try:
        if path.suffix == ".parquet":
            return pd.read_parquet(path)
        return pd.read_csv(path, sep="\t" if path.suffix == ".tsv" else ",", dtype={"patient": str})
    except (OSError, ValueError) as error:
        msg = f"{path} ({whose}) cannot be read ({error}); give a CSV, TSV or Parquet table"
        raise MskdexError(msg) from error


def _channel(table: pd.DataFrame, place: str) -> pd.Series:
    names = table[place].astype(str)
    if place == "channel" or "side" not in table:
        return names
    side = table["side"].fillna("midline").astype(str)
    return names + np.where(side.isin(["left", "right"]), "_" + side, "")


def structure_and_side(channel: str) -> tuple[str, str]:
    """A channel's structure and side, by its name."""
    for side in ("left", "right"):
        if channel.endswith(f"_{side}"):
            return channel.removesuffix(f"_{side}"), side
    return channel, "midline"
