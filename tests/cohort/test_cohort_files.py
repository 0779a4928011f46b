"""`cohort init` and `cohort check` on folders of files."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import hospital as make
import numpy as np
import pandas as pd
import pytest
import yaml

from mskdex.cohort.sheet import read_sheet
from mskdex.config import Config
from mskdex.config.cohort import CohortSettings
from mskdex.errors import MskdexError
from mskdex.imaging.label_origin import label_source
from mskdex.io.volume import Volume
from mskdex.pipeline.stages.cohort_check import check_cohort, problem_table, read_config
from mskdex.pipeline.stages.cohort_init import draft_sheet
from mskdex.pipeline.stages.patient_check import check_patient

CONFIG = Config.model_validate({"label_sources": {"phantom": make.IDS}, "ct": make.SMALL_STRUCTURES})


def drafted(folder: Path) -> pd.DataFrame:
    draft_sheet(folder, folder / "cohort.tsv", CONFIG)
    return pd.read_csv(folder / "cohort.tsv", sep="\t", dtype=str, keep_default_na=False).set_index("patient_id")


def test_dicom_folders_become_complete_rows(tmp_path):
    for number, name in enumerate(("A1", "A2"), start=1):
        ct, labels = make.phantom()
        ct.array[0, 0] += number
        labels.array[tuple(np.argwhere(labels.array == 6)[number])] = 0
        who = {"PatientSex": "F", "PatientAge": "061Y", "PatientSize": 1.58, "PatientWeight": 57.5, "PatientID": name}
        make.save_all(make.slice_datasets(ct, **who), tmp_path / name / "study" / "ct")
        make.masks(tmp_path / name / "segmentations", labels)
        taken = make.radiograph(make.radiograph_values() + 0.01 * number, PatientID=name)
        make.save(taken, tmp_path / name / "study" / "xray.dcm")
    found = drafted(tmp_path)
    assert list(found.index) == ["A1", "A2"]
    row = found.loc["A1"]
    assert (row["ct"], row["labels"], row["radiograph"]) == ("A1/study/ct", "A1/segmentations", "A1/study/xray.dcm")
    assert row["label_source"] == "named"
    assert (row["sex"], row["age"], row["height_cm"], row["weight_kg"]) == ("F", "61", "158", "57.5")
    assert row["notes"] == ""
    sheet = read_sheet(tmp_path / "cohort.tsv", CohortSettings())
    assert list(sheet["height_cm"]) == [158, 158]


def test_flat_folder_is_grouped_by_names(tmp_path):
    ct, labels = make.phantom()
    for name in ("p1", "p2"):
        make.write(tmp_path / f"{name}_ct.nii.gz", ct)
        make.write(tmp_path / f"{name}_labels.nii.gz", labels)
        make.save(make.radiograph(), tmp_path / f"{name}_xray.dcm")
    found = drafted(tmp_path)
    assert list(found.index) == ["p1", "p2"]
    assert found.loc["p2", "ct"] == "p2_ct.nii.gz"
    assert found.loc["p1", "notes"] == "label_source: say whose labels they are"


@pytest.mark.skipif(sys.getfilesystemencoding() != "utf-8", reason="this Python writes file names in ASCII only")
def test_what_is_missing_or_ambiguous_is_noted(tmp_path):
    ct, _ = make.phantom()
    first, second = make.slice_datasets(ct), make.slice_datasets(ct)
    make.save_all(first, tmp_path / "Müller" / "one")
    make.save_all(second, tmp_path / "Müller" / "two")
    (tmp_path / "B").mkdir()
    (tmp_path / "B" / "all.zip").write_bytes(b"PK\x03\x04")
    found = drafted(tmp_path)
    notes = found.loc["Müller", "notes"]
    assert "patient_id: give a pseudonym" in notes
    assert f"{first[0].SeriesInstanceUID} (20 slices)" in notes
    assert "labels: none found" in notes
    assert found.loc["Müller", "ct"] == "Müller"
    assert "all.zip is an archive: unpack it" in found.loc["B", "notes"]


def as_ids(folder: Path, name: str, ids: dict[int, int], number: int = 0) -> None:
    """Writes a patient whose labels have other ids and whose files' names say nothing."""
    make.distinct_patient(folder / name, number)
    ct, labels = make.phantom()
    ct.array[0] = 40 + number
    make.write(folder / name / "ct.nii.gz", ct)
    table = np.zeros(256, np.uint16)
    table[list(ids)] = list(ids.values())
    made = table[labels.array]
    further = sorted(EXTRA.get(max(ids.values()), set()))
    made[0].flat[: len(further)] = further
    (folder / name / "labels.nii.gz").unlink()
    make.write(folder / name / "b.nii.gz", Volume(made, labels.world_from_voxel))
    (folder / name / "ct.nii.gz").rename(folder / name / "a.nii.gz")


