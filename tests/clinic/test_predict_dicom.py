"""`mskdex predict --dicom-out`: identity goes to that folder alone, and one bad case costs none of the others."""

import hospital
import numpy as np
import pandas as pd
import pydicom
import pytest
import SimpleITK as sitk

from mskdex.config.imaging import RadiographSettings
from mskdex.errors import MskdexError
from mskdex.pipeline.stages.predict_radiographs import predict_radiographs

SETTINGS = RadiographSettings(sdd_mm=1100.0, pixel_mm=0.9, source_to_isocentre_mm=900.0)
pytestmark = pytest.mark.usefixtures("_undrawn")


def predict(model_file, folder, tmp_path, dicom_out="dicom"):
    predict_radiographs(model_file, [folder], SETTINGS, tmp_path / "out", dicom_out=tmp_path / dicom_out, device="cpu")
    return pd.read_csv(tmp_path / "out" / "radiographs.csv", keep_default_na=False).set_index("radiograph")


def picture(path):
    values = np.rint(50000 * np.exp(-hospital.radiograph_values())).astype(np.uint16)
    sitk.WriteImage(sitk.GetImageFromArray(values), str(path))


def test_identity_goes_to_the_folder_alone_and_a_bad_case_costs_no_other(model_file, tmp_path):
    folder = tmp_path / "in"
    folder.mkdir()
    hospital.save(hospital.radiograph(), folder / "good.dcm")
    without = hospital.radiograph()
    without.StudyInstanceUID = ""
    hospital.save(without, folder / "no-study.dcm")
    picture(folder / "picture.png")
    (folder / "broken.dcm").write_bytes(b"\0" * 128 + b"DICMnothing")
    table = predict(model_file, folder, tmp_path)
    assert dict(table["status"]) == {
        "broken": "failed",
        "good": "predicted",
        "no-study": "predicted",
        "picture": "predicted",
    }
    assert table.loc["good", "dicom"] == "written"
    assert table.loc["broken", "dicom"] == ""
    assert "its StudyInstanceUID is missing" in table.loc["no-study", "dicom"]
    assert "is a PNG file and belongs to no study" in table.loc["picture", "dicom"]
    written = sorted((tmp_path / "dicom").iterdir())
    kinds = ("decomposition", "measurements", "overview", "report")
    assert [p.name for p in written] == [f"good.{kind}.dcm" for kind in kinds]
    assert {pydicom.dcmread(p).PatientID for p in written} == {"HOSP-4711"}
    assert hospital.leaks(tmp_path / "out") == []
    study = pydicom.dcmread(folder / "good.dcm").StudyInstanceUID.encode()
    assert not [p for p in (tmp_path / "out").rglob("*") if study in p.read_bytes()]


@pytest.mark.parametrize("place", ["out/dicom", "out", "results/x", "other/dicom", "link/dicom"])
def test_a_folder_within_results_is_refused(place, model_file, radiograph, tmp_path):
    (tmp_path / "other" / "cohort").mkdir(parents=True)
    (tmp_path / "other" / "cohort" / "patients.parquet").touch()
    (tmp_path / "link").symlink_to(tmp_path / "other")
    with pytest.raises(MskdexError, match=r"lies within the results in .* carry the patient's name"):
        predict(model_file, radiograph, tmp_path, place)
    assert not list(tmp_path.rglob("*.measurements.dcm"))


def test_a_folder_that_cannot_be_made_is_said_before_anything_is_predicted(model_file, radiograph, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(MskdexError, match=r"--dicom-out .*file/dicom cannot be written to"):
        predict(model_file, radiograph, tmp_path, "file/dicom")
    assert not (tmp_path / "out").exists()


def test_objects_of_nobody_are_an_error_and_the_predictions_stay(model_file, tmp_path):
    picture(tmp_path / "picture.png")
    with pytest.raises(MskdexError, match=r"of none of 1 predictions could DICOM objects be written"):
        predict(model_file, tmp_path / "picture.png", tmp_path)
    assert (tmp_path / "out" / "predictions.csv").is_file()


def test_an_earlier_runs_objects_are_no_radiographs(model_file, tmp_path):
    folder = tmp_path / "in"
    folder.mkdir()
    hospital.save(hospital.radiograph(), folder / "r.dcm")
    for _ in range(2):
        table = predict(model_file, folder, tmp_path, "in/dicom")
        assert list(table.index) == ["r"]
