import dataclasses
import shutil
import subprocess
from datetime import datetime

import highdicom
import numpy as np
import pydicom
import pytest
import SimpleITK as sitk

from mskdex.clinic.dicom_objects import dicom_objects, write_objects
from mskdex.clinic.document import page_lines
from mskdex.clinic.lean_mass_picture import picture
from mskdex.clinic.object_context import ObjectContext
from mskdex.clinic.source import read_source
from mskdex.errors import MskdexError
from mskdex.quantities import QUANTITIES

WHEN = datetime(2026, 1, 2, 3, 4, 5)


def need(tool):
    if shutil.which(tool) is None:
        pytest.skip(f"{tool} is not installed (Debian: dicom3tools, dcmtk)")


@pytest.fixture
def objects(radiograph, imported, prediction, algorithm):
    flagged = dataclasses.replace(prediction, flags=["camera unlike training"])
    warned = dataclasses.replace(imported, warnings=["the image shows no air"])
    return dicom_objects(read_source(radiograph), warned, flagged, algorithm, WHEN)


def test_they_are_valid_and_shown_by_another_library(objects, prediction, tmp_path):
    """dciodvfy (dicom3tools) and DCMTK, which know nothing of highdicom; the overview by SimpleITK too."""
    report, decomposition, overview, document = write_objects(objects, tmp_path, "r")
    shown = sitk.GetArrayFromImage(sitk.ReadImage(str(overview)))[0]
    np.testing.assert_array_equal(shown, picture(prediction))
    assert len(np.unique(shown)) > 20
    need("dciodvfy")
    for path in (report, decomposition, overview, document):
        run = subprocess.run(["dciodvfy", path], capture_output=True, encoding="utf-8", check=False)
        said = (run.stdout + run.stderr).splitlines()
        known = ("<99MSKDEX>", "<QUANTITY>")  # a private scheme, and a term that the standard has and dciodvfy not
        wrong = [s for s in said if s.startswith(("Error", "Warning")) and not any(k in s for k in known)]
        assert wrong == [], f"{path.name}: {wrong}"
    need("dsrdump")
    tree = subprocess.run(["dsrdump", report], capture_output=True, encoding="utf-8", check=True).stdout
    assert tree.count('"Measurement Group"') == len(prediction.channels)
    frame = tmp_path / "frame.pgm"
    subprocess.run(["dcm2pnm", "--frame", "1", "--min-max-window", decomposition, frame], check=True)
    pixels = sitk.GetArrayFromImage(sitk.ReadImage(_png(frame)))
    volume = prediction.drr[QUANTITIES.index("volume"), 0]
    np.testing.assert_allclose(pixels / pixels.max(), volume / volume.max(), atol=0.01)


def _png(pgm):
    from PIL import Image

    path = pgm.with_suffix(".png")
    Image.open(pgm).save(path)
    return str(path)


@pytest.mark.usefixtures("_undrawn")
def test_the_map_holds_cm3_and_g_where_the_radiograph_is(objects, prediction):
    found = highdicom.pm.ParametricMap.from_dataset(objects[1])
    frames = found.get_frames(apply_real_world_transform=True)
    expected = np.concatenate([prediction.drr[QUANTITIES.index(q)] for q in ("volume", "lean_mass")])
    np.testing.assert_allclose(frames, expected, atol=expected.max() / 65535)
    np.testing.assert_allclose(frames.sum((1, 2)), expected.sum((1, 2)), rtol=1e-3)
    per_frame = found.PerFrameFunctionalGroupsSequence
    units = [f.RealWorldValueMappingSequence[0].MeasurementUnitsCodeSequence[0].CodeValue for f in per_frame]
    assert units == ["cm3"] * len(prediction.channels) + ["g"] * len(prediction.channels)
    names = [f.RealWorldValueMappingSequence[0].LUTExplanation for f in per_frame[: len(prediction.channels)]]
    assert names == [f"Volume of {c.name}" for c in prediction.channels]
    index = [f.FrameContentSequence[0].DimensionIndexValues for f in per_frame]
    assert index == list(range(1, 2 * len(prediction.channels) + 1)), "frames are told apart by their dimension"
    assert len({f.RealWorldValueMappingSequence[0].LUTLabel for f in per_frame}) == len(per_frame)
    spacing = found.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0].PixelSpacing
    x, _, z = per_frame[0].PlanePositionSequence[0].ImagePositionPatient
    assert (x, z) == (-spacing[1] * 31 / 2, spacing[0] * 31 / 2), "the radiograph's middle is the origin"


