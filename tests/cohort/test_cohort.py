import json
import subprocess
import sys
from pathlib import Path

import hospital
import pandas as pd
import pytest

from mskdex.anatomy import STRUCTURES
from mskdex.cohort.columns import COLUMNS
from mskdex.cohort.sheet import check_sheet, read_sheet
from mskdex.config import Config
from mskdex.config.cohort import CohortSettings
from mskdex.errors import MskdexError
from mskdex.io.artifacts import read_json
from mskdex.pipeline.settings import cohort_stage
from mskdex.pipeline.stages.cohort import cohort, lacking_objects
from mskdex.pipeline.workflow import left_out_objects, read_cohort

SETTINGS = CohortSettings()
STRUCTURE_NAMES = tuple(s.name for s in STRUCTURES)
GOOD = {
    "patient_id": "007",
    "ct": "a/ct.nii.gz",
    "labels": "a/labels.nii.gz",
    "label_source": "totalsegmentator",
    "radiograph": "a/r.dcm",
    "sex": "F",
    "age": "61",
    "height_cm": "158.5",
    "weight_kg": "",
    "exclude": "",
    "exclude_reason": "",
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for patient in "abc":
        (tmp_path / patient).mkdir()
        for name in ("ct.nii.gz", "labels.nii.gz", "r.dcm"):
            (tmp_path / patient / name).write_bytes(b"content")
    return tmp_path


def of(patient: str, folder: str) -> dict[str, str]:
    """The cells of a patient whose files lie in another folder than the first one's."""
    return {"patient_id": patient} | {k: GOOD[k].replace("a/", f"{folder}/") for k in ("ct", "labels", "radiograph")}


def sheet(folder: Path, *changes: dict[str, str], separator: str = "\t", name: str = "cohort.tsv", encoding="utf-8"):
    rows = [GOOD | change for change in changes]
    lines = [separator.join(rows[0])] + [separator.join(row.values()) for row in rows]
    path = folder / name
    path.write_bytes("\n".join(lines).encode(encoding))
    return path


def problems(path: Path, settings: CohortSettings = SETTINGS) -> list[str]:
    return [str(p) for p in check_sheet(path, settings)[1]]


@pytest.mark.parametrize(("separator", "name"), [("\t", "c.tsv"), (",", "c.csv"), (";", "c.csv")])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
def test_sheet_is_read_with_leading_zeros_units_and_blanks(folder, separator, name, encoding):
    path = sheet(
        folder,
        {},
        {"patient_id": "P2", "exclude": "yes", "exclude_reason": "hip prosthesis"},
        separator=separator,
        name=name,
        encoding=encoding,
    )
    found = read_sheet(path, SETTINGS)
    assert list(found["patient_id"]) == ["007", "P2"]
    assert found.loc[0, "ct"] == str(folder / "a" / "ct.nii.gz")
    assert found.loc[0, "height_cm"] == 158.5
    assert pd.isna(found.loc[0, "weight_kg"])
    assert list(found["exclude"]) == [False, True]
    assert found.loc[1, "exclude_reason"] == "hip prosthesis"
    assert found["exclude"].dtype == bool
    assert set(found.columns) == {*COLUMNS, "data_root", "person"}


def test_blank_lines_windows_line_ends_and_header_spelling_do_not_matter(folder):
    path = sheet(folder, {})
    text = path.read_text(encoding="utf-8").replace("patient_id", "Patient ID").replace("\n", "\r\n\r\n")
    path.write_bytes(text.encode())
    assert list(read_sheet(path, SETTINGS)["patient_id"]) == ["007"]


def test_optional_columns_may_be_missing_and_unknown_ones_are_passed_over(folder):
    path = sheet(folder, {})
    table = pd.read_csv(path, sep="\t", dtype=str)[["patient_id", "ct", "labels", "label_source", "radiograph"]]
    table.assign(hospital="St. Elsewhere", bmi=23).to_csv(path, sep="\t", index=False)
    found = read_sheet(path, SETTINGS)
    assert not found["exclude"].any()
    assert "hospital" not in found


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"patient_id": "7.0"}, "row 2, column patient_id: 7.0 was turned into a number by a spreadsheet"),
        ({"patient_id": "1.2E+05"}, "row 2, column patient_id: 1.2E+05 was turned into a number by a spreadsheet"),
        ({"patient_id": "3-Jan"}, "row 2, column patient_id: 3-Jan was turned into a date by a spreadsheet"),
        ({"patient_id": "Doe, Jane"}, "row 2, column patient_id: 'Doe, Jane' cannot name files"),
        ({"patient_id": "../x"}, "row 2, column patient_id: '../x' cannot name files"),
        ({"patient_id": ""}, "row 2, column patient_id: is blank"),
        ({"ct": ""}, "row 2, column ct: is blank; give the CT"),
        ({"ct": "a/none.nii.gz"}, "does not exist; correct the path or add the file"),
        ({"ct": "../outside.nii.gz"}, "row 2, column ct: ../outside.nii.gz leads out of the data root"),
        ({"ct": "/etc/passwd"}, "row 2, column ct: /etc/passwd leads out of the data root"),
        ({"labels": ""}, "row 2, column labels: is blank; give the CT's labels"),
        ({"label_source": ""}, "row 2, column label_source: is blank"),
        ({"sex": "W"}, "row 2, column sex: 'W' is not among f, m"),
        ({"age": "old"}, "row 2, column age: 'old' is no number"),
        ({"age": "610"}, "row 2, column age: 610 is outside 0 to 120"),
        ({"height_cm": "1.58"}, "row 2, column height_cm: 1.58 is outside 40 to 250 cm"),
        ({"exclude": "maybe"}, "row 2, column exclude: 'maybe' is not among"),
        ({"exclude": "yes"}, "row 2, column exclude_reason: is blank, but the patient is excluded; say why"),
    ],
)
def test_every_problem_names_row_column_and_remedy(folder, change, message):
    assert any(message in p for p in problems(sheet(folder, change)))


