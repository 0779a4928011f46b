"""Cohort sheets as spreadsheets, countries and disks leave them."""

import os
import subprocess
import sys
from math import isnan
from pathlib import Path
from unicodedata import normalize

import pytest

from mskdex.cohort.columns import COLUMNS
from mskdex.cohort.paths import check_path
from mskdex.cohort.sheet import check_sheet, read_sheet
from mskdex.cohort.table import read_table
from mskdex.config.cohort import CohortSettings
from mskdex.errors import MskdexError

SETTINGS = CohortSettings()
HEADER = ("patient_id", "ct", "labels", "label_source", "radiograph")
UTF8_NAMES = pytest.mark.skipif(sys.getfilesystemencoding() != "utf-8", reason="file names are ASCII only here")


def patient(folder: Path, name: str) -> tuple[str, ...]:
    """Writes a patient's three files and returns the cells of the row."""
    (folder / name).mkdir(exist_ok=True)
    for file in ("ct.nii.gz", "labels.nii.gz", "r.dcm"):
        (folder / name / file).write_bytes(name.encode())
    return (name, f"{name}/ct.nii.gz", f"{name}/labels.nii.gz", "totalsegmentator", f"{name}/r.dcm")


def written(folder: Path, *rows, separator="\t", end="\n", before="", encoding="utf-8", header=HEADER, name="c.tsv"):
    lines = [separator.join(row) for row in (header, *rows)]
    path = folder / name
    path.write_bytes((before + end.join(lines) + end).encode(encoding))
    return path


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_encodings_and_line_ends(tmp_path, encoding, end):
    path = written(tmp_path, patient(tmp_path, "001"), patient(tmp_path, "002"), encoding=encoding, end=end)
    assert list(read_sheet(path, SETTINGS)["patient_id"]) == ["001", "002"]


@pytest.mark.parametrize("separator", [";", ",", "\t", "|"])
def test_excels_line_that_says_the_separator(tmp_path, separator):
    path = written(tmp_path, patient(tmp_path, "P1"), separator=separator, before=f"sep={separator}\r\n")
    sheet, problems = check_sheet(path, SETTINGS)
    assert (list(sheet["patient_id"]), problems) == (["P1"], [])
    assert sheet.attrs["rows"] == [2]  # Excel hides the line and counts from the header


def test_blank_lines_above_the_header_count_as_rows(tmp_path):
    path = written(tmp_path, patient(tmp_path, "P1"), ("P2", *patient(tmp_path, "P3")[1:4], "none"), separator=";")
    path.write_bytes(b"\r\n;;;;\r\n" + path.read_bytes())
    sheet, problems = check_sheet(path, SETTINGS)
    assert list(sheet["patient_id"]) == ["P1", "P2"]
    assert [(p.row, p.column) for p in problems] == [(5, "radiograph")]


def test_separator_is_the_one_that_gives_known_columns(tmp_path):
    cells = patient(tmp_path, "P1")
    path = written(tmp_path, (*cells, "x"), header=(*HEADER, "seen, by, whom, when, where, why"), separator="\t")
    assert list(read_sheet(path, SETTINGS)["patient_id"]) == ["P1"]


def test_semicolons_with_decimal_commas_and_quotes(tmp_path):
    header = (*HEADER, "age", "height_cm", "weight_kg", "sdd_mm", "pixel_mm", "exclude_reason")
    row = (*patient(tmp_path, "P1"), "67,0", '"158,5"', "57,500", "1.150,5", "0,143", '"a; b"')
    sheet = read_sheet(written(tmp_path, row, header=header, separator=";"), SETTINGS)
    numbers = sheet.loc[0, ["age", "height_cm", "weight_kg", "sdd_mm", "pixel_mm"]]
    assert list(numbers) == [67.0, 158.5, 57.5, 1150.5, 0.143]
    assert sheet.loc[0, "exclude_reason"] == "a; b"


