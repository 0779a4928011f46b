import numpy as np
import pytest

from mskdex.config import Config
from mskdex.config.virtual import VirtualSettings
from mskdex.errors import MskdexError
from mskdex.pipeline.settings import synthesize_stage
from mskdex.virtual.population import cohort_sheet, person, person_of, write_sheet

SETTINGS = VirtualSettings(patients=500, seed=7)


@pytest.fixture(scope="module")
def people():
    return [person(SETTINGS, number) for number in range(1, 501)]


def both(people, value):
    return np.array([np.mean([value(one, side) for side in ("left", "right")]) for one in people])


def test_demographics_are_the_paper_s(people):
    assert np.mean([p.sex == "F" for p in people]) == pytest.approx(455 / 552, abs=0.05)
    for value, mean, sd in (("height_cm", 156.9, 8.3), ("weight_kg", 57.5, 11.9), ("bmi", 23.3, 4.0)):
        drawn = np.array([getattr(p, value) for p in people])
        assert drawn.mean() == pytest.approx(mean, rel=0.02)
        assert drawn.std() == pytest.approx(sd, rel=0.12)


def test_muscles_correlate_with_bmi_as_in_the_paper(people):
    bmi = np.array([p.bmi for p in people])

    def correlation(values):
        return np.corrcoef(bmi, values)[0, 1]

    assert 0.4 < correlation(both(people, lambda p, side: p.muscle_factor("gluteus_maximus", side))) < 0.6
    assert abs(correlation(both(people, lambda p, side: p.muscle_factor("iliacus", side)))) < 0.25
    assert abs(correlation(both(people, lambda p, side: p.muscle_hu("gluteus_maximus", side)))) < 0.35


@pytest.mark.parametrize(
    ("muscle", "fifties", "eighties"),
    [("gluteus_maximus", 35, 27), ("gluteus_medius", 47, 41), ("gluteus_minimus", 49, 38), ("iliacus", 56, 53),
     ("obturator_externus", 45, 36), ("pectineus", 48, 46)],
)  # fmt: skip
def test_muscles_turn_to_fat_with_age(people, muscle, fifties, eighties):
    women = [p for p in people if p.sex == "F"]
    for low, high, expected in ((50, 60, fifties), (80, 93, eighties)):
        group = [p for p in women if low <= p.age < high]
        assert both(group, lambda p, side: p.muscle_hu(muscle, side)).mean() == pytest.approx(expected, abs=2.5)


def test_sizes_vary_between_muscles_sides_and_people(people):
    factors = {m: both(people, lambda p, s, m=m: p.muscle_factor(m, s)) for m in ("gluteus_medius", "iliacus")}
    assert 0.1 < np.std(np.log(factors["gluteus_medius"])) < 0.35
    assert 0.3 < np.corrcoef(factors["gluteus_medius"], factors["iliacus"])[0, 1] < 0.95
    weaker = [p.muscle_factor("gluteus_medius", p.affected) for p in people]
    other = [p.muscle_factor("gluteus_medius", "left" if p.affected == "right" else "right") for p in people]
    assert np.mean(weaker) < np.mean(other)


def test_a_patient_does_not_depend_on_the_others():
    few, many = (cohort_sheet(SETTINGS.model_copy(update={"patients": n})) for n in (3, 30))
    assert many.head(3).equals(few)
    other = cohort_sheet(SETTINGS.model_copy(update={"patients": 3, "seed": 8}))
    assert not other["height_cm"].equals(few["height_cm"])


def test_sheet_has_the_columns_and_relative_paths(tmp_path):
    settings = VirtualSettings(patients=4, implant_fraction=1.0)
    write_sheet(settings, tmp_path / "cohort.tsv")
    header, *rows = (tmp_path / "cohort.tsv").read_text(encoding="utf-8").splitlines()
    assert header.split("\t")[:5] == ["patient_id", "ct", "labels", "label_source", "radiograph"]
    assert rows[3].startswith("V0004\tV0004/ct.nii.gz\tV0004/labels.nii.gz\tnamed\tV0004/radiograph.dcm\t")
    assert all(cohort_sheet(settings)["exclude"])


def test_a_verdict_stands_in_the_sheet_and_changes_no_patient():
    config = Config(virtual={"patients": 3, "exclude": {"V0002": "no air"}})
    sheet = cohort_sheet(config.virtual)
    assert sheet["exclude"].to_list() == [False, True, False]
    assert sheet["exclude_reason"].to_list() == ["", "no air", ""]
    assert synthesize_stage(config) == synthesize_stage(Config())
    with pytest.raises(MskdexError, match=r"V0004.*V0001 to V0003"):
        cohort_sheet(config.virtual.model_copy(update={"exclude": {"V0004": "no air"}}))


@pytest.mark.parametrize("wrong", ["V1", "P0001", "V0000", "V00001", "0001", "V00x1"])
def test_an_id_that_no_sheet_holds_is_refused(wrong):
    with pytest.raises(MskdexError, match=f"{wrong}.*V0001"):
        person_of(SETTINGS, wrong)


def test_ids_round_trip():
    assert person_of(SETTINGS, "V0123").patient_id == "V0123"
    assert person_of(SETTINGS, "V12345").number == 12345
