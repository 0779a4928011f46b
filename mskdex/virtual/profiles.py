"""The atlas figures of each structure, made symmetric: the left half, of which the right is the mirror image."""

from dataclasses import dataclass
from functools import cache

import numpy as np

from mskdex.io.package_data import read_table

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
    table = read_table("mskdex.virtual", "objects.csv")
    volumes = dict(zip(map(str, table["object"]), map(float, table["volume_cm3"]), strict=True))
    for name in {_bare(n) for n in volumes}:
        volumes[name] = float(np.mean([v for n, v in volumes.items() if _bare(n) == name]))
    return volumes


@cache
def profiles() -> dict[str, Profile]:
    """The symmetric profile of every structure, by name without side."""
    table = read_table("mskdex.virtual", "profiles.csv")
    bare = np.array([_bare(n) for n in table["object"]])
    return {str(name): _profile(table, bare == name) for name in dict.fromkeys(bare)}


def _profile(table: dict[str, np.ndarray], rows: np.ndarray) -> Profile:
    mirror = np.where([str(n).endswith("_right") for n in table["object"][rows]], -1.0, 1.0)
    double = np.deg2rad(2.0 * mirror * table["angle_deg"][rows])
    area, y, a, minor = (table[c][rows] for c in ("slab_volume_cm3", "y_mm", "semi_major_mm", "semi_minor_mm"))
    columns = np.stack(
        [area * 1000.0 / SLAB_MM, mirror * table["x_mm"][rows], y, a, minor, np.cos(double), np.sin(double)]
    )
    heights, member = np.unique(table["z_mm"][rows], return_inverse=True)
    sums = np.stack([np.bincount(member, c) for c in columns]) / np.bincount(member)
    area, x, y, a, minor, cos, sin = sums
    full = np.median(area[1:-1]) if len(area) > 2 else area.max()
    half = np.minimum(np.maximum(area, 0.02 * full) / (np.pi * a), minor)
    # Of a bent ellipse, var = h²/4 + bend²/16: what the section is thicker than its area says is its bend.
    bend = 2.0 * np.sqrt(np.maximum(minor**2 - half**2, 0.0))
    return Profile(heights, np.column_stack([x, y, a, half, bend, cos, sin]))


def _bare(name: str) -> str:
    return str(name).removesuffix("_left").removesuffix("_right")
