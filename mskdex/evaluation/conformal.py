"""Prediction intervals from patients that a model has not seen."""

import math
from dataclasses import dataclass

import numpy as np
import pandas as pd


@dataclass(frozen=True)
class Calibration:
    """Sorted absolute errors of a model on its held-out patients, per (channel, quantity).

    Attributes:
        errors: by (channel, quantity), in the quantity's unit.
    """

    errors: dict[tuple[str, str], np.ndarray]

    @classmethod
    def of(cls, predictions: pd.DataFrame) -> "Calibration":
        """From a table of predictions with truth; rows without truth do not count."""
        known = predictions.dropna(subset=["truth"])
        error = (known["predicted"] - known["truth"]).abs()
        groups = error.groupby([known["channel"], known["quantity"]])
        return cls({(str(c), str(q)): np.sort(e.to_numpy()) for (c, q), e in groups})

    def half_width(self, channel: str, quantity: str, coverage: float = 0.9) -> float | None:
        """Half of the interval's width, or None where the held-out patients are too few for that coverage.

        With n of them the ⌈(n+1)·coverage⌉-th smallest error covers a new patient of the same population with at
        least that probability.

        Source: split conformal prediction, Lei et al. 2018, theorem 2.2.
        """
        errors = self.errors.get((channel, quantity), np.zeros(0))
        rank = math.ceil((len(errors) + 1) * coverage)
        return float(errors[rank - 1]) if rank <= len(errors) else None


def fewest_patients(coverage: float) -> int:
    """The least number of held-out patients that allows an interval of this coverage."""
    return math.ceil(coverage / (1.0 - coverage) - 1e-9)
