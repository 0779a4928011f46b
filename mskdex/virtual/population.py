"""Who the virtual patients are: demographics, skeleton, muscle and fat, drawn as in the paper's cohort.

Everything here follows from (seed, patient number) alone, and needs numpy and pandas only.
"""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from mskdex.config.virtual import VirtualSettings
from mskdex.errors import MskdexError

if TYPE_CHECKING:
    import pandas as pd

FEMALE_FRACTION = 455.0 / 552.0
"""Women of the paper's 552 patients (MSKdeX, Gu et al. 2023)."""

_STREAMS = ("demographics", "body", "tissue", "posture", "exposure", "ct", "noise")

_HEIGHT_CM = {"F": (154.4, 6.1), "M": (168.6, 6.2)}
"""Mean and SD by sex; with the share of women they give the paper's 156.9 ± 8.3 cm."""

_LOG_BMI = (3.1351, 0.168)
"""Mean and SD of ln BMI: 23.3 ± 4.0 kg/m²."""

_REFERENCE = {"sex": "M", "age": 38.0, "height_cm": 180.0, "weight_kg": 90.0}
"""The donor of the atlas, for whom every factor is 1 (Visible Human Male; age, height and weight as published)."""

_GROWTH = {
    "gluteus_maximus": (0.60, -0.0050, 0.085),
    "gluteus_medius": (0.45, -0.0035, 0.080),
    "gluteus_minimus": (0.35, -0.0050, 0.110),
    "iliacus": (0.05, -0.0040, 0.090),
    "psoas_major": (0.05, -0.0050, 0.100),
    "obturator_externus": (0.25, -0.0030, 0.100),
    "pectineus": (0.25, -0.0030, 0.100),
}
_OTHER_GROWTH = (0.40, -0.0040, 0.080)
"""Per muscle: exponent of BMI, relative change per year of age, SD of the muscle's own factor.

The exponents reproduce the order of the correlations with BMI in Fig. 1 of MSKdeX (gluteus maximus moderate, iliacus
little); the changes with age are of the size that Ikezoe 2011 and Yamauchi 2017 report for hip muscles.
"""

_MEAN_HU = {
    "gluteus_maximus": (35.0, 27.0),
    "gluteus_medius": (47.0, 41.0),
    "gluteus_minimus": (49.0, 38.0),
    "iliacus": (56.0, 53.0),
    "obturator_externus": (45.0, 36.0),
    "pectineus": (48.0, 46.0),
    "psoas_major": (55.0, 52.0),
}
_OTHER_MEAN_HU = (45.0, 38.0)
"""Mean HU of women's muscles at 55 and at 85 years, MSKdeX (Gu et al. 2023)."""


@dataclass(frozen=True)
class Person:
    """One virtual patient as drawn, before any image is made.

    Attributes:
        number: the patient's number, counted from 1.
        affected: side of the osteoarthritic hip.
    """

    number: int
    seed: int
    sex: str
    age: float
    height_cm: float
    weight_kg: float
    affected: str
    implant: bool

    @property
    def patient_id(self) -> str:
        """V and the number."""
        return f"V{self.number:04d}"

    @property
    def bmi(self) -> float:
        """Body mass index in kg/m²."""
        return self.weight_kg / (self.height_cm / 100.0) ** 2

    def random(self, stream: str) -> np.random.Generator:
        """A generator of the patient's own: one stream per purpose, so that they do not disturb each other."""
        return np.random.default_rng((self.seed, self.number, _STREAMS.index(stream)))

    @cached_property
    def skeleton_scale(self) -> np.ndarray:
        """Factors along x, y, z from the atlas's skeleton."""
        draw = self.random("body").normal(size=3) * (0.025, 0.02, 0.015)
        size = (self.height_cm / _REFERENCE["height_cm"]) ** 0.9  # type: ignore[operator]
        wide = (1.06, 1.02, 0.98) if self.sex == "F" else (1.0, 1.0, 1.0)
        return size * np.asarray(wide) * np.exp(draw)

    def muscle_factor(self, name: str, side: str) -> float:
        """Volume of a muscle over the atlas's.

        Body size, age and sex, a personal factor common to all muscles, the muscle's own and the side's.
        """
        exponent, per_year, own_sd = _GROWTH.get(name, _OTHER_GROWTH)
        draw = np.random.default_rng((self.seed, self.number, _STREAMS.index("body"), *name.encode()))
        common = self.random("body").normal(size=4)[3] * 0.07
        own, asymmetry = draw.normal() * own_sd, draw.normal() * 0.025
        height = 1.9 * np.log(self.height_cm / _REFERENCE["height_cm"])  # type: ignore[operator]
        size = height + exponent * np.log(self.bmi / 27.8)
        age = per_year * (self.age - _REFERENCE["age"])  # type: ignore[operator]
        sex = -0.13 if self.sex == "F" else 0.0
        return float(np.exp(size + age + sex + common + own + self._sided(side, asymmetry, -0.06)))

    def _sided(self, side: str, asymmetry: float, affected: float) -> float:
        sign = 1.0 if side == "left" else -1.0
        return sign * asymmetry + (affected if side == self.affected else 0.0)

    def muscle_hu(self, name: str, side: str) -> float:
        """Mean HU that fatty infiltration leaves of a muscle."""
        young, old = _MEAN_HU.get(name, _OTHER_MEAN_HU)
        draw = np.random.default_rng((self.seed, self.number, _STREAMS.index("tissue"), *name.encode()))
        common, own = self.random("tissue").normal() * 3.0, draw.normal() * 2.0
        mean = young + (old - young) * (self.age - 55.0) / 30.0 + (3.0 if self.sex == "M" else 0.0)
        obesity = -0.35 * (self.bmi - 23.3)
        # The mean is that of both sides, of which the affected one has lost the more.
        sides = self._sided(side, 0.5 * draw.normal(), -2.5)
        return float(np.clip(mean + 1.25 + obesity + common + own + sides, 5.0, 62.0))

    @cached_property
    def bone_density(self) -> float:
        """Factor on the HU of bone: falls with age, faster in women."""
        loss = 0.006 if self.sex == "F" else 0.003
        return float(np.clip(1.0 - loss * (self.age - 45.0) + self.random("tissue").normal(size=2)[1] * 0.1, 0.5, 1.3))

    @cached_property
    def soft_share(self) -> float:
        """Volume of the hips' field of view over the atlas's, for all tissues together: follows weight."""
        sex = 1.06 if self.sex == "F" else 1.0
        draw = self.random("body").normal(size=5)[4] * 0.03
        return float(self.weight_kg / _REFERENCE["weight_kg"] * sex * np.exp(draw))  # type: ignore[operator]


