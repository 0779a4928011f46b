import dataclasses
import json

import numpy as np
import pandas as pd
import pytest
import SimpleITK as sitk
import torch
from phantoms import CHANNELS, phantom

from mskdex.api.prediction import predict
from mskdex.config.imaging import RadiographSettings
from mskdex.config.learning import ExperimentSettings, NetworkSettings
from mskdex.errors import MskdexError
from mskdex.geometry.camera import Camera
from mskdex.imaging.radiograph_import import import_radiograph
from mskdex.models.device_profiles import DeviceProfile
from mskdex.models.flags import object_flags, radiograph_flags
from mskdex.models.generator import make_decomposer
from mskdex.models.model import ModelCard, read_model, write_model
from mskdex.models.normalisation import Normalisation
from mskdex.models.water import water_volume
from mskdex.pipeline.stages.predict_radiographs import predict_radiographs

SIDE = 32
GRID = Camera(1000.0, 430.0 / SIDE, (SIDE, SIDE), ((SIDE - 1) / 2, (SIDE - 1) / 2))
SETTINGS = RadiographSettings(
    intensity="linear", grey_increases_with="exposure", air_grey=60000.0, sdd_mm=1000.0, source_to_isocentre_mm=830.0,
    pixel_mm=430.0 / SIDE / 16, working_pixel_mm=None, mask_markers=False,
)  # fmt: skip


def _card():
    scale = np.full((3, len(CHANNELS)), 2.0)
    network = NetworkSettings(backbone="hrnet_tiny", stem_stride=2, head="composition")
    return ModelCard(
        name="mine",
        fold=1,
        experiment=ExperimentSettings(network=network),
        channels=CHANNELS,
        normalisation=Normalisation(
            3.0, scale, np.zeros((3, 17, 0, 0), np.float32), np.zeros((0, 0), np.float32), 1.0, None, (1.0, 3.0)
        ),
        grid=GRID,
        sdd_range_mm=(990.0, 1010.0),
        isocentre_range_mm=(820.0, 840.0),
        patients=("P000", "P002"),
    )


@pytest.fixture
def model(tmp_path):
    generator = make_decomposer(CHANNELS, (SIDE, SIDE), _card().experiment.network, seed=0)
    with torch.no_grad():
        generator.head.scale.fill_(2.0)
        generator.head.last.weight.zero_()
    write_model(tmp_path / "model" / "model.safetensors", generator, _card(), {})
    return tmp_path / "model" / "model.safetensors"


@pytest.fixture
def radiograph(tmp_path):
    coarse = np.rint(60000 * np.exp(-np.clip(phantom(3, side=SIDE).radiograph, 0, 9))).astype(np.uint16)
    image = np.kron(coarse, np.ones((16, 16), np.uint16))
    sitk.WriteImage(sitk.GetImageFromArray(image), str(tmp_path / "r.png"))
    return tmp_path / "r.png"


def _held_out(path, count=12, patient="P001"):
    rows = [
        {"patient_id": patient, "channel": c.name, "quantity": q, "predicted": 10.0 + i, "truth": 10.0}
        for c in CHANNELS
        for q in ("volume_cm3", "lean_mass_g")
        for i in range(1, count + 1)
    ]
    pd.DataFrame(rows).to_parquet(path)


def test_what_is_flagged_gets_no_interval(tmp_path, model, radiograph):
    _held_out(model.with_name("predictions.parquet"))
    predict_radiographs(model, [radiograph], SETTINGS, tmp_path / "out")
    table = pd.read_csv(tmp_path / "out" / "predictions.csv")
    assert table["flag"].str.contains("at the edge").all(), "an untrained model spreads every object over the image"
    assert table["low"].isna().all()


