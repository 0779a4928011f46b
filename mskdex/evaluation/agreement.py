"""Agreement of predictions with the truth, per column, with a bootstrap over persons.

Every statistic here is a function of a few weighted sums over patients, so a bootstrap of all columns
is one matrix product: resampling persons is weighting their rows by how often they were drawn.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd

LIMITS_SD = 1.96
"""Bland–Altman limits lie this many standard deviations from the bias (95 % of a normal distribution)."""

MIN_DEFINED_SHARE = 0.9
"""A confidence interval is undefined when a smaller share of the resamples gives a value."""

_MIN_PATIENTS = {"mae": 1, "mae_percent": 1, "rmse": 1, "bias": 1, "loa_low": 2, "loa_high": 2}
_NEEDS_SPREAD = ("pcc", "icc21", "icc11", "slope")
_TINY = 1e-12


@dataclass(frozen=True)
class Statistic:
    """How a statistic is named and read.

    Attributes:
        label: short name in tables.
        description: one sentence.
        scale: "ratio" (no unit), "unit" (that of the quantity) or "percent".
    """

    label: str
    description: str
    scale: str


STATISTICS = {
    "pcc": Statistic("PCC", "Pearson correlation coefficient of prediction and truth", "ratio"),
    "icc21": Statistic(
        "ICC(2,1)", "intraclass correlation, two-way random effects, absolute agreement, single measure", "ratio"
    ),
    "icc11": Statistic("ICC(1,1)", "intraclass correlation, one-way random effects, single measure", "ratio"),
    "mae": Statistic("MAE", "mean absolute error", "unit"),
    "mae_percent": Statistic("MAE %", "mean absolute error in per cent of the mean truth", "percent"),
    "rmse": Statistic("RMSE", "root mean square error", "unit"),
    "bias": Statistic("Bias", "Bland–Altman bias: mean of prediction minus truth", "unit"),
    "loa_low": Statistic("LoA low", "lower Bland–Altman limit: bias − 1.96 SD of the differences", "unit"),
    "loa_high": Statistic("LoA high", "upper Bland–Altman limit: bias + 1.96 SD of the differences", "unit"),
    "slope": Statistic("Slope", "calibration slope: regression of the truth on the prediction, 1 is ideal", "ratio"),
}
"""Every statistic, in the tables' order."""


@dataclass(frozen=True)
class Pairs:
    """Truth and prediction of the same patients in several columns (one per channel).

    Attributes:
        truth: (patients, columns), any value where not known.
        predicted: (patients, columns), NaN where the method gave none.
        known: (patients, columns) bool; pairs that count.
        groups: (patients,) fold of each patient; a prediction that is constant within each is constant.
    """

    truth: np.ndarray
    predicted: np.ndarray
    known: np.ndarray
    groups: np.ndarray


def resamples(patients: int, samples: int, seed: int) -> np.ndarray:
    """How often each patient is drawn in each bootstrap resample.

    Returns:
        (samples, patients) float64 counts; each row sums to `patients`.
    """
    generator = np.random.default_rng(seed)
    return generator.multinomial(patients, np.full(patients, 1.0 / patients), size=samples).astype(np.float64)


def person_resamples(persons: np.ndarray, samples: int, seed: int) -> np.ndarray:
    """How often each row is drawn when persons are resampled: all rows of a person come together.

    Args:
        persons: (rows,) whose each is.
        samples: resamples.
        seed: of the draws.

    Returns:
        (samples, rows) float64 counts.
    """
    codes, people = pd.factorize(persons)
    return resamples(len(people), samples, seed)[:, codes]