def person(settings: VirtualSettings, number: int) -> Person:
    """Draws a patient; independent of how many others there are."""
    draw = np.random.default_rng((settings.seed, number, _STREAMS.index("demographics")))
    sex = "F" if draw.random() < FEMALE_FRACTION else "M"
    age = float(np.clip(draw.normal(64.0, 12.0), 25.0, 92.0))
    mean, sd = _HEIGHT_CM[sex]
    height = float(np.clip(draw.normal(mean, sd), mean - 3 * sd, mean + 3 * sd))
    log_mean, log_sd = _LOG_BMI
    bmi = float(np.exp(log_mean + log_sd * np.clip(draw.normal(), -2.2, 2.5) + (0.03 if sex == "M" else -0.006)))
    affected = "left" if draw.random() < 0.5 else "right"
    implant = bool(draw.random() < settings.implant_fraction)
    weight = round(bmi * (height / 100.0) ** 2, 1)
    return Person(number, settings.seed, sex, round(age, 1), round(height, 1), weight, affected, implant)


def cohort_sheet(settings: VirtualSettings) -> "pd.DataFrame":
    """The cohort sheet of the virtual patients; paths are relative to the sheet's folder.

    Raises:
        MskdexError: `exclude` names somebody who is not in the cohort.
    """
    import pandas as pd

    known = {f"V{number:04d}" for number in range(1, settings.patients + 1)}
    if unknown := sorted(set(settings.exclude) - known):
        msg = f"virtual.exclude names {', '.join(unknown)}; the cohort has V0001 to V{settings.patients:04d}"
        raise MskdexError(msg)
    rows = []
    for number in range(1, settings.patients + 1):
        one = person(settings, number)
        folder = one.patient_id
        verdict = settings.exclude.get(one.patient_id, "metal hip" if one.implant else "")
        rows.append(
            {
                "patient_id": one.patient_id,
                "ct": f"{folder}/ct.nii.gz",
                "labels": f"{folder}/labels.nii.gz",
                "label_source": "named",
                "radiograph": f"{folder}/radiograph.dcm",
                "sex": one.sex,
                "age": one.age,
                "height_cm": one.height_cm,
                "weight_kg": one.weight_kg,
                "exclude": bool(verdict),
                "exclude_reason": verdict,
            }
        )
    return pd.DataFrame(rows)


def person_of(settings: VirtualSettings, patient_id: str) -> Person:
    """The patient of an id of the sheet.

    Raises:
        MskdexError: the id is not one that the sheet would hold.
    """
    digits = patient_id.removeprefix("V")
    if not patient_id.startswith("V") or not digits.isdigit() or int(digits) < 1 or f"V{int(digits):04d}" != patient_id:
        msg = (
            f"patient {patient_id}: virtual patients are named V0001, V0002, …; take an id of the virtual cohort sheet"
        )
        raise MskdexError(msg)
    return person(settings, int(digits))


def write_sheet(settings: VirtualSettings, out: Path) -> None:
    """Writes the cohort sheet as TSV."""
    from mskdex.io.csv_files import write_csv

    write_csv(out, cohort_sheet(settings), separator="\t")