@pytest.mark.parametrize(
    ("column", "text", "words"),
    [
        ("sdd_mm", "1,150", "1,150 may mean 1150 or 1.15"),
        ("sdd_mm", "1.150", "1.150 may mean 1150 or 1.15"),
        ("principal_row_px", "1.024", "1.024 may mean 1024 or 1.024"),
        ("sdd_mm", "115", "115 is outside 200 to 5000 mm (if it is in cm, write 1150)"),
        ("sdd_mm", "1.15", "outside 200 to 5000 mm (if it is in m, write 1150)"),
        ("source_to_isocentre_mm", "95", "(if it is in cm, write 950)"),
        ("height_cm", "1,58", "1,58 is outside 40 to 250 cm (if it is in m, write 158)"),
        ("height_cm", "1580", "(if it is in mm, write 158)"),
        ("pixel_mm", "143", "(if it is in µm, write 0.143)"),
        ("pixel_mm", "0.0143", "(if it is in cm, write 0.143)"),
        ("age", "1.150.5", "is no number"),
        ("age", "6_7", "'6_7' is no number"),
        ("age", "nan", "'nan' is no number"),
        ("age", "inf", "'inf' is no number"),
        ("age", "0x41", "is no number"),
        ("age", "67 years", "is no number"),
        ("age", "1950", "outside 0 to 120 years"),
    ],
)
def test_numbers_are_never_guessed(column, text, words):
    cell = COLUMNS[column].parse(text)
    assert words in (cell.problem or "")
    assert isnan(cell.value)


@pytest.mark.parametrize(
    ("text", "value"), [("67", 67), ("67.5", 67.5), ("67,5", 67.5), ("+6.7e1", 67), (".5", 0.5), ("5.", 5)]
)
def test_numbers_that_can_mean_one_thing_only(text, value):
    assert COLUMNS["age"].parse(text).value == value


@pytest.mark.parametrize("name", ["NA", "nan", "NaN", "null", "None", "TRUE", "N", "12E4", "1E5", "1e5", "0", "001"])
def test_ids_stay_the_text_that_they_are(tmp_path, name):
    path = written(tmp_path, patient(tmp_path, name))
    sheet, problems = check_sheet(path, SETTINGS)
    assert (list(sheet["patient_id"]), list(sheet["person"]), problems) == ([name], [name], [])


def test_excels_formula_that_keeps_zeros(tmp_path):
    cells = patient(tmp_path, "007")
    path = written(tmp_path, ('"=""007"""', *cells[1:]))
    assert list(read_sheet(path, SETTINGS)["patient_id"]) == ["007"]


@pytest.mark.parametrize(
    "name", ["CON", "nul", "com1", "LPT9.a", "-rf", "..", "a b", "a&b", "a'b", "$(x)", "é", "a\u200bb"]
)
def test_ids_that_cannot_name_files(name):
    assert "cannot name files" in (COLUMNS["patient_id"].parse(name).problem or "")


@pytest.mark.parametrize("name", ["1.20E+05", "1.2E5", "12E+4", "1E-5", "7.0"])
def test_ids_that_a_spreadsheet_has_turned_into_numbers(name):
    assert "turned into a number" in (COLUMNS["patient_id"].parse(name).problem or "")


def test_ids_that_differ_in_case_alone(tmp_path):
    path = written(tmp_path, patient(tmp_path, "p1x"), ("P1X", *patient(tmp_path, "other")[1:]))
    told = [str(p) for p in check_sheet(path, SETTINGS)[1]]
    assert told == [
        "row 3, column patient_id: P1X: row 2 has p1x, which differs in case alone, which not every disk keeps; one "
        "row a patient, ids unique"
    ]


def test_blanks_and_marks_without_width_around_cells_do_not_count(tmp_path):
    cells = patient(tmp_path, "P1")
    path = written(tmp_path, (" P1 \u200b", f"\xa0{cells[1]} ", *cells[2:]))
    assert read_sheet(path, SETTINGS).loc[0, "ct"] == str(tmp_path / cells[1])


