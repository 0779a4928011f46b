"""Radiographs as each department stores them, read back by the import."""

import shutil
import subprocess
from dataclasses import replace

import hospital as make
import numpy as np
import pydicom
import pytest

from mskdex.config import Config
from mskdex.config.imaging import RadiographSettings
from mskdex.config.virtual import VirtualSettings
from mskdex.errors import MskdexError
from mskdex.geometry.camera import Camera
from mskdex.imaging.radiograph_import import import_radiograph
from mskdex.virtual.console import LOG_DECADES, curve_nepers, grey_values
from mskdex.virtual.departments import DEPARTMENTS, draw_department
from mskdex.virtual.examination import examination_of
from mskdex.virtual.population import cohort_sheet, person
from mskdex.virtual.radiograph_file import ExposureRecord, write_radiograph

CAMERA = Camera(1111.1, 0.75, (64, 48), (31.5, 23.5))
TAKEN = ExposureRecord("V0007", "F", 61.4, CAMERA, 950.0, 74.0, 3.0, (4, 60, 5, 40))
ALL = tuple(DEPARTMENTS.values())
SETTINGS = RadiographSettings(working_pixel_mm=None)
EXPOSURE = np.geomspace(0.002, 1.0, 64 * 48, dtype=np.float32).reshape(64, 48)


def write(path, exposure, department, taken=TAKEN):
    grey, curve = grey_values(exposure, department, taken.collimation, taken.camera.pixel_mm)
    write_radiograph(path, grey, taken, department)
    return pydicom.dcmread(path), curve


def inverted(name):
    return replace(DEPARTMENTS[name], inverted=not DEPARTMENTS[name].inverted)


@pytest.mark.parametrize(
    "department", [DEPARTMENTS["arvik"], inverted("arvik"), DEPARTMENTS["belmora"], inverted("belmora")]
)
def test_images_for_processing_keep_the_exposure(tmp_path, department):
    dataset, _ = write(tmp_path / "a.dcm", EXPOSURE, department)
    value, most = dataset.pixel_array.astype(float), 2**dataset.BitsStored - 1
    if dataset.PhotometricInterpretation == "MONOCHROME2":
        value = most - value
    if department.kind == "log":
        value = 10.0 ** (value * LOG_DECADES / most)
    assert value / value[-1, -1] == pytest.approx(EXPOSURE, rel=0.02)
    assert dataset.PhotometricInterpretation == ("MONOCHROME1" if department.inverted else "MONOCHROME2")


def test_dicom_tags(tmp_path):
    dataset, _ = write(tmp_path / "a.dcm", np.ones(CAMERA.shape, np.float32), DEPARTMENTS["arvik"])
    assert dataset.SOPClassUID.name == "Digital X-Ray Image Storage - For Processing"
    assert float(dataset.DistanceSourceToDetector) == 1111.1
    assert float(dataset.DistanceSourceToPatient) == 1050.0  # to the table
    assert "EstimatedRadiographicMagnificationFactor" not in dataset
    assert [float(v) for v in dataset.ImagerPixelSpacing] == [0.75, 0.75]
    assert (dataset.Rows, dataset.Columns) == (64, 48)
    assert list(dataset.PatientOrientation) == ["L", "F"]
    assert dataset.CollimatorLeftVerticalEdge == 5
    assert dataset.CollimatorRightVerticalEdge == 42
    pydicom.dcmwrite(tmp_path / "b.dcm", dataset, enforce_file_format=True)
    assert pydicom.dcmread(tmp_path / "b.dcm") == dataset


