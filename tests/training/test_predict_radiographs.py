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
from mskdex.evaluation.model_calibration import trained_digest
from mskdex.geometry.camera import Camera
from mskdex.imaging.radiograph_import import import_radiograph
from mskdex.io.artifacts import write_json, write_parquet
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
    intensity="linear",
    grey_increases_with="exposure",
    air_grey=60000.0,
    sdd_mm=1000.0,
    source_to_isocentre_mm=830.0,
    pixel_mm=430.0 / SIDE / 16,
    working_pixel_mm=None,
    mask_markers=False,
)


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


def _evaluation(folder, trained_on=("P000", "P002")):
    """Held-out errors of women about 0 and of men about 100, and a regression on sex and height."""
    rows = [
        {
            "experiment": "mine",
            "fold": 1,
            "estimate": estimate,
            "channel": c.name,
            "quantity": q,
            "sex": sex,
            "scale": "absolute",
            "error": base + shift + i,
        }
        for c in CHANNELS
        for q in ("volume_cm3", "lean_mass_g")
        for sex, base in (("F", 0.0), ("M", 100.0))
        for estimate, shift in (("image", 0.0), ("fused", 1000.0))
        for i in range(19)
    ]
    write_parquet(folder / "errors.parquet", pd.DataFrame(rows))
    part = {"coefficients": [300.0, 2.0, 50.0], "mean": 280.0, "spread": 40.0, "weights": [0.1, 0.3, 0.6]}
    parts = [{"channel": c.name, "quantity": q, **part} for c in CHANNELS for q in ("volume_cm3", "lean_mass_g")]
    design = {"means": {"height_cm": 160.0}, "sexes": {"M": 0.5}, "reference": "F"}
    told = {"trained_on": trained_digest(trained_on), "design": design, "parts": parts}
    write_json(folder / "fusion.json", {"models": {"mine": {"1": told}}})
    return folder


@pytest.fixture
def placed(model, tmp_path):
    """The model in a results folder, beside its evaluation."""
    home = tmp_path / "results" / "experiments" / "mine" / "fold1" / "model.safetensors"
    home.parent.mkdir(parents=True)
    home.write_bytes(model.read_bytes())
    _evaluation(tmp_path / "results" / "evaluation")
    return home


def test_demographics_give_a_second_estimate_and_the_interval_of_the_sex(tmp_path, placed, radiograph, monkeypatch):
    monkeypatch.setattr("mskdex.models.flags.EDGE_SHARE", 1.0)
    person = {"sex": "M", "height_cm": 170.0}
    predict_radiographs(placed, [radiograph], SETTINGS, tmp_path / "out", person=person)
    row = pd.read_csv(tmp_path / "out" / "predictions.csv").query("object == 'sacrum'").iloc[0]
    regressed = (300.0 + 2.0 * 10.0 + 50.0 - 280.0) / 40.0
    joined = 280.0 + 40.0 * (0.1 + 0.3 * regressed + 0.6 * (row["predicted"] - 280.0) / 40.0)
    assert row["fused"] == pytest.approx(joined, abs=0.02)
    ends = row[["low", "high", "fused_low", "fused_high"]].to_numpy(float)
    expected = [row["predicted"] + 100.0, row["predicted"] + 118.0, row["fused"] + 1100.0, row["fused"] + 1118.0]
    assert ends == pytest.approx(expected, abs=0.02), "of the 19 men: their errors are 100 to 118"
    facts = json.loads((tmp_path / "out" / "predictions.json").read_text(encoding="utf-8"))
    assert facts["radiographs"]["r"]["demographics_from"] == {"sex": "flag", "height_cm": "flag"}


@pytest.mark.usefixtures("radiograph")
def test_a_sheet_tells_of_the_patient_and_what_is_missing_gives_no_second_estimate(tmp_path, placed, monkeypatch):
    monkeypatch.setattr("mskdex.models.flags.EDGE_SHARE", 1.0)
    sheet = tmp_path / "s.csv"
    sheet.write_text("patient_id,radiograph,sex,height_cm\nA,r.png,F,\n", encoding="utf-8")
    predict_radiographs(placed, [], SETTINGS, tmp_path / "out", sheet=sheet)
    table = pd.read_csv(tmp_path / "out" / "predictions.csv")
    assert table["fused"].isna().all(), "her height is not known"
    assert (table["high"] - table["predicted"]).to_numpy() == pytest.approx(np.full(len(table), 18.0), abs=0.02)


def test_one_person_cannot_be_of_two_radiographs(tmp_path, placed, radiograph):
    (tmp_path / "again.png").write_bytes(radiograph.read_bytes())
    with pytest.raises(MskdexError, match="sex of one patient cannot be those of 2 radiographs"):
        predict_radiographs(placed, [radiograph, tmp_path / "again.png"], SETTINGS, tmp_path / "o", person={"sex": "F"})


def test_the_evaluation_of_another_model_gives_no_intervals(tmp_path, placed, radiograph, caplog):
    _evaluation(tmp_path / "results" / "evaluation", trained_on=("P000", "P009"))
    predict_radiographs(placed, [radiograph], SETTINGS, tmp_path / "out")
    assert "is of a model that other patients trained" in caplog.text
    assert pd.read_csv(tmp_path / "out" / "predictions.csv")["low"].isna().all()
    evaluation = tmp_path / "results" / "evaluation"
    with pytest.raises(MskdexError, match="other patients trained"):
        predict_radiographs(placed, [radiograph], SETTINGS, tmp_path / "out", calibration=evaluation)
