"""`cohort init` and `cohort check` on folders of files."""

import shutil
import subprocess
import sys
from pathlib import Path

import hospital as make
import pandas as pd
import pytest
import yaml

from mskdex.cohort import read_sheet
from mskdex.config import Config
from mskdex.config.cohort import CohortSettings
from mskdex.errors import MskdexError
from mskdex.imaging.volume import Volume
from mskdex.stages.cohort_check import check_cohort, problem_table, read_config
from mskdex.stages.cohort_init import draft_sheet

CONFIG = Config.model_validate({"label_sources": {"phantom": make.IDS}, "ct": make.SMALL_STRUCTURES})


def drafted(folder: Path) -> pd.DataFrame:
    draft_sheet(folder, folder / "cohort.tsv")
    return pd.read_csv(folder / "cohort.tsv", sep="\t", dtype=str, keep_default_na=False).set_index("patient_id")


def test_dicom_folders_become_complete_rows(tmp_path):
    ct, labels = make.phantom()
    for name in ("A1", "A2"):
        slices = make.slice_datasets(ct, PatientSex="F", PatientAge="061Y", PatientSize=1.58, PatientWeight=57.5)
        make.save_all(slices, tmp_path / name / "study" / "ct")
        make.masks(tmp_path / name / "segmentations", labels)
        make.save(make.radiograph(), tmp_path / name / "study" / "xray.dcm")
    found = drafted(tmp_path)
    assert list(found.index) == ["A1", "A2"]
    row = found.loc["A1"]
    assert (row["ct"], row["labels"], row["radiograph"]) == ("A1/study/ct", "A1/segmentations", "A1/study/xray.dcm")
    assert row["label_source"] == "totalsegmentator"
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
    ct, labels = make.phantom()
    for name in ("good", "bad", "flipped"):
        row = make.patient(folder / name) | {"patient_id": name, "age": "60"}
        rows.append(row | {k: str(Path(row[k]).relative_to(folder)) for k in ("ct", "labels", "radiograph")})
    rows[1]["age"] = "sixty"
    make.write(folder / "bad" / "ct.nii.gz", Volume((ct.array + 1024).astype("int16"), ct.world_from_voxel))
    make.save(make.radiograph(DistanceSourceToDetector=None), folder / "bad" / "radiograph.dcm")
    make.write(folder / "flipped" / "labels.nii.gz", Volume(labels.array[::-1].copy(), labels.world_from_voxel))
    pd.DataFrame(rows).to_csv(folder / "cohort.csv", index=False)
    return folder / "cohort.csv"


def test_check_tells_every_problem_of_every_row_in_one_table(tmp_path):
    problems = check_cohort(cohort(tmp_path), CONFIG)
    found = [(p.row, p.patient_id, p.column, p.severity) for p in problems]
    assert found == [
        (3, "bad", "age", "error"),
        (3, "bad", "ct, labels", "error"),
        (3, "bad", "radiograph", "error"),
        (4, "flipped", "ct, labels", "error"),
    ]
    text = problem_table(problems)
    assert "3    bad      age" in text
    assert text.endswith("4 errors, 0 warnings")
    quick = check_cohort(tmp_path / "cohort.csv", CONFIG, quick=True)
    assert [p.column for p in quick] == ["age"]
    assert problem_table([]) == "no problem found"


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
    assert "4 errors" in run.stdout
    good = pd.read_csv(path).head(1)
    good.to_csv(tmp_path / "good.csv", index=False)
    arguments = ["cohort", "check", str(tmp_path / "good.csv"), "--config", str(tmp_path / "config.yaml")]
    run = subprocess.run([*command, *arguments], capture_output=True, encoding="utf-8")
    assert (run.returncode, run.stdout.strip()) == (0, "no problem found")
    run = subprocess.run([*command, "cohort", "init", str(tmp_path / "good")], capture_output=True, encoding="utf-8")
    assert run.returncode == 0
    assert (tmp_path / "good" / "cohort.tsv").is_file()
