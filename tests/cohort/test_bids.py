"""`cohort init` on folders in the manner of BIDS."""

import json

import hospital as make
import pandas as pd
import pytest

from mskdex.config import Config
from mskdex.errors import MskdexError
from mskdex.pipeline.stages.cohort_init import draft_sheet

CONFIG = Config.model_validate({"label_sources": {"phantom": make.IDS}, "ct": make.SMALL_STRUCTURES})


def dataset(folder, participants="", described=None):
    folder.mkdir(exist_ok=True)
    (folder / "dataset_description.json").write_text('{"Name": "hips", "BIDSVersion": "1.10.0"}', encoding="utf-8")
    if participants:
        (folder / "participants.tsv").write_text(participants, encoding="utf-8")
    if described:
        (folder / "participants.json").write_text(json.dumps(described), encoding="utf-8")
    return folder


def subject(folder, name, session="", labels=True):
    """CT, labels of a derivative, and a radiograph of a subject, or of a session of one."""
    inside = f"sub-{name}/{session}/" if session else f"sub-{name}/"
    stem = f"sub-{name}_{session}" if session else f"sub-{name}"
    ct, ids = make.phantom()
    for place in ("ct", "xr"):
        (folder / inside / place).mkdir(parents=True, exist_ok=True)
    make.write(folder / inside / "ct" / f"{stem}_ct.nii.gz", ct)
    make.save(make.radiograph(PatientID=None), folder / inside / "xr" / f"{stem}_xr.dcm")
    if labels:
        place = folder / "derivatives" / "segmentation" / inside / "ct"
        place.mkdir(parents=True)
        make.write(place / f"{stem}_dseg.nii.gz", ids)


def drafted(folder):
    draft_sheet(folder, folder / "cohort.tsv", CONFIG)
    return pd.read_csv(folder / "cohort.tsv", sep="\t", dtype=str, keep_default_na=False).set_index("patient_id")


def test_subjects_become_rows_with_what_participants_says_of_them(tmp_path):
    table = "participant_id\tsex\tage\theight\tweight\nsub-01\tfemale\t61\t1.58\t57.5\n02\tM\tn/a\t181\tn/a\n"
    folder = dataset(tmp_path / "bids", table)
    subject(folder, "01")
    subject(folder, "02")
    (folder / "code").mkdir()
    make.write(folder / "code" / "template.nii.gz", make.phantom()[0])
    found = drafted(folder)
    assert list(found.index) == ["sub-01", "sub-02"]
    row = found.loc["sub-01"]
    assert (row["ct"], row["radiograph"]) == ("sub-01/ct/sub-01_ct.nii.gz", "sub-01/xr/sub-01_xr.dcm")
    assert row["labels"] == "derivatives/segmentation/sub-01/ct/sub-01_dseg.nii.gz"
    columns = ["sex", "age", "height_cm", "weight_kg"]
    assert list(row[columns]) == ["F", "61", "158", "57.5"]
    assert list(found.loc["sub-02", columns]) == ["M", "", "181", ""]


@pytest.mark.parametrize(
    ("units", "values", "expected", "note"),
    [
        ({"height": "m", "weight": "kg"}, ("1.7", "70"), ("170", "70"), ""),
        ({"height": "mm", "weight": "g"}, ("1700", "70000"), ("170", "70"), ""),
        ({"height": "cm"}, ("170", "heavy"), ("170", ""), "weight_kg: participants.tsv says heavy; give a number"),
        ({"weight": "lb"}, ("170", "154"), ("170", ""), "weight_kg: participants.json gives weight in lb; convert it"),
    ],
)
def test_units_are_those_of_participants_json(tmp_path, units, values, expected, note):
    table = "participant_id\theight\tweight\nsub-01\t{}\t{}\n".format(*values)
    folder = dataset(tmp_path / "bids", table, {name: {"Units": unit} for name, unit in units.items()})
    subject(folder, "01")
    row = drafted(folder).loc["sub-01"]
    assert (row["height_cm"], row["weight_kg"]) == expected
    assert note in row["notes"]


def test_each_session_with_a_ct_of_its_own_is_a_row_of_the_same_person(tmp_path):
    folder = dataset(tmp_path / "bids", "participant_id\tsex\nsub-01\tF\n")
    subject(folder, "01", "ses-a")
    subject(folder, "01", "ses-b")
    found = drafted(folder)
    assert list(found["same_patient_as"]) == ["", "sub-01_ses-a"]
    assert list(found.index) == ["sub-01_ses-a", "sub-01_ses-b"]
    assert list(found["sex"]) == ["F", "F"]
    assert found.loc["sub-01_ses-b", "ct"] == "sub-01/ses-b/ct/sub-01_ses-b_ct.nii.gz"


def test_a_ct_and_a_radiograph_of_different_sessions_are_one_row(tmp_path):
    folder = dataset(tmp_path / "bids")
    subject(folder, "01", "ses-ct")
    (folder / "sub-01" / "ses-xr" / "xr").mkdir(parents=True)
    old = folder / "sub-01" / "ses-ct" / "xr" / "sub-01_ses-ct_xr.dcm"
    old.rename(folder / "sub-01" / "ses-xr" / "xr" / "sub-01_ses-xr_xr.dcm")
    found = drafted(folder)
    assert list(found.index) == ["sub-01"]
    assert found.loc["sub-01", "radiograph"] == "sub-01/ses-xr/xr/sub-01_ses-xr_xr.dcm"


def test_a_radiograph_as_nifti_is_known_by_its_name(tmp_path):
    folder = dataset(tmp_path / "bids")
    subject(folder, "01")
    (folder / "sub-01" / "xr" / "sub-01_xr.dcm").unlink()
    make.write(folder / "sub-01" / "xr" / "sub-01_xr.nii.gz", make.phantom()[0])
    found = drafted(folder).loc["sub-01"]
    assert (found["ct"], found["radiograph"]) == ("sub-01/ct/sub-01_ct.nii.gz", "sub-01/xr/sub-01_xr.nii.gz")


def test_participants_without_ids_are_told(tmp_path):
    folder = dataset(tmp_path / "bids", "id\tsex\n1\tF\n")
    subject(folder, "01")
    with pytest.raises(MskdexError, match=r"participants\.tsv has no column participant_id"):
        drafted(folder)
