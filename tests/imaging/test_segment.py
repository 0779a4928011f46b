import json
import os
import stat
import sys

import hospital as make
import numpy as np
import pytest

from mskdex.config import Config, load_config
from mskdex.errors import MskdexError
from mskdex.io.volume import read_volume
from mskdex.pipeline.settings import import_stage, segment_stage
from mskdex.pipeline.stages.importing import import_patient
from mskdex.pipeline.stages.segment import segment

HEAD = """#!{python}
import sys
from pathlib import Path
import SimpleITK as sitk
options = dict(zip(sys.argv[1:], sys.argv[2:]))
"""
PROGRAMS = {
    "TotalSegmentator": """
if "--version" in sys.argv:
    print("2.9.0")
    sys.exit(0)
assert options["--task"] == "total" and options["--device"] == "cpu" and "--ml" in sys.argv
ct, out = sitk.ReadImage(options["-i"]), options["-o"]
""",
    "mm_segment": """
import argparse
parser = argparse.ArgumentParser()  # as mm_segment --help has it
for short, long in (("-i", "--input_image"), ("-r", "--region"), ("-o", "--output_dir"), ("-m", "--model")):
    parser.add_argument(short, long)
parser.add_argument("-g", "--use_GPU", choices=["Y", "N"], default="Y")
given = parser.parse_args()
assert given.region == "wholebody" and given.use_GPU == "N"
ct = sitk.ReadImage(given.input_image)
out = str(Path(given.output_dir) / Path(given.input_image).name.replace(".nii.gz", "_dseg.nii.gz"))
""",
    "mine": """
assert sys.argv[1] == "--ct" and sys.argv[3].startswith("--labels=") and sys.argv[4] == "a b; {x}"
ct, out = sitk.ReadImage(sys.argv[2]), sys.argv[3].split("=", 1)[1]
""",
}
COMMAND = ("mine", "--ct", "{ct}", "--labels={out}", "a b; {x}")
THRESHOLD = """
labels = sitk.Cast(ct > 250, sitk.sitkUInt16) * {label}
sitk.WriteImage(labels, out)
"""


def settings(segmenter="totalsegmentator", tmp_path=None, **more):
    cohort = {"segmenter": segmenter, "segmenter_device": "cpu"} | more
    if segmenter == "command":
        names = tmp_path / "names.json"
        names.write_text('{"hip_left": 3, "hip_right": 4, "liver": 9}', encoding="utf-8")
        cohort |= {"segmenter_command": COMMAND, "segmenter_labels": str(names)}
    return segment_stage(Config.model_validate({"cohort": cohort, "ct": make.SMALL_STRUCTURES}))


@pytest.fixture
def install(tmp_path, monkeypatch):
    """Puts a stand-in for a segmenter, which insists on the real one's options, on the path."""

    def put(body: str, program: str = "TotalSegmentator") -> None:
        folder = tmp_path / "bin"
        folder.mkdir(exist_ok=True)
        path = folder / program
        path.write_text(HEAD.format(python=sys.executable) + PROGRAMS[program] + body, encoding="utf-8")
        path.chmod(path.stat().st_mode | stat.S_IXUSR)
        monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")

    return put


@pytest.fixture
def row(tmp_path):
    ct, _ = make.phantom()
    series = make.save_all(make.slice_datasets(ct), tmp_path / "series")
    radiograph = make.save(make.radiograph(), tmp_path / "r.dcm")
    return {"patient_id": "P01", "ct": str(series), "radiograph": str(radiograph)}


@pytest.mark.parametrize(
    ("segmenter", "program", "label", "version"),
    [
        ("totalsegmentator", "TotalSegmentator", 77, "2.9.0"),
        ("musclemap", "mm_segment", 6151, "unknown"),
        ("command", "mine", 3, "unknown"),
    ],
)
def test_labels_of_a_dicom_ct_enter_the_import(install, row, tmp_path, segmenter, program, label, version):
    install(THRESHOLD.format(label=label), program)
    out = tmp_path / "labels.nii.gz"
    segment(row, settings(segmenter, tmp_path), out)
    facts = json.loads((tmp_path / "labels.segment.json").read_text(encoding="utf-8"))
    assert (facts["program"], facts["device"], facts["segmenter"]) == (version, "cpu", segmenter)
    stage = import_stage(Config.model_validate({"ct": make.SMALL_STRUCTURES}), segmenter)
    import_patient(row | {"labels": str(out), "label_source": segmenter}, stage, tmp_path / "out")
    found = read_volume(tmp_path / "out" / "labels.nii.gz").array
    pelvis = next(c.label for c in stage.channels if c.name == "pelvis_left")
    np.testing.assert_array_equal(found == pelvis, make.phantom()[0].array > 250)


