"""One pair of radiograph and DRRs: a posture, sizes of muscles, an exposure."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from scipy import ndimage

from mskdex.config.simulation import SimulationSettings
from mskdex.deformation.labelled_ct import LabelledCt
from mskdex.deformation.posed_ct import PosedCt, pose_ct
from mskdex.drr.render import render
from mskdex.exposure.exposing import FAT_HU, LEAN_HU
from mskdex.geometry.camera import Camera
from mskdex.imaging.area_average import average_onto
from mskdex.quantities import density_table
from mskdex.simulation.exposures import detector, draw_exposure, take_radiograph
from mskdex.simulation.postures import draw_posture, parents_of, pivots, posture_weight, registered_posture

_BEYOND_SHARE = 0.2
"""Share of a pixel's attenuation that may lie beyond the CT's ends; the pixel's weight falls to 0 there."""

_WHOLE = 0.99
"""Share of an object that must lie within the CT for its sum to count."""


@dataclass(frozen=True)
class SimulationSource:
    """What a patient's pairs are made from.

    Attributes:
        ct: the CT without table. whole: labels that it does not cut.
        camera: the training grid. nominal: camera_from_ct, 4×4. registered: likewise by accepted body.
        detector_field: exposed pixels of `exposures.detector`, bool.
        bodies: the config's rigid bodies.
        scale: of the patient's radiograph.
        step_mm: of the rendering.
    """

    ct: LabelledCt
    whole: frozenset[int]
    camera: Camera
    nominal: np.ndarray
    registered: Mapping[str, np.ndarray]
    detector_field: np.ndarray
    bodies: tuple
    scale: str
    step_mm: float

    @cached_property
    def parents(self) -> dict[str, str | None]:
        """Parent of each body."""
        return parents_of(self.bodies, self.ct.bodies)

    @cached_property
    def pivots(self) -> dict[str, np.ndarray]:
        """What each body turns about."""
        return pivots(self.ct, self.parents)

    @cached_property
    def boxes(self) -> list:
        """Slices of each label, None where it is absent."""
        return [None, *ndimage.find_objects(self.ct.labels, self.ct.count)]


@dataclass(frozen=True)
class Variant:
    """One pair, on the training grid; N objects.

    Attributes:
        radiograph: float32 (H, W), log attenuation.
        drr: float32 (3, N, H, W), cm³, cm³ and g per pixel.
        weight: float32 (H, W), 0 to 1: how far the pixel's tissue is trusted.
        known: bool (N,), the object is there, and whole.
        facts: what was drawn, JSON-able.
    """

    radiograph: np.ndarray
    drr: np.ndarray
    weight: np.ndarray
    known: np.ndarray
    facts: dict[str, Any]


def make_variant(source: SimulationSource, settings: SimulationSettings, number: int, seed: tuple[int, ...]) -> Variant:
    """Pair `number` of a patient; 0 has the registered posture and the CT's own muscles.

    Args:
        source: the patient.
        settings: what is drawn.
        number: of the pair.
        seed: the patient's; each pair and each of its parts has randomness of its own.
    """
    draws = [np.random.default_rng([*seed, number, part]) for part in range(4)]
    camera_from_posed, poses = registered_posture(source.registered, source.nominal, source.ct.bodies)
    ct = source.ct
    growth: dict[int, float] = {}
    infiltration: dict[int, float] = {}
    if number > 0:
        poses = draw_posture(settings.posture, source.parents, source.pivots, draws[0])
        moved = np.eye(4)
        moved[:3, 3] = np.clip(draws[0].normal(size=3), -2.0, 2.0) * settings.posture.shift_sd_mm
        camera_from_posed = moved @ camera_from_posed
        growth, infiltration = _draw_sizes(source.ct, settings, draws[1])
        ct = _infiltrated(source, infiltration)
    posed = pose_ct(ct, poses, source.whole, growth, voxel_mm=settings.voxel_mm)
    drr, weight, known = _rendered(source, posed, camera_from_posed)
    exposure = draw_exposure(settings, draws[2])
    screen = detector(source.camera)
    image = take_radiograph(
        (posed.hu, posed.world_from_voxel),
        screen,
        camera_from_posed,
        source.detector_field,
        exposure,
        settings,
        draws[3],
        source.scale,
    )
    radiograph, _ = average_onto(image, source.detector_field, screen, source.camera)
    trusted = posture_weight(poses, source.parents)
    facts = {
        "camera_from_posed": camera_from_posed.tolist(),
        "poses": {body: pose.tolist() for body, pose in poses.items()},
        "trust": round(trusted, 4),
        "growth": {str(code): round(factor, 4) for code, factor in growth.items()},
        "infiltration": {str(label): round(share, 4) for label, share in infiltration.items()},
        "exposure": exposure.as_dict(),
        "largest_error": round(float(np.nanmax(np.abs(posed.errors), initial=0.0)), 5),
    }
    return Variant(radiograph, drr, weight * np.float32(trusted), known, facts)


