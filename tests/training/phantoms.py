"""Patients of ellipsoids: analytic DRRs whose sums are known, written as ordinary stacks."""

from pathlib import Path

import numpy as np
import pandas as pd

from mskdex.config.objects import Channel, channels, default_objects
from mskdex.geometry.camera import Camera
from mskdex.io.arrays import Crops
from mskdex.io.artifacts import write_parquet
from mskdex.io.stack import Stack, write_stack

CHANNELS = channels(default_objects(), frozenset({"femur"}))

# Structure: centre (x away from the middle, z up) and semi-axes (x, z, y) in mm, HU.
SHAPES = {
    "gluteus_maximus": ((75, 10), (38, 75, 32), 35),
    "gluteus_medius": ((95, 60), (28, 50, 30), 45),
    "gluteus_minimus": ((85, 40), (18, 35, 18), 42),
    "iliacus": ((70, 75), (30, 50, 14), 50),
    "obturator_externus": ((50, -30), (24, 18, 12), 42),
    "pectineus": ((62, -45), (15, 32, 13), 45),
    "pelvis": ((75, 40), (38, 75, 14), 350),
    "sacrum": ((0, 70), (45, 50, 18), 250),
    "femur": ((98, -60), (17, 95, 17), 600),
}


def phantom(number: int, side: int = 64, objects: tuple[Channel, ...] = CHANNELS, seed: int = 0) -> Stack:
    """One patient; its muscles' sizes and densities vary apart from its body size, and fat covers all."""
    rng = np.random.default_rng([seed, number])
    camera = Camera(1000.0, 430.0 / side, (side, side), ((side - 1) / 2, (side - 1) / 2))
    size, muscle, fat = rng.normal(1, 0.06), rng.normal(1, 0.12), rng.uniform(30, 120)
    moved = rng.normal(0, 3.0, 2), rng.normal(0, 2.0)
    nominal, posed, truth, kinds = [], [], [], []
    for channel in objects:
        centre, axes, hu = SHAPES[channel.object]
        own = size * (muscle * rng.normal(1, 0.06) if channel.kind == "muscle" else 1.0)
        hu = hu * rng.normal(1, 0.1) - (30 * (1.1 - muscle) if channel.kind == "muscle" else 0.0)
        sign = {"left": 1, "right": -1, "midline": 0}[channel.side]
        place = (sign * centre[0] * size, centre[1] * size)
        volume = [_thickness(camera, place, [a * own for a in axes], *p) for p in (((0, 0), 0.0), moved)]
        density = np.array([1 + hu / 1000, 1.0, min(max((hu + 30) / 60, 0), 1) * (1.02 + 0.9e-3 * hu)])
        nominal.append(density[:, None, None] * volume[0])
        posed.append(density[:, None, None] * volume[1])
        truth.append(density * 4 / 3 * np.pi * np.prod([a * own for a in axes]) / 1000)
        kinds.append(channel.kind)
    drr, at_pose = np.stack(nominal, 1), np.stack(posed, 1)
    bones = [i for i, c in enumerate(objects) if c.body]
    area = (camera.pixel_mm / 1.2) ** 2 / 1000
    line = 0.0192 * 10 * at_pose[0].sum(0) / area / 10
    skin = _thickness(camera, (0, 0), [175 * size + fat / 3, 260, 90 * size + fat / 2], *moved) / area
    radiograph = line + 0.017 * np.clip(skin - at_pose[1].sum(0) / area, 0, None) + rng.normal(0, 0.01, (side, side))
    return Stack(
        patient=f"P{number:03d}",
        channels=objects,
        camera=camera,
        radiograph=radiograph.astype(np.float32),
        field=np.ones((side, side), bool),
        drr=Crops.of(drr.astype(np.float32)),
        aligned=Crops.of(at_pose[:, bones].astype(np.float32)),
        aligned_objects=tuple(objects[i].name for i in bones),
        truth=np.stack(truth, 1),
        known=np.ones(len(objects), bool),
        visible=np.clip(at_pose[1].sum(axis=(-2, -1)) / np.stack(truth, 1)[1], 0, 1),
        source_to_isocentre_mm=830.0,
    )


def _thickness(camera, centre, axes, shift, angle_deg):
    """Volume in cm³ of an ellipsoid above each pixel of a parallel beam magnified by 1.2."""
    rows, columns = camera.shape
    v, u = np.mgrid[:rows, :columns].astype(float)
    step = camera.pixel_mm / 1.2
    x, z = (u - camera.principal_point_px[1]) * step, -(v - camera.principal_point_px[0]) * step
    c, s = np.cos(np.radians(angle_deg)), np.sin(np.radians(angle_deg))
    x, z = c * x + s * z - shift[0] - centre[0], -s * x + c * z - shift[1] - centre[1]
    q = 1 - (x / axes[0]) ** 2 - (z / axes[1]) ** 2
    return 2 * axes[2] * np.sqrt(np.clip(q, 0, None)) * step**2 / 1000


def write_cohort(root: Path, count: int, folds: int = 4, **options) -> tuple[Path, Path]:
    """Writes `count` patients and their folds; returns (patients root, folds.parquet)."""
    for number in range(count):
        sample = phantom(number, **options)
        write_stack(root / "patients" / sample.patient / "stack.safetensors", sample)
    table = pd.DataFrame({"patient_id": [f"P{i:03d}" for i in range(count)], "fold": [i % folds for i in range(count)]})
    write_parquet(root / "cohort" / "folds.parquet", table)
    return root / "patients", root / "cohort" / "folds.parquet"
