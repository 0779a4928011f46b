"""One patient under two ids: found by content and by DICOM PatientIDs, which are kept nowhere."""

import json
from pathlib import Path

import hospital as make
import numpy as np
import pandas as pd
import pytest

from mskdex.cohort.folds import assign_folds
from mskdex.cohort.identity import Evidence, clashes
from mskdex.cohort.persons import persons
from mskdex.config.cohort import CohortSettings
from mskdex.config.learning import FoldSettings
from mskdex.errors import MskdexError
from mskdex.imaging.patient_identity import dicom_patient_ids, person_doubts, require_one_patient
from mskdex.pipeline.stages.identity import identity
from mskdex.pipeline.stages.importing import import_patient

FILES = {c: f"{c}.nii" for c in ("ct", "labels", "radiograph")}


def someone(name, digests=(), ids=None, person=None):
    return Evidence(name, person or name, FILES, {"ct": digests}, ids or {})


def test_equal_content_is_one_clash_for_each_copy_and_none_within_a_person():
    cohort = [
        someone("A", "x"),
        someone("B", "xy"),
        someone("C", "y"),
        someone("D", "z"),
        someone("E", "z", person="D"),
    ]
    found = clashes(cohort)
    assert [(c.patient_id, c.column, c.certain) for c in found] == [("B", "ct", True), ("C", "ct", True)]
    assert "write A into B's same_patient_as" in found[0].message
    assert "write B into C's same_patient_as" in found[1].message


def test_equal_ids_clash_unless_the_whole_cohort_shares_them():
    two = [someone("A", ids={"ct": "77"}), someone("B", ids={"radiograph": "77"}), someone("C", ids={"ct": "78"})]
    found = clashes(two)
    assert [(c.patient_id, c.certain) for c in found] == [("B", True)]
    assert "77" not in found[0].message
    study = [someone(name, ids={"ct": "study"}) for name in "ABC"] + [someone("D")]
    assert [(c.patient_id, c.certain) for c in clashes(study)] == [("", False)]
    assert [c.certain for c in clashes(study[:2])] == [True]


def test_persons_are_the_tied_rows_whatever_their_order():
    ties = {"b": "c", "a": None, "c": None, "d": "a", "e": "x", "f": "x", "g": None}
    found = persons(ties)
    assert found == {"b": "b", "a": "a", "c": "b", "d": "a", "e": "e", "f": "e", "g": "g"}
    assert persons(dict(reversed(ties.items()))) == found


@pytest.mark.parametrize("seed", range(5))
def test_rows_of_one_person_share_a_fold_and_the_folds_stay_balanced(seed):
    generator = np.random.default_rng(seed)
    person = np.sort(generator.integers(0, 40, 70))
    rows = pd.DataFrame({"patient_id": [f"P{i:02d}" for i in range(70)], "person": [f"P{p:02d}" for p in person]})
    rows["sex"] = np.where(person % 3 == 0, "M", "F")
    folds = rows.merge(assign_folds(rows, FoldSettings(count=4, seed=seed)), on=["patient_id", "person"])
    assert len(folds.drop_duplicates(["person", "fold"])) == folds["person"].nunique()
    largest = rows["person"].value_counts().max()
    for some in (folds, folds[folds["sex"] == "M"], folds[folds["sex"] == "F"]):
        sizes = some["fold"].value_counts().reindex(range(4), fill_value=0)
        assert sizes.max() - sizes.min() <= largest


def test_too_few_persons_for_the_folds_though_there_are_rows():
    rows = pd.DataFrame({"patient_id": list("abcd"), "sex": None, "person": list("aabb")})
    with pytest.raises(MskdexError, match="4 patients, 2 persons, cannot fill 3 folds"):
        assign_folds(rows, FoldSettings(count=3))


def of_two_files(folder: Path, ct_id: str | None, radiograph_id: str | None) -> dict:
    row = make.patient(folder)
    slices = make.slice_datasets(make.phantom()[0], PatientID=ct_id)
    row["ct"] = str(make.save_all(slices, folder / "series"))
    make.save(make.radiograph(PatientID=radiograph_id), Path(row["radiograph"]))
    return row


@pytest.mark.parametrize(
    ("ct_id", "radiograph_id", "accepted"),
    [
        ("4711", "4712", False),
        ("4711", "4711", True),
        (" 004711", "4711 ", True),
        ("ab1", "AB1", True),
        ("", "4712", True),
        ("ANONYMOUS", "4712", True),
        ("Anonymized", "unknown", True),
        ("0", "4712", True),
        ("ANON17", "ANON18", False),
    ],
)
def test_ids_of_ct_and_radiograph_must_agree_where_they_name_somebody(tmp_path, ct_id, radiograph_id, accepted):
    row = of_two_files(tmp_path, ct_id, radiograph_id)
    if accepted:
        require_one_patient(row)
        return
    with pytest.raises(MskdexError, match="have different DICOM PatientIDs, so ct and radiograph are of") as error:
        require_one_patient(row)
    assert ct_id not in str(error.value)
    require_one_patient(row | {"allow_id_mismatch": True})


