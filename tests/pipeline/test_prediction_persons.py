"""Of whom a radiograph is: flags before the sheet, the sheet before the header."""

import hospital as make
import pytest

from mskdex.pipeline.prediction_persons import person_of

HEADER = {"PatientSex": "F", "PatientAge": "065Y", "PatientSize": "1.58", "PatientWeight": "57.5"}


def radiograph(tmp_path, **tags):
    return make.save(make.radiograph(**tags), tmp_path / "r.dcm")


def test_a_header_tells_of_its_patient(tmp_path):
    found = person_of(radiograph(tmp_path, **HEADER), {}, {})
    assert found.known == {"sex": "F", "age": 65.0, "height_cm": 158.0, "weight_kg": 57.5}
    assert set(found.sources.values()) == {"header"}
    assert not found.warnings


def test_a_flag_goes_before_the_sheet_and_the_sheet_before_the_header(tmp_path):
    row = {"age": 70.0, "weight_kg": 60.0}
    found = person_of(radiograph(tmp_path, **HEADER), row, {"weight_kg": 61.0})
    assert found.known == {"sex": "F", "age": 70.0, "height_cm": 158.0, "weight_kg": 61.0}
    assert found.sources == {"weight_kg": "flag", "age": "sheet", "sex": "header", "height_cm": "header"}


@pytest.mark.parametrize(
    ("tags", "known", "warned"),
    [
        ({"PatientAge": "018M"}, {"age": 1.5}, ""),
        ({"PatientAge": "65"}, {"age": 65.0}, ""),
        ({"PatientAge": "000Y", "PatientSize": "0", "PatientWeight": "0"}, {}, ""),
        ({"PatientAge": "ADULT", "PatientSex": ""}, {}, ""),
        ({"PatientSex": "O"}, {}, "sex"),
        ({"PatientSize": "158"}, {}, "height_cm"),
        ({"PatientWeight": "57500"}, {}, "weight_kg"),
        ({"PatientAge": "180Y"}, {}, "age"),
    ],
)
@pytest.mark.filterwarnings("ignore")
def test_what_a_header_says_is_judged_as_a_sheet_is(tmp_path, tags, known, warned):
    blank = dict.fromkeys(HEADER, "")
    found = person_of(radiograph(tmp_path, **blank | tags), {}, {})
    assert found.known == pytest.approx(known)
    assert [w.split()[0] for w in found.warnings] == [warned] * bool(warned)


def test_a_picture_tells_nothing(tmp_path):
    (tmp_path / "r.png").write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(64))
    assert person_of(tmp_path / "r.png", {"sex": "M"}, {}).known == {"sex": "M"}