def test_all_problems_of_all_rows_are_told_at_once(folder):
    path = sheet(folder, {"age": "x"}, of("b", "b") | {"ct": "none"}, of("B", "c") | {"sex": "?"})
    with pytest.raises(MskdexError, match="has 4 problems") as error:
        read_sheet(path, SETTINGS)
    for part in (
        "row 2, column age",
        "row 3, column ct",
        "row 4, column sex",
        "column patient_id: B: row 3 has b",
    ):
        assert part in str(error.value)


def test_id_whose_leading_zeros_a_spreadsheet_removed(folder):
    (folder / "007").mkdir()
    (folder / "007" / "ct.nii.gz").write_bytes(b"x")
    found = problems(sheet(folder, {"patient_id": "7", "ct": "007/ct.nii.gz"}))
    assert any("says 007 where patient_id says 7: a spreadsheet may have removed leading zeros" in p for p in found)


def test_link_that_leads_out_of_the_root_is_refused(folder, tmp_path_factory):
    outside = tmp_path_factory.mktemp("outside") / "ct.nii.gz"
    outside.write_bytes(b"x")
    (folder / "a" / "link.nii.gz").symlink_to(outside)
    assert any("leads out of the data root" in p for p in problems(sheet(folder, {"ct": "a/link.nii.gz"})))
    wider = CohortSettings(data_root=str(folder.parent.parent))
    path = sheet(
        folder,
        {k: f"{folder.relative_to(folder.parent.parent)}/{GOOD[k]}" for k in ("labels", "radiograph")}
        | {"ct": f"{folder.relative_to(folder.parent.parent)}/a/link.nii.gz"},
    )
    assert problems(path, wider) == []


@pytest.mark.parametrize(("name", "words"), [("ct.zip", "is an archive"), ("void.nii.gz", "is empty (0 bytes)")])
def test_archives_and_empty_files(folder, name, words):
    (folder / "a" / name).write_bytes(b"PK" if name.endswith("zip") else b"")
    assert any(words in p for p in problems(sheet(folder, {"ct": f"a/{name}"})))


