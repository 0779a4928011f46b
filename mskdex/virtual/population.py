"""Who the virtual patients are: demographics, skeleton, muscle and fat, drawn as in the paper's cohort.

Everything here follows from (seed, patient number) alone, and needs numpy and pandas only.
"""

from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mskdex.config.virtual import VirtualSettings
from mskdex.errors import MskdexError
from mskdex.quantities import FAT_HU
from mskdex.virtual.muscle_statistics import (
    AFFECTED_HU,
    AFFECTED_LOG_VOLUME,
    COMMON_SD,
    FULL_LEAN_HU,
    MALE_GAIN,
    MEAN_AGE,
    MEAN_BMI,
    MEAN_HEIGHT_CM,
    SIDE_SD,
    statistics_of,
)

if TYPE_CHECKING:
    import pandas as pd

FEMALE_FRACTION = 455.0 / 552.0
"""Women of the paper's 552 patients (MSKdeX, Gu et al. 2023)."""

_STREAMS = (
    "demographics",
    "body",
    "tissue",
    "posture",
    "exposure",
    "ct",
    "noise",
    "department",
    "labels",
    "shape",
    "scan",
)

_HEIGHT_CM = {"F": (154.4, 6.1), "M": (168.6, 6.2)}
"""Mean and SD by sex; with the share of women they give the paper's 156.9 ± 8.3 cm."""

_LOG_BMI = (3.1351, 0.168)
"""Mean and SD of ln BMI: 23.3 ± 4.0 kg/m²."""

_REFERENCE: dict[str, Any] = {"sex": "M", "age": 38.0, "height_cm": 180.0, "weight_kg": 90.0}
"""The donor of the atlas, for whom every factor is 1 (Visible Human Male; age, height and weight as published)."""

_SEVERITY_SD = 0.5
"""SD of the log of the severity of osteoarthritis among patients, whose mean is 1."""

BILATERAL_FRACTION, _SECOND_SEVERITY = 0.2, 0.5
"""Share of patients whose other hip is osteoarthritic too, and its mean severity: 22 % of 332 patients with one
arthroplasty had the other (Sayeed et al. 2012)."""

_COMMON_FAT = 0.77
"""Correlation of the log of a muscle's share of fat with what all muscles of a person have in common."""

_FAT_PER_BMI = 0.6
"""Exponent of the body mass index in the share of fat."""

