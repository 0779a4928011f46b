"""Fixed intensity scales, from the training fold alone."""

import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from mskdex.errors import MskdexError
from mskdex.io.stack import Stack

log = logging.getLogger("mskdex")


@dataclass(frozen=True)
class Normalisation:
    """Constants that bring images to about 0…1: one for the radiograph, one per quantity and object.

    Scales only, no offsets: zero stays zero, so a sum de-normalises by the same factor as a pixel, exactly.

    Attributes:
        radiograph: log attenuation that becomes 1.
        drr: (3, N); cm³, cm³ and g per pixel that become 1.
        mean_drr: (3, N, H, W) float32; mean normalised DRR, scaled so that its sums are the mean quantities; an object
            that no CT holds whole keeps the mean sum of its DRRs.
        mean_radiograph: (H, W) float32; mean normalised radiograph.
        radiograph_sd: spread of a pixel among the patients, normalised, root mean square over the pixels.
        radiograph_range: lowest and highest radiograph mean over the field seen in training, for checks at prediction.
        scales: of the training radiographs: absolute, relative, or both; a radiograph of another scale is flagged.
    """

    radiograph: float
    drr: np.ndarray
    mean_drr: np.ndarray
    mean_radiograph: np.ndarray
    radiograph_sd: float
    radiograph_range: tuple[float, float]
    scales: tuple[str, ...] = ("absolute",)

    def as_dict(self) -> dict[str, Any]:
        """JSON-able; `from_dict` reads it."""
        return {
            "radiograph": self.radiograph,
            "drr": self.drr.tolist(),
            "radiograph_range": list(self.radiograph_range),
            "scales": list(self.scales),
        }

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> "Normalisation":
        """Reads `as_dict`; the mean images, which only a new training needs, are left empty."""
        low, high = content["radiograph_range"]
        drr = np.array(content["drr"])
        none = np.zeros((0, 0), np.float32)
        empty = np.zeros((*drr.shape, 0, 0), np.float32)
        return cls(
            content["radiograph"], drr, empty, none, 1.0, (low, high), tuple(content.get("scales", ["absolute"]))
        )


PEAK_QUANTILE = 0.95
"""Among patients' brightest pixels: one patient with metal shall not darken everyone."""


LEAST_SD = 0.01
"""Of patients who are all alike, or only one."""


def fit_normalisation(stacks: Iterable[Stack]) -> Normalisation:
    """Computes the constants from the training patients, one at a time.

    Raises:
        MskdexError: an object has no DRR in any patient, or the radiographs are empty.
    """
    peaks, sums, known, bright, means = [], [], [], [], []
    total: np.ndarray | float = 0.0
    first: np.ndarray | float = 0.0
    second: np.ndarray | float = 0.0
    objects: tuple[str, ...] = ()
    scales: set[str] = set()
    for stack in stacks:
        objects, drr = stack.objects, stack.drr.dense()
        total = total + drr
        peaks.append(drr.max(axis=(-2, -1)))
        sums.append(stack.truth * stack.visible)
        known.append(stack.known)
        scales.add(stack.scale)
        image = stack.radiograph.astype(np.float64)
        first, second = first + image, second + image**2
        exposed = stack.radiograph[stack.field]
        bright.append(np.quantile(exposed, 0.995) if exposed.size else 0.0)
        means.append(float(exposed.mean()) if exposed.size else 0.0)
    if len(scales) > 1:
        log.warning("training radiographs are on an absolute and a relative scale: the network cannot rely on either")
    scale = _peak(np.stack(peaks), objects)
    mean = _mean_drr(np.asarray(total), np.stack(sums), np.stack(known)) / scale[..., None, None]
    radiograph = float(np.quantile(bright, PEAK_QUANTILE))
    if not radiograph > 0.0:
        msg = "the radiographs of the training patients have no exposed pixel above 0; check their import"
        raise MskdexError(msg)
    average = np.asarray(first) / len(means)
    spread = np.sqrt(np.mean(np.maximum(second / len(means) - average**2, 0.0)))
    return Normalisation(
        radiograph,
        scale,
        mean.astype(np.float32),
        (average / radiograph).astype(np.float32),
        max(float(spread) / radiograph, LEAST_SD),
        (min(means), max(means)),
        tuple(sorted(scales)),
    )


def _peak(peaks: np.ndarray, objects: tuple[str, ...]) -> np.ndarray:
    """(patients, 3, N) to (3, N); patients without the object do not count."""
    scale = np.empty(peaks.shape[1:])
    for q, n in np.ndindex(*scale.shape):
        seen = peaks[:, q, n][peaks[:, q, n] > 0.0]
        if seen.size == 0:
            msg = f"no training patient has a DRR of {objects[n]}; take the object out of the config's objects"
            raise MskdexError(msg)
        scale[q, n] = np.quantile(seen, PEAK_QUANTILE)
    return scale


def _mean_drr(total: np.ndarray, sums: np.ndarray, known: np.ndarray) -> np.ndarray:
    """The shape of `total` (3, N, H, W) with the mean of the known sums, or of the DRRs' where no CT has the whole."""
    rendered = total.sum(axis=(-2, -1), dtype=np.float64)
    weight = known[:, None, :].astype(np.float64)
    of_known = (sums * weight).sum(axis=0) / np.maximum(weight.sum(axis=0), 1.0)
    wanted = np.where(known.any(axis=0), of_known, rendered / len(known))
    return total * np.divide(wanted, rendered, out=np.zeros_like(wanted), where=rendered > 0)[..., None, None]
