"""A hip-sized labelled CT from formulas alone: 14 ellipsoids in an elliptical body, at 1 mm."""

import numpy as np

SHAPE = (336, 303, 366)
"""Slices, rows and columns at 1 mm; the field of view of a hip CT."""

ELLIPSOIDS = [
    # centre x (to one side), y, z and semi-axes x, y, z in mm from the middle of the field; HU
    ((95, -65, -40), (45, 28, 62), 35),
    ((110, -15, 30), (28, 38, 52), 45),
    ((98, 2, 12), (16, 26, 40), 45),
    ((70, 22, 55), (22, 26, 48), 55),
    ((55, 10, -75), (30, 14, 14), 45),
    ((62, 42, -70), (16, 16, 30), 48),
    ((68, 0, 5), (24, 40, 85), 350),
]
"""Six muscles and a bone, mirrored to both sides."""


def labelled_ct(spacing_mm: float = 1.0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The phantom.

    Returns:
        CT (z, y, x) int16 HU with tissue texture, labels (z, y, x) uint8 with 14 objects, and the affine
        whose origin of millimetres is the middle of the field.
    """
    shape = tuple(round(n / spacing_mm) for n in SHAPE)
    z, y, x = np.ogrid[tuple(slice(0, n) for n in shape)]
    z, y, x = ((g - (n - 1) / 2) * spacing_mm for g, n in zip((z, y, x), shape, strict=True))
    rng = np.random.default_rng(2023)
    texture = rng.normal(0, 15, shape).astype(np.float32)
    ct = np.where((x / 175) ** 2 + (y / 115) ** 2 < 1, -90 + texture, -1000).astype(np.float32)
    labels = np.zeros(shape, np.uint8)
    for index, (centre, axes, hu) in enumerate(ELLIPSOIDS):
        for side in (0, 1):
            place = (x - (1 - 2 * side) * centre[0], y - centre[1], z - centre[2])
            inside = sum((g / a) ** 2 for g, a in zip(place, axes, strict=True)) < 1
            labels[inside] = 2 * index + side + 1
            ct[inside] = hu + (4 if hu > 100 else 1) * texture[inside]
    affine = np.diag([spacing_mm, spacing_mm, spacing_mm, 1.0])
    affine[:3, 3] = [-(n - 1) / 2 * spacing_mm for n in shape[::-1]]
    return np.clip(ct, -1024, 3071).round().astype(np.int16), labels, affine