def test_sex_birth_and_dates_that_are_not_of_one_patient_are_said(tmp_path):
    ct, _ = make.phantom()
    row = make.patient(tmp_path)
    tags = {"PatientSex": "M", "PatientBirthDate": "19400101", "StudyDate": "20180101"}
    row["ct"] = str(make.save_all(make.slice_datasets(ct, **tags), tmp_path / "series"))
    make.save(make.radiograph(PatientSex="F", StudyDate="20200101"), Path(row["radiograph"]))
    sex, birth, apart = person_doubts(row)
    assert sex.startswith("ct and radiograph give two values of the patient's sex")
    assert birth.startswith("ct and radiograph give two values of the patient's birth date")
    assert apart.startswith("CT and radiograph were taken more than a year apart")
    assert not any(value in f"{sex} {birth} {apart}" for value in ("1940", "2018", "2020"))
    assert person_doubts(row | {"allow_id_mismatch": True}) == [apart]
    make.save(make.radiograph(PatientSex="O", PatientBirthDate="", StudyDate="20180601"), Path(row["radiograph"]))
    assert person_doubts(row) == []
    assert person_doubts(row | {"sex": "F"})[0].startswith("ct and sheet give two values of the patient's sex")


def test_import_refuses_files_of_two_patients_and_writes_nothing(tmp_path):
    row = of_two_files(tmp_path / "in", "WARD-4711", "WARD-4712")
    with pytest.raises(MskdexError, match=r"patient P01: .*series and .*radiograph\.dcm have different"):
        import_patient(row, make.settings(), tmp_path / "out")
    assert not (tmp_path / "out").exists()
    import_patient(row | {"allow_id_mismatch": True}, make.settings(), tmp_path / "out")
    assert b"ward" not in (tmp_path / "out" / "import.json").read_bytes().lower()


def test_segmentation_of_another_patient_is_found(tmp_path):
    row = make.patient(tmp_path)
    ct, labels = make.phantom()
    (tmp_path / "seg").mkdir()
    make.dicom_seg(tmp_path / "seg" / "a.dcm", labels, make.slice_datasets(ct, PatientID="S1"))
    ids = dicom_patient_ids(row | {"labels": str(tmp_path / "seg")})
    assert ids == {"labels": "s1", "radiograph": "hosp-4711"}


@pytest.fixture
def cohort(tmp_path):
    """A sheet of three imported patients, of whom the third has the first one's CT under another name and header."""
    rows = []
    for number in range(3):
        row = make.distinct_patient(tmp_path / f"P{number:02d}", number)
        if number == 2:
            ct, _ = make.phantom()
            ct.array[0, 0, :] = -1000
            row["ct"] = str(make.write(tmp_path / "P02" / "again.nrrd", ct))
        import_patient(row | {"data_root": str(tmp_path)}, make.settings(), tmp_path / "results" / row["patient_id"])
        rows.append(row | {k: str(Path(row[k]).relative_to(tmp_path)) for k in ("ct", "labels", "radiograph")})
    return rows


def checked(folder, rows):
    pd.DataFrame(rows).to_csv(folder / "cohort.csv", index=False)
    identity(folder / "cohort.csv", CohortSettings(), folder / "results", folder / "identity.json")
    return json.loads((folder / "identity.json").read_text(encoding="utf-8"))


def test_stage_stops_a_cohort_with_a_patient_twice(tmp_path, cohort):
    with pytest.raises(MskdexError, match="patients twice") as error:
        checked(tmp_path, cohort)
    assert str(error.value).splitlines()[1] == (
        "  patient P02: P02/again.nrrd holds the same CT as P00/ct.nii.gz of P00; correct the path, or write P00 into "
        "P02's same_patient_as if both are one person"
    )
    assert not (tmp_path / "identity.json").exists()
    found = checked(tmp_path, [*cohort[:2], cohort[2] | {"same_patient_as": "P00"}])
    assert (found["patients"], found["persons"]) == (3, 2)
    found = checked(tmp_path, [*cohort[:2], cohort[2] | {"exclude": "yes", "exclude_reason": "scanned twice"}])
    assert (found["patients"], found["persons"]) == (2, 2)


def test_stage_finds_one_dicom_id_under_two_of_the_sheets(tmp_path, cohort):
    cohort[2] |= {"exclude": "yes", "exclude_reason": "scanned twice"}
    make.save(make.radiograph(PatientID="HOSP-0000"), tmp_path / "P01" / "radiograph.dcm")
    with pytest.raises(MskdexError, match=r"same DICOM PatientID as P00/radiograph\.dcm of P00") as error:
        checked(tmp_path, cohort)
    assert "HOSP" not in str(error.value)
    allowed = [cohort[0], cohort[1] | {"allow_id_mismatch": "yes"}, cohort[2]]
    assert checked(tmp_path, allowed)["persons"] == 2
    assert b"HOSP" not in (tmp_path / "identity.json").read_bytes()


def test_a_patient_id_of_an_unknown_representation_ends_in_no_traceback(tmp_path):
    row = make.patient(tmp_path)
    path = Path(row["radiograph"])
    content = path.read_bytes()
    at = content.index(b"\x10\x00\x20\x00LO")
    path.write_bytes(content[: at + 4] + b"NO" + content[at + 6 :])
    require_one_patient(row)
    assert set(dicom_patient_ids(row)) == {"radiograph"}