TOTAL = {1: 77, 2: 78, 3: 75, 4: 76, 5: 25, 6: 80, 7: 81}
MUSCLEMAP = {1: 6151, 2: 6152, 3: 6171, 4: 6172, 5: 6160, 6: 6111, 7: 6112}
EXTRA = {
    81: {82, 83, 84, 85, 88, 89},
    6172: {6101, 6102, 6121, 6122, 6141, 6142, 6191, 6192},
    104: {*range(1, 104)},
}
"""Ids that occur besides in such a file."""


def test_label_sources_are_known_by_ids_and_not_by_names_of_files_and_folders(tmp_path):
    as_ids(tmp_path, "total_hip_one", {1: 5, 2: 6}, 1)
    as_ids(tmp_path, "two", TOTAL, 2)
    as_ids(tmp_path, "three", MUSCLEMAP, 3)
    as_ids(tmp_path, "four", {**TOTAL, 7: 104}, 4)
    found = drafted(tmp_path)
    assert list(found["ct"]) == [f"{n}/a.nii.gz" for n in found.index]
    assert list(found["labels"]) == [f"{n}/b.nii.gz" for n in found.index]
    assert dict(found["label_source"]) == {
        "total_hip_one": "",
        "two": "totalsegmentator",
        "three": "musclemap",
        "four": "",
    }
    assert found.loc["total_hip_one", "notes"] == "label_source: say whose labels they are"
    assert "version 1 or 2" in found.loc["four", "notes"]


def test_totalsegmentators_masks_are_known_by_all_their_names(tmp_path):
    row = make.distinct_patient(tmp_path / "A", 1)
    _, labels = make.phantom()
    total = (
        "hip_left",
        "hip_right",
        "femur_left",
        "femur_right",
        "sacrum",
        "gluteus_maximus_left",
        "iliopsoas_left",
        "autochthon_left",
        "urinary_bladder",
    )
    (tmp_path / "A" / "m").mkdir()
    for name in total:
        make.write(tmp_path / "A" / "m" / f"{name}.nii.gz", labels)
    assert label_source(tmp_path / "A" / "m") == "totalsegmentator"
    (tmp_path / "A" / "m" / "autochthon_left.nii.gz").unlink()
    assert label_source(tmp_path / "A" / "m") == "named"
    names = {"hip_left": 77, "hip_right": 78}
    (tmp_path / "A" / "labels.json").write_text(json.dumps(names), encoding="utf-8")
    assert label_source(Path(row["labels"])) == "named"