@pytest.mark.parametrize("department", ALL, ids=lambda d: d.name)
def test_each_kind_of_file_is_of_its_storage_class(tmp_path, department):
    dataset, _ = write(tmp_path / "a.dcm", EXPOSURE, department)
    names = {
        ("DX", "linear"): "Digital X-Ray Image Storage - For Processing",
        ("DX", "processed"): "Digital X-Ray Image Storage - For Presentation",
    }
    storage = names.get((department.modality, department.kind), "Computed Radiography Image Storage")
    assert dataset.SOPClassUID.name == storage
    assert dataset.Modality == department.modality
    assert dataset.BitsStored == department.bits
    # Optical density is a type of computed radiography alone; DX knows US only (DICOM PS3.3, C.8.11.3).
    assert dataset.RescaleType == "OD" if department.kind == "log" else "US"
    assert department.modality == "CR" or department.kind != "log"
    assert not [keyword for keyword in department.lacks if keyword in dataset]
    if "DistanceSourceToPatient" in department.lacks and "EstimatedRadiographicMagnificationFactor" in dataset:
        assert float(dataset.EstimatedRadiographicMagnificationFactor) == pytest.approx(1111.1 / 950.0, abs=1e-3)
    assert all(str(dataset[keyword].value) == value for keyword, value in department.changes.items())


@pytest.mark.skipif(shutil.which("dciodvfy") is None, reason="dciodvfy (Debian: dicom3tools) is not installed")
@pytest.mark.parametrize("collimation", [None, (4, 60, 5, 40)])
@pytest.mark.parametrize("name", ["arvik", "belmora"])
def test_dciodvfy_finds_nothing(tmp_path, name, collimation):
    write(tmp_path / "a.dcm", EXPOSURE, DEPARTMENTS[name], replace(TAKEN, collimation=collimation))
    done = subprocess.run(["dciodvfy", tmp_path / "a.dcm"], capture_output=True, encoding="utf-8")
    found = [line for line in (done.stdout + done.stderr).splitlines() if line.startswith(("Error", "Warning"))]
    assert found == []
    assert done.returncode == 0


@pytest.mark.parametrize("department", [DEPARTMENTS["belmora"], inverted("belmora")])
def test_a_log_image_says_its_scale_and_comes_back_in_nepers(tmp_path, department):
    attenuation = make.radiograph_values(CAMERA.shape)
    taken = replace(TAKEN, collimation=None)
    write(tmp_path / "a.dcm", np.exp(-attenuation).astype(np.float32), department, taken)
    found = import_radiograph(tmp_path / "a.dcm", {}, SETTINGS)
    assert found.scale == "absolute"
    assert found.facts["sources"]["log_scale"] == "tag RescaleType OD"
    np.testing.assert_allclose(found.image, attenuation, atol=3e-3)
    assert found.geometry.source_to_isocentre_mm == pytest.approx(950.0, abs=0.1)


@pytest.mark.parametrize("department", [d for d in ALL if d.kind == "processed"], ids=lambda d: d.name)
def test_a_processed_image_comes_in_on_a_relative_scale_with_its_camera(tmp_path, department):
    attenuation = make.radiograph_values(CAMERA.shape)
    taken = replace(TAKEN, collimation=None)
    write(tmp_path / "a.dcm", np.exp(-attenuation).astype(np.float32), department, taken)
    row = {"sdd_mm": 1111.1} if "DistanceSourceToDetector" in department.lacks else {}
    found = import_radiograph(tmp_path / "a.dcm", row, SETTINGS)
    assert found.scale == "relative"
    assert found.geometry.sdd_mm == pytest.approx(1100.0 if department.sdd_step_mm > 1 else 1111.1)
    assert found.geometry.pixel_mm == pytest.approx((0.75, 0.75))
    assert np.corrcoef(found.image.ravel(), attenuation.ravel())[0, 1] > 0.8


def test_a_file_without_source_distance_needs_the_sheet(tmp_path):
    write(tmp_path / "a.dcm", np.exp(-make.radiograph_values(CAMERA.shape)), DEPARTMENTS["dunmere"])
    with pytest.raises(MskdexError, match="sdd_mm"):
        import_radiograph(tmp_path / "a.dcm", {}, SETTINGS)


