"""An image's estimate joined with what demographics say: stacking that is fitted on held-out patients alone.

What is fitted are whole structures: visible truths and estimates are divided by the visible share, and the stacked
estimate is multiplied by it. Demographics tell nothing of the share, so the weights may not depend on it.

The weights for a patient come from the other held-out patients of the same fold. Neither the model of that fold, nor
its regression on demographics, nor the weights have seen the patient's truth. Held-out predictions of *other* folds
would not do: their models were trained on this patient.
"""

import numpy as np
import pandas as pd

from mskdex.evaluation.baselines import DEMOGRAPHICS, DEMOGRAPHICS_THUMBNAIL, TRAINING_MEAN

FUSED = "fused"
"""The method that joins the proposed experiment with age, sex, height and weight."""

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
    regressors = np.column_stack([np.ones(len(truth)), first, second])
    usable = np.isfinite(truth) & np.isfinite(regressors).all(axis=1)
    found = np.full(len(truth), np.nan)
    for person in pd.unique(persons):
        own = persons == person
        rows, target = regressors[usable & ~own], truth[usable & ~own]
        matrix = rows.T @ rows + PRIOR_PATIENTS * np.eye(3)
        found[own] = regressors[own] @ np.linalg.solve(matrix, rows.T @ target + PRIOR_PATIENTS * _EQUAL)
    return found


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
    alone = (DEMOGRAPHICS, TRAINING_MEAN, DEMOGRAPHICS_THUMBNAIL)
    names = [m for m in dict.fromkeys(points["method"]) if m not in alone]
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
    keys = ["patient_id", "channel", "quantity"]
    image = points[points["method"] == method]
    known = points.loc[points["method"] == DEMOGRAPHICS, [*keys, "predicted"]]
    both = image.merge(known.rename(columns={"predicted": "regressed"}), on=keys, how="inner")
    if both.empty:
        return both.drop(columns="regressed")
    both["person"] = both["patient_id"].map(persons)
    parts = [part for _, part in both.groupby(["fold", "quantity", "structure"], sort=False)]
    fused = pd.concat([part.assign(predicted=_fused(part, truth, folds)) for part in parts])
    return fused.sort_index()[list(image.columns)]


def _fused(rows: pd.DataFrame, truth: pd.DataFrame, folds: pd.Series) -> np.ndarray:
    """Left and right of a structure share their weights; all is of whole structures until the end."""
    share = _visible_share(rows)
    train = truth.loc[folds.index[folds != rows["fold"].iloc[0]]]
    quantity = rows["quantity"].iloc[0]
    mean, spread = (rows["channel"].map(s.xs(quantity, level=1)).to_numpy() for s in (train.mean(), train.std()))
    spread = np.where(spread > 0, spread, np.nan)
    counts = np.where(rows["left_out"].isna() & (share > 0), rows["truth"].to_numpy(np.float64), np.nan)
    known, own = rows["regressed"].to_numpy(np.float64), rows["predicted"].to_numpy(np.float64)
    whole = np.maximum(share, _LEAST_SHARE)
    scaled = [(v / whole - mean) / spread for v in (counts, known, own)]
    estimate = stack(scaled[0], scaled[1], scaled[2], rows["person"].to_numpy())
    return np.asarray(share * (mean + spread * estimate))


def _visible_share(rows: pd.DataFrame) -> np.ndarray:
    """(rows,) share of the structure inside the exposed field, 1 where nobody has looked."""
    if "visible" not in rows:
        return np.ones(len(rows))
    return rows["visible"].astype(np.float64).clip(0.0, 1.0).fillna(1.0).to_numpy()
