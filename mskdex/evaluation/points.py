"""One table of every method's predictions beside the truth, and which of them count."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from mskdex.cohort.folds import NO_FOLD
from mskdex.errors import MskdexError
from mskdex.evaluation.baselines import BASELINES, Fold, predict_baselines
from mskdex.evaluation.guards import check_disjoint, check_fold, training_patients
from mskdex.evaluation.stacking import FUSED
from mskdex.evaluation.thumbnails import Thumbnails
from mskdex.io.artifacts import read_json, read_parquet
from mskdex.io.stack import require_same
from mskdex.quantities import COLUMNS

QUANTITY_COLUMNS = ("lean_mass_g", "volume_cm3", "weighted_volume_cm3")
"""Quantities in the tables' order; all of `COLUMNS`."""

KEY_COLUMNS = ("method", "fold", "patient_id", "structure", "side", "channel")
"""What a row of the evaluation's tables is of."""

COLUMNS_OF_POINTS = (
    *KEY_COLUMNS,
    "kind",
    "quantity",
    "predicted",
    "truth",
    "visible",
    "left_out",
)

if set(QUANTITY_COLUMNS) != set(COLUMNS.values()):
    msg = "the evaluation's quantities differ from those of the CT"
    raise RuntimeError(msg)


@dataclass(frozen=True)
class Cohort:
    """The cohort's tables.

    Attributes:
        patients: demographics, indexed by patient_id; those whose radiograph and CT do not belong together are in none
            of the tables, those whom no fold trains on have tables of their own.
        folds: fold of each patient, indexed by patient_id.
        quantities: truth, row per patient and channel.
        objects: one dict per channel, as in objects.json.
        persons: person of each patient, indexed by patient_id: two rows of the sheet may be one.
    """

    patients: pd.DataFrame
    folds: pd.Series
    quantities: pd.DataFrame
    objects: list[dict[str, Any]]
    persons: pd.Series

    @classmethod
    def read(cls, folder: Path, *, external: bool = False) -> "Cohort":
        """Reads patients, folds, quantities, pairs and objects from results/cohort.

        Args:
            folder: results/cohort.
            external: whether the patients are those whom no fold trains on, instead of those of the folds.

        Raises:
            MskdexError: a table is damaged, or the truth lacks an object of the cohort.
        """
        patients = read_parquet(folder / "patients.parquet")
        folds = read_parquet(folder / "folds.parquet")
        quantities = read_parquet(folder / "quantities.parquet")
        wanted = set(folds.loc[(folds["fold"] == NO_FOLD) == external, "patient_id"].astype(str))
        wanted -= set(refused_pairs(folder / "pairs.parquet"))
        patients, folds, quantities = (
            table[table["patient_id"].isin(wanted)].reset_index(drop=True)
            for table in (t.astype({"patient_id": str}) for t in (patients, folds, quantities))
        )
        objects = read_json(folder / "objects.json")
        if wanted and (missing := [c["name"] for c in objects if c["name"] not in set(quantities["object"])]):
            path = folder / "quantities.parquet"
            msg = f"{path} has no row of {', '.join(missing)}; delete it and run the same command again"
            raise MskdexError(msg)
        folds = folds.assign(person=folds.get("person", folds["patient_id"])).set_index("patient_id")
        return cls(patients.set_index("patient_id"), folds["fold"], quantities, objects, folds["person"])

    @property
    def sexes(self) -> pd.Series:
        """F, M or missing, indexed by patient_id."""
        return self.patients.get("sex", pd.Series(None, self.patients.index, dtype=object))

    @property
    def names(self) -> list[str]:
        """Names of the cohort's channels."""
        return [c["name"] for c in self.objects]

    @property
    def truth(self) -> pd.DataFrame:
        """Row per patient, column per (channel, quantity); NaN where the object is absent or truncated."""
        table = self.quantities.copy()
        complete = table["present"].astype(bool) & ~table["truncated"].astype(bool)
        table.loc[~complete, list(QUANTITY_COLUMNS)] = np.nan
        names = self.names
        table = table[table["object"].isin(names)]
        wide = table.pivot(index="patient_id", columns="object", values=list(QUANTITY_COLUMNS))  # noqa: PD010
        wide = wide.swaplevel(axis=1)
        return wide.reindex(index=self.folds.index)[[(n, q) for q in QUANTITY_COLUMNS for n in names]]


def refused_pairs(path: Path) -> dict[str, str]:
    """Patients who do not count because radiograph and CT do not belong together, each with the reason.

    Args:
        path: pairs.parquet; patients who have never been registered have none.
    """
    if not path.is_file():
        return {}
    table = read_parquet(path)
    table = table[table["refused"].notna() & table["kept_because"].isna()]
    return dict(zip(table["patient_id"].astype(str), table["refused"].astype(str), strict=True))