def _draw_sizes(
    ct: LabelledCt, settings: SimulationSettings, draw: np.random.Generator
) -> tuple[dict[int, float], dict[int, float]]:
    """Factors on volumes by code, and shares of infiltration by label, negative where fat turns to muscle."""
    muscles = [c.label for c in ct.channels if c.kind == "muscle"]
    sizes, shares = draw.uniform(-1.0, 1.0, size=(2, len(muscles)))
    growth = {m: 1.0 + settings.muscle_volume_fraction * float(s) for m, s in zip(muscles, sizes, strict=True)}
    growth[ct.fat] = 1.0 + settings.fat_volume_fraction * float(draw.uniform(-1.0, 1.0))
    infiltration = {m: settings.infiltration_fraction * float(s) for m, s in zip(muscles, shares, strict=True)}
    return growth, infiltration


def _infiltrated(source: SimulationSource, shares: Mapping[int, float]) -> LabelledCt:
    """The CT with part of each muscle's voxels turned to fat, or what is fatter than muscle to muscle."""
    hu = source.ct.hu.copy()
    for label, share in shares.items():
        box = source.boxes[label]
        if box is None or share == 0.0:
            continue
        mine, part = source.ct.labels[box] == label, hu[box].astype(np.float32)
        changed = part + share * (FAT_HU - part) if share > 0 else part - share * np.maximum(LEAN_HU - part, 0.0)
        hu[box][mine] = np.rint(changed[mine]).astype(np.int16)
    return replace(source.ct, hu=hu)


def _rendered(source: SimulationSource, posed: PosedCt, camera_from_posed: np.ndarray) -> tuple[np.ndarray, ...]:
    """DRRs (3, N, H, W), weight (H, W) by what lies beyond the CT's ends, and the whole objects (N,)."""
    ids = [c.label for c in source.ct.channels]
    place = (posed.world_from_voxel,)
    step = max(source.step_mm, float(np.linalg.norm(posed.world_from_voxel[:3, 0])))
    images = render(
        posed.hu, posed.labels, *place, ids, source.camera, camera_from_posed, density_table(), step_mm=step
    ).images
    ends = render(
        posed.hu,
        posed.beyond,
        *place,
        [0, 1],
        source.camera,
        camera_from_posed,
        density_table(("weighted_volume",)),
        step_mm=step,
    ).images[0]
    share = ends[1] / np.maximum(ends.sum(axis=0), 1e-6)
    counts = np.bincount(posed.labels.ravel(), minlength=256)
    within = 1.0 - np.bincount(posed.labels[posed.beyond > 0], minlength=256) / np.maximum(counts, 1)
    known = np.array([i in source.whole and counts[i] > 0 and within[i] >= _WHOLE for i in ids])
    return images, np.clip(1.0 - share / _BEYOND_SHARE, 0.0, 1.0).astype(np.float32), known
