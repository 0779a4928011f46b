"""The radiology departments whose radiographs virtual patients have: made-up vendors, each with habits of real ones."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

import numpy as np


@dataclass(frozen=True)
class Processing:
    """What a console makes of log exposure for display.

    Attributes:
        gains: by which detail is amplified, from fine to coarse, of bands at 0.8, 2.4 and 7.2 mm.
        power: of the amplitude of detail; below 1 weak detail is amplified more than strong.
        ranged: low and high quantile of the field that the tone curve is laid over; None takes `window_decades`.
        window_decades: attenuation at the middle of the tone curve and the width of its slope, without auto-ranging.
        steepness: of the sigmoid tone curve over its range.
    """

    gains: tuple[float, float, float]
    power: float
    ranged: tuple[float, float] | None
    window_decades: tuple[float, float]
    steepness: float


@dataclass(frozen=True)
class Department:
    """A department's detector, console and archive.

    Attributes:
        name: in the config. manufacturer, model, software: in the file.
        modality: DX, or CR: computed radiography storage.
        kind: linear or log FOR PROCESSING, or processed FOR PRESENTATION.
        inverted: MONOCHROME1.
        bits: stored.
        processing: of processed images.
        saturation: exposure over that of the open beam above which the detector shows one value; None for none.
        edges: what becomes of the image beyond the collimator: kept, blanked, or cropped.
        lacks: tags that its files do not have.
        changes: tags that its files have otherwise than the truth, but plausibly.
        sdd_step_mm: to which the console rounds the source distance.
        spacing_tag: which the pixel size on the detector stands in.
        kv_more: tube voltage over that of the others. selectivity: of its grid, times the config's.
    """

    name: str
    manufacturer: str
    model: str
    software: str
    modality: Literal["DX", "CR"]
    kind: Literal["linear", "log", "processed"]
    inverted: bool
    bits: int
    processing: Processing | None = None
    saturation: float | None = None
    edges: Literal["kept", "blanked", "cropped"] = "kept"
    lacks: tuple[str, ...] = ()
    changes: Mapping[str, str] = field(default_factory=dict)
    sdd_step_mm: float = 0.1
    spacing_tag: Literal["ImagerPixelSpacing", "PixelSpacing"] = "ImagerPixelSpacing"
    kv_more: float = 0.0
    selectivity: float = 1.0


_SOFT = Processing((1.3, 1.2, 1.0), 1.0, None, (1.7, 1.6), 4.0)
_STRONG = Processing((1.8, 2.0, 1.6), 0.8, (0.02, 0.98), (0.0, 1.0), 5.0)
_FLAT = Processing((1.0, 1.4, 1.2), 0.9, (0.05, 0.95), (0.0, 1.0), 3.5)

DEPARTMENTS = {
    department.name: department
    for department in (
        Department("arvik", "Arvik", "Lumen 40", "3.1.2", "DX", "linear", False, 16),
        Department(
            "belmora",
            "Belmora",
            "Plate Reader 5",
            "V9.0",
            "CR",
            "log",
            True,
            12,
            changes={"BodyPartExamined": "PELVIS"},  # HIP is one of a pair, of which a CR image has to say the side
            kv_more=-2.0,
        ),
        Department(
            "corvia",
            "Corvia Medical",
            "DR-S",
            "2.4",
            "DX",
            "processed",
            False,
            12,
            _SOFT,
            edges="cropped",
            lacks=("DistanceSourceToPatient", "ViewCodeSequence"),
            kv_more=3.0,
            selectivity=0.8,
        ),
        Department(
            "dunmere",
            "Dunmere",
            "Clarity Pro",
            "11.0.3",
            "DX",
            "processed",
            True,
            12,
            _STRONG,
            saturation=0.6,
            edges="blanked",
            lacks=("DistanceSourceToDetector", "DistanceSourceToPatient"),
            kv_more=6.0,
            selectivity=0.7,
        ),
        Department(
            "estrand",
            "Estrand",
            "CS 2",
            "5",
            "CR",
            "processed",
            False,
            10,
            _FLAT,
            saturation=0.5,
            edges="blanked",
            lacks=("DistanceSourceToPatient", "EstimatedRadiographicMagnificationFactor", "ViewPosition"),
            changes={"BodyPartExamined": "PELVIS"},
            sdd_step_mm=50.0,
            spacing_tag="PixelSpacing",
        ),
    )
}
"""By name. Tags as consoles write them: computed radiography has no intensity relationship and no presentation intent;
a processed DX image is tagged LOG, as the standard knows LIN and LOG only; the source distance is often missing or the
one that the stand was set to, and so is the pixel size's meaning."""


def draw_department(shares: Mapping[str, float], draw: np.random.Generator) -> Department:
    """Draws where a patient is X-rayed.

    Args:
        shares: of the departments, by name; they need not add up to 1.
        draw: source of the draw.
    """
    names = sorted(name for name, share in shares.items() if share > 0)
    weights = np.array([shares[name] for name in names], float)
    return DEPARTMENTS[names[int(np.searchsorted(np.cumsum(weights) / weights.sum(), draw.random(), side="right"))]]