def test_complete_are_the_rows_that_the_check_passes(tmp_path):
    for number, name in enumerate(("good", "unscaled", "copy")):
        make.distinct_patient(tmp_path / name, number if name != "copy" else 0)
        names = {"hip_left": 1, "hip_right": 2, "femur_left": 3, "femur_right": 4, "sacrum": 5}
        (tmp_path / name / "labels.json").write_text(json.dumps(names), encoding="utf-8")
    ct, _ = make.phantom()
    make.write(tmp_path / "unscaled" / "ct.nii.gz", Volume((ct.array + 1024).astype("int16"), ct.world_from_voxel))
    summary = draft_sheet(tmp_path, tmp_path / "cohort.tsv", CONFIG)
    assert "3 patients, 1 complete" in summary
    table = pd.read_csv(tmp_path / "cohort.tsv", sep="\t", dtype=str, keep_default_na=False).set_index("patient_id")
    assert table.loc["copy", "notes"] == ""
    assert "ct: unscaled/ct.nii.gz has no air and no fat" in table.loc["unscaled", "notes"]
    assert "holds the same CT as copy/ct.nii.gz" in table.loc["good", "notes"]


def test_a_file_that_cannot_be_read_is_noted_and_the_scan_goes_on(tmp_path):
    make.distinct_patient(tmp_path / "A", 1)
    (tmp_path / "A" / "more.nii.gz").write_bytes((tmp_path / "A" / "ct.nii.gz").read_bytes()[:3000])
    assert "more.nii.gz" in drafted(tmp_path).loc["A", "notes"]


def test_scan_refuses_to_overwrite_and_to_guess(tmp_path):
    with pytest.raises(MskdexError, match="holds no DICOM"):
        draft_sheet(tmp_path, tmp_path / "cohort.tsv")
    with pytest.raises(MskdexError, match="is no folder"):
        draft_sheet(tmp_path / "none", tmp_path / "cohort.tsv")
    (tmp_path / "cohort.tsv").write_text("x", encoding="utf-8")
    with pytest.raises(MskdexError, match="exists already"):
        draft_sheet(tmp_path, tmp_path / "cohort.tsv")
    with pytest.raises(MskdexError, match="must stand in"):
        draft_sheet(tmp_path, tmp_path / "elsewhere" / "cohort.tsv")


def cohort(folder: Path) -> Path:
    """Three patients: one good; one with a bad age and an unscaled CT and radiograph without geometry; one flipped."""
    rows = []
    for number, name in enumerate(("good", "bad", "flipped")):
        row = make.distinct_patient(folder / name, number) | {"patient_id": name, "age": "60"}
        rows.append(row | {k: str(Path(row[k]).relative_to(folder)) for k in ("ct", "labels", "radiograph")})
    rows[1]["age"] = "sixty"
    ct, labels = make.phantom()
    make.write(folder / "bad" / "ct.nii.gz", Volume((ct.array + 1024).astype("int16"), ct.world_from_voxel))
    silent = {"DistanceSourceToDetector": None, "ImagerPixelSpacing": None, "PixelIntensityRelationship": None}
    make.save(make.radiograph(**silent, PatientID="B"), folder / "bad" / "radiograph.dcm")
    make.write(folder / "flipped" / "labels.nii.gz", Volume(labels.array[::-1].copy(), labels.world_from_voxel))
    pd.DataFrame(rows).to_csv(folder / "cohort.csv", index=False)
    return folder / "cohort.csv"


OF_THE_COHORT = [(None, "", "label_source", "warning"), (None, "", "patient_id", "warning")]


def test_check_tells_every_problem_of_every_row_in_one_table(tmp_path):
    problems = check_cohort(cohort(tmp_path), CONFIG)
    found = [(p.row, p.patient_id, p.column, p.severity) for p in problems]
    assert found == [
        *OF_THE_COHORT,
        (3, "bad", "age", "error"),
        (3, "bad", "ct", "error"),
        *[(3, "bad", "radiograph", "error")] * 2,
        (4, "flipped", "ct, labels", "error"),
    ]
    told = [p.message for p in problems if p.column == "radiograph"]
    for message, column in zip(told, ("sdd_mm", "pixel_mm"), strict=True):
        assert f"column {column}" in message
    text = problem_table(problems)
    assert "3    bad      age" in text
    assert text.endswith("5 errors, 2 warnings")
    quick = check_cohort(tmp_path / "cohort.csv", CONFIG, quick=True)
    assert [p.column for p in quick] == ["label_source", "patient_id", "age"]
    assert problem_table([]) == "no problem found"