def place(root: Path, text: str) -> tuple[str | None, str]:
    cell = check_path(text, root.resolve(), "P1")
    return cell.value, cell.problem or ""


def test_backslashes_blanks_and_shell_signs_in_paths(tmp_path):
    for name in ("a b", "it's & $(touch x)", "back\\slash"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "ct.nii").write_bytes(b"x")
        assert place(tmp_path, f"{name}/ct.nii") == (str(tmp_path / name / "ct.nii"), "")
    assert place(tmp_path, "a b\\ct.nii") == (str(tmp_path / "a b" / "ct.nii"), "")
    assert "is no path on this machine" in place(tmp_path, "C:\\data\\ct.nii")[1]
    assert "is no path on this machine" in place(tmp_path, "\\\\server\\share\\ct.nii")[1]


@UTF8_NAMES
@pytest.mark.parametrize(("disk", "cell"), [("NFD", "NFC"), ("NFC", "NFD")])
def test_accents_are_found_whether_composed_or_not(tmp_path, disk, cell):
    name = "Müller é/CT größe.nii"
    (tmp_path / normalize(disk, "Müller é")).mkdir()
    (tmp_path / normalize(disk, name)).write_bytes(b"x")
    assert place(tmp_path, normalize(cell, name)) == (str(tmp_path / normalize(disk, name)), "")


def test_paths_that_lead_astray(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "CT.nii").write_bytes(b"x")
    assert "holds 'CT.nii', did you mean that?" in place(tmp_path, "a/ct.nii")[1]
    assert place(tmp_path, "a/../a/CT.nii")[1] == ""
    assert "leads out of the data root" in place(tmp_path, "a/../../x.nii")[1]
    (tmp_path / "circle").symlink_to(tmp_path / "circle")
    assert place(tmp_path, "circle")[0] is None
    assert place(tmp_path, "circle")[1]
    assert "cannot be reached" in place(tmp_path, "n" * 300)[1]
    os.mkfifo(tmp_path / "pipe")
    assert "is neither a file nor a folder" in place(tmp_path, "pipe")[1]
    (tmp_path / "outside").symlink_to("/")
    assert "leads out of the data root" in place(tmp_path, "outside/etc/passwd")[1]


@pytest.mark.parametrize(
    ("cells", "words"),
    [
        ({"height_cm": "62", "weight_kg": "120"}, "120 kg at a height of 62 cm are 312 kg/m²"),
        ({"sdd_mm": "1100", "source_to_isocentre_mm": "1100"}, "1100 is not smaller than sdd_mm 1100"),
        ({"labels": "P1/ct.nii.gz"}, "is the same file as the CT"),
    ],
)
def test_cells_of_a_row_that_contradict_each_other(tmp_path, cells, words):
    row = dict(zip(HEADER, patient(tmp_path, "P1"), strict=True)) | cells
    path = written(tmp_path, tuple(row.values()), header=tuple(row))
    errors = [str(p) for p in check_sheet(path, SETTINGS)[1] if p.severity == "error"]
    assert len(errors) == 1
    assert words in errors[0]


@pytest.mark.parametrize(("factor", "doubted"), [(1.0, False), (2.2, True)])
def test_weights_in_pounds_are_doubted_by_the_whole_cohort(tmp_path, factor, doubted):
    header = (*HEADER, "height_cm", "weight_kg")
    rows = [(*patient(tmp_path, f"P{i}"), "160", f"{factor * (52 + 4 * i):.1f}") for i in range(6)]
    told = [p for p in check_sheet(written(tmp_path, *rows, header=header), SETTINGS)[1] if p.row is None]
    assert [p.severity for p in told] == ["warning"] * doubted
    assert all("a pound is 0.454 kg" in p.message for p in told)


