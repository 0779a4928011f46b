"""Prediction intervals from patients that a model has not seen."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

COVERAGE = 0.9
"""Nominal coverage of the intervals."""


@dataclass(frozen=True)
class Calibration:
    """Signed errors of a model on its held-out patients.

    Attributes:
        errors: by (channel, quantity) a table with `error`, truth less prediction in the quantity's unit, and the
            patients' `sex` and grey `scale`, missing where unknown.
    """

    errors: Mapping[tuple[str, str], pd.DataFrame] = field(default_factory=dict)

    @classmethod
    def of(cls, predictions: pd.DataFrame, least_visible: float = 0.8) -> "Calibration":
        """From a table of predictions with the truth of whole structures; rows without truth do not count.

        Args:
            predictions: channel, quantity, predicted, truth and, where known, the `visible` share of the truth that
                was asked for.
            least_visible: a structure of which less is visible does not count.
        """
        known = predictions.dropna(subset=["truth"])
        if "visible" not in known:
            known = known.assign(visible=1.0)
        share = known["visible"].clip(0.0, 1.0).fillna(1.0)
        known = known.assign(error=known["truth"] * share - known["predicted"], sex=None, scale=None)
        return cls.of_errors(known.loc[share >= least_visible])

    @classmethod
    def of_errors(cls, table: pd.DataFrame) -> "Calibration":
        """From a table with channel, quantity, error, sex and scale."""
        groups = table.groupby(["channel", "quantity"])[["error", "sex", "scale"]]
        return cls({(str(c), str(q)): rows.reset_index(drop=True) for (c, q), rows in groups})

    def ends(self, channel: str, quantity: str, sex: str | None, scale: str) -> tuple[float, float] | None:
        """What the interval of a new patient adds to the prediction, low and high; None where patients are too few.

        Args:
            channel: name. quantity: column.
            sex: F, M or None.
            scale: of the radiograph's grey values.
        """
        if (rows := self.errors.get((channel, quantity))) is None:
            return None
        everybody = np.ones(len(rows), bool)
        chosen = alike(rows["sex"].to_numpy(object), rows["scale"].to_numpy(object), sex, scale, everybody)
        return offsets(rows["error"].to_numpy(np.float64)[chosen])


def alike(sexes: np.ndarray, scales: np.ndarray, sex: Any, scale: Any, among: np.ndarray) -> np.ndarray:
    """Which held-out patients calibrate a patient's interval: the smallest group that is large enough.

    Those of the same sex and grey scale, else those of the same grey scale, else all.

    Args:
        sexes: (patients,) F, M or missing. scales: (patients,).
        sex: of the patient. scale: of the patient's radiograph.
        among: (patients,) bool, who may calibrate.

    Source: group-conditional (Mondrian) conformal prediction, Vovk 2012.
    """
    same_scale = among & (scales == scale)
    group: np.ndarray
    for group in (same_scale & (sexes == sex), same_scale):
        if group.sum() >= fewest_patients(COVERAGE):
            return group
    return among


def fewest_patients(coverage: float) -> int:
    """The least number of held-out patients that allows an interval of this coverage: coverage / (1 − coverage).

    Args:
        coverage: least probability that a new patient is covered, 0 … 1.
    """
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