@pytest.mark.usefixtures("_undrawn")
def test_a_pa_view_runs_towards_the_patients_right(radiograph, imported, prediction, algorithm):
    turned = dataclasses.replace(imported, geometry=dataclasses.replace(imported.geometry, view="PA"))
    found = dicom_objects(read_source(radiograph), turned, prediction, algorithm, WHEN)[1]
    orientation = found.SharedFunctionalGroupsSequence[0].PlaneOrientationSequence[0].ImageOrientationPatient
    assert list(orientation) == [-1, 0, 0, 0, 0, -1]
    assert found.PerFrameFunctionalGroupsSequence[0].PlanePositionSequence[0].ImagePositionPatient[0] > 0


@pytest.mark.usefixtures("_undrawn")
def test_made_again_for_the_same_time_they_are_the_same(objects, radiograph, imported, prediction, algorithm, tmp_path):
    flagged = dataclasses.replace(prediction, flags=["camera unlike training"])
    warned = dataclasses.replace(imported, warnings=["the image shows no air"])
    again = dicom_objects(read_source(radiograph), warned, flagged, algorithm, WHEN)
    first, second = (write_objects(made, tmp_path / name, "r") for made, name in ((objects, "a"), (again, "b")))
    assert [p.read_bytes() for p in first] == [p.read_bytes() for p in second]


@pytest.mark.usefixtures("_undrawn")
def test_an_object_that_is_empty_is_a_frame_of_zeros(radiograph, imported, prediction, algorithm):
    drr = prediction.drr.copy()
    drr[:, 0] = 0.0
    empty = dataclasses.replace(prediction, drr=drr)
    found = dicom_objects(read_source(radiograph), imported, empty, algorithm, WHEN)[1]
    frames = highdicom.pm.ParametricMap.from_dataset(found).get_frames(apply_real_world_transform=True)
    assert frames[0].max() == 0.0
    assert frames[1].max() > 0.0


def test_the_page_is_a_pdf_that_says_everything(objects):
    document = objects[3]
    content = document.EncapsulatedDocument[: document.EncapsulatedDocumentLength]
    assert content.startswith(b"%PDF")
    assert content.rstrip().endswith(b"%%EOF")
    assert document.MIMETypeOfEncapsulatedDocument == "application/pdf"


def test_the_pages_text_has_flags_in_full_and_intervals(radiograph, prediction, algorithm):
    table = prediction.table.copy()
    table.loc[0, ["low", "high"]], table.loc[0, "flag"] = None, "f" * 300
    flagged = dataclasses.replace(prediction, table=table, flags=["camera unlike training"])
    lines = page_lines(read_source(radiograph), flagged, ObjectContext(algorithm, "x", WHEN), ["no air"])
    text = "".join(line.strip() for line in lines)
    for told in (
        "Flag: camera unlike training",
        "Warning: no air",
        "HOSP-4711",
        "Mustermann Erika",
        "not a medical device",
    ):
        assert told in text
    assert text.count("f" * 90) >= 3
    assert [line.count(" to ") for line in lines if line.startswith("gluteus maximus")] == [1, 2]


@pytest.mark.usefixtures("_undrawn")
def test_a_folder_that_cannot_be_written_to_is_named(objects, tmp_path):
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(MskdexError, match=r"file/out.* cannot be written to"):
        write_objects(objects[:1], tmp_path / "file" / "out", "r")


@pytest.mark.usefixtures("_undrawn")
def test_files_are_found_by_name_and_kind(objects, tmp_path):
    names = [path.name for path in write_objects(objects, tmp_path, "P01")]
    assert names == ["P01.measurements.dcm", "P01.decomposition.dcm", "P01.overview.dcm", "P01.report.dcm"]
    read = [pydicom.dcmread(tmp_path / name) for name in names]
    assert len({d.SeriesInstanceUID for d in read}) == len({d.SOPInstanceUID for d in read}) == 4
