"""Tables of predictions from any other method."""

from pathlib import Path

import pandas as pd

from mskdex.errors import MskdexError
from mskdex.evaluation.points import QUANTITY_COLUMNS, Cohort
from mskdex.evaluation.user_tables import read_predictions

_TRUTH_TOLERANCE = 0.02


def read_comparator(name: str, path: Path, cohort: Cohort) -> pd.DataFrame:
    """Reads another method's predictions.

    Args:
        name: the method's name in the tables.
        path: as `read_predictions` takes it and, where its author has it, with `truth`.
        cohort: the cohort that it is compared on.

    Returns:
        method, fold, patient_id, channel, quantity, predicted.

    Raises:
        MskdexError: a column is missing, a patient, object or quantity is unknown, a row is given twice, or
            its truth is not this cohort's.
    """
    table = read_predictions(path, f"method {name}").assign(method=name)
    known = {"patient_id": list(cohort.folds.index), "channel": [c["name"] for c in cohort.objects]}
    for column, allowed in {**known, "quantity": list(QUANTITY_COLUMNS)}.items():
        if strange := sorted(set(table[column]) - set(allowed)):
            shown = ", ".join(map(str, strange[:5]))
            msg = f"{path} (method {name}): unknown {column} {shown}; this cohort has {', '.join(allowed[:20])}"
            raise MskdexError(msg)
    if table.duplicated(["patient_id", "channel", "quantity"]).any():
        twice = table.loc[table.duplicated(["patient_id", "channel", "quantity"]), "patient_id"].iloc[0]
        msg = f"{path} (method {name}): patient {twice} has a row twice; give each object and quantity once"
        raise MskdexError(msg)
    _same_truth(name, path, table, cohort)
    table["fold"] = table["patient_id"].map(cohort.folds)
    return table[["method", "fold", "patient_id", "channel", "quantity", "predicted"]]


def _same_truth(name: str, path: Path, table: pd.DataFrame, cohort: Cohort) -> None:
    """A comparator is compared with this cohort's truth, so its own, where given, has to be the same."""
    if "truth" not in table:
        return
    names = {"object": "channel"}
    columns = ["patient_id", "object", *QUANTITY_COLUMNS]
    ours = cohort.quantities[columns].melt(["patient_id", "object"], var_name="quantity", value_name="ours")
    both = table.merge(ours.rename(columns=names), on=["patient_id", "channel", "quantity"])
    apart = (both["truth"] - both["ours"]).abs() > _TRUTH_TOLERANCE * both["ours"].abs()
    if apart.any():
        row = both[apart].iloc[0]
        msg = (
            f"{path} (method {name}): its truth of {row['channel']} {row['quantity']} of patient {row['patient_id']} "
            f"is {row['truth']:.4g}, this cohort's CT gives {row['ours']:.4g} (allowed: 2 % apart); "
            "compare on the same truth"
        )
        raise MskdexError(msg)
