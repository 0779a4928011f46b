"""Whether one method is better than another: paired differences of the measures of the first table."""

import numpy as np
import pandas as pd

from mskdex.config.evaluation import EvaluationSettings
from mskdex.evaluation.added_value import muscle_mean_draws
from mskdex.evaluation.agreement import interval

COMPARED = ("pcc", "pcc_women", "pcc_men", "partial", "left_right", "icc21", "r2", "r2_both")
"""Measures of which more is better, and a difference between methods says something."""


def difference_table(
    points: pd.DataFrame,
    joined: pd.DataFrame,
    patients: pd.DataFrame,
    settings: EvaluationSettings,
    persons: pd.Series | None = None,
) -> pd.DataFrame:
    """Differences of each measure's mean over the muscles between every two methods, with intervals.

    Both methods are evaluated on the same resamples of persons, so that what makes a resample hard or easy falls out of
    the difference; the interval is the percentile bootstrap's.

    Args:
        points, joined, patients, settings, persons: as of `added_value_table`.

    Returns:
        quantity, measure, method, other, value (method less other), low, high; each pair once, in the points' order.
    """
    found: dict[tuple[str, str], dict[str, np.ndarray]] = {}
    for method, quantity, measure, draws in muscle_mean_draws(points, joined, patients, settings, persons):
        if measure in COMPARED:
            found.setdefault((quantity, measure), {})[method] = draws
    rows = []
    for (quantity, measure), methods in found.items():
        names = list(methods)
        for i, method in enumerate(names):
            for other in names[i + 1 :]:
                difference = methods[method] - methods[other]
                low, high = interval(difference[1:], settings.confidence)
                rows.append((quantity, measure, method, other, float(difference[0]), low, high))
    return pd.DataFrame(rows, columns=["quantity", "measure", "method", "other", "value", "low", "high"])
