"""What needs no image: the training mean, and a regression on age, sex, height and weight."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

DEMOGRAPHICS = "demographics"
TRAINING_MEAN = "training_mean"
BASELINES = (DEMOGRAPHICS, TRAINING_MEAN)

NUMBERS = ("age", "height_cm", "weight_kg")


@dataclass(frozen=True)
class Design:
    """How demographics become regressors, as learned from the training patients alone.

    Attributes:
        means: mean of each numeric column that the training patients have and in which they differ;
            a missing value is taken to be it.
        sexes: sexes with an indicator column; one that was not seen in training has none.
    """

    means: dict[str, float]
    sexes: tuple[str, ...]

    @classmethod
    def fit(cls, patients: pd.DataFrame) -> "Design":
        """Chooses the regressors that the training patients support."""
        numbers = {c: pd.to_numeric(patients[c], errors="coerce").dropna() for c in NUMBERS if c in patients}
        means = {c: float(v.mean()) for c, v in numbers.items() if len(v) > 1 and v.max() > v.min()}
        sexes = sorted({str(s) for s in patients["sex"].dropna()}) if "sex" in patients else []
        return cls(means, tuple(sexes[1:]))

    @property
    def empty(self) -> bool:
        """Whether there is nothing to regress on."""
        return not self.means and not self.sexes

    def matrix(self, patients: pd.DataFrame) -> np.ndarray:
        """Regressors with an intercept, (patients, 1 + numbers + sexes)."""
        columns = [np.ones(len(patients))]
        for name, mean in self.means.items():
            values = np.asarray(pd.to_numeric(patients[name], errors="coerce"), dtype=np.float64)
            columns.append(np.where(np.isfinite(values), values, mean) - mean)
        sex = np.asarray(patients["sex"], dtype=object) if self.sexes else np.zeros(len(patients), dtype=object)
        columns += [np.equal(sex, level).astype(np.float64) for level in self.sexes]
        return np.column_stack(columns)


def regress(train: np.ndarray, truth: np.ndarray, test: np.ndarray) -> np.ndarray:
    """Least-squares prediction of `test` rows; NaN when there are not more patients than coefficients.

    Args:
        train: (patients, k) regressors.
        truth: (patients,) with NaN where it is not known.
        test: (others, k).
    """
    known = np.isfinite(truth)
    if known.sum() <= train.shape[1]:
        return np.full(len(test), np.nan)
    weights, *_ = np.linalg.lstsq(train[known], truth[known], rcond=None)
    return np.asarray(test @ weights)


def predict_baselines(truth: pd.DataFrame, patients: pd.DataFrame, train: list[str], test: list[str]) -> pd.DataFrame:
    """Predictions of both baselines for the test patients of a fold, from its training patients.

    Args:
        truth: column per (channel, quantity), row per patient (index), NaN where not known.
        patients: demographics, indexed by patient.
        train: training patients.
        test: test patients.

    Returns:
        method, patient_id, channel, quantity, predicted. Without any demographics that method has no rows.
    """
    design = Design.fit(patients.loc[train])
    matrices = design.matrix(patients.loc[train]), design.matrix(patients.loc[test])
    parts = []
    columns: list[Any] = list(truth.columns)
    for channel, quantity in columns:
        values = truth.loc[train, (channel, quantity)].to_numpy(np.float64)
        known = values[np.isfinite(values)]
        mean = known.mean() if len(known) else np.nan
        predictions = {} if design.empty else {DEMOGRAPHICS: regress(matrices[0], values, matrices[1])}
        predictions[TRAINING_MEAN] = np.full(len(test), mean)
        parts += [
            pd.DataFrame(
                {"method": m, "patient_id": test, "channel": channel, "quantity": quantity, "predicted": values}
            )
            for m, values in predictions.items()
        ]
    return pd.concat(parts, ignore_index=True)
