"""Ridge regression on many pixels beside a few regressors that are not penalised."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

PENALTIES = tuple(10.0**k for k in np.arange(-3.0, 2.01, 0.5))
"""Penalties to choose from, relative to the mean squared length of the training patients' images."""


@dataclass(frozen=True)
class Rows:
    """Patients of a regression.

    Attributes:
        pixels: (patients, P).
        design: (patients, k) regressors that are not penalised, an intercept among them.
    """

    pixels: np.ndarray
    design: np.ndarray

    def __getitem__(self, chosen: np.ndarray) -> "Rows":
        return Rows(self.pixels[chosen], self.design[chosen])


def fit_ridge(train: Rows, truth: np.ndarray, unseen: Rows, penalties: tuple[float, ...] = PENALTIES) -> np.ndarray:
    """Predictions of ridge regressions of which the design is not penalised.

    The design is projected out of pixels and truth first, which leaves the same coefficients (Frisch, Waugh and
    Lovell); the rest is solved by its singular values, for all penalties at once.

    Args:
        train: patients to learn from.
        truth: (patients, columns), NaN where not known: each column is fitted on the patients in whom it is.
        unseen: patients to predict.
        penalties: relative to the mean squared length of the projected images.

    Returns:
        (penalties, unseen, columns); NaN where there are not more patients than regressors.
    """
    found = np.full((len(penalties), len(unseen.design), truth.shape[1]), np.nan)
    for known, columns in _patterns(np.isfinite(truth)):
        if known.sum() > train.design.shape[1]:
            found[:, :, columns] = _fit(train[known], truth[np.ix_(known, columns)], unseen, penalties)
    return found


def _patterns(known: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Columns that are known in the same patients: (which patients, which columns)."""
    patterns, member = np.unique(known, axis=1, return_inverse=True)
    for i in range(patterns.shape[1]):
        yield patterns[:, i], np.flatnonzero(member == i)


def _fit(train: Rows, truth: np.ndarray, unseen: Rows, penalties: tuple[float, ...]) -> np.ndarray:
    of_pixels, *_ = np.linalg.lstsq(train.design, train.pixels, rcond=None)
    of_truth, *_ = np.linalg.lstsq(train.design, truth, rcond=None)
    pixels, new = train.pixels - train.design @ of_pixels, unseen.pixels - unseen.design @ of_pixels
    scale = (pixels**2).sum(axis=1).mean()
    known = unseen.design @ of_truth
    if not scale > 0:
        return np.repeat(known[None], len(penalties), axis=0)
    left, sizes, right = np.linalg.svd(pixels, full_matrices=False)
    rest, seen = left.T @ (truth - train.design @ of_truth), new @ right.T
    return np.stack([known + (seen * (sizes / (sizes**2 + p * scale))) @ rest for p in penalties])


def choose_penalty(
    train: Rows, truth: np.ndarray, parts: np.ndarray, tested: np.ndarray, penalties: tuple[float, ...] = PENALTIES
) -> float:
    """The penalty with the least squared error of cross-validation within the training patients.

    Args:
        train: training patients.
        truth: (patients, columns); each column's error counts relative to its variance.
        parts: (patients,) part that is left out together with a row.
        tested: (patients,) bool, rows that are predicted when their part is left out.
        penalties: to choose from.

    Returns:
        The best one; the largest where no part can be predicted from the others.
    """
    errors = np.zeros(len(penalties))
    spread = np.array([np.var(c[np.isfinite(c)]) if np.isfinite(c).any() else 0.0 for c in truth.T])
    for part in np.unique(parts):
        own, others = (parts == part) & tested, parts != part
        if others.any() and own.any():
            squared = (fit_ridge(train[others], truth[others], train[own], penalties) - truth[own]) ** 2
            errors += np.nansum(squared / np.where(spread > 0, spread, np.inf), axis=(1, 2))
    return penalties[int(np.argmin(errors))] if errors.any() else penalties[-1]


def predict_ridge(train: Rows, truth: np.ndarray, parts: np.ndarray, tested: np.ndarray, unseen: Rows) -> np.ndarray:
    """(unseen, columns): ridge regression with the penalty that cross-validation within `train` prefers."""
    penalty = choose_penalty(train, truth, parts, tested)
    return np.asarray(fit_ridge(train, truth, unseen, (penalty,))[0])
