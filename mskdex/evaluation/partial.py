"""Partial correlation and R² of several columns under many weightings of the patients."""

import numpy as np
from jaxtyping import Float64, Real

from mskdex.evaluation.agreement import Pairs, undefined

_RCOND = 1e-10
_NO_SPREAD = 1e-9


def partial_correlation(
    pairs: Pairs, design: Real[np.ndarray, "patients k"], counts: Real[np.ndarray, "weightings patients"]
) -> tuple[Float64[np.ndarray, "weightings columns"], list[str | None]]:
    """Correlation of truth and prediction when both are freed of what the design explains linearly.

    By the Schur complement of the weighted products: the same as the correlation of the residuals of two regressions.

    Args:
        pairs: truth and prediction.
        design: (patients, k) with an intercept.
        counts: (weightings, patients) weights.

    Returns:
        (weightings, columns), NaN where nothing is left of truth or prediction; and why a column has no value, or None.
    """
    k = design.shape[1]
    values = np.full((len(counts), pairs.truth.shape[1]), np.nan)
    why: list[str | None] = []
    for column in range(values.shape[1]):
        known = pairs.known[:, column]
        both = np.column_stack([pairs.truth[known, column], pairs.predicted[known, column]])
        if len(both) < k + 2 or not np.isfinite(both).all():
            why.append(f"needs {k + 2} patients with predictions, has {int(np.isfinite(both).all(axis=1).sum())}")
            continue
        spread = both.std(axis=0)
        rows = np.column_stack([design[known], (both - both.mean(axis=0)) / np.where(spread > 0, spread, 1.0)])
        products = (rows[:, :, None] * rows[:, None, :]).reshape(len(rows), -1)
        left = _schur((counts[:, known] @ products).reshape(-1, k + 2, k + 2), k)
        floor = _NO_SPREAD * counts[:, known].sum(axis=1)
        enough = (left[:, 0, 0] > floor) & (left[:, 1, 1] > floor)
        with np.errstate(invalid="ignore", divide="ignore"):
            r = left[:, 0, 1] / np.sqrt(left[:, 0, 0] * left[:, 1, 1])
        values[:, column] = np.where(enough, np.clip(r, -1.0, 1.0), np.nan)
        why.append(None if enough[0] else "demographics leave no spread of it")
    return values, why


def _schur(products: np.ndarray, k: int) -> np.ndarray:
    """(weightings, 2, 2): products of the last two columns, of residuals from the first k."""
    inverse = np.linalg.pinv(products[:, :k, :k], rcond=_RCOND, hermitian=True)
    across = products[:, :k, k:]
    return np.asarray(products[:, k:, k:] - across.transpose(0, 2, 1) @ inverse @ across)


def r_squared(
    pairs: Pairs, counts: Real[np.ndarray, "weightings patients"]
) -> tuple[Float64[np.ndarray, "weightings columns"], list[str | None]]:
    """1 − Σ(truth − prediction)² / Σ(truth − its mean)²; negative where the mean of the patients would be better.

    Args:
        pairs: truth and prediction.
        counts: (weightings, patients) weights.

    Returns:
        (weightings, columns); and why a column has no value, or None.
    """
    known = pairs.known
    count = np.maximum(known.sum(axis=0), 1)
    truth = np.where(known, pairs.truth, 0.0)
    centred = np.where(known, truth - truth.sum(axis=0) / count, 0.0)
    error = np.where(known, pairs.predicted - pairs.truth, 0.0)
    n, s, ss, squared = (counts @ part for part in (known, centred, centred**2, error**2))
    with np.errstate(invalid="ignore", divide="ignore"):
        spread = ss - s**2 / n
        values = 1.0 - squared / np.where(spread > _NO_SPREAD * ss.max(axis=0, initial=0.0), spread, np.nan)
    return np.where(np.isfinite(values), values, np.nan), [_why(pairs, c) for c in range(known.shape[1])]


def _why(pairs: Pairs, column: int) -> str | None:
    if reason := undefined("loa_low", pairs, column):
        return reason
    truth = pairs.truth[pairs.known[:, column], column]
    return "constant truth" if np.ptp(truth) <= _NO_SPREAD * np.abs(truth).max() else None