def test_labels_are_checked_where_the_ct_cannot_be_read_and_the_reverse(tmp_path):
    path = cohort(tmp_path)
    (tmp_path / "bad" / "labels.nii.gz").write_bytes((tmp_path / "bad" / "labels.nii.gz").read_bytes()[:400])
    (tmp_path / "good" / "labels.nii.gz").write_bytes(b"no volume")
    found = [(p.patient_id, p.column) for p in check_cohort(path, CONFIG) if p.severity == "error"]
    assert ("bad", "ct") in found
    assert ("bad", "labels") in found
    assert ("good", "labels") in found
    assert ("good", "ct") not in found


@pytest.mark.parametrize("form", ["masks", "seg_nrrd", "dicom_seg"])
def test_labels_of_every_form_are_read_where_the_ct_cannot_be(tmp_path, form):
    row = make.patient(tmp_path / "P01")
    row |= {"label_source": "named", "data_root": str(tmp_path), "person": "P01"}
    ct, labels = make.phantom()
    slices = make.slice_datasets(ct)
    row["ct"] = str(make.save_all(slices[:3] + slices[9:], tmp_path / "P01" / "gap"))
    made = {
        "masks": lambda: make.masks(tmp_path / "P01" / "masks", labels),
        "seg_nrrd": lambda: make.seg_nrrd(tmp_path / "P01" / "labels.seg.nrrd", labels),
        "dicom_seg": lambda: make.dicom_seg(tmp_path / "P01" / "seg.dcm", labels, slices),
    }
    row["labels"] = str(made[form]())
    found = [(column, told) for column, told, _ in check_patient(row, make.settings()).problems]
    assert [column for column, _ in found] == ["ct"]
    assert "lacks 6 of 20 slices" in found[0][1]


@pytest.mark.parametrize("reader", ["read_patient_ct", "read_patient_volumes", "read_patient_radiograph"])
def test_check_goes_on_after_an_exception_that_nobody_foresaw(tmp_path, monkeypatch, caplog, reader):
    def defect(row, *_):
        raise TypeError(f"unsupported operand of {row['patient_id']}\nand more")

    monkeypatch.setattr(f"mskdex.pipeline.stages.patient_check.{reader}", defect)
    monkeypatch.setattr("mskdex.pipeline.stages.patient_check.read_patient_labels", defect)
    with caplog.at_level("DEBUG", "mskdex"):
        problems = check_cohort(cohort(tmp_path), CONFIG)
    expected = ["bad"] if reader == "read_patient_ct" else ["good", "flipped"]
    for patient in expected:
        words = f"could not be read: TypeError unsupported operand of {patient}; this is a defect, please report it"
        assert words in [p.message for p in problems if p.patient_id == patient]
    assert "Traceback" in caplog.text


def test_check_says_what_label_sources_cost_and_how_many_patients_the_folds_need(tmp_path):
    path = cohort(tmp_path)
    problems = [p.message for p in check_cohort(path, CONFIG, quick=True) if p.row is None]
    assert problems == [
        "phantom lacks gluteus_medius, gluteus_minimus, iliacus, obturator_externus, pectineus: left out for everyone, "
        "because of good, bad, flipped",
        "3 patients cannot fill 4 folds; add patients or lower folds.count; images can be imported and looked at "
        "(snakemake --until stack qc), nothing can be trained",
    ]


def test_check_tells_the_warnings_of_the_import(tmp_path):
    path = cohort(tmp_path)
    _, labels = make.phantom()
    sacrum = np.argwhere(labels.array == 5)
    labels.array[tuple(sacrum[sacrum[:, 0] == np.median(sacrum[:, 0])].T)] = 0
    make.write(tmp_path / "good" / "labels.nii.gz", labels)
    told = [p for p in check_cohort(path, CONFIG) if p.patient_id == "good"]
    assert [(p.column, p.severity) for p in told] == [("ct, labels", "warning")]
    assert "sacrum is in 2 pieces" in told[0].message


