"""Pairs of radiograph and DRRs that were made from one patient's CT, in one file."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mskdex.errors import MskdexError
from mskdex.geometry.camera import Camera
from mskdex.io.arrays import Crops, read_crops, write_arrays


@dataclass(frozen=True)
class Simulated:
    """A patient's K pairs; N objects, quantities in the order of `QUANTITIES`.

    Attributes:
        patient: patient id.
        objects: names of the N objects.
        camera: camera of the image grid (H, W).
        radiograph: (K, H, W) float32, log attenuation; outside the field that of the nearest exposed pixel.
        field: (H, W) bool, exposed pixels, the patient's own.
        drr: K of (3, N, H, W); cm³, cm³ and g per pixel; they agree with the radiograph pixel by pixel.
        weight: (K, H, W) float32, 0 to 1: less where the CT has ended, and in postures far from the CT's.
        sums: (K, 3, N), sums of the DRRs over the image; cm³, cm³, g.
        known: (K, N) bool, the object is whole.
        registered: whether the first pair has the posture of the patient's radiograph: all bodies were accepted.
        scale: of the radiographs, absolute or relative.
        facts: what was drawn for each pair.
    """

    patient: str
    objects: tuple[str, ...]
    camera: Camera
    radiograph: np.ndarray
    field: np.ndarray
    drr: tuple[Crops, ...]
    weight: np.ndarray
    sums: np.ndarray
    known: np.ndarray
    registered: bool
    scale: str
    facts: Sequence[dict[str, Any]]


def write_simulated(path: Path, simulated: Simulated, manifest: dict[str, Any]) -> None:
    """Writes the pairs; DRRs and weights are kept in half precision, sums and radiographs in full."""
    arrays: dict[str, np.ndarray] = {
        "radiograph": simulated.radiograph.astype(np.float32),
        "field": np.packbits(simulated.field.astype(bool)),
        "weight": simulated.weight.astype(np.float16),
        "sums": simulated.sums.astype(np.float64),
        "known": simulated.known.astype(np.uint8),
        **{f"drr{i}": crops.dense() for i, crops in enumerate(simulated.drr)},
    }
    meta = {
        "patient": simulated.patient,
        "objects": list(simulated.objects),
        "camera": simulated.camera.as_dict(),
        "registered": simulated.registered,
        "scale": simulated.scale,
        "variants": list(simulated.facts),
        "manifest": manifest,
    }
    write_arrays(path, arrays, meta, crop=[f"drr{i}" for i in range(len(simulated.drr))])


def read_simulated(path: Path, patient: str | None = None) -> Simulated:
    """Reads what `write_simulated` wrote.

    Raises:
        MskdexError: the file is absent, damaged, or another patient's than `patient`.
    """
    arrays, meta = read_crops(path)
    if patient not in (None, meta["patient"]):
        msg = f"patient {patient}: {path} holds the pairs of patient {meta['patient']}; delete it and run again"
        raise MskdexError(msg)
    camera = Camera.from_dict(meta["camera"])
    rows, columns = camera.shape
    field = np.unpackbits(np.asarray(arrays["field"]), count=rows * columns).reshape(rows, columns)
    crops = [arrays[f"drr{i}"] for i in range(len(meta["variants"]))]
    return Simulated(
        patient=meta["patient"],
        objects=tuple(meta["objects"]),
        camera=camera,
        radiograph=np.asarray(arrays["radiograph"]),
        field=field.astype(bool),
        drr=tuple(c for c in crops if isinstance(c, Crops)),
        weight=np.asarray(arrays["weight"]).astype(np.float32),
        sums=np.asarray(arrays["sums"]),
        known=np.asarray(arrays["known"]).astype(bool),
        registered=bool(meta["registered"]),
        scale=meta["scale"],
        facts=meta["variants"],
    )