def test_a_new_radiograph_gets_sums_intervals_and_images(tmp_path, model, radiograph, monkeypatch):
    monkeypatch.setattr("mskdex.models.flags.EDGE_SHARE", 1.0)
    _held_out(model.with_name("predictions.parquet"))
    predict_radiographs(model, [radiograph], SETTINGS, tmp_path / "out")
    table = pd.read_csv(tmp_path / "out" / "predictions.csv")
    assert len(table) == 2 * len(CHANNELS)
    volume = sitk.GetArrayFromImage(sitk.ReadImage(str(tmp_path / "out" / "r.volume.nii.gz")))
    rows = table[table["quantity"] == "volume_cm3"]
    np.testing.assert_allclose(rows["predicted"], volume.sum((1, 2)), atol=0.01)
    np.testing.assert_allclose(rows["high"] - rows["predicted"], 12.0, atol=0.011)  # rank ceil(13 * 0.9) = 12
    facts = json.loads((tmp_path / "out" / "predictions.json").read_text(encoding="utf-8"))
    assert "not a medical device" in facts["notice"]
    slices = dict(zip(facts["objects"], volume.sum((1, 2)), strict=True))
    row = rows[(rows["object"] == "femur") & (rows["side"] == "right")]
    np.testing.assert_allclose(row["predicted"], slices["femur_right"], atol=0.01)
    assert (tmp_path / "out" / "r.png").stat().st_size > 1000


def test_without_held_out_patients_there_is_no_interval(tmp_path, model, radiograph):
    predict_radiographs(model, [radiograph], SETTINGS, tmp_path / "out")
    assert pd.read_csv(tmp_path / "out" / "predictions.csv")["low"].isna().all()


def test_calibration_on_training_patients_is_refused(tmp_path, model, radiograph):
    _held_out(tmp_path / "c.parquet", patient="P002")
    with pytest.raises(MskdexError, match=r"trained on \(P002\)"):
        predict_radiographs(model, [radiograph], SETTINGS, tmp_path / "out", calibration=tmp_path / "c.parquet")


def test_a_file_that_is_no_model_is_named(tmp_path, radiograph):
    (tmp_path / "model.safetensors").write_bytes(b"nothing")
    with pytest.raises(MskdexError, match=r"model\.safetensors cannot be read as a model"):
        predict_radiographs(tmp_path / "model.safetensors", [radiograph], SETTINGS, tmp_path / "out")


def test_a_model_comes_back_as_written(model):
    card = read_model(model, torch.device("cpu")).card
    expected = _card()
    assert card.patients == expected.patients
    assert card.channels == expected.channels
    assert card.grid == expected.grid
    assert card.experiment == expected.experiment
    np.testing.assert_array_equal(card.normalisation.drr, expected.normalisation.drr)


def test_sums_are_taken_after_denormalisation(model):
    loaded = read_model(model, torch.device("cpu"))
    image = np.random.default_rng(0).uniform(0, 3, (SIDE, SIDE)).astype(np.float32)
    water = torch.as_tensor(water_volume(image, GRID, 830.0))[None, None]
    with torch.no_grad():
        normalised = loaded.generator(torch.as_tensor(image)[None, None] / 3.0, water, torch.tensor([False]))
    found = loaded.decompose(image, GRID, 830.0, False)
    assert found.shape == (3, len(CHANNELS), SIDE, SIDE)
    np.testing.assert_allclose(found.reshape(51, SIDE, SIDE), 2.0 * normalised[0].numpy(), rtol=1e-6)


def test_a_new_radiographs_own_camera_makes_its_volumes(tmp_path, model, radiograph):
    """A patient at 0.8 of the distance from the source is 0.8 times as large in each direction."""
    tables = []
    for distance in (830.0, 664.0):
        settings = SETTINGS.model_copy(update={"source_to_isocentre_mm": distance})
        predict_radiographs(model, [radiograph], settings, tmp_path / f"{distance}")
        tables.append(pd.read_csv(tmp_path / f"{distance}" / "predictions.csv")["predicted"])
    np.testing.assert_allclose(tables[1], 0.64 * tables[0], atol=0.02)
    assert tables[0].min() > 1.0