def test_two_patients_with_one_file_are_refused_unless_they_are_one_person(folder):
    path = sheet(folder, {}, of("P2", "b") | {"ct": GOOD["ct"]})
    assert problems(path) == [
        "row 3, column ct: ct.nii.gz is also that of row 2, 007; correct the path, or write 007 into same_patient_as "
        "if both are one person"
    ]
    link = folder / "b" / "alias.nii.gz"
    link.symlink_to(folder / "a" / "ct.nii.gz")
    assert len(problems(sheet(folder, {}, of("P2", "b") | {"ct": "b/alias.nii.gz"}))) == 1
    assert problems(tied(folder, {}, of("P2", "b") | {"ct": GOOD["ct"], "same_patient_as": "007"})) == []
    left_out = {"exclude": "yes", "exclude_reason": "scanned twice"}
    assert problems(sheet(folder, {}, of("P2", "b") | {"ct": GOOD["ct"], **left_out})) == []


def tied(folder, *changes):
    """A sheet with the column same_patient_as."""
    return sheet(folder, *({"same_patient_as": ""} | change for change in changes))


def test_persons_are_followed_through_the_sheet(folder):
    rows = ({}, of("P2", "b") | {"same_patient_as": "007"}, of("P3", "c") | {"same_patient_as": "P2"})
    found = read_sheet(tied(folder, *rows), SETTINGS)
    assert list(found["person"]) == ["007"] * 3
    assert list(read_sheet(sheet(folder, {}, of("P2", "b")), SETTINGS)["person"]) == ["007", "P2"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"same_patient_as": "P9"}, "row 3, column same_patient_as: P9 is no patient_id of the sheet"),
        ({"same_patient_as": "P2"}, "row 3, column same_patient_as: P2 is the row's own id"),
        ({"same_patient_as": "007", "sex": "M"}, "row 3, column same_patient_as: 007 is of sex F, this row of sex M"),
    ],
)
def test_ties_that_cannot_be(folder, change, message):
    assert any(message in p for p in problems(tied(folder, {}, of("P2", "b") | change)))


def test_header_problems(folder):
    path = sheet(folder, {})
    path.write_text(
        path.read_text(encoding="utf-8")
        .replace("height_cm", "heigth_cm")
        .replace("radiograph", "xray")
        .replace("sex", "ct"),
        encoding="utf-8",
    )
    found = problems(path)
    assert any("heigth_cm: is unknown; did you mean height_cm" in p for p in found)
    assert any("column radiograph: is missing" in p for p in found)
    assert any("column ct: stands twice" in p for p in found)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("patient_id\tct\nMüller\tx".encode("latin-1"), "is not UTF-8"),
        (b"patient_id\tct\nx\0\ty", "holds zero bytes"),
        (b"PK\x03\x04" + bytes(60), "is an Excel workbook or an archive"),
        (b"\xd0\xcf\x11\xe0" + bytes(60), "is an Excel workbook or an archive"),
        (b"", "is not a table"),
        (b"patient_id\tct\n", "has no patients"),
        (b"patient_id,ct\na,b,c,d\n", "is not a table"),
    ],
)
def test_files_that_are_no_sheet(tmp_path, content, words):
    path = tmp_path / "c.tsv"
    path.write_bytes(content)
    with pytest.raises(MskdexError, match=words):
        read_sheet(path, SETTINGS)


def test_spreadsheet_file_and_absent_file(tmp_path):
    with pytest.raises(MskdexError, match="is a spreadsheet file; save it as UTF-8 CSV"):
        read_sheet(tmp_path / "c.xlsx", SETTINGS)
    with pytest.raises(MskdexError, match=r"cannot be read.*cohort\.sheet"):
        read_sheet(tmp_path / "c.tsv", SETTINGS)


