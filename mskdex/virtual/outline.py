"""The body's outline, from the second moments of everything the atlas has in a slab."""

from functools import cache
from math import gamma, pi

import numpy as np

from mskdex.io.package_data import read_table
from mskdex.virtual.profiles import SLAB_MM
from mskdex.virtual.solids import Points, root

CROTCH_MM = -78.0
"""Height below which the outline is two thighs."""


@cache
def _sections() -> tuple[np.ndarray, np.ndarray]:
    """Heights, and per height: trunk centre y, semi-axes; thigh centre x, y, semi-axes."""
    table = read_table("mskdex.virtual", "profiles.csv")
    heights = np.unique(table["z_mm"])
    heights = heights[(heights > -200.0) & (heights < 180.0)]  # the atlas fills its first and last slab in part
    slabs = [{name: column[table["z_mm"] == z] for name, column in table.items()} for z in heights]
    return heights, np.array([_moments(slab) for slab in slabs])


def _moments(slab: dict[str, np.ndarray]) -> tuple[float, ...]:
    area = slab["slab_volume_cm3"] * 1000.0 / SLAB_MM
    weight = area / area.sum()
    angle = np.deg2rad(slab["angle_deg"])
    var_major, var_minor = (slab[c] ** 2 / 4.0 for c in ("semi_major_mm", "semi_minor_mm"))
    y = slab["y_mm"]
    centre = float(weight @ y)
    var_x = weight @ (var_major * np.cos(angle) ** 2 + var_minor * np.sin(angle) ** 2 + slab["x_mm"] ** 2)
    var_y = weight @ (var_major * np.sin(angle) ** 2 + var_minor * np.cos(angle) ** 2 + (y - centre) ** 2)
    total = float(area.sum())
    half_width, half_depth = 2.0 * np.sqrt(var_x), 2.0 * np.sqrt(var_y)
    trunk = np.sqrt(total / (np.pi * half_width * half_depth))
    thigh_depth = half_depth * 0.97
    thigh_width = total / 2.0 / (np.pi * thigh_depth)
    thigh_x = np.sqrt(max(var_x - thigh_width**2 / 4.0, 0.0))
    return centre, trunk * half_width, trunk * half_depth, thigh_x, thigh_width, thigh_depth


def outline_depth(points: Points) -> np.ndarray:
    """Depth under the skin in mm, float32 (left half: x ≤ 0), negative outside; exact at the surface only.

    Args:
        points: z must vary along the first axis only.
    """
    x, y, z = points
    share = np.clip((z - CROTCH_MM + 15.0) / 30.0, 0.0, 1.0)
    share = share * share * (3.0 - 2.0 * share)
    depth = np.zeros(np.broadcast_shapes(x.shape, y.shape, z.shape), np.float32)
    for part, solid in ((share, _trunk_depth), (1.0 - share, _thigh_depth)):
        rows = part.ravel() > 0
        depth[rows] += part[rows].astype(np.float32) * solid(x, y, z[rows])
    return depth


def _trunk_depth(x: np.ndarray, y: np.ndarray, z: np.ndarray) -> np.ndarray:
    centre, width, depth = _at(z)[:3]
    trunk = (1.0 - _radius(x / width, (y - centre) / depth, 2.4)) * np.minimum(width, depth)
    return trunk - np.exp(-((x / 14.0) ** 2)) * (14.0 * np.clip((70.0 - z) / 40.0, 0.0, 1.0) * (y < centre))


def _thigh_depth(x: np.ndarray, y: np.ndarray, z: np.ndarray) -> np.ndarray:
    centre, _, _, thigh_x, width, depth = _at(z)
    return (1.0 - _radius((x + thigh_x) / width, (y - centre) / depth, 2.1)) * width


def _at(z: np.ndarray) -> list[np.ndarray]:
    heights, sections = _sections()
    return [np.interp(z, heights, column).astype(np.float32) for column in sections.T]


def _radius(u: np.ndarray, v: np.ndarray, power: float) -> np.ndarray:
    # A superellipse of the ellipse's area: the unit one has area 4Γ(1+1/p)²/Γ(1+2/p) instead of π.
    unit = 4.0 * gamma(1.0 + 1.0 / power) ** 2 / gamma(1.0 + 2.0 / power)
    return root(np.abs(u) ** power + np.abs(v) ** power, power) * np.float32(np.sqrt(unit / pi))
