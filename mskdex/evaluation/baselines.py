"""What a network has to stand beside: demographics, the radiograph's thumbnail, both, and the training mean."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from mskdex.evaluation.ridge import Rows, predict_ridge
from mskdex.evaluation.thumbnails import Thumbnails

DEMOGRAPHICS = "demographics"
THUMBNAIL = "thumbnail_ridge"
DEMOGRAPHICS_THUMBNAIL = "demographics_thumbnail_ridge"
TRAINING_MEAN = "training_mean"
BASELINES = (DEMOGRAPHICS, THUMBNAIL, DEMOGRAPHICS_THUMBNAIL, TRAINING_MEAN)
"""Methods that need no network, in the tables' order."""

INNER_PARTS = 4
"""Parts of the inner cross-validation where all training patients are of one fold."""

NUMBERS = ("age", "height_cm", "weight_kg")


@dataclass(frozen=True)
class Design:
    """How demographics become regressors, as learned from the training patients alone.

    Attributes:
        means: mean of each numeric column that the training patients have and in which they differ;
            a missing value is taken to be it.
        sexes: share of the training patients of each sex that has an indicator column. Of a patient whose sex is
            missing, or was not seen in training, the indicators are these shares: the training mean too.
        reference: the sex without an indicator; None where no sex is known.
    """

    means: dict[str, float]
    sexes: dict[str, float]
    reference: str | None = None

    @classmethod
    def fit(cls, patients: pd.DataFrame) -> "Design":
        """Chooses the regressors that the training patients support."""
        numbers = {c: pd.to_numeric(patients[c], errors="coerce").dropna() for c in NUMBERS if c in patients}
        means = {c: float(v.mean()) for c, v in numbers.items() if len(v) > 1 and v.max() > v.min()}
        known = patients["sex"].dropna().astype(str) if "sex" in patients else pd.Series(dtype=str)
        sexes = sorted(set(known))
        return cls(means, {s: float((known == s).mean()) for s in sexes[1:]}, sexes[0] if sexes else None)

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
        seen = np.isin(sex.astype(str), [self.reference or "", *self.sexes])
        columns += [np.where(seen, np.equal(sex, level), share) for level, share in self.sexes.items()]
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


@dataclass(frozen=True)
class Fold:
    """Who is trained on and who is tested.

    Attributes:
        train: training patients.
        test: test patients.
        parts: part of the inner cross-validation of each training patient; those of one person share theirs.
    """

    train: list[str]
    test: list[str]
    parts: np.ndarray

    @classmethod
    def of(cls, fold: int, folds: pd.Series, persons: pd.Series) -> "Fold":
        """A fold of the cohort: the inner parts are the other folds, or parts of the only other one.

        Args:
            fold: number of the fold.
            folds: fold of each patient, indexed by patient.
            persons: person of each patient, indexed alike.
        """
        test, train = folds.index[folds == fold], folds.index[folds != fold]
        return cls(list(train), list(test), cls.parts_of(folds[train], persons))

    @staticmethod
    def parts_of(folds: pd.Series, persons: pd.Series) -> np.ndarray:
        """Parts of the inner cross-validation: the training patients' folds, or quarters of the persons of one.

        Args:
            folds: fold of each, indexed by patient.
            persons: person of each patient, indexed alike.
        """
        parts = folds.to_numpy()
        if len(np.unique(parts)) < 2:
            parts = pd.factorize(persons[folds.index])[0] % INNER_PARTS
        return np.asarray(parts)


def predict_baselines(truth: pd.DataFrame, patients: pd.DataFrame, thumbnails: Thumbnails, fold: Fold) -> pd.DataFrame:
    """Predictions of the baselines for the test patients of a fold, from its training patients.

    Args:
        truth: column per (channel, quantity), row per patient (index), NaN where not known.
        patients: demographics, indexed by patient.
        thumbnails: radiographs of all patients.
        fold: who is trained on and who is tested.

    Returns:
        method, patient_id, channel, quantity, predicted. Without any demographics the methods that use them have no
        rows.
    """
    train, test = fold.train, fold.test
    values = truth.loc[train].to_numpy(np.float64)
    known = np.isfinite(values)
    with np.errstate(invalid="ignore"):
        mean = np.where(known, values, 0.0).sum(axis=0) / known.sum(axis=0)
    design, nothing = Design.fit(patients.loc[train]), Design({}, {})
    found = {THUMBNAIL: _ridge(truth, patients, thumbnails, fold, nothing)}
    if not design.empty:
        matrices = design.matrix(patients.loc[train]), design.matrix(patients.loc[test])
        regressed = np.column_stack([regress(matrices[0], column, matrices[1]) for column in values.T])
        both = _ridge(truth, patients, thumbnails, fold, design)
        found = {DEMOGRAPHICS: regressed, **found, DEMOGRAPHICS_THUMBNAIL: both}
    found[TRAINING_MEAN] = np.repeat(mean[None], len(test), axis=0)
    return pd.concat([_long(method, test, truth.columns, v) for method, v in found.items()], ignore_index=True)


def _ridge(
    truth: pd.DataFrame, patients: pd.DataFrame, thumbnails: Thumbnails, fold: Fold, design: Design
) -> np.ndarray:
    """Ridge regression on thumbnails, learned from the training patients and their mirror images."""
    train, test = fold.train, fold.test
    images = [thumbnails.pixels_of(train, train, mirrored=m) for m in (False, True)]
    rows = Rows(np.concatenate(images), np.concatenate([design.matrix(patients.loc[train])] * 2))
    values = truth.loc[train]
    both = np.concatenate([values.to_numpy(np.float64), values[mirrored_columns(values.columns)].to_numpy(np.float64)])
    plain = np.arange(len(both)) < len(train)
    unseen = Rows(thumbnails.pixels_of(test, train), design.matrix(patients.loc[test]))
    return predict_ridge(rows, both, np.concatenate([fold.parts] * 2), plain, unseen)


def mirrored_columns(columns: pd.Index) -> list[Any]:
    """The columns (channel, quantity) with left and right exchanged; what has no counterpart stays."""
    other = {"_left": "_right", "_right": "_left"}

    def mirror(channel: str) -> str:
        return next((channel.removesuffix(s) + o for s, o in other.items() if channel.endswith(s)), channel)

    return [(mirror(c), q) if (mirror(c), q) in columns else (c, q) for c, q in columns]


def _long(method: str, patients: list[str], columns: pd.Index, values: np.ndarray) -> pd.DataFrame:
    table = pd.DataFrame(values, index=pd.Index(patients, name="patient_id"), columns=columns)
    table.columns = table.columns.set_names(["channel", "quantity"])
    long = table.melt(ignore_index=False, value_name="predicted").reset_index()
    return long.assign(method=method)[["method", "patient_id", "channel", "quantity", "predicted"]]
