"""The atlas figures of each structure, made symmetric: the left half, of which the right is the mirror image."""

from dataclasses import dataclass
from functools import cache
from importlib.resources import files

import numpy as np
import pandas as pd

SLAB_MM = 10.0


@dataclass(frozen=True)
class Profile:
    """Cross-sections of a left or midline structure, one row per 10 mm of height.

    A section is an ellipse bent into a crescent: semi-axis `a` along the major direction, half-thickness `h`,
    displaced across by bend·((s/a)² - 1/4), with s along the major axis. Area and second moments are the atlas's.

    Attributes:
        z_mm: heights of the sections, rising.
        rows: float64 (sections, 7): x, y of the centre, a, h, bend (≥ 0) in mm, cos and sin of twice the angle.
    """

    z_mm: np.ndarray
    rows: np.ndarray


@cache
def atlas_volumes_cm3() -> dict[str, float]:
    """Volume of each structure of the atlas, by name; the mean of both sides under the name without side."""
    table = _read("objects.csv").set_index("object")["volume_cm3"]
    volumes = {str(name): float(value) for name, value in table.items()}
    for name in {_bare(n) for n in volumes}:
        sides = [volumes[n] for n in volumes if _bare(n) == name]
        volumes[name] = float(np.mean(sides))
    return volumes


@cache
def profiles() -> dict[str, Profile]:
    """The symmetric profile of every structure, by name without side."""
    table = _read("profiles.csv")
    found = {}
    for name, rows in table.groupby(table["object"].map(_bare), sort=False):
        mirrored = rows["object"].str.endswith("_right")
        found[str(name)] = _profile(
            rows.assign(
                x_mm=np.where(mirrored, -rows["x_mm"], rows["x_mm"]),
                angle_deg=np.where(mirrored, -rows["angle_deg"], rows["angle_deg"]),
            )
        )
    return found


def _profile(rows: pd.DataFrame) -> Profile:
    double = np.deg2rad(2.0 * rows["angle_deg"])
    rows = rows.assign(cos=np.cos(double), sin=np.sin(double))
    columns = ["slab_volume_cm3", "x_mm", "y_mm", "semi_major_mm", "semi_minor_mm", "cos", "sin"]
    mean = rows.groupby("z_mm")[columns].mean().sort_index()
    area = mean["slab_volume_cm3"] * 1000.0 / SLAB_MM
    full = area[1:-1].median() if len(area) > 2 else area.max()
    a = mean["semi_major_mm"]
    half = np.minimum(area.where(area > 0.02 * full, 0.02 * full) / (np.pi * a), mean["semi_minor_mm"])
    # Of a bent ellipse, var = h²/4 + bend²/16: what the section is thicker than its area says is its bend.
    bend = 2.0 * np.sqrt(np.maximum(mean["semi_minor_mm"] ** 2 - half**2, 0.0))
    parts = [mean["x_mm"], mean["y_mm"], a, half, bend, mean["cos"], mean["sin"]]
    return Profile(mean.index.to_numpy(dtype=float), np.column_stack(parts))


def _bare(name: str) -> str:
    return name.removesuffix("_left").removesuffix("_right")


def _read(name: str) -> pd.DataFrame:
    with (files("mskdex.virtual") / "data" / name).open() as handle:
        return pd.read_csv(handle)
