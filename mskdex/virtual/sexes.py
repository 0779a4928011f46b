"""How the female body differs from the male: the pelvis, and where fat lies, as a smooth displacement.

The built-in anatomy is a man's. Its landmarks, moved by `_FEMALE_MM`, are a woman's; between them the displacement is
interpolated by Gaussian radial functions. A person lies between the two, or beyond one of them.

Sources: docs/virtual.md, "Anatomy by sex".
"""

from typing import Literal

import numpy as np
from scipy.interpolate import RBFInterpolator

_FEMALE_MM = {
    "femoral_head": ((-91.5, -3.4, 0.0), (-2.0, 0.0, 0.0)),
    "trochanter": ((-142.0, -16.0, -13.0), (-2.0, 0.0, 0.0)),
    "shaft": ((-128.0, -8.0, -110.0), (-1.0, 0.0, 0.0)),
    "lower_shaft": ((-122.0, -5.0, -200.0), (1.0, 0.0, 0.0)),
    "inlet": ((-62.0, -12.0, 55.0), (-5.5, 0.0, 0.0)),
    "symphysis": ((-6.0, 37.0, -10.0), (0.0, 0.0, -3.0)),
    "lower_symphysis": ((-8.0, 34.0, -42.0), (0.0, 0.0, 3.0)),
    "tuberosity": ((-54.0, -42.0, -56.0), (-8.0, 0.0, 2.0)),
    "iliac_spine": ((-122.0, 40.0, 88.0), (-2.0, 0.0, -4.0)),
    "crest": ((-128.0, -15.0, 140.0), (1.0, 0.0, -6.0)),
    "sacral_wing": ((-42.0, -48.0, 105.0), (-3.0, -2.0, -2.0)),
    "sacrum": ((0.0, -62.0, 60.0), (0.0, -5.0, 0.0)),
    "hip_skin": ((-188.0, -15.0, -20.0), (-13.0, 0.0, 0.0)),
    "thigh_skin": ((-180.0, -10.0, -120.0), (-8.0, 0.0, 0.0)),
    "buttock_skin": ((-80.0, -145.0, -10.0), (0.0, -8.0, 0.0)),
    "waist_skin": ((-168.0, 10.0, 185.0), (18.0, 0.0, 0.0)),
    "belly_skin": ((0.0, 140.0, 150.0), (0.0, -20.0, 0.0)),
}
"""Landmarks of the left half and of the midline in mm of the template, and where they lie in a woman's of the same
scale. Those of skin are where subcutaneous fat of hips and belly ends."""

_WIDTH_MM = 45.0
"""Of the radial functions: the distance over which bone and soft tissue go along with a landmark."""

_SPREAD = 0.35
"""SD of a person's place between the sexes, 0 the male and 1 the female landmarks."""


def draw_femininity(sex: Literal["F", "M"] | str, draw: np.random.Generator) -> float:
    """A person's place between the two templates: around 1 for women, 0 for men, and beyond them."""
    return float((1.0 if sex == "F" else 0.0) + _SPREAD * np.clip(draw.normal(), -2.2, 2.2))


def landmark(name: str, femininity: float = 0.0) -> np.ndarray:
    """A landmark of the left half or the midline in mm of the unscaled template, (3,)."""
    place, moved = _FEMALE_MM[name]
    return np.asarray(place) + femininity * np.asarray(moved)


def sexed_shift(points_mm: np.ndarray, scale: np.ndarray, femininity: float) -> np.ndarray:
    """Displacement from a person's points back to the scaled template, float32 (…, 3) in mm.

    Args:
        points_mm: (…, 3) in the person's frame.
        scale: factors from the template to the person.
        femininity: of the person, see `draw_femininity`.
    """
    moved = np.array([landmark(n, femininity) for n in _FEMALE_MM])
    back = np.array([landmark(n) for n in _FEMALE_MM]) - moved
    sided = moved[:, 0] != 0.0
    mirror = np.array([-1.0, 1.0, 1.0])
    known, shifts = (np.concatenate([a, a[sided] * mirror]) * scale for a in (moved, back))
    field = RBFInterpolator(known, shifts, kernel="gaussian", epsilon=1.0 / _WIDTH_MM, degree=-1, smoothing=1e-3)
    return field(points_mm.reshape(-1, 3)).reshape(points_mm.shape).astype(np.float32)
