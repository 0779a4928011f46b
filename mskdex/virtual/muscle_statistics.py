"""Statistics of each muscle among people: volume by size, age and sex, its own spread, and fat by age.

Sources and the figures that these numbers reproduce: docs/virtual.md, "Population".
"""

from dataclasses import dataclass

MEAN_HEIGHT_CM, MEAN_BMI, MEAN_AGE = 156.9, 23.3, 64.0
"""Of the paper's cohort; age of patients before hip arthroplasty."""

COMMON_SD = 0.09
"""SD of the log of the factor that all muscles of a person share."""

SIDE_SD = 0.035
"""SD of the log of what a side has more than the mean of both."""

MALE_GAIN = 0.13
"""Log of a man's muscle volume over a woman's of the same height, BMI and age."""

FULL_LEAN_HU = 64.0
"""Mean HU of muscle without fat among people."""

AFFECTED_LOG_VOLUME, AFFECTED_HU = -0.189, -7.9
"""Change on the side of an osteoarthritic hip of severity 1: the log of volume (-16.3 %), mean HU."""


@dataclass(frozen=True)
class MuscleStatistics:
    """One muscle's statistics; both sides are alike.

    Attributes:
        volume: of a woman of mean height, BMI and age without osteoarthritis, over that of the atlas's donor.
        per_height: exponent of body height. per_bmi: of the body mass index.
        per_year: change of the log of volume with a year of age.
        own_sd: SD of the log of the muscle's own factor.
        hu_55, hu_85: mean HU of women of 55 and 85 years, both sides.
        fat_sd: SD of the log of the share of fat among women of one age, BMI and severity.
        in_hip: whether osteoarthritis of the hip wastes it.
    """

    volume: float
    per_height: float
    per_bmi: float
    per_year: float
    own_sd: float
    hu_55: float
    hu_85: float
    fat_sd: float
    in_hip: bool = True


STATISTICS = {
    "gluteus_maximus": MuscleStatistics(0.534, 2.8, 0.85, -0.0075, 0.145, 35.0, 27.0, 0.44),
    "gluteus_medius": MuscleStatistics(0.571, 2.8, 0.55, -0.0065, 0.100, 47.0, 41.0, 0.63),
    "gluteus_minimus": MuscleStatistics(0.558, 2.9, 0.45, -0.0075, 0.114, 49.0, 38.0, 0.62),
    "iliacus": MuscleStatistics(0.604, 3.1, 0.10, -0.0085, 0.110, 56.0, 53.0, 1.0),
    "psoas_major": MuscleStatistics(0.589, 3.1, 0.10, -0.0085, 0.180, 55.0, 52.0, 1.0),
    "obturator_externus": MuscleStatistics(0.599, 3.0, 0.35, -0.0075, 0.110, 45.0, 36.0, 0.55),
    "pectineus": MuscleStatistics(0.599, 3.0, 0.35, -0.0075, 0.110, 48.0, 46.0, 0.70),
}
OTHER = MuscleStatistics(0.568, 2.8, 0.45, -0.0065, 0.110, 45.0, 38.0, 0.50)
TRUNK = MuscleStatistics(0.568, 2.8, 0.45, -0.0065, 0.110, 45.0, 38.0, 0.50, in_hip=False)
_OF_TRUNK = ("erector_spinae", "abdominal_wall")


def statistics_of(name: str) -> MuscleStatistics:
    """Statistics of a muscle, by its name without side."""
    return STATISTICS.get(name, TRUNK if name in _OF_TRUNK else OTHER)
