"""The probability that a pose is right, calibrated on virtual patients."""

from collections.abc import Mapping

import numpy as np

from mskdex.registration.calibration import COEFFICIENTS, INTERCEPT, MEAN, SCALE


def features(scores: Mapping[str, float]) -> np.ndarray:
    """What the logistic regression sees of the measures, each where its effect is about linear, (6,).

    Measures that depend on the size of the bone or of the searched region are left out, so that one
    regression serves every bone.
    """
    return np.array(
        [
            _logit(scores["similarity"]),
            _logit(scores["patch_correlation"]),
            np.log(min(max(scores["sd_mm"], 0.1), 10.0)),
            np.log(min(max(scores["sd_deg"], 0.1), 10.0)),
            scores["agreement"],
            min(scores["margin"], 0.1) * 10.0,
        ]
    )


def probability(scores: Mapping[str, float]) -> float:
    """Probability that mTRE < 2 mm."""
    values = (features(scores) - np.array(MEAN)) / np.array(SCALE)
    logit = INTERCEPT + float(values @ np.array(COEFFICIENTS))
    return float(1.0 / (1.0 + np.exp(-np.clip(logit, -50, 50))))


def _logit(share: float) -> float:
    share = min(max(share, 0.02), 0.98)
    return float(np.log(share / (1 - share)))
