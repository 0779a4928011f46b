"""An image's estimate joined with what demographics say: stacking that is fitted on held-out patients alone.

What is fitted are whole structures: visible truths and estimates are divided by the visible share, and the stacked
estimate is multiplied by it. Demographics tell nothing of the share, so the weights may not depend on it.

The weights for a patient come from the other held-out patients of the same fold. Neither the model of that fold, nor
its regression on demographics, nor the weights have seen the patient's truth. Held-out predictions of *other* folds
would not do: their models were trained on this patient.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from mskdex.evaluation.baselines import DEMOGRAPHICS, DEMOGRAPHICS_THUMBNAIL, TRAINING_MEAN

FUSED = "fused"
"""The method that joins the proposed experiment with age, sex, height and weight."""

ALONE = (DEMOGRAPHICS, TRAINING_MEAN, DEMOGRAPHICS_THUMBNAIL)
"""Methods that are not joined with demographics: they are or hold them, or say nothing of a patient."""

PRIOR_PATIENTS = 2.0
"""The weights are drawn towards the mean of both estimates as strongly as so many patients would draw them."""

_EQUAL = np.array([0.0, 0.5, 0.5])
_LEAST_SHARE = 1e-6


def stack(truth: np.ndarray, first: np.ndarray, second: np.ndarray, persons: np.ndarray) -> np.ndarray:
    """Stacked estimate of every row, of which the weights are fitted on the rows of all other persons.

    Least squares of the truth on an intercept and both estimates, with a quadratic pull towards (0, ½, ½).

    Args:
        truth: (rows,) standardised by training patients, NaN where not known.
        first: (rows,) an out-of-fold estimate, standardised alike.
        second: (rows,) another.
        persons: (rows,) whose row it is: all rows of one person are left out together.

    Returns:
        (rows,), NaN where an estimate is.

    Source: Wolpert 1992 (stacked generalisation); Breiman 1996 (stacked regressions).
    """
    regressors, usable = _usable(truth, first, second)
    found = np.full(len(truth), np.nan)
    for person in pd.unique(persons):
        own = persons == person
        found[own] = regressors[own] @ _weights(regressors[usable & ~own], truth[usable & ~own])
    return found


def _weights(rows: np.ndarray, target: np.ndarray) -> np.ndarray:
    """(3,) weights of an intercept and both estimates."""
    matrix = rows.T @ rows + PRIOR_PATIENTS * np.eye(3)
    return np.asarray(np.linalg.solve(matrix, rows.T @ target + PRIOR_PATIENTS * _EQUAL))


def _usable(truth: np.ndarray, first: np.ndarray, second: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Regressors of every row, and which rows a fit can use."""
    regressors = np.column_stack([np.ones(len(truth)), first, second])
    return regressors, np.isfinite(truth) & np.isfinite(regressors).all(axis=1)