def test_blank_labels_are_segmented_when_the_config_says_so(folder):
    path = sheet(folder, {"labels": "", "label_source": ""}, of("P2", "b") | {"label_source": "mine"})
    found = read_sheet(path, CohortSettings(segmenter="totalsegmentator"))
    assert pd.isna(found.loc[0, "labels"])
    assert list(found["label_source"]) == ["totalsegmentator", "mine"]


def test_reading_a_sheet_imports_neither_torch_nor_simpleitk():
    modules = "mskdex.cohort.sheet, mskdex.pipeline.stages.cohort"
    code = f"import sys, {modules}; print({{'torch', 'SimpleITK'}} & set(sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, encoding="utf-8").stdout.strip() == "set()"


def test_cohort_stage_writes_who_is_in_and_who_is_not(folder):
    path = sheet(folder, {}, {"patient_id": "P2", "exclude": "yes", "exclude_reason": "failed segmentation"})
    out = folder / "out"
    cohort(path, cohort_stage(Config.model_validate({})), out)
    patients = pd.read_parquet(out / "patients.parquet")
    assert list(patients["patient_id"]) == ["007"]
    assert list(patients.columns) == ["patient_id", "sex", "age", "height_cm", "weight_kg", "label_source"]
    assert (out / "excluded.csv").read_text(encoding="utf-8") == "patient_id,reason\nP2,failed segmentation\n"
    names = {c["object"] for c in read_json(out / "objects.json")}
    assert names == {"gluteus_maximus", "gluteus_medius", "gluteus_minimus", "pelvis", "sacrum", "femur"}


def test_the_affected_side_is_kept_where_the_sheet_tells_it(folder):
    cohort(sheet(folder, {"affected_side": "L"}), cohort_stage(Config.model_validate({})), folder / "out")
    assert pd.read_parquet(folder / "out" / "patients.parquet")["affected_side"].tolist() == ["left"]
    with pytest.raises(MskdexError, match="column affected_side: 'hip' is not among left, right, both, none"):
        read_sheet(sheet(folder, {"affected_side": "hip"}), CohortSettings())


def test_objects_that_a_source_lacks_are_told_once(folder, caplog):
    with caplog.at_level("WARNING", "mskdex"):
        cohort(sheet(folder, {}), cohort_stage(Config.model_validate({})), folder / "out")
    assert [r.message for r in caplog.records] == [
        "the cohort lacks iliacus (not in totalsegmentator); obturator_externus (not in totalsegmentator); "
        "pectineus (not in totalsegmentator): left out for everyone"
    ]


def test_named_cohort_has_what_its_files_name(folder):
    (folder / "a" / "labels.json").write_text('{"hip_left": 1, "hip_right": 2, "sacrum": 3}', encoding="utf-8")
    cohort(sheet(folder, {"label_source": "named"}), cohort_stage(Config.model_validate({})), folder / "out")
    names = [c["name"] for c in read_json(folder / "out" / "objects.json")]
    assert names == ["pelvis_left", "pelvis_right", "sacrum"]


def test_misspelt_label_source_is_told_before_any_work(folder):
    with pytest.raises(MskdexError, match=r"label source totalsegmentor is not in .*did you mean totalsegmentator"):
        cohort(
            sheet(folder, {"label_source": "totalsegmentor"}), cohort_stage(Config.model_validate({})), folder / "out"
        )


def test_cohort_without_any_object_or_patient_is_refused(folder):
    config = Config.model_validate({"objects": [{"name": "tibia", "kind": "bone"}]})
    with pytest.raises(MskdexError, match=r"no object of the config.*tibia \(not in totalsegmentator\)"):
        cohort(sheet(folder, {}), cohort_stage(config), folder / "out")
    path = sheet(folder, {"exclude": "yes", "exclude_reason": "x"})
    with pytest.raises(MskdexError, match="excludes all 1 patients"):
        cohort(path, cohort_stage(Config.model_validate({})), folder / "out")
    assert not (folder / "out").exists()


