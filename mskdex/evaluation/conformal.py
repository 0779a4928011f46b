"""Prediction intervals from patients that a model has not seen."""

import math
from dataclasses import dataclass

import numpy as np
import pandas as pd

COVERAGE = 0.9
"""Nominal coverage of the intervals."""


@dataclass(frozen=True)
class Calibration:
    """Sorted signed errors, truth less prediction, of a model on its held-out patients, per (channel, quantity).

    Attributes:
        errors: by (channel, quantity), in the quantity's unit.
    """

    errors: dict[tuple[str, str], np.ndarray]

    @classmethod
    def of(cls, predictions: pd.DataFrame) -> "Calibration":
        """From a table of predictions with truth; rows without truth do not count."""
        known = predictions.dropna(subset=["truth"])
        error = known["truth"] - known["predicted"]
        groups = error.groupby([known["channel"], known["quantity"]])
        return cls({(str(c), str(q)): np.sort(e.to_numpy()) for (c, q), e in groups})

    def half_width(self, channel: str, quantity: str, coverage: float = 0.9) -> float | None:
        """Half of the interval's width, or None where the held-out patients are too few for that coverage.

        With n of them the ⌈(n+1)·coverage⌉-th smallest error covers a new patient of the same population with at
        least that probability.

        Source: split conformal prediction, Lei et al. 2018, theorem 2.2.
        """
        errors = np.sort(np.abs(self.errors.get((channel, quantity), np.zeros(0))))
        rank = math.ceil((len(errors) + 1) * coverage)
        return float(errors[rank - 1]) if rank <= len(errors) else None


def fewest_patients(coverage: float) -> int:
    """The least number of held-out patients that allows an interval of this coverage."""
    return math.ceil(coverage / (1.0 - coverage) - 1e-9)


def offsets(errors: np.ndarray, coverage: float = COVERAGE) -> tuple[float, float] | None:
    """What an interval adds to a prediction at its lower and at its upper end.

    With enough held-out patients each tail has its own order statistic of the signed errors, so that an interval of a
    biased model lies where the truth does; with fewer it is symmetric.

    Args:
        errors: (patients,) truth less prediction.
        coverage: least probability that a new patient of the same population is covered.

    Returns:
        (low, high), or None where the patients are too few for that coverage.

    Source: split conformal prediction, Lei et al. 2018; asymmetric scores, Romano et al. 2019, theorem 2.
    """
    ordered, count = np.sort(errors), len(errors)
    rank = math.ceil((count + 1) * (1.0 + coverage) / 2.0 - 1e-9)
    if rank <= count:
        return float(ordered[count - rank]), float(ordered[rank - 1])
    rank = math.ceil((count + 1) * coverage - 1e-9)
    if rank > count:
        return None
    half = float(np.sort(np.abs(errors))[rank - 1])
    return -half, half
