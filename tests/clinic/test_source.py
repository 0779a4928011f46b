import hospital
import numpy as np
import pydicom
import pytest
import SimpleITK as sitk

from mskdex.clinic.dicom_objects import dicom_objects, write_objects
from mskdex.clinic.source import read_source
from mskdex.errors import MskdexError

pytestmark = pytest.mark.usefixtures("_undrawn")

STUDY = ("PatientName", "PatientID", "PatientBirthDate", "AccessionNumber", "StudyInstanceUID", "StudyID")


def written(path, tmp_path, imported, prediction, algorithm):
    objects = dicom_objects(read_source(path), imported, prediction, algorithm)
    return [pydicom.dcmread(p) for p in write_objects(objects, tmp_path / "objects", "r")]


def test_patient_and_study_are_the_radiographs_and_nothing_else_is(
    radiograph, imported, prediction, algorithm, tmp_path
):
    source = pydicom.dcmread(radiograph)
    block = source.private_block(0x0019, "VENDOR", create=True)
    block.add_new(1, "LO", "SECRET OF THE VENDOR")
    source.Manufacturer, source.StationName, source.ProtocolName = "VENDOR", "ROOM-7", "HIP"
    source.save_as(radiograph)
    for item in written(radiograph, tmp_path, imported, prediction, algorithm):
        assert {k: item[k].value for k in STUDY} == {k: source[k].value for k in STUDY}
        assert item.Manufacturer == "MSKdeX"
        assert item.SeriesInstanceUID != source.SeriesInstanceUID
        assert not any(word in item.to_json() for word in ("VENDOR", "ROOM-7", "Sample General"))


@pytest.mark.parametrize(
    ("charset", "name", "study"),
    [
        ("ISO_IR 100", "Müller^Jörg^^Dr.", "Hüfte"),
        (["", "ISO 2022 IR 87"], "Yamada^Tarou=山田^太郎=やまだ^たろう", "股関節"),
        ("ISO_IR 192", "Núñez^José", "naïve"),
        ("GB18030", "Wang^XiaoDong=王^小东", "髋"),
        ("ISO_IR 144", "Люкceмбypг", "таз"),
        (["ISO 2022 IR 13", "ISO 2022 IR 87"], "ﾔﾏﾀﾞ^ﾀﾛｳ=山田^太郎", "股関節"),
    ],
)
def test_names_keep_their_characters_and_groups(
    charset, name, study, radiograph, imported, prediction, algorithm, tmp_path
):
    source = pydicom.dcmread(radiograph)
    source.SpecificCharacterSet, source.PatientName, source.StudyDescription = charset, name, study
    source.save_as(radiograph)
    for item in written(radiograph, tmp_path, imported, prediction, algorithm):
        assert str(item.PatientName) == name
        assert item.PatientName.components == pydicom.valuerep.PersonName(name).components
        assert item.StudyDescription == study
        assert item.SpecificCharacterSet == "ISO_IR 192"


@pytest.mark.parametrize(
    "changes",
    [
        {"PatientID": "P" * 90},
        {"AccessionNumber": "A" * 40, "StudyID": "S" * 40},
        {"PatientID": "A\\B"},
        {"PatientName": "N" * 200},
        {"SpecificCharacterSet": "UTF-8"},
        {"StudyDescription": "d" * 300, "ReferringPhysicianName": "Doe^J"},
        {"PatientName": None, "PatientID": None, "AccessionNumber": None},
        {"ImagerPixelSpacing": None, "PixelSpacing": [0.9, 0.9], "PatientOrientation": None},
    ],
)
def test_odd_values_of_an_archive_are_kept_as_they_are(changes, tmp_path, imported, prediction, algorithm):
    with pydicom.config.disable_value_validation():
        dataset = hospital.radiograph()
        for keyword, value in changes.items():
            if value is None:
                dataset.pop(keyword, None)
            else:
                setattr(dataset, keyword, value)
        hospital.save(dataset, tmp_path / "odd.dcm")
    kept = {k: v for k, v in changes.items() if k != "SpecificCharacterSet" and "Pixel" not in k and "Orient" not in k}
    for item in written(tmp_path / "odd.dcm", tmp_path, imported, prediction, algorithm):
        found = {k: item[k].value for k in kept}
        values = {
            k: "\\".join(v) if isinstance(v, pydicom.multival.MultiValue) else str(v or "") for k, v in found.items()
        }
        assert values == {k: v or "" for k, v in kept.items()}


