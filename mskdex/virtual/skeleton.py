"""Bones of the left half of the built-in anatomy; the right half is the mirror image."""

import numpy as np

from mskdex.virtual.profiles import Profile, profiles
from mskdex.virtual.solids import Points, capsule, ellipsoid, join, sweep

HEAD_MM = (-91.5, -3.4, 0.0)
"""Centre of the left femoral head: where the femur's top sections of the atlas lie."""

HEAD_RADIUS_MM = 24.0
SOCKET_RADIUS_MM = 28.0

# Landmarks below are read off the sections of the atlas: where an ellipse of second moments spans two parts of the
# hip bone (pubis and ischium, -50 < z < -5), its ends lie one semi-axis/√2 from the centre along the major axis.


def pelvis(points: Points) -> np.ndarray:
    """The hip bone: wing, socket, ischium and both rami."""
    wing = sweep(points, _tapered(_cut(profiles()["pelvis"], 40.0, np.inf)), towards=(0.0, 40.0), power=2.5)
    column = join(
        [
            capsule(points, (-84, -14, 62), (-86, -6, 34), (14, 19)),
            capsule(points, (-78, -42, 60), (-80, -32, 20), (11, 14)),
        ],
        8.0,
    )
    pubis = join(
        [
            capsule(points, (-74, 20, 10), (-22, 40, -14), (11, 8)),
            ellipsoid(points, (-13, 37, -26), (11, 10, 19)),
            capsule(points, (-15, 32, -40), (-52, -38, -58), (7, 8)),
        ],
        6.0,
    )
    ischium = join(
        [
            capsule(points, (-76, -34, 4), (-68, -50, -36), (15, 15)),
            ellipsoid(points, (-63, -50, -44), (14, 17, 20)),
        ],
        6.0,
    )
    bone = join([wing, column, _socket(points), pubis, ischium], 8.0)
    return np.minimum(bone, -capsule(points, HEAD_MM, np.add(HEAD_MM, (-30, 12, -18)), (SOCKET_RADIUS_MM, 33.0)))


def _socket(points: Points) -> np.ndarray:
    opening = np.array([-0.80, 0.35, -0.48])
    height = sum((p - c) * o for p, c, o in zip(points, HEAD_MM, opening, strict=True))
    return np.minimum(ellipsoid(points, HEAD_MM, (39, 39, 39)), 6.0 - height)


def femur(points: Points) -> np.ndarray:
    """The proximal femur: head, neck, both trochanters, shaft."""
    shaft = sweep(points, _cut(profiles()["femur"], -np.inf, -80.0))
    return join(
        [
            ellipsoid(points, HEAD_MM, (HEAD_RADIUS_MM,) * 3),
            capsule(points, HEAD_MM, (-126, -9, -24), (15.5, 19.0)),
            capsule(points, (-127, -11, -26), (-129, -8, -84), (20.5, 16.0)),
            ellipsoid(points, (-142, -16, -13), (15, 21, 23)),
            ellipsoid(points, (-114, -27, -58), (10, 10, 15)),
            shaft,
        ],
        5.0,
    )


def sacrum(points: Points) -> np.ndarray:
    """The sacrum and coccyx, with the median crest."""
    whole = profiles()["sacrum"]
    rows = whole.rows.copy()
    # The atlas's sections differ from an ellipse by the canal and foramina above S3, by a true bend only below.
    rows[:, 4] = np.where(whole.z_mm > 78.0, 0.0, 0.5 * rows[:, 4])
    rows[:, 0], rows[:, 5], rows[:, 6] = 0.0, 1.0, 0.0
    body = sweep(points, Profile(whole.z_mm, rows), towards=(0.0, 40.0))
    crest = capsule(points, (0, -80, 108), (0, -98, 66), (4, 4))
    return join([body, crest], 6.0)


def lumbar_spine(points: Points) -> np.ndarray:
    """Vertebrae L5 to L3 with arches and processes."""
    parts = []
    for y, z, tilt in ((-22.0, 140.0, 6.0), (-10.0, 177.0, 2.0), (-4.0, 214.0, 0.0)):
        x, py, pz = points
        here = (x, py, pz + tilt / 25.0 * (py - y))
        parts += [
            ellipsoid(here, (0, y, z), (27, 18, 14), power=4.0),
            capsule(here, (-14, y - 15, z + 4), (-11, y - 32, z - 2), (6, 6)),
            capsule(here, (-14, y - 26, z), (-44, y - 26, z + 2), (5, 4)),
            capsule(here, (0, y - 36, z - 3), (0, y - 58, z - 10), (5, 6)),
        ]
    return join(parts, 4.0)


def _cut(profile: Profile, low_mm: float, high_mm: float) -> Profile:
    keep = (profile.z_mm >= low_mm) & (profile.z_mm <= high_mm)
    return Profile(profile.z_mm[keep], profile.rows[keep])


def _tapered(profile: Profile) -> Profile:
    """The wing runs out into the column that bears it, instead of ending in a ledge."""
    rows = profile.rows.copy()
    rows[:3, 2] *= (0.25, 0.5, 0.8)
    rows[:3, 3] *= (0.6, 0.85, 1.0)
    return Profile(profile.z_mm, rows)