_LEAN_SD_HU, _MALE_GAIN_HU = 2.5, 3.0
_LEAST_FAT, _MOST_FAT = 0.004, 0.65


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
        size = (self.height_cm / _REFERENCE["height_cm"]) ** 0.9
        wide = (1.02, 1.02, 0.98) if self.sex == "F" else (1.0, 1.0, 1.0)
        return size * np.asarray(wide) * np.exp(draw)

    @cached_property
    def severity(self) -> dict[str, float]:
        """Severity of osteoarthritis of each hip, 0 for none, 1 the mean of affected hips; it wastes and fattens."""
        draw = np.random.default_rng((self.seed, self.number, _STREAMS.index("demographics"), 1))
        first, second = np.exp(_SEVERITY_SD * draw.normal(size=2) - _SEVERITY_SD**2 / 2.0)
        other = float(min(_SECOND_SEVERITY * second, first)) if draw.random() < BILATERAL_FRACTION else 0.0
        return {side: float(first) if side == self.affected else other for side in ("left", "right")}

    @cached_property
    def lean_hu(self) -> float:
        """HU of the person's muscle without fat."""
        return FULL_LEAN_HU + float(np.clip(self._lean_and_fat[0] * _LEAN_SD_HU, -6.0, 6.0))

    def muscle_factor(self, name: str, side: str) -> float:
        """Volume of a muscle over the atlas's.

        Body size, age and sex, a personal factor common to all muscles, the muscle's own, the side's, and what
        osteoarthritis of the side's hip has wasted.
        """
        known = statistics_of(name)
        own, asymmetry = _normals(self.seed, self.number, "body", name) * (known.own_sd, SIDE_SD)
        common = self._common * COMMON_SD
        size = known.per_height * np.log(self.height_cm / MEAN_HEIGHT_CM) + known.per_bmi * np.log(self.bmi / MEAN_BMI)
        age = known.per_year * (self.age - MEAN_AGE)
        sex = MALE_GAIN if self.sex == "M" else 0.0
        wasted = AFFECTED_LOG_VOLUME * self.severity[side] if known.in_hip else 0.0
        sided = asymmetry if side == "left" else -asymmetry
        return float(known.volume * np.exp(size + age + sex + common + own + sided + wasted))

    def fat_share(self, name: str, side: str) -> float:
        """Share of fat in a muscle's volume.

        Its mean by age is what brings women's mean HU to the published ones; around it the share is lognormal, as
        few people have much, partly common to all muscles; body mass, sex and osteoarthritis of the side add to it.
        """
        known = statistics_of(name)
        draw = _normals(self.seed, self.number, "tissue", name)
        by_age = known.hu_55 + (known.hu_85 - known.hu_55) * (self.age - 55.0) / 30.0
        # The published means are of both sides, of which osteoarthritis has already taken its part.
        both = 0.5 * (1.0 + BILATERAL_FRACTION * _SECOND_SEVERITY) if known.in_hip else 0.0
        full = FULL_LEAN_HU - FAT_HU
        mean = (FULL_LEAN_HU - by_age + AFFECTED_HU * both - (_MALE_GAIN_HU if self.sex == "M" else 0.0)) / full
        common, own = self._lean_and_fat[1], draw[0]
        spread = known.fat_sd * (_COMMON_FAT * common + np.sqrt(1.0 - _COMMON_FAT**2) * own) - known.fat_sd**2 / 2.0
        share = max(mean, 0.01) * (self.bmi / MEAN_BMI) ** _FAT_PER_BMI * np.exp(spread)
        lost = -AFFECTED_HU * self.severity[side] / full if known.in_hip else 0.0
        sided = (0.5 if side == "left" else -0.5) * draw[1] / full
        return float(np.clip(share + lost + sided, _LEAST_FAT, _MOST_FAT))

    def muscle_hu(self, name: str, side: str) -> float:
        """Mean HU of a muscle: the person's lean muscle, and fat."""
        return float(self.lean_hu + self.fat_share(name, side) * (FAT_HU - self.lean_hu))

    @cached_property
    def _common(self) -> float:
        return float(self.random("body").normal(size=4)[3])

    @cached_property
    def _lean_and_fat(self) -> np.ndarray:
        return _normals(self.seed, self.number, "tissue", "all muscles")

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
        return float(self.weight_kg / _REFERENCE["weight_kg"] * sex * np.exp(draw))


@lru_cache(maxsize=4096)
def _normals(seed: int, number: int, stream: str, name: str) -> np.ndarray:
    """Two standard normal numbers that belong to a person's muscle."""
    return np.random.default_rng((seed, number, _STREAMS.index(stream), *name.encode())).normal(size=2)


def person(settings: VirtualSettings, number: int) -> Person:
    """Draws a patient; independent of how many others there are."""
    draw = np.random.default_rng((settings.seed, number, _STREAMS.index("demographics")))
    sex = "F" if draw.random() < FEMALE_FRACTION else "M"
    age = float(np.clip(draw.normal(MEAN_AGE, 12.0), 25.0, 92.0))
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
                "affected_side": "both" if min(one.severity.values()) > 0 else one.affected,
                "sdd_mm": _stated_sdd_mm(settings, one),
                "exclude": bool(verdict),
                "exclude_reason": verdict,
            }
        )
    return pd.DataFrame(rows)


def _stated_sdd_mm(settings: VirtualSettings, one: Person) -> float:
    """The source distance that somebody wrote down where the department's files lack it; NaN elsewhere."""
    from mskdex.virtual.examination import examination_of

    how = examination_of(one, settings)
    return round(how.camera.sdd_mm, 1) if "DistanceSourceToDetector" in how.department.lacks else float("nan")


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