@pytest.mark.parametrize(("ages", "factor", "doubted"), [("60", 1.0, False), ("60", 2.54, True), ("3", 2.54, False)])
def test_heights_in_inches_are_doubted_by_the_whole_cohort(tmp_path, ages, factor, doubted):
    header = (*HEADER, "age", "height_cm")
    rows = [(*patient(tmp_path, f"P{i}"), ages, f"{(160 + 4 * i) / factor:.0f}") for i in range(6)]
    told = [p for p in check_sheet(written(tmp_path, *rows, header=header), SETTINGS)[1] if p.row is None]
    assert [(p.column, p.severity) for p in told] == [("height_cm", "warning")] * doubted
    assert all("67 cm; are the heights in inches" in p.message for p in told)


def test_a_sheet_without_a_header_is_called_that(tmp_path):
    path = written(tmp_path, patient(tmp_path, "P1"))
    path.write_bytes(path.read_bytes().split(b"\n", 1)[1])
    with pytest.raises(
        MskdexError, match=r"its first row \(P1, P1/ct\.nii\.gz, .*\) names no column; write patient_id"
    ):
        read_sheet(path, SETTINGS)


def test_cells_are_text_of_a_known_encoding(tmp_path):
    table = read_table(written(tmp_path, patient(tmp_path, "1E5")))
    assert table.iloc[0, 0] == "1E5"
    with pytest.raises(MskdexError, match="is not UTF-8"):
        read_table(written(tmp_path, patient(tmp_path, "P1"), before="é", encoding="latin-1"))


def test_a_sheet_of_5000_rows_lists_no_folder(tmp_path, monkeypatch):
    patient(tmp_path, "P1")
    rows = [(f"P{i:04d}", f"P1/../P1/{i}.nii", f"P1/l{i}.nii", "named", f"P1/r{i}.dcm") for i in range(5000)]
    path = written(tmp_path, *rows)
    listed = []
    monkeypatch.setattr(Path, "iterdir", lambda folder: listed.append(folder) or iter(()))
    found = read_sheet(path, SETTINGS, files=False)
    assert len(found) == 5000
    assert listed == []
    assert found["person"].is_unique


def test_command_line_says_so_in_one_sentence(tmp_path):
    run = subprocess.run(
        [str(Path(sys.executable).with_name("mskdex")), "cohort", "check", str(tmp_path / "none.tsv")],
        cwd=tmp_path,
        capture_output=True,
        encoding="utf-8",
    )
    assert run.returncode == 1
    assert "Traceback" not in run.stderr
    assert "none.tsv cannot be read" in run.stderr


def test_what_a_patient_is_used_for(tmp_path):
    rows = [(*patient(tmp_path, name), use) for name, use in (("P1", "Evaluate_Only"), ("P2", ""), ("P3", "train"))]
    sheet, problems = check_sheet(written(tmp_path, *rows, header=(*HEADER, "use")), SETTINGS)
    assert list(sheet["use"][:2]) == ["evaluate_only", "train_and_evaluate"]
    assert [(p.row, p.column, p.severity) for p in problems] == [(4, "use", "error")]
    assert "'train' is not among train_and_evaluate, evaluate_only" in problems[0].message
    assert set(check_sheet(written(tmp_path, rows[0][:-1]), SETTINGS)[0]["use"]) == {"train_and_evaluate"}


@pytest.mark.parametrize(("left_out", "found"), [("", [4]), ("yes", [])])
def test_a_person_is_not_both_trained_on_and_evaluated_only(tmp_path, left_out, found):
    header = (*HEADER, "use", "same_patient_as", "exclude", "exclude_reason")
    rows = [
        (*patient(tmp_path, "P1"), "evaluate_only", "", left_out, left_out),
        (*patient(tmp_path, "P2"), "evaluate_only", "P1", "yes", "another visit"),
        (*patient(tmp_path, "P3"), "", "P2", "", ""),
    ]
    _, problems = check_sheet(written(tmp_path, *rows, header=header), SETTINGS)
    assert [(p.row, p.column) for p in problems] == [(row, "use") for row in found]
    assert all("row 2, P1, of the same person is evaluate_only" in p.message for p in problems)
