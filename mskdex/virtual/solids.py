"""Solids as functions: how deep a point lies inside, in mm, negative outside."""

from collections.abc import Sequence

import numpy as np

from mskdex.virtual.profiles import Profile

Points = tuple[np.ndarray, np.ndarray, np.ndarray]
"""x, y, z in mm, arrays that broadcast together."""

Vector = Sequence[float] | np.ndarray
"""One point, as (x, y, z) in mm."""


def root(values: np.ndarray, power: float) -> np.ndarray:
    """values ** (1 / power) of values ≥ 0; with float32, several times as fast as numpy's power."""
    if power == 2.0:
        return np.sqrt(values)
    return np.exp(np.log(np.maximum(values, 1e-12)) * (1.0 / power))


def capsule(points: Points, start: Vector, end: Vector, radii: Sequence[float]) -> np.ndarray:
    """A rounded cone from `start` to `end`, radius going linearly from the first to the second of `radii`."""
    a, b = np.asarray(start, np.float32), np.asarray(end, np.float32)
    along = b - a
    offset = [p - q for p, q in zip(points, a, strict=True)]
    t = np.clip(sum(o * v for o, v in zip(offset, along, strict=True)) / (along @ along), 0.0, 1.0)
    gap = [o - t * v for o, v in zip(offset, along, strict=True)]
    return radii[0] + t * (radii[-1] - radii[0]) - np.sqrt(sum(g * g for g in gap))


def ellipsoid(points: Points, centre: Vector, radii: Sequence[float], power: float = 2.0) -> np.ndarray:
    """An ellipsoid along the axes; a `power` above 2 makes it boxier. Depth is exact at the surface only."""
    terms = [np.abs((p - c) / r) ** power for p, c, r in zip(points, centre, radii, strict=True)]
    return (1.0 - root(sum(terms), power)) * min(radii)


def sweep(points: Points, profile: Profile, towards: Sequence[float] = (0.0, -10.0), power: float = 2.0) -> np.ndarray:
    """A profile's bent ellipses, swept along z.

    Args:
        points: z must vary along the first axis only.
        profile: sections; above the last and below the first the shape ends after half a slab.
        towards: point (x, y) towards which the ends of bent sections turn.
        power: exponent of the superellipse; 2 is an ellipse.
    """
    x, y, z = points
    columns = [np.interp(z, profile.z_mm, column).astype(np.float32) for column in profile.rows.T]
    cx, cy, a, h, bend, cos2, sin2 = columns
    angle = 0.5 * np.arctan2(sin2, cos2)
    cos, sin = np.cos(angle), np.sin(angle)
    bend = np.minimum(bend, 0.5 * a) * np.sign((towards[1] - cy) * cos - (towards[0] - cx) * sin)
    s = ((x - cx) * cos + (y - cy) * sin) / a
    t = (y - cy) * cos - (x - cx) * sin - bend * (np.minimum(s * s, 1.5) - 0.25)
    inside = (1.0 - root(np.abs(s) ** power + np.abs(t / h) ** power, power)) * np.minimum(a, h)
    return np.minimum(inside, np.minimum(z - profile.z_mm[0], profile.z_mm[-1] - z) + 5.0)


def join(depths: Sequence[np.ndarray], rounding_mm: float) -> np.ndarray:
    """Union of solids with rounded seams (polynomial smooth maximum)."""
    joined = depths[0]
    for depth in depths[1:]:
        overlap = np.clip(0.5 + 0.5 * (joined - depth) / rounding_mm, 0.0, 1.0)
        joined = depth + (joined - depth) * overlap + rounding_mm * overlap * (1.0 - overlap)
    return joined
