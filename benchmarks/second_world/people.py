"""Who the second world's patients are: body size, muscle and fat, from other sources than the first world's.

Muscle volumes follow height times mass (Handsfield et al. 2014, MRI of 24 adults' lower limbs: total 47·m·kg + 1285
cm³, and each muscle's share of it), fall with age (assumed: 0.9 % a year after 45), and spread around that as Belzunce
et al. 2022 and Marcon et al. 2016 found. Fat within muscle follows a beta distribution
with the standard deviation of Pacicco et al. 2019, not a normal one.
"""

from dataclasses import dataclass

import numpy as np

_TEMPLATE_HEIGHT_CM = 180.0
_FRACTIONS = {
    "gluteus_maximus": 0.1193,
    "gluteus_medius": 0.0454,
    "gluteus_minimus": 0.0147,
    "iliacus": 0.0248,
    "psoas_major": 0.0380,
}
"""Share of one lower limb's muscle volume (Handsfield et al. 2014); other muscles keep the template's, scaled."""

_SPREAD = {"gluteus_maximus": 0.18, "gluteus_medius": 0.145, "gluteus_minimus": 0.155, "iliacus": 0.16}
"""Residual coefficient of variation (Belzunce et al. 2022, Marcon et al. 2016; iliacus: assumed)."""

_REFERENCE_CM3 = 47.0 * 1.80 * 90.0 + 1285.0
"""Of the template's person, 1.80 m and 90 kg."""

_OTHER_CV = 0.15


@dataclass(frozen=True)
class Person:
    """One person.

    Attributes:
        number: of the cohort.
        sex: F or M.
        age, height_cm, weight_kg: demographics.
        scale: size of the skeleton against the template's, (x, y, z).
        wanted_cm3: target volume of muscles with a published share, by label name.
        factors: target volume of all other muscles, against the unscaled template.
        fat_mm: how much thicker the fat under the skin is than the template's.
        fat_fraction: of each muscle, by bare name and side.
        lean_hu, fat_hu: HU of fat-free muscle and of fat.
        trabecular_hu, cortical_hu: of bone.
        affected: the osteoarthritic side, or "both", or "none".
    """

    number: int
    sex: str
    age: float
    height_cm: float
    weight_kg: float
    scale: np.ndarray
    wanted_cm3: dict[str, float]
    factors: dict[str, float]
    fat_mm: float
    fat_fraction: dict[str, float]
    lean_hu: float
    fat_hu: float
    trabecular_hu: float
    cortical_hu: float
    affected: str

    @property
    def patient_id(self) -> str:
        """Pseudonym in the sheet."""
        return f"W2-{self.number:03d}"


def draw_person(number: int, seed: int, muscles: list[str]) -> Person:
    """Draws the person of a number; the same for the same seed.

    Args:
        number: number in the cohort.
        seed: seed of the cohort.
        muscles: names of all muscle labels, with their sides.
    """
    draw = np.random.default_rng((seed, number, 20))
    female = draw.random() < 0.75
    age = float(np.clip(draw.gamma(28.0, 2.35), 35.0, 92.0))
    height = float(draw.normal(155.0, 6.0) if female else draw.normal(167.5, 6.3))
    bmi = float(np.clip(np.exp(draw.normal(np.log(23.4), 0.15)), 16.5, 36.0))
    weight = bmi * (height / 100.0) ** 2
    size = height / _TEMPLATE_HEIGHT_CM
    # Women's pelves are wider for their height (inlet and acetabular distance), men's the template's.
    wide = 1.07 if female else 1.0
    scale = size * np.exp(draw.normal(0.0, 0.025, 3)) * (wide, 1.02 if female else 1.0, 1.0)
    affected = str(draw.choice(["left", "right", "both", "none"], p=[0.36, 0.4, 0.14, 0.1]))
    severity = float(np.clip(draw.gamma(2.2, 0.45), 0.1, 2.5))
    limb = 47.0 * height / 100.0 * weight + 1285.0
    expected = (0.86 if female else 1.0) * (1.0 - 0.009 * max(age - 45.0, 0.0))
    common = float(draw.normal(0.0, 0.10))
    wanted, factors, fractions = {}, {}, {}
    habit = draw.normal(0.0, 0.035)
    for bare in dict.fromkeys(m.rpartition("_")[0] for m in muscles):
        fraction_of_limb, spread = _FRACTIONS.get(bare), _SPREAD.get(bare, _OTHER_CV)
        own = float(draw.normal(0.0, np.sqrt(max(spread**2 - 0.10**2, 0.01))))
        mean = np.clip(0.07 + 0.0016 * (age - 40.0) + 0.004 * (bmi - 22.0) + habit, 0.02, 0.45)
        fraction = _beta(draw, float(mean), 0.06)
        for side in ("left", "right"):
            worse = severity if affected in (side, "both") else 0.0
            factor = expected * np.exp(common + own + draw.normal(0.0, 0.035)) * (1.0 - 0.13 * min(worse, 2.0))
            if fraction_of_limb is not None:
                wanted[f"{bare}_{side}"] = float(limb * fraction_of_limb * factor)
            else:
                factors[f"{bare}_{side}"] = float(limb / _REFERENCE_CM3 * factor)
            fractions[f"{bare}_{side}"] = float(np.clip(fraction + 0.04 * worse + draw.normal(0.0, 0.012), 0.0, 0.75))
    return Person(
        number,
        "F" if female else "M",
        age,
        height,
        weight,
        scale,
        wanted,
        factors,
        float(np.clip(2.2 * (bmi - 24.0) + (5.0 if female else 0.0) + draw.normal(0.0, 4.0), -16.0, 30.0)),
        fractions,
        float(draw.normal(61.0, 2.5)),
        float(draw.normal(-104.0, 4.0)),
        float(np.clip(draw.normal(170.0 - 1.6 * (age - 60.0), 35.0), 40.0, 300.0)),
        float(draw.normal(1020.0, 110.0)),
        affected,
    )


def _beta(draw: np.random.Generator, mean: float, sd: float) -> float:
    total = mean * (1.0 - mean) / sd**2 - 1.0
    total = max(total, 3.0)
    return float(draw.beta(mean * total, (1.0 - mean) * total))
