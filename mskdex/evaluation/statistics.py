"""Tests of one method against another on the same patients."""

import numpy as np
from jaxtyping import Float64, Real
from scipy import stats

_UNDEFINED = (float("nan"), float("nan"))


def one_way_anova(first: Real[np.ndarray, "n"], second: Real[np.ndarray, "m"]) -> tuple[float, float]:
    """One-way analysis of variance of two groups of absolute errors, as in MSKdeX (Gu et al. 2023).

    Returns:
        (F, p); NaN with fewer than two values in a group or no variance at all.
    """
    first, second = _finite(first), _finite(second)
    if min(len(first), len(second)) < 2 or np.ptp(np.concatenate([first, second])) == 0:
        return _UNDEFINED
    if np.ptp(first) == 0 and np.ptp(second) == 0:
        return float("inf"), 0.0
    result = stats.f_oneway(first, second)
    return float(result.statistic), float(result.pvalue)


def paired_wilcoxon(first: Real[np.ndarray, "pairs"], second: Real[np.ndarray, "pairs"]) -> tuple[float, float]:
    """Wilcoxon signed-rank test of paired values, two-sided; pairs with a NaN are left out.

    Returns:
        (W, p); NaN with fewer than two pairs or when all pairs are equal.
    """
    difference = _finite(np.asarray(first) - np.asarray(second))
    if len(difference) < 2 or not difference.any():
        return _UNDEFINED
    result = stats.wilcoxon(difference, zero_method="wilcox")
    return float(result.statistic), float(result.pvalue)


def holm(p_values: Real[np.ndarray, "tests"]) -> Float64[np.ndarray, "tests"]:
    """Holm's step-down correction over a family of tests.

    Args:
        p_values: NaN entries are no tests: they stay NaN and do not count.

    Source: Holm 1979.
    """
    p_values = np.asarray(p_values, dtype=np.float64)
    adjusted = np.full(p_values.shape, np.nan)
    tested = np.flatnonzero(np.isfinite(p_values))
    order = tested[np.argsort(p_values[tested], kind="stable")]
    factors = len(order) - np.arange(len(order))
    adjusted[order] = np.minimum(np.maximum.accumulate(p_values[order] * factors), 1.0)
    return adjusted


def _finite(values: np.ndarray) -> np.ndarray:
    values = np.asarray(values, dtype=np.float64)
    finite: np.ndarray = values[np.isfinite(values)]
    return finite