@pytest.mark.parametrize(
    ("keyword", "value"),
    [("PatientBirthDate", "ABOUT1950"), ("PatientSex", "W"), ("StudyDate", "2024-13-45"), ("StudyTime", "noon")],
)
def test_a_value_that_means_nothing_is_blank_and_said(
    keyword, value, tmp_path, imported, prediction, algorithm, caplog
):
    with pydicom.config.disable_value_validation():
        hospital.save(hospital.radiograph(**{keyword: value}), tmp_path / "odd.dcm")
    for item in written(tmp_path / "odd.dcm", tmp_path, imported, prediction, algorithm):
        assert item[keyword].value in ("", None)
    assert f"its {keyword} means nothing" in caplog.text


def test_an_element_that_cannot_be_read_costs_none_of_the_others(tmp_path, imported, prediction, algorithm, caplog):
    """A number of two bytes that is said to have four; beside it a private element within a sequence."""
    dataset = hospital.radiograph(PregnancyStatus=4, PatientComments="none", PatientWeight="81.500")
    person = pydicom.Dataset()
    person.PersonName = "Doe^Jane"
    person.add_new(0x00191001, "LO", "SECRET OF THE VENDOR")
    dataset.ReferringPhysicianIdentificationSequence = [person]
    path = hospital.save(dataset, tmp_path / "odd.dcm")
    content = path.read_bytes()
    assert (content.count(b"\xc0\x21US"), content.count(b"81.500")) == (1, 1)
    path.write_bytes(content.replace(b"\xc0\x21US", b"\xc0\x21UL").replace(b"81.500", b"81,5kg"))
    for item in written(path, tmp_path, imported, prediction, algorithm):
        assert item.PatientComments == "none"
        assert str(item.PatientWeight) == "81,5kg", "what the archive has is kept"
        assert item.ReferringPhysicianIdentificationSequence[0].PersonName == "Doe^Jane"
        assert "SECRET" not in str(item)
    assert caplog.text.count("element (0010,21C0) cannot be read and is not copied") == 1


def test_a_name_without_a_declared_character_set_is_read_as_latin_1(tmp_path, imported, prediction, algorithm):
    path = hospital.save(hospital.radiograph(PatientName="M#ller^Erika"), tmp_path / "odd.dcm")
    path.write_bytes(path.read_bytes().replace(b"M#ller", "Müller".encode("latin-1")))
    for item in written(path, tmp_path, imported, prediction, algorithm):
        assert str(item.PatientName) == "Müller^Erika"


@pytest.mark.parametrize("keyword", ["StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID"])
@pytest.mark.parametrize("value", [None, "", "not a uid", "1.2.", "1.2.3." + "4" * 64])
def test_a_radiograph_that_nothing_can_refer_to_is_refused(keyword, value, tmp_path):
    dataset = hospital.radiograph()
    with pydicom.config.disable_value_validation():
        hospital.save(dataset, tmp_path / "r.dcm")
        if value is None:
            delattr(dataset, keyword)
        else:
            setattr(dataset, keyword, value)
        dataset.save_as(tmp_path / "r.dcm")
    with pytest.raises(MskdexError, match=rf"r\.dcm: its {keyword} is .* no DICOM objects are made of it"):
        read_source(tmp_path / "r.dcm")


def test_an_image_of_another_class_is_refused(tmp_path):
    hospital.save(hospital.radiograph(), tmp_path / "r.dcm")
    dataset = pydicom.dcmread(tmp_path / "r.dcm")
    dataset.SOPClassUID = "1.2.840.10008.5.1.4.1.1.2"
    dataset.save_as(tmp_path / "r.dcm")
    with pytest.raises(MskdexError, match=r"SOP class 1\.2\.840\.10008\.5\.1\.4\.1\.1\.2 \(CT Image Storage\)"):
        read_source(tmp_path / "r.dcm")


def test_a_picture_belongs_to_no_study(tmp_path):
    sitk.WriteImage(sitk.GetImageFromArray(np.zeros((8, 8), np.uint8)), str(tmp_path / "r.png"))
    with pytest.raises(MskdexError, match=r"r\.png is a PNG file and belongs to no study"):
        read_source(tmp_path / "r.png")
