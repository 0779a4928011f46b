"""Fixed intensity scales, from the training fold alone."""

import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from mskdex.errors import MskdexError
from mskdex.io.stack import Stack
from mskdex.models.water import water_volume

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
        mean_water: (H, W) float32; mean volume of water that attenuates as the radiographs do, cm³ per pixel
            (`water.water_volume`).
        water_sd: spread of that volume in a pixel among the patients, root mean square over the pixels, cm³.
        relative_water: volume over what `water_volume` makes of radiographs of relative scale; None where none is.
        radiograph_range: lowest and highest radiograph mean over the field seen in training, for checks at prediction.
        scales: of the training radiographs: absolute, relative, or both; a radiograph of another scale is flagged.
    """

    radiograph: float
    drr: np.ndarray
    mean_drr: np.ndarray
    mean_water: np.ndarray
    water_sd: float
    relative_water: float | None
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
        scales = tuple(content.get("scales", ["absolute"]))
        return cls(content["radiograph"], drr, empty, none, 1.0, None, (low, high), scales)


PEAK_QUANTILE = 0.95
"""Among patients' brightest pixels: one patient with metal shall not darken everyone."""


LEAST_SPREAD = 0.01
"""Of patients who are all alike, or only one, relative to their mean."""

_FULLEST = 0.99
_SHARE_OF_FULLEST = 0.8
"""Where objects take the most of a radiograph, they take about so much: bones between little else."""


def fit_normalisation(stacks: Iterable[Stack]) -> Normalisation:
    """Computes the constants from the training patients, one at a time.

    Raises:
        MskdexError: an object has no DRR in any patient, or the radiographs are empty.
    """
    peaks, sums, known, bright, means = [], [], [], [], []
    total: np.ndarray | float = 0.0
    water: dict[bool, list[np.ndarray]] = {True: [], False: []}
    objects: tuple[str, ...] = ()
    scales: set[str] = set()
    for stack in stacks:
        objects, drr = stack.objects, stack.drr.dense()
        total = total + drr
        peaks.append(drr.max(axis=(-2, -1)))
        sums.append(stack.truth * stack.visible)
        known.append(stack.counted)
        scales.add(stack.scale)
        water[stack.relative].append(water_volume(stack.radiograph, stack.camera, stack.source_to_isocentre_mm))
        exposed = stack.radiograph[stack.field]
        bright.append(np.quantile(exposed, 0.995) if exposed.size else 0.0)
        means.append(float(exposed.mean()) if exposed.size else 0.0)
    if len(scales) > 1:
        log.warning(
            "training radiographs are on an absolute and a relative scale: a composition head learns a factor for the "
            "relative ones, a plain head can rely on neither"
        )
    scale = _peak(np.stack(peaks), objects)
    mean = _mean_drr(np.asarray(total), np.stack(sums), np.stack(known)) / scale[..., None, None]
    radiograph = float(np.quantile(bright, PEAK_QUANTILE))
    if not radiograph > 0.0:
        msg = "the radiographs of the training patients have no exposed pixel above 0; check their import"
        raise MskdexError(msg)
    factor = _relative_water(water, (mean[0] * scale[0][:, None, None]).sum(axis=0))
    volumes = np.stack(water[False] + [(factor or 1.0) * volume for volume in water[True]])
    return Normalisation(
        radiograph=radiograph,
        drr=scale,
        mean_drr=mean.astype(np.float32),
        mean_water=volumes.mean(axis=0),
        water_sd=max(float(np.sqrt(volumes.var(axis=0).mean())), LEAST_SPREAD * float(volumes.mean())),
        relative_water=factor,
        radiograph_range=(min(means), max(means)),
        scales=tuple(sorted(scales)),
    )


def _relative_water(water: dict[bool, list[np.ndarray]], objects: np.ndarray) -> float | None:
    """Volume over `water_volume` of the radiographs of relative scale.

    Beside absolute ones it brings them to the same mean; without, the objects are to fit into the image.

    Args:
        water: `water_volume` of the radiographs of relative scale (True) and of the others, each (H, W).
        objects: (H, W), mean weighted volume of all objects.
    """
    if not water[True]:
        return None
    relative = np.mean(water[True], axis=0)
    if water[False]:
        return max(float(np.mean(water[False], axis=0).sum() / max(relative.sum(), 1e-9)), 1e-9)
    share = np.divide(objects, relative, out=np.zeros_like(objects), where=relative > 0)
    return max(float(np.quantile(share, _FULLEST)) / _SHARE_OF_FULLEST, 1e-9)


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