def trained_points(experiments_root: Path, experiments: Sequence[str], folds: Sequence[int], cohort: Cohort) -> Any:
    """Predictions of every experiment and fold that has them, each checked against its training manifest.

    Returns:
        (table, missing): the predictions with column `method`, and the (experiment, fold) without any.
    """
    parts, missing = [], []
    for experiment in experiments:
        if experiment in (*BASELINES, FUSED):
            msg = f"experiments.{experiment}: this name is kept for a method of every evaluation; choose another"
            raise MskdexError(msg)
        for fold in folds:
            folder = experiments_root / experiment / f"fold{fold}"
            if not (folder / "predictions.parquet").is_file():
                missing.append((experiment, fold))
                continue
            table = read_parquet(folder / "predictions.parquet")
            table["patient_id"] = table["patient_id"].astype(str)
            of = f"experiment {experiment}, fold {fold}: {folder / 'predictions.parquet'}"
            require_same(list(table["channel"].unique()), cohort.names, of, "the cohort (results/cohort/objects.json)")
            check_fold(experiment, fold, training_patients(folder / "train.json"), table, cohort.folds)
            parts.append(table.assign(method=experiment))
    if not parts:
        msg = f"no predictions of {', '.join(experiments)} under {experiments_root}; train a fold first"
        raise MskdexError(msg)
    return pd.concat(parts, ignore_index=True), missing


def baseline_points(cohort: Cohort, folds: Sequence[int], thumbnails: Thumbnails) -> pd.DataFrame:
    """Predictions of the baselines for the test patients of the folds, each fitted on the other folds."""
    parts = []
    for number in folds:
        fold = Fold.of(number, cohort.folds, cohort.persons)
        check_disjoint(fold.train, fold.test, f"baselines of fold {number}: patients both trained on and tested")
        if fold.train and fold.test:
            found = predict_baselines(cohort.truth, cohort.patients, thumbnails, fold)
            parts.append(found.assign(fold=number))
    return pd.concat(parts, ignore_index=True)


def complete_points(points: pd.DataFrame, cohort: Cohort, min_visible_fraction: float) -> pd.DataFrame:
    """Adds truth, object, side and kind from the cohort, and why a row does not count.

    Args:
        points: method, fold, patient_id, channel, quantity, predicted.
        cohort: the cohort's tables.
        min_visible_fraction: objects with less inside the exposed field do not count.

    Returns:
        `COLUMNS_OF_POINTS`; `left_out` is None where the row counts. Visibility is the patient's, whatever
        the method, so that all methods are compared on the same patients. The truth is that of the visible share,
        which is what a network is trained to find; baselines and comparators, which predict whole objects, are taken
        times the same share.
    """
    channels = pd.DataFrame(cohort.objects)[["name", "object", "side", "kind"]]
    channels = channels.rename(columns={"name": "channel", "object": "structure"})
    quantities = cohort.quantities.rename(columns={"object": "channel"})
    truth = quantities.melt(
        id_vars=["patient_id", "channel", "present", "truncated"],
        value_vars=list(QUANTITY_COLUMNS),
        var_name="quantity",
        value_name="truth",
    )
    columns = ("method", "fold", "patient_id", "channel", "quantity", "predicted", "visible")
    given = points[[c for c in columns if c in points]]
    if "visible" not in given:
        given = given.assign(visible=np.nan)
    seen = given.groupby(["patient_id", "channel"])["visible"].transform("min")
    table = given.assign(visible=seen, of_visible=given["visible"].notna()).merge(channels, on="channel", how="inner")
    table = table.merge(truth, on=["patient_id", "channel", "quantity"], how="left")
    share = table["visible"].clip(0.0, 1.0).fillna(1.0)
    table["truth"] = table["truth"] * share
    table["predicted"] = table["predicted"].where(table["of_visible"], table["predicted"] * share)
    table["left_out"] = _left_out(table, min_visible_fraction)
    return _ordered(table, list(channels["channel"]))[list(COLUMNS_OF_POINTS)]


def _ordered(table: pd.DataFrame, channels: list[str]) -> pd.DataFrame:
    """Methods as they were given, quantities and channels in the tables' order."""
    orders = {"method": list(dict.fromkeys(table["method"])), "quantity": list(QUANTITY_COLUMNS), "channel": channels}
    keys = {c: {v: i for i, v in enumerate(values)} for c, values in orders.items()}
    by = ["method", "quantity", "channel", "patient_id"]
    return table.sort_values(by, key=lambda c: c.map(keys[c.name]) if c.name in keys else c, ignore_index=True)


def _left_out(table: pd.DataFrame, min_visible_fraction: float) -> np.ndarray:
    present = table["present"].eq(True)
    conditions: dict[str, Any] = {
        "absent from the CT's labels": ~present,
        "truncated by the CT's field of view": table["truncated"].eq(True),
        "truth unknown": ~np.isfinite(table["truth"].astype(np.float64)),
        "outside the exposed field": table["visible"] < min_visible_fraction,
    }
    reasons = np.full(len(table), None, dtype=object)
    for reason, holds in reversed(conditions.items()):
        reasons[np.asarray(holds, dtype=bool)] = reason
    return reasons
