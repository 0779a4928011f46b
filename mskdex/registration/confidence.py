"""The probability that a pose is right, calibrated on virtual patients."""

import functools
import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np

CALIBRATION = Path(__file__).with_name("calibration.json")


@functools.cache
def calibration() -> dict:
    """Coefficients that `benchmarks/registration/calibrate.py` fitted and wrote."""
    content: dict = json.loads(CALIBRATION.read_text())
    return content


def features(scores: Mapping[str, float]) -> np.ndarray:
    """What the logistic regression sees of the measures: each on a scale where its effect is about linear."""
    return np.array(
        [
            _logit(scores["similarity"]),
            _logit(max(scores["patch_correlation"], 0.0)),
            _logit(max(scores["search"], 0.0)),
            min(scores["margin"], 0.1) * 10,
            scores["agreement"],
            np.log(min(max(scores["sd_mm"], 1e-2), 1e2)),
            np.log(min(max(scores["sd_deg"], 1e-2), 1e2)),
            scores["in_field"],
            min(scores["joint"], 5.0),
        ]
    )


def probability(scores: Mapping[str, float]) -> float:
    """Probability that mTRE < 2 mm."""
    fitted = calibration()
    values = (features(scores) - np.array(fitted["mean"])) / np.array(fitted["scale"])
    logit = fitted["intercept"] + float(values @ np.array(fitted["coefficients"]))
    return float(1.0 / (1.0 + np.exp(-np.clip(logit, -50, 50))))


def _logit(share: float) -> float:
    share = min(max(share, 1e-3), 1 - 1e-3)
    return float(np.log(share / (1 - share)))
