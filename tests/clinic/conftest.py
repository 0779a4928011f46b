"""A small model, a DICOM radiograph, and what the model says of it."""

import sys
from pathlib import Path

import hospital
import pytest
import torch

sys.path.insert(0, str(Path(__file__).parent))

from small_model import held_out, make_model

from mskdex.api.prediction import predict_batch
from mskdex.clinic.object_context import Algorithm
from mskdex.config.imaging import RadiographSettings
from mskdex.imaging.radiograph_import import import_radiograph
from mskdex.models.model import read_model


@pytest.fixture(scope="session")
def model_file(tmp_path_factory):
    return make_model(tmp_path_factory.mktemp("model") / "model.safetensors")


@pytest.fixture(scope="session")
def model(model_file):
    return read_model(model_file, torch.device("cpu"))


@pytest.fixture
def algorithm(model_file, model):
    return Algorithm.of(model_file, model.card)


@pytest.fixture
def radiograph(tmp_path):
    return hospital.save(hospital.radiograph(StudyDate="20240229", StudyTime="101500", StudyID="7"), tmp_path / "r.dcm")


@pytest.fixture
def imported(radiograph):
    return import_radiograph(radiograph, {}, RadiographSettings())


@pytest.fixture(scope="session")
def prediction(model, tmp_path_factory):
    path = hospital.save(hospital.radiograph(), tmp_path_factory.mktemp("predicted") / "r.dcm")
    imported = import_radiograph(path, {}, RadiographSettings())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("mskdex.models.flags.EDGE_SHARE", 1.0)
        patch.setattr("mskdex.models.flags.INTENSITY_TOLERANCE", 10.0)
        found = predict_batch(model, [imported], held_out())[0]
    assert not found.flags
    return found


@pytest.fixture
def _undrawn(monkeypatch):
    """Leaves the pictures blank: they take most of an object's time."""
    for module in ("lean_mass_picture", "document"):
        monkeypatch.setattr(f"mskdex.clinic.{module}.draw_objects", lambda *_, **__: None)
