import json

import numpy as np
import pytest
import torch
from small_model import make_model
from typer.testing import CliRunner

from mskdex.clinic import export
from mskdex.clinic.model_store import add_model
from mskdex.config.learning import NetworkSettings
from mskdex.errors import MskdexError
from mskdex.models.model import GridRadiograph, read_model
from mskdex.models.water import water_volume
from mskdex.pipeline.cli import app

pytestmark = pytest.mark.filterwarnings("ignore:`torch.jit.load` is deprecated:DeprecationWarning")


@pytest.fixture
def cases(model):
    """Two radiographs, one of each scale: what the exported network gets, and what the model itself makes of them."""
    rng = np.random.default_rng(0)
    images = rng.uniform(0, 3, (2, *model.card.grid.shape)).astype(np.float32)
    relative = np.array([False, True])
    seen = [GridRadiograph(image, model.card.grid, 900.0, bool(r)) for image, r in zip(images, relative, strict=True)]
    water = np.stack([water_volume(image, model.card.grid, 900.0) for image in images])
    inputs = {"radiograph": images[:, None], "water": water[:, None], "relative": relative}
    return inputs, model, seen


def check_card(metadata, model):
    facts = json.loads(metadata[export.FACTS])
    assert facts["objects"] == list(model.card.objects)
    assert facts["card"]["patients"] == 2, "patients are counted, not named"
    assert metadata[export.CARD].startswith("# hip, fold 1")
    assert "P002" not in "".join(metadata.values())


def test_onnx_gives_what_the_model_gives(cases, model_file, tmp_path):
    onnxruntime = pytest.importorskip("onnxruntime", reason="pip install 'mskdex[export]'")
    inputs, model, seen = cases
    export.export_model(model_file, "onnx", tmp_path / "m.onnx")
    assert [p.name for p in tmp_path.iterdir()] == ["m.onnx"], "weights lie in the file itself"
    session = onnxruntime.InferenceSession(tmp_path / "m.onnx", providers=["CPUExecutionProvider"])
    assert [i.name for i in session.get_inputs()] == list(export.INPUTS)
    for batch in (slice(0, 1), slice(1, 2), slice(0, 2)):
        (found,) = session.run([export.OUTPUT], {name: value[batch] for name, value in inputs.items()})
        expected = model.decompose_batch(seen[batch])
        assert expected.max() > 0.1
        np.testing.assert_allclose(found, expected, atol=1e-4 * expected.max())
        np.testing.assert_allclose(found.sum((-2, -1)), expected.sum((-2, -1)), rtol=1e-4)
    check_card(session.get_modelmeta().custom_metadata_map, model)


def test_torchscript_gives_what_the_model_gives(cases, model_file, tmp_path):
    inputs, model, seen = cases
    export.export_model(model_file, "torchscript", tmp_path / "m.pt")
    metadata = {export.FACTS: "", export.CARD: ""}
    loaded = torch.jit.load(tmp_path / "m.pt", _extra_files=metadata)
    for batch in (slice(0, 1), slice(1, 2), slice(0, 2)):
        found = loaded(*(torch.as_tensor(inputs[name][batch]) for name in export.INPUTS)).detach().numpy()
        expected = model.decompose_batch(seen[batch])
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6 * expected.max())
    check_card(
        {name: bytes(text).decode() if isinstance(text, bytes) else text for name, text in metadata.items()}, model
    )


def test_a_plain_head_is_exported_too(tmp_path):
    path = make_model(tmp_path / "model.safetensors", NetworkSettings(backbone="hrnet_tiny", stem_stride=2))
    export.export_model(path, "torchscript", tmp_path / "m.pt")
    model = read_model(path, torch.device("cpu"))
    image = np.random.default_rng(1).uniform(0, 3, model.card.grid.shape).astype(np.float32)
    given = torch.as_tensor(image)[None, None]
    found = torch.jit.load(tmp_path / "m.pt")(given, given, torch.tensor([False])).detach().numpy()[0]
    expected = model.decompose(image, model.card.grid, 900.0, False)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6 * np.abs(expected).max())


def test_a_file_that_is_no_model_is_named(tmp_path):
    (tmp_path / "x.safetensors").write_bytes(b"nothing")
    with pytest.raises(MskdexError, match=r"x\.safetensors cannot be read as a model"):
        export.export_model(tmp_path / "x.safetensors", "torchscript", tmp_path / "m.pt")
    assert not (tmp_path / "m.pt").exists()


def test_onnx_says_what_it_needs(model_file, tmp_path, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None if name == "onnxscript" else object())
    with pytest.raises(MskdexError, match=r"needs onnxscript; pip install 'mskdex\[export\]'"):
        export.export_model(model_file, "onnx", tmp_path / "m.onnx")


def test_the_command_names_the_file_and_the_formats(model_file, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MSKDEX_MODELS", str(tmp_path / "models"))
    add_model("hip.v1", str(model_file))
    run = CliRunner().invoke(app, ["export", "hip.v1", "--format", "torchscript"])
    assert (run.exit_code, run.stdout) == (0, "hip.v1.pt\n"), run.output
    assert (tmp_path / "hip.v1.pt").stat().st_size > 10000
    run = CliRunner().invoke(app, ["export", "hip.v1", "--format", "coreml"])
    assert "choose one of onnx, torchscript" in str(run.exception)
    run = CliRunner().invoke(app, ["export", "hip.v1", "--format", "torchscript", "--out", "hip.v1.pt/x.pt"])
    assert "hip.v1.pt/x.pt cannot be written" in str(run.exception)
