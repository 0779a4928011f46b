import hashlib

import numpy as np
import pandas as pd
import pytest
from phantoms import CHANNELS
from small_model import NETWORK, SIDE, card, make_model
from typer.testing import CliRunner

from mskdex.clinic.model_card import model_card
from mskdex.errors import MskdexError
from mskdex.io.tensors import read_tensors, write_tensors
from mskdex.models.device_profiles import DeviceProfile
from mskdex.models.generator import make_decomposer
from mskdex.models.model import write_model
from mskdex.pipeline.cli import app


def test_it_says_what_the_model_was_trained_on_and_its_limits(model_file):
    text = CliRunner().invoke(app, ["model", "card", str(model_file)]).stdout
    for told in (
        "# hip, fold 1",
        "* Patients: 2",
        "* Grey scales: absolute",
        "1000 to 1200 mm",
        "32 x 32 pixels of 2.25 mm",
        "backbone: hrnet_tiny",
        "gluteus_maximus_left",
        "not a medical device",
        "Apache License 2.0",
    ):
        assert told in text
    assert "None lies beside the model" in text
    assert "P000" not in text, "patients are counted, never named"
    assert "Device profiles" not in text


def test_evidence_is_of_the_patients_it_has_not_seen(tmp_path):
    path = make_model(tmp_path / "model.safetensors")
    truth = np.array([10.0, 20.0, 30.0, 40.0, np.nan])
    rows = pd.DataFrame(
        {
            "patient_id": ["A", "B", "C", "D", "E"],
            "channel": "iliacus_left",
            "quantity": "lean_mass_g",
            "predicted": [12.0, 22.0, 32.0, 42.0, 1.0],
            "truth": truth,
        }
    )
    trained = rows.assign(patient_id="P000", predicted=1e6)
    pd.concat([rows, trained]).to_parquet(tmp_path / "predictions.parquet")
    text = model_card(path)
    assert "| iliacus_left | lean_mass_g | 4 | 25.0 | +2.0 | 2.0 | 1.00 |" in text
    assert "Of 5 patients" in text


def test_it_stands_in_the_files_metadata_and_tells_device_profiles(tmp_path):
    profiles = (
        DeviceProfile("Maker X-1", "relative", 12, True, (0.0, 1.0), (0.0, 3.0), 0.104),
        DeviceProfile("", "relative", 2),
        DeviceProfile("Maker Y-2", "relative", 9, error_nepers=0.613, standardised_nepers=0.524),
    )
    path = tmp_path / "model.safetensors"
    generator = make_decomposer(CHANNELS, (SIDE, SIDE), NETWORK, seed=0)
    write_model(path, generator, card(device_profiles=profiles), {"torch": "2.13.0", "inputs": {"P000": "abc"}})
    inside, shown = read_tensors(path)[1]["model_card"], model_card(path)
    for text in (inside, shown):
        assert text.startswith("# hip, fold 1")
        assert "* Maker X-1: relative scale, 12 patients, curve over its own grey values with an error of 0.10" in text
        assert "* devices without a name: relative scale, 2 patients, no curve" in text
        unused = "9 patients, no curve, which would be off by 0.61 nepers; their standardised images are off by 0.52"
        assert f"* Maker Y-2: relative scale, {unused} nepers" in text
        assert "* torch: 2.13.0" in text
        assert "P000" not in text
    assert hashlib.sha256(path.read_bytes()).hexdigest() in shown


def test_a_checkpoint_is_no_model(tmp_path):
    path = make_model(tmp_path / "model.safetensors")
    tensors, facts = read_tensors(path)
    write_tensors(path, tensors, {"card": card().as_dict() | {"format": 1}, "manifest": facts["manifest"]})
    with pytest.raises(MskdexError, match="is not a model of format"):
        model_card(path)
