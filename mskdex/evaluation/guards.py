"""Leak guards: what a fold's results were made from, asserted from the manifests."""

from collections.abc import Iterable
from pathlib import Path

import pandas as pd

from mskdex.errors import MskdexError
from mskdex.io.artifacts import read_json

_RERUN = "delete that fold's folder under results/experiments and run again"


def training_patients(train_json: Path) -> tuple[str, ...]:
    """The patients whose images a model has seen, as its training manifest lists them.

    Raises:
        MskdexError: the manifest has no such list.
    """
    found = read_json(train_json).get("patients")
    if not found:
        msg = f"{train_json} does not list the patients trained on, so a leak cannot be ruled out; {_RERUN}"
        raise MskdexError(msg)
    return tuple(str(p) for p in found)


def check_fold(
    experiment: str, fold: int, trained_on: Iterable[str], predictions: pd.DataFrame, folds: pd.Series
) -> None:
    """Asserts that a fold's predictions are of its own test patients, none of whom its training saw.

    Args:
        experiment: name, for the message.
        fold: number of the fold.
        trained_on: patients of the training manifest.
        predictions: table with `patient_id` and `fold`.
        folds: fold of each patient, indexed by patient.

    Raises:
        MskdexError: names the patients that break the rule.
    """
    trained, predicted = set(trained_on), set(predictions["patient_id"].astype(str))
    where = f"experiment {experiment}, fold {fold}"
    own = set(folds.index[folds == fold].astype(str))
    _none(trained & predicted, f"{where}: predicted patients were also trained on", _RERUN)
    _none(trained & own, f"{where}: test patients of folds.parquet were trained on", _RERUN)
    strangers = trained - set(folds.index.astype(str))
    _none(strangers, f"{where}: trained on patients that are in no fold of folds.parquet", _RERUN)
    _none(predicted - own, f"{where}: predictions of patients of another fold", _RERUN)
    if wrong := set(predictions["fold"].unique()) - {fold}:
        msg = f"{where}: its predictions name fold {sorted(wrong)}; {_RERUN}"
        raise MskdexError(msg)
    keys = ["patient_id", "channel", "quantity"]
    twice = predictions[predictions.duplicated(keys)]
    _none(set(twice["patient_id"].astype(str)), f"{where}: predictions given twice", _RERUN)


def check_disjoint(first: Iterable[str], second: Iterable[str], what: str) -> None:
    """Asserts that two groups of patients share nobody.

    Raises:
        MskdexError: names `what` and the patients.
    """
    _none(set(first) & set(second), what, "give each patient one role")


def _none(patients: set[str], what: str, advice: str) -> None:
    if patients:
        some = ", ".join(sorted(patients)[:5]) + (f" and {len(patients) - 5} more" if len(patients) > 5 else "")
        msg = f"{what}: {some}; {advice}"
        raise MskdexError(msg)
