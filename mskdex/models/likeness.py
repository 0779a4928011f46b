"""Whether a radiograph looks like those of the training: a Gaussian of their thumbnails."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch.nn import functional

SIDE = 24
"""Rows and columns of a thumbnail: of a field of 43 cm, 18 mm each, in which a hip is told from a thigh."""

LEAST_PATIENTS = 6
"""Training patients below which nothing is told."""

_QUANTILES = (0.02, 0.5, 0.98)
_CLIPPED = 1.5
_MOST_AXES = 8
_PATIENTS_PER_AXIS = 4
_PARTS = 20
_LIMIT = 2.0
"""By how much the logarithm of the squared distance may exceed the median of left-out training patients: 7 times."""
_USUAL, _BEYOND_USUAL = 0.95, 0.5
"""The limit lies at least this far beyond this quantile of theirs, for cohorts of many kinds of radiographs."""


@dataclass(frozen=True)
class Likeness:
    """Probabilistic principal components of the training patients' thumbnails and of their mirror images.

    Attributes:
        mean: (SIDE²,). axes: (K, SIDE²), orthonormal. variances: (K,) along them.
        rest: variance of each other direction.
        limit: logarithm of the squared distance beyond which a radiograph is flagged.

    Source: Tipping and Bishop 1999, Probabilistic principal component analysis.
    """

    mean: np.ndarray
    axes: np.ndarray
    variances: np.ndarray
    rest: float
    limit: float

    def distance(self, thumb: np.ndarray) -> float:
        """Logarithm of the squared Mahalanobis distance of a thumbnail, (SIDE²,)."""
        off = thumb - self.mean
        along = self.axes @ off
        outside = max(float(off @ off - along @ along), 0.0) / self.rest
        return float(np.log(max(float((along**2 / self.variances).sum()) + outside, 1e-12)))

    def flags(self, image: np.ndarray, field: np.ndarray) -> list[str]:
        """A sentence where a radiograph on the model's grid is unlike the training's; arguments as of `thumbnail`."""
        excess = self.distance(thumbnail(image, field)) - self.limit  # of logarithms
        if excess <= 0.0:
            return []
        return [
            f"unlike the training radiographs: its distance is {np.exp(excess):.1f} times the limit; look whether it "
            "is the hip, upright, and without the collimator's blades"
        ]

    def arrays(self) -> dict[str, np.ndarray]:
        """All of it as arrays of float32; `from_arrays` reads them."""
        numbers = np.array([self.rest, self.limit])
        found = {"mean": self.mean, "axes": self.axes, "variances": self.variances, "numbers": numbers}
        return {name: np.ascontiguousarray(value, np.float32) for name, value in found.items()}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, np.ndarray]) -> "Likeness":
        """Reads `arrays`."""
        mean, axes, variances = (arrays[name].astype(np.float64) for name in ("mean", "axes", "variances"))
        rest, limit = (float(v) for v in arrays["numbers"])
        return cls(mean, axes, variances, rest, limit)


def thumbnail(image: np.ndarray, field: np.ndarray) -> np.ndarray:
    """A radiograph's thumbnail of mean 0 and SD 1, (SIDE²,): what is left without brightness and contrast.

    Args:
        image: (H, W) log attenuation or grey values that rise with it, going on outside the field.
        field: (H, W) bool, exposed pixels.
    """
    low, middle, high = np.quantile(image[field] if field.any() else image, _QUANTILES)
    even = np.clip((image - middle) / max(float(high - low), 1e-6), -_CLIPPED, _CLIPPED).astype(np.float64)
    small = functional.adaptive_avg_pool2d(torch.from_numpy(even)[None], SIDE)[0].numpy().ravel()
    small = small - small.mean()
    return np.asarray(small / max(float(small.std()), 1e-9))


def fit_likeness(thumbs: Iterable[np.ndarray]) -> Likeness | None:
    """The model of training patients' thumbnails, one of each; None of fewer than `LEAST_PATIENTS`.

    Its limit comes from patients that are left out, one by one or, of many, in 20 parts. Mirror images count as
    training radiographs too: which side a letter lies on says nothing of the body part.
    """
    images = np.array(list(thumbs))
    if len(images) < LEAST_PATIENTS:
        return None
    part = np.arange(len(images)) % min(_PARTS, len(images))
    left_out = []
    for one in range(part.max() + 1):
        model = _fit(images[part != one], np.inf)
        left_out += [model.distance(image) for image in images[part == one]]
    limit = max(float(np.median(left_out)) + _LIMIT, float(np.quantile(left_out, _USUAL)) + _BEYOND_USUAL)
    return _fit(images, limit)


def _fit(images: np.ndarray, limit: float) -> Likeness:
    mirrored = images.reshape(-1, SIDE, SIDE)[:, :, ::-1].reshape(images.shape)
    both = np.concatenate([images, mirrored])
    mean = both.mean(axis=0)
    _, singular, axes = np.linalg.svd(both - mean, full_matrices=False)
    variances = singular**2 / len(both)
    count = min(_MOST_AXES, max(len(images) // _PATIENTS_PER_AXIS, 1))
    rest = max(float(variances[count:].sum()) / (images.shape[1] - count), 1e-6)
    return Likeness(mean, axes[:count], np.maximum(variances[:count], rest), rest, limit)
