"""Which device a radiograph is of, and how its own grey values are found again behind the standardisation."""

import hospital as make
import numpy as np
import pytest

from mskdex.api.radiographs import read_radiograph
from mskdex.config.imaging import RadiographSettings
from mskdex.imaging.radiograph_import import import_radiograph

NATIVE = RadiographSettings(working_pixel_mm=None)
TAGS = {"Manufacturer": "Corvia Medical", "ManufacturerModelName": "DR-S", "SoftwareVersions": ["2.4", "b7"]}


def load(tmp_path, dataset, row=None):
    return import_radiograph(make.save(dataset, tmp_path / "r.dcm"), row or {}, NATIVE)


@pytest.mark.parametrize(
    ("tags", "name"),
    [
        (TAGS, "Corvia Medical / DR-S / 2.4+b7 / -"),
        (TAGS | {"AcquisitionDeviceProcessingCode": "HIP 3"}, "Corvia Medical / DR-S / 2.4+b7 / HIP 3"),
        (TAGS | {"AcquisitionDeviceProcessingDescription": "Pelvis"}, "Corvia Medical / DR-S / 2.4+b7 / Pelvis"),
        ({"Manufacturer": "Corvia"}, "Corvia / - / - / -"),
        ({"SoftwareVersions": "2.4"}, ""),
        ({"Manufacturer": "A" * 64}, f"{'A' * 60}... / - / - / -"),
    ],
)
def test_the_device_is_named_by_its_tags(tmp_path, tags, name):
    assert load(tmp_path, make.radiograph(**tags)).facts["device_profile"] == name


def test_the_sheet_names_a_device_whose_file_does_not(tmp_path):
    silent, told = (load(tmp_path, make.radiograph(), row).facts for row in ({}, {"device": "Room 3"}))
    assert (silent["device"], silent["device_profile"]) == (None, "")
    assert (told["device"], told["device_profile"]) == ("Room 3", "Room 3")
    found = read_radiograph(make.save(make.radiograph(**TAGS), tmp_path / "r.dcm"), device="Room 4").facts
    assert (found["device"], found["device_profile"]) == ("Corvia Medical DR-S", "Room 4")


@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
def test_the_standardisation_leads_back_to_the_files_grey_values(tmp_path, photometric):
    share = np.round(4095 * make.radiograph_values() / 4.5) / 4095
    stored = np.rint(4095 * (share if photometric == "MONOCHROME2" else 1 - share)).astype(np.uint16)
    dataset = make.radiograph(
        PresentationIntentType="FOR PRESENTATION", PixelIntensityRelationship=None, PixelIntensityRelationshipSign=None
    )
    make._pixels(dataset, np.ascontiguousarray(stored), 12)
    dataset.PhotometricInterpretation = photometric
    found = load(tmp_path, dataset)
    gain, offset = found.facts["standardisation"]
    assert found.scale == "relative"
    np.testing.assert_allclose(((found.image - offset) / gain)[found.field], share[found.field], atol=1e-3)
    assert load(tmp_path, make.radiograph()).facts["standardisation"] is None
