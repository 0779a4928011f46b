"""The probabilities that a pose is right on the image and in space, calibrated on virtual patients."""

from collections.abc import Mapping, Sequence

import numpy as np

from mskdex.registration.calibration import IMAGE, MEAN, SCALE, SPACE

RIGHT_MPD_MM = 1.0
"""mPD below which a pose is right on the image."""

RIGHT_MTRE_MM = 2.0
"""mTRE below which one that is right on the image is right in space."""


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


def on_image(scores: Mapping[str, float]) -> float:
    """Probability that mPD is below 1 mm, whatever the camera."""
    return _probability(scores, IMAGE)


def in_space(scores: Mapping[str, float]) -> float:
    """Probability that mPD is below 1 mm and mTRE below 2 mm if the camera is as it was given."""
    return min(_probability(scores, SPACE), on_image(scores))


def _probability(scores: Mapping[str, float], coefficients: Sequence[float]) -> float:
    values = (features(scores) - np.array(MEAN)) / np.array(SCALE)
    logit = float(values @ np.array(coefficients[:-1])) + coefficients[-1]
    return float(1.0 / (1.0 + np.exp(-np.clip(logit, -50, 50))))


def _logit(share: float) -> float:
    share = min(max(share, 0.02), 0.98)
    return float(np.log(share / (1 - share)))