def with_demographics(
    points: pd.DataFrame, proposed: str, truth: pd.DataFrame, folds: pd.Series, persons: pd.Series
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Joins every method's estimate with demographics, and lets the proposed one's stand as `FUSED`.

    Args:
        points: completed table of points.
        proposed: the experiment that `FUSED` is made of.
        truth: as `fuse` takes it, and so folds and persons.

    Returns:
        (points, joined): the points with those of `FUSED` after the proposed experiment's, and each method's joined
        estimates under its own name. Methods that hold demographics already are joined as they are.
    """
    names = [m for m in dict.fromkeys(points["method"]) if m not in ALONE]
    joined = [fuse(points, m, truth, folds, persons) for m in names]
    fused = joined[names.index(proposed)].assign(method=FUSED)
    last = np.flatnonzero(points["method"] == proposed)[-1] + 1
    with_fused = pd.concat([points.iloc[:last], fused, points.iloc[last:]], ignore_index=True)
    both = points[points["method"] == DEMOGRAPHICS_THUMBNAIL]
    return with_fused, pd.concat([*joined, fused, both], ignore_index=True)


def fuse(points: pd.DataFrame, method: str, truth: pd.DataFrame, folds: pd.Series, persons: pd.Series) -> pd.DataFrame:
    """The rows of a method with its estimate joined with the regression on demographics.

    Args:
        points: completed table of points; what is left out of the agreement enters no fit.
        method: whose estimates are joined.
        truth: column per (channel, quantity), row per patient: training patients standardise what is fitted.
        folds: fold of each patient, indexed by patient.
        persons: person of each patient, indexed by patient.

    Returns:
        Rows like those of the method, with another `predicted`; none without demographics.
    """
    both = _beside_demographics(points, method)
    if both.empty:
        return both.drop(columns="regressed")
    parts = [part for _, part in both.groupby(["fold", "quantity", "structure"], sort=False)]
    fused = []
    for part in parts:
        own = _Scaled.of(part, truth.loc[folds.index[folds != part["fold"].iloc[0]]])
        estimate = stack(own.truth, own.regressed, own.predicted, part["patient_id"].map(persons).to_numpy())
        fused.append(part.assign(predicted=own.visible(estimate)))
    return pd.concat(fused).sort_index().drop(columns="regressed")


def fuse_new(points: pd.DataFrame, new: pd.DataFrame, method: str, truth: pd.DataFrame) -> pd.DataFrame:
    """As `fuse`, of persons of whom nothing was fitted: the weights are those of all held-out patients.

    Args:
        points: completed points of the held-out patients.
        new: completed points of the others.
        method: whose estimates are joined.
        truth: column per (channel, quantity), row per patient that was trained on or tested, to standardise.

    Returns:
        The rows of the method in `new` with another `predicted`; none without demographics.
    """
    weights, both = held_out_weights(points, method, truth), _beside_demographics(new, method)
    fused = [both.iloc[:0]]
    for key, part in both.groupby(["quantity", "structure"], sort=False):
        own = _Scaled.of(part, truth)
        regressors, _ = _usable(own.truth, own.regressed, own.predicted)
        estimate = regressors @ weights[key] if key in weights else np.full(len(part), np.nan)
        fused.append(part.assign(predicted=own.visible(estimate)))
    return pd.concat(fused).sort_index().drop(columns="regressed")


def held_out_weights(points: pd.DataFrame, method: str, truth: pd.DataFrame) -> dict[tuple[str, str], np.ndarray]:
    """Weights for persons of whom nothing was fitted, by (quantity, structure): of an intercept and both estimates.

    Args:
        points: completed points of held-out patients.
        method: whose estimates are joined.
        truth: column per (channel, quantity), row per patient, to standardise.
    """
    found = {}
    for (quantity, structure), rows in _beside_demographics(points, method).groupby(["quantity", "structure"]):
        own = _Scaled.of(rows, truth)
        regressors, usable = _usable(own.truth, own.regressed, own.predicted)
        found[str(quantity), str(structure)] = _weights(regressors[usable], own.truth[usable])
    return found


def _beside_demographics(points: pd.DataFrame, method: str) -> pd.DataFrame:
    """Rows of a method, with the regression on demographics as `regressed`."""
    keys = ["patient_id", "channel", "quantity"]
    known = points.loc[points["method"] == DEMOGRAPHICS, [*keys, "predicted"]]
    return points[points["method"] == method].merge(
        known.rename(columns={"predicted": "regressed"}), on=keys, how="inner"
    )


@dataclass(frozen=True)
class _Scaled:
    """Rows of one structure and quantity, left and right together: whole, and standardised by training patients."""

    share: np.ndarray
    mean: np.ndarray
    spread: np.ndarray
    truth: np.ndarray
    regressed: np.ndarray
    predicted: np.ndarray

    @classmethod
    def of(cls, rows: pd.DataFrame, train: pd.DataFrame) -> "_Scaled":
        share, quantity = _visible_share(rows), rows["quantity"].iloc[0]
        mean, spread = (rows["channel"].map(s.xs(quantity, level=1)).to_numpy() for s in (train.mean(), train.std()))
        spread = np.where(spread > 0, spread, np.nan)
        counts = np.where(rows["left_out"].isna() & (share > 0), rows["truth"].to_numpy(np.float64), np.nan)
        given = (counts, rows["regressed"].to_numpy(np.float64), rows["predicted"].to_numpy(np.float64))
        truth, regressed, predicted = ((v / np.maximum(share, _LEAST_SHARE) - mean) / spread for v in given)
        return cls(share, mean, spread, truth, regressed, predicted)

    def visible(self, estimate: np.ndarray) -> np.ndarray:
        """Standardised estimates of whole structures as visible sums in the quantity's unit."""
        return np.asarray(self.share * (self.mean + self.spread * estimate))


def _visible_share(rows: pd.DataFrame) -> np.ndarray:
    """(rows,) share of the structure inside the exposed field, 1 where nobody has looked."""
    if "visible" not in rows:
        return np.ones(len(rows))
    return rows["visible"].astype(np.float64).clip(0.0, 1.0).fillna(1.0).to_numpy()