def statistics(pairs: Pairs, counts: np.ndarray) -> dict[str, np.ndarray]:
    """All statistics of every column under every weighting of the patients.

    Args:
        pairs: truth and prediction.
        counts: (weightings, patients) weights; a row of ones gives the plain estimate.

    Returns:
        By name of `STATISTICS`, (weightings, columns); NaN where undefined.

    Source: ICC, Shrout and Fleiss 1979 (two raters); limits of agreement, Bland and Altman 1986.
    """
    known = pairs.known
    origin = _column_mean(pairs.truth, known)
    x = np.where(known, pairs.truth - origin, 0.0)
    y = np.where(known, pairs.predicted - origin, 0.0)
    difference = y - x
    n, sx, sy, sxx, syy, sxy, absolute, squared = (
        counts @ part for part in (known, x, y, x * x, y * y, x * y, np.abs(difference), difference**2)
    )
    scale = np.maximum((sxx + syy).max(axis=0, initial=0.0), np.finfo(float).tiny)
    with np.errstate(invalid="ignore", divide="ignore"):
        mx, my = sx / n, sy / n
        cxx, cyy, cxy = sxx - sx * mx, syy - sy * my, sxy - sx * my
        cxx, cyy = np.where(cxx > _TINY * scale, cxx, 0.0), np.where(cyy > _TINY * scale, cyy, 0.0)
        bias = my - mx
        spread = np.sqrt(np.maximum(cxx + cyy - 2 * cxy, 0.0) / (n - 1))
        icc21, icc11 = _intraclass(n, cxx, cyy, cxy, bias)
        mae = absolute / n
        found = {
            "pcc": cxy / np.sqrt(cxx * cyy),
            "icc21": icc21,
            "icc11": icc11,
            "mae": mae,
            "mae_percent": 100.0 * mae / (mx + origin),
            "rmse": np.sqrt(squared / n),
            "bias": bias,
            "loa_low": bias - LIMITS_SD * spread,
            "loa_high": bias + LIMITS_SD * spread,
            "slope": cxy / cyy,
        }
    found = {name: np.where(np.isfinite(value), value, np.nan) for name, value in found.items()}
    return found | {"pcc": np.clip(found["pcc"], -1.0, 1.0)}


def _column_mean(values: np.ndarray, known: np.ndarray) -> np.ndarray:
    mean: np.ndarray = np.where(known, values, 0.0).sum(axis=0) / np.maximum(known.sum(axis=0), 1)
    return mean


def _intraclass(
    n: np.ndarray, cxx: np.ndarray, cyy: np.ndarray, cxy: np.ndarray, bias: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """ICC(2,1) and ICC(1,1) of two raters from centred sums; the mean squares of Shrout and Fleiss."""
    rows = (cxx + cyy + 2 * cxy) / 2 / (n - 1)
    error = (cxx + cyy - 2 * cxy) / 2 / (n - 1)
    raters = n * bias**2 / 2
    within = (raters + error * (n - 1)) / n
    icc21 = (rows - error) / (rows + error + 2 * (raters - error) / n)
    return icc21, (rows - within) / (rows + within)


def undefined(name: str, pairs: Pairs, column: int) -> str | None:
    """Why a statistic of a column has no value, in words; None when it has one."""
    known = pairs.known[:, column]
    truth, predicted = pairs.truth[known, column], pairs.predicted[known, column]
    count, needed = len(truth), _MIN_PATIENTS.get(name, 3)
    if count == 0:
        return "complete in no patient"
    if missing := int((~np.isfinite(predicted)).sum()):
        return f"{missing} of {count} predictions are not numbers"
    if count < needed:
        return f"needs {needed} patients, has {count}"
    if name in _NEEDS_SPREAD and _constant_in_groups(predicted, pairs.groups[known]):
        return "constant prediction"
    if name in _NEEDS_SPREAD and _constant(truth):
        return "constant truth"
    if name == "mae_percent" and not truth.mean() > 0:
        return "the mean truth is zero"
    return None


def _constant(values: np.ndarray) -> bool:
    return bool(np.ptp(values) <= 1e-9 * np.abs(values).max(initial=0.0))


def _constant_in_groups(values: np.ndarray, groups: np.ndarray) -> bool:
    return all(_constant(values[groups == group]) for group in np.unique(groups)) and (
        len(np.unique(groups)) < len(values) or _constant(values)
    )


def interval(draws: np.ndarray, confidence: float) -> tuple[float, float]:
    """Percentile interval of bootstrap draws; (NaN, NaN) when too many draws are undefined.

    Args:
        draws: (samples,), NaN where a resample gives no value.
        confidence: e.g. 0.95.
    """
    defined = draws[np.isfinite(draws)]
    if len(defined) < MIN_DEFINED_SHARE * len(draws) or len(defined) == 0:
        return float("nan"), float("nan")
    low, high = np.quantile(defined, [(1 - confidence) / 2, (1 + confidence) / 2])
    return float(low), float(high)