def test_check_finds_copies_of_a_patient_across_rows_and_formats(tmp_path):
    path = cohort(tmp_path)
    ct, _ = make.phantom()
    ct.array[0, 0, :] = -1000
    make.save_all(make.slice_datasets(ct, PatientID="F"), tmp_path / "flipped" / "dicom")
    shutil.copy(tmp_path / "good" / "labels.nii.gz", tmp_path / "flipped" / "labels.nii.gz")
    make.save(make.radiograph(PatientID="F"), tmp_path / "flipped" / "radiograph.dcm")
    table = pd.read_csv(path, dtype=str)
    table.loc[2, "ct"] = "flipped/dicom"
    table.to_csv(path, index=False)
    told = [(p.column, p.message) for p in check_cohort(path, CONFIG) if p.patient_id == "flipped"]
    assert [c for c, _ in told] == ["ct", "labels", "radiograph"]
    assert told[0][1] == (
        "flipped/dicom holds the same CT as good/ct.nii.gz of good; correct the path, or write good into flipped's "
        "same_patient_as if both are one person"
    )
    table["same_patient_as"] = ["", "", "good"]
    table.to_csv(path, index=False)
    assert [p for p in check_cohort(path, CONFIG) if p.patient_id == "flipped"] == []


def test_check_does_not_open_what_is_not_there(tmp_path):
    path = cohort(tmp_path)
    shutil.rmtree(tmp_path / "bad")
    problems = [p for p in check_cohort(path, CONFIG) if p.patient_id == "bad"]
    assert [p.column for p in problems] == ["age", "ct", "labels", "radiograph"]


def test_config_that_cannot_be_read(tmp_path):
    (tmp_path / "config.yaml").write_text("cohort: [", encoding="utf-8")
    for path in (tmp_path / "config.yaml", tmp_path / "none.yaml"):
        with pytest.raises(MskdexError, match=r"cannot be read.*--config"):
            read_config(path)


def test_command_line_exit_codes(tmp_path):
    path = cohort(tmp_path)
    (tmp_path / "config.yaml").write_text(
        yaml.safe_dump(
            {"label_sources": {"phantom": {k: list(v) for k, v in make.IDS.items()}}, "ct": make.SMALL_STRUCTURES}
        ),
        encoding="utf-8",
    )
    command = [str(Path(sys.executable).with_name("mskdex"))]
    run = subprocess.run(
        [*command, "cohort", "check", str(path), "--config", str(tmp_path / "config.yaml")],
        capture_output=True,
        encoding="utf-8",
    )
    assert run.returncode == 1
    assert "5 errors" in run.stdout
    good = pd.read_csv(path).head(1)
    good.to_csv(tmp_path / "good.csv", index=False)
    arguments = ["cohort", "check", str(tmp_path / "good.csv"), "--config", str(tmp_path / "config.yaml")]
    run = subprocess.run([*command, *arguments], capture_output=True, encoding="utf-8")
    assert run.returncode == 0
    assert run.stdout.strip().endswith("0 errors, 2 warnings")
    bare = tmp_path / "bare"
    bare.mkdir()
    arguments = ["cohort", "check", str(tmp_path / "good.csv"), "--quick"]
    run = subprocess.run([*command, *arguments], capture_output=True, encoding="utf-8", cwd=bare)
    assert run.returncode == 0
    assert "checked with the default config" in run.stderr
    run = subprocess.run([*command, "cohort", "init", str(tmp_path / "good")], capture_output=True, encoding="utf-8")
    assert run.returncode == 0
    assert (tmp_path / "good" / "cohort.tsv").is_file()