def test_what_the_workflow_found_to_be_left_out_is_left_out(folder, caplog):
    left_out = {"femur": ("ours",), "sacrum": ("ours", "theirs")}
    with caplog.at_level("WARNING", "mskdex"):
        cohort(sheet(folder, {}), cohort_stage(Config.model_validate({}), left_out), folder / "out")
    objects = [c["object"] for c in read_json(folder / "out" / "objects.json")]
    assert set(objects) == {c.object for c in Config().channels} - set(left_out)
    assert "femur (not in ours); sacrum (not in ours, theirs)" in caplog.text


def test_a_cohort_of_dicom_segmentations_has_what_their_segments_name(folder):
    _, labels = hospital.phantom()
    (folder / "a" / "seg").mkdir()
    hospital.dicom_seg(folder / "a" / "seg" / "1.dcm", labels, hospital.slice_datasets(hospital.phantom()[0]))
    path = sheet(folder, {"labels": "a/seg", "label_source": "named"})
    assert set(lacking_objects(read_sheet(path, SETTINGS), cohort_stage(Config()))) == {
        "gluteus_medius",
        "gluteus_minimus",
        "iliacus",
        "obturator_externus",
        "pectineus",
    }


def test_virtual_patients_are_known_to_lack_an_object_before_there_are_any():
    objects = [{"name": "gluteus_medius", "kind": "muscle"}, {"name": "tibia", "kind": "bone"}]
    config = Config.model_validate({"objects": objects})
    assert left_out_objects(config, read_cohort(config)) == {"tibia": ("the virtual patients",)}


LACKED_BY_TOTALSEGMENTATOR = {"iliacus", "obturator_externus", "pectineus"}
OURS = {"pelvis": [[1, 2], 3], "sacrum": [4], "iliacus": [5, 6]}


@pytest.mark.parametrize(
    ("sources", "offered"),
    [
        (["totalsegmentator"], {*STRUCTURE_NAMES} - LACKED_BY_TOTALSEGMENTATOR),
        ([""], {*STRUCTURE_NAMES} - LACKED_BY_TOTALSEGMENTATOR),  # blank labels, which are segmented
        (["musclemap"], {*STRUCTURE_NAMES}),
        (["musclemap", "totalsegmentator"], {*STRUCTURE_NAMES} - LACKED_BY_TOTALSEGMENTATOR),
        (["ours"], {"pelvis", "sacrum", "iliacus"}),
        (["ours", "totalsegmentator"], {"pelvis", "sacrum"}),
        (["named"], {"femur", "iliacus"}),  # the one patient's file names the one, the other's the other
        (["ours", "named"], {"iliacus"}),
    ],
)
def test_the_cohorts_objects_are_those_that_each_source_offers(folder, sources, offered):
    named = {"a": "femur_left femur_right", "b": "iliacus_left Iliacus-R", "c": "iliacus_left iliacus_right"}
    for patient, names in named.items():
        ids = {name: i for i, name in enumerate(names.split(), start=1)}
        (folder / patient / "labels.json").write_text(json.dumps(ids), encoding="utf-8")
    patients = ["a", "b"] if sources == ["named"] else ["a", "c"][: len(sources)]
    rows = [
        {"patient_id": p, "label_source": source, **{c: f"{p}/{GOOD[c][2:]}" for c in ("ct", "labels", "radiograph")}}
        | ({} if source else {"labels": ""})
        for p, source in zip(patients, sources * 2, strict=False)
    ]
    config = Config.model_validate({"label_sources": {"ours": OURS}, "cohort": {"segmenter": "totalsegmentator"}})
    path = sheet(folder, *rows)
    config = config.model_copy(update={"cohort": config.cohort.model_copy(update={"sheet": str(path)})})
    left_out = left_out_objects(config, read_cohort(config))
    assert {*STRUCTURE_NAMES} - set(left_out) == offered
    # What the stage writes is what the workflow goes by, told or not.
    for told in (left_out, None):
        cohort(path, cohort_stage(config, told), folder / "out")
        written = read_json(folder / "out" / "objects.json")
        assert [c["name"] for c in written] == [c.name for c in config.channels if c.object in offered]
