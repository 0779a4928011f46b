import json
import os
import stat
import sys

import hospital as make
import numpy as np
import pytest

from mskdex.errors import MskdexError
from mskdex.io.volume import read_volume
from mskdex.pipeline.stages.importing import import_patient
from mskdex.pipeline.stages.segment import segment

SETTINGS = make.settings().ct

PROGRAM = """#!{python}
import sys
import SimpleITK as sitk
if "--version" in sys.argv:
    print("2.9.0")
    sys.exit(0)
options = dict(zip(sys.argv[1:], sys.argv[2:]))
assert options["--task"] == "total" and options["--device"] == "cpu" and "--ml" in sys.argv
ct = sitk.ReadImage(options["-i"])
{body}
"""
THRESHOLD = """
labels = sitk.Cast(ct > 250, sitk.sitkUInt8) * 77
sitk.WriteImage(labels, options["-o"])
"""


@pytest.fixture
def install(tmp_path, monkeypatch):
    """Puts a program called TotalSegmentator, with the real one's options, on the path."""

    def put(body: str) -> None:
        folder = tmp_path / "bin"
        folder.mkdir(exist_ok=True)
        path = folder / "TotalSegmentator"
        path.write_text(PROGRAM.format(python=sys.executable, body=body), encoding="utf-8")
        path.chmod(path.stat().st_mode | stat.S_IXUSR)
        monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")

    return put


@pytest.fixture
def row(tmp_path):
    ct, _ = make.phantom()
    series = make.save_all(make.slice_datasets(ct), tmp_path / "series")
    radiograph = make.save(make.radiograph(), tmp_path / "r.dcm")
    return {"patient_id": "P01", "ct": str(series), "radiograph": str(radiograph)}


def test_labels_of_a_dicom_ct_enter_the_import(install, row, tmp_path):
    install(THRESHOLD)
    out = tmp_path / "labels.nii.gz"
    segment(row, SETTINGS, "cpu", out)
    facts = json.loads((tmp_path / "labels.segment.json").read_text(encoding="utf-8"))
    assert facts["program"] == "2.9.0"
    assert facts["device"] == "cpu"
    settings = make.settings()
    import_patient(row | {"labels": str(out), "label_source": "totalsegmentator"}, settings, tmp_path / "out")
    found = read_volume(tmp_path / "out" / "labels.nii.gz").array
    pelvis = next(c.label for c in settings.channels if c.name == "pelvis_left")
    np.testing.assert_array_equal(found == pelvis, make.phantom()[0].array > 250)


def test_where_it_is_not_installed_the_error_says_how(row, tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(MskdexError, match=r"not installed.*totalsegmentator\.yaml.*pip install TotalSegmentator"):
        segment(row, SETTINGS, "cpu", tmp_path / "labels.nii.gz")


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("sys.exit('no GPU here')", r"patient P01: TotalSegmentator failed with exit code 1 \(no GPU here\)"),
        ("pass", r"failed with exit code 0 \(it said nothing\)"),
        ("sitk.WriteImage(sitk.Cast(ct[1:] > 250, sitk.sitkUInt8), options['-o'])", "labels on another grid"),
    ],
)
def test_failures_are_plain_and_nothing_is_written(install, row, tmp_path, body, message):
    install(body)
    with pytest.raises(MskdexError, match=message):
        segment(row, SETTINGS, "cpu", tmp_path / "labels.nii.gz")
    assert not (tmp_path / "labels.nii.gz").exists()