def test_a_radiograph_of_relative_scale_has_the_scale_of_such_radiographs(model, radiograph):
    loaded = read_model(model, torch.device("cpu"))
    with torch.no_grad():
        loaded.generator.head.relative.fill_(float(np.log(5.0)))
    imported = import_radiograph(radiograph, {}, SETTINGS)
    processed = dataclasses.replace(imported, facts=imported.facts | {"scale": "relative"})
    absolute, relative = (predict(loaded, one) for one in (imported, processed))
    np.testing.assert_allclose(relative.drr, 5.0 * absolute.drr, rtol=1e-4, atol=1e-6)
    assert not any("scale is" in flag for flag in absolute.flags)
    assert any("scale is relative, training had absolute" in flag for flag in relative.flags)


def test_a_processed_image_is_read_by_its_devices_curve_and_an_unknown_device_is_flagged(model, radiograph):
    loaded = read_model(model, torch.device("cpu"))
    curve = DeviceProfile("Room 3", "relative", 5, True, (0.0, 1.0), (0.5, 3.5), 0.1)
    loaded = dataclasses.replace(loaded, card=dataclasses.replace(loaded.card, device_profiles=(curve,)))
    settings = SETTINGS.model_copy(update={"intensity": "processed", "grey_increases_with": "attenuation"})
    known = import_radiograph(radiograph, {"device": "Room 3"}, settings)
    gain, offset = known.facts["standardisation"]
    found = predict(loaded, known)
    nepers = (0.5 + 3.0 * (known.image - offset) / gain).astype(np.float32)
    absolute = dataclasses.replace(known, image=nepers, facts=known.facts | {"scale": "absolute"})
    np.testing.assert_allclose(found.drr, predict(loaded, absolute).drr, rtol=1e-3, atol=1e-5)
    assert not any("device unknown" in flag or "scale is" in flag for flag in found.flags)
    other = predict(loaded, import_radiograph(radiograph, {"device": "Room 4"}, settings))
    assert "device unknown: it is of Room 4, training had Room 3" in other.flags
    assert any("scale is relative" in flag for flag in other.flags)


def test_flags_tell_what_is_unlike_training():
    image, field = np.full((SIDE, SIDE), 2.0), np.ones((SIDE, SIDE), bool)
    assert radiograph_flags(_card(), image, field, GRID, 830.0) == []
    far = Camera(1200.0, GRID.pixel_mm, GRID.shape, GRID.principal_point_px)
    assert "camera unlike training" in radiograph_flags(_card(), image, field, far, 830.0)[0]
    assert "source to patient is 600 mm" in radiograph_flags(_card(), image, field, GRID, 600.0)[0]
    assert "intensities out of range" in radiograph_flags(_card(), 3 * image, field, GRID, 830.0)[0]
    field[:, :10] = False
    relative = radiograph_flags(_card(), image, np.ones_like(field), GRID, 830.0, "relative")
    assert relative[0] == "grey values unlike training: their scale is relative, training had absolute ones"
    assert "only 69 %" in radiograph_flags(_card(), image, field, GRID, 830.0)[0]


def test_objects_at_the_edge_are_flagged():
    volume = np.zeros((17, SIDE, SIDE))
    volume[:, 10:20, 10:20] = 1.0
    volume[3, -10:, 10:20] = 1.0
    volume[3, 10:20] = 0.0
    flags = object_flags(_card(), volume, np.ones((SIDE, SIDE), bool))
    assert list(flags) == [CHANNELS[3].name]
    assert "20 %" in flags[CHANNELS[3].name]


def test_calibration_without_an_object_of_the_model_is_refused(tmp_path, model, radiograph):
    _held_out(tmp_path / "c.parquet")
    table = pd.read_parquet(tmp_path / "c.parquet")
    table[table["channel"] != "sacrum"].to_parquet(tmp_path / "c.parquet")
    with pytest.raises(MskdexError, match=r"c\.parquet has no predictions of sacrum"):
        predict_radiographs(model, [radiograph], SETTINGS, tmp_path / "out", calibration=tmp_path / "c.parquet")