def test_the_sheet_has_the_source_distance_where_files_lack_it():
    settings = VirtualSettings(patients=40)
    sheet = cohort_sheet(settings)
    for number, told in enumerate(sheet["sdd_mm"], 1):
        how = examination_of(person(settings, number), settings)
        if how.department.name == "dunmere":
            assert told == pytest.approx(how.camera.sdd_mm, abs=0.05)
        else:
            assert np.isnan(told)


def test_the_default_cohort_comes_from_several_departments():
    settings = VirtualSettings(patients=300)
    names = [examination_of(person(settings, n), settings).department.name for n in range(1, 301)]
    processed = np.mean([DEPARTMENTS[name].kind == "processed" for name in names])
    assert len(set(names)) >= 3
    assert processed == pytest.approx(1 / 2, abs=3 * np.sqrt(1 / 4 / 300))


def test_departments_are_drawn_by_their_shares():
    draw = np.random.default_rng(0)
    names = [draw_department({"arvik": 3.0, "corvia": 1.0, "dunmere": 0.0}, draw).name for _ in range(800)]
    assert set(names) == {"arvik", "corvia"}
    assert names.count("arvik") / 800 == pytest.approx(0.75, abs=3 * np.sqrt(0.75 * 0.25 / 800))


@pytest.mark.parametrize("shares", [{}, {"arvik": 0.0}, {"arvik": -1.0}, {"nowhere": 1.0}])
def test_departments_that_cannot_be_drawn_are_refused(shares):
    with pytest.raises(ValueError, match="departments"):
        Config(virtual={"departments": shares})


@pytest.mark.parametrize("department", ALL, ids=lambda d: d.name)
def test_the_tone_curve_is_what_an_even_area_becomes(department):
    """A step of attenuation, wide enough for no enhancement to reach its middle."""
    exposure = np.repeat(np.exp([-1.0, -3.0, -5.0]), 120).astype(np.float32)[None].repeat(120, axis=0)
    grey, curve = grey_values(exposure, replace(department, edges="kept"), None, 0.75)
    expected = np.interp([1.0, 3.0, 5.0], curve_nepers(), curve)
    middle = grey[60, [40, 180, 320]].astype(float)
    assert middle == pytest.approx(expected, abs=0.02 * 2**department.bits)


def test_saturation_shows_one_value_beside_the_patient():
    exposure = np.linspace(0.01, 1.0, 64 * 48, dtype=np.float32).reshape(64, 48)
    flat = replace(DEPARTMENTS["arvik"], saturation=0.5)
    grey, _ = grey_values(exposure, flat, None, 0.75)
    assert len(np.unique(grey[exposure >= 0.5])) == 1
    assert len(np.unique(grey[exposure < 0.5])) > 1000


def test_edges_are_blanked_black_and_crops_say_where_they_lie(tmp_path):
    grey, _ = grey_values(EXPOSURE, DEPARTMENTS["dunmere"], (4, 60, 5, 40), 0.75)
    assert np.all(grey[:4] == 2**12 - 1)  # MONOCHROME1: black
    assert np.all(grey[:, 41:] == 2**12 - 1)
    settings = VirtualSettings(departments={"corvia": 1.0}, exposure={"collimated_fraction": 1.0})
    how = examination_of(person(settings, 1), settings)
    first_row, last_row, first_column, last_column = how.collimation
    assert how.shown_camera.shape == (last_row - first_row + 1, last_column - first_column + 1)
    # The same point of the patient falls on the same pixel of the detector.
    point = np.array([[30.0, -20.0, 900.0]])
    shift = np.array([first_row, first_column])
    assert how.shown_camera.project(point) + shift == pytest.approx(how.camera.project(point))
    taken = replace(TAKEN, camera=how.shown_camera, collimation=None, crop=how.crop)
    exposure = np.exp(-make.radiograph_values(how.shown_camera.shape)).astype(np.float32)
    write(tmp_path / "a.dcm", exposure, how.department, taken)
    found = import_radiograph(tmp_path / "a.dcm", {}, SETTINGS)
    assert found.geometry.principal_px == pytest.approx(how.shown_camera.principal_point_px, abs=1e-3)