def test_names_of_another_segmenter_do_not_stay(install, row, tmp_path):
    install(THRESHOLD.format(label=77))
    (tmp_path / "labels.json").write_text('{"liver": 77}', encoding="utf-8")
    segment(row, settings(), tmp_path / "labels.nii.gz")
    assert not (tmp_path / "labels.json").exists()


HALVES = """
import numpy as np
array = sitk.GetArrayFromImage(ct)
x = np.arange(array.shape[2])
bone = array > 250
middle = array.shape[2] // 2
labels = np.where(bone, np.where(x < middle, 77, 78), 0).astype(np.uint8)
labels[(labels == 77) & (x < {lost})] = 0
image = sitk.GetImageFromArray(labels)
image.CopyInformation(ct)
sitk.WriteImage(image, out)
"""


def test_a_segmenter_that_sees_both_sides_alike_agrees_with_itself_in_the_mirrored_ct(install, row, tmp_path):
    install(HALVES.format(lost=0))
    segment(row, settings(segmenter_flips=True), tmp_path / "labels.nii.gz")
    facts = json.loads((tmp_path / "labels.segment.json").read_text(encoding="utf-8"))
    assert facts["flip_dice"] == {"pelvis_left": 1.0, "pelvis_right": 1.0}


def test_one_that_loses_a_part_of_one_side_does_not(install, row, tmp_path):
    install(HALVES.format(lost=11))
    segment(row, settings(segmenter_flips=True), tmp_path / "labels.nii.gz")
    facts = json.loads((tmp_path / "labels.segment.json").read_text(encoding="utf-8"))
    bone = make.phantom()[0].array > 250
    left = bone[..., 11:20].sum(), bone[..., :20].sum()  # of the CT as it is, and of the mirrored one
    right = bone[..., 20:].sum(), bone[..., 20:29].sum()
    expected = {
        name: round(2 * min(pair) / sum(pair), 4) for name, pair in (("pelvis_left", left), ("pelvis_right", right))
    }
    assert facts["flip_dice"] == pytest.approx(expected, abs=2e-4)
    assert expected["pelvis_left"] < 0.9


@pytest.mark.parametrize(
    ("segmenter", "message"),
    [
        (
            "totalsegmentator",
            r"TotalSegmentator is not installed.*totalsegmentator\.yaml.*pip install TotalSegmentator",
        ),
        ("musclemap", r"mm_segment is not installed.*musclemap\.yaml"),
        ("command", r"mine is not installed: correct the first entry of cohort\.segmenter_command"),
    ],
)
def test_where_it_is_not_installed_the_error_says_how(row, tmp_path, monkeypatch, segmenter, message):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(MskdexError, match=message):
        segment(row, settings(segmenter, tmp_path), tmp_path / "labels.nii.gz")


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("sys.exit('no GPU here')", r"patient P01: TotalSegmentator failed with exit code 1 \(no GPU here\)"),
        ("pass", r"failed with exit code 0 \(it said nothing\)"),
        ("sitk.WriteImage(sitk.Cast(ct[1:] > 250, sitk.sitkUInt8), out)", "labels on another grid"),
    ],
)
def test_failures_are_plain_and_nothing_is_written(install, row, tmp_path, body, message):
    install(body)
    with pytest.raises(MskdexError, match=message):
        segment(row, settings(), tmp_path / "labels.nii.gz")
    assert not (tmp_path / "labels.nii.gz").exists()


@pytest.mark.parametrize(
    ("cohort", "message"),
    [
        ({"segmenter": "command"}, "segmenter_command needs a program and arguments with {ct} and {out}"),
        ({"segmenter": "command", "segmenter_command": ["p", "{ct}"]}, "arguments with {ct} and {out}"),
        ({"segmenter": "command", "segmenter_command": ["p", "{ct}", "{out}"]}, "needs segmenter_labels"),
        ({"segmenter": "musclemap", "segmenter_device": "mps"}, "musclemap runs on gpu, gpu:i or cpu"),
        ({"segmenter": "moose"}, "totalsegmentator"),
    ],
)
def test_a_segmenter_that_cannot_run_is_refused_with_the_config(cohort, message):
    with pytest.raises(MskdexError, match=message):
        load_config({"cohort": cohort})


def test_a_file_of_names_that_is_not_there_is_told():
    cohort = {"segmenter": "command", "segmenter_command": COMMAND, "segmenter_labels": "nowhere.json"}
    with pytest.raises(MskdexError, match=r"nowhere\.json does not exist"):
        segment_stage(load_config({"cohort": cohort}))
