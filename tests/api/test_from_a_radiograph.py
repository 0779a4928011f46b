"""From a radiograph on disk to masses, and to the poses of a CT's bones."""

import dataclasses

import hospital as make
import numpy as np
import pandas as pd
import pytest
from phantoms import CHANNELS
from test_predict_radiographs import SIDE, _card

import mskdex
from mskdex.config import Config
from mskdex.errors import MskdexError
from mskdex.models.generator import make_decomposer
from mskdex.models.model import write_model
from mskdex.quantities import QUANTITIES

SEARCH = {
    "restarts": 1,
    "finalists": 1,
    "population": 8,
    "screening_generations": 1,
    "generations": 1,
    "attempts": 1,
    "bodies": [{"name": "pelvis", "min_extent_mm": 10}, {"name": "femur", "paired": True, "min_extent_mm": 10}],
}


@pytest.fixture
def model(tmp_path):
    grid = mskdex.Camera(1100.0, 2.25, (SIDE, SIDE), ((SIDE - 1) / 2, (SIDE - 1) / 2))
    card = dataclasses.replace(_card(), grid=grid, sdd_range_mm=(1100.0, 1100.0), isocentre_range_mm=(850.0, 850.0))
    path = tmp_path / "model.safetensors"
    write_model(path, make_decomposer(CHANNELS, grid.shape, card.experiment.network, seed=0), card, {})
    return path


def test_three_lines_lead_to_masses(row, model):
    found = mskdex.predict(mskdex.load_model(model, "cpu"), row["radiograph"])
    sums = found.drr.sum(axis=(-2, -1), dtype=np.float64)
    assert list(found.masses_g) == [c.name for c in CHANNELS]
    np.testing.assert_allclose(list(found.masses_g.values()), sums[QUANTITIES.index("lean_mass")])
    np.testing.assert_allclose(list(found.volumes_cm3.values()), sums[QUANTITIES.index("volume")])
    assert set(found.table["quantity"]) == {"volume_cm3", "lean_mass_g"}
    assert found.table["low"].isna().all()


def test_a_radiograph_that_was_read_gives_the_same(row, model):
    loaded = mskdex.load_model(model, "cpu")
    radiograph = mskdex.read_radiograph(row["radiograph"])
    assert mskdex.predict(loaded, radiograph).masses_g == mskdex.predict(loaded, row["radiograph"]).masses_g


def test_a_calibration_gives_intervals(row, model, tmp_path, monkeypatch):
    monkeypatch.setattr("mskdex.models.flags.EDGE_SHARE", 1.0)
    pairs = [(c.name, q) for c in CHANNELS for q in ("volume_cm3", "lean_mass_g")]
    rows = [
        {"patient_id": "P9", "channel": c, "quantity": q, "predicted": 10.0 + i, "truth": 10.0}
        for c, q in pairs
        for i in range(1, 13)
    ]
    pd.DataFrame(rows).to_parquet(tmp_path / "c.parquet")
    found = mskdex.predict(mskdex.load_model(model, "cpu"), row["radiograph"], calibration=tmp_path / "c.parquet")
    assert found.flags == []
    table = found.table
    np.testing.assert_allclose(table["high"] - table["predicted"], 12.0)


def test_values_given_overrule_the_tags(row):
    radiograph = mskdex.read_radiograph(row["radiograph"], sdd_mm=1200.0, pixel_mm=1.0)
    assert (radiograph.camera.sdd_mm, radiograph.camera.pixel_mm) == (1200.0, 1.0)
    assert mskdex.read_radiograph(row["radiograph"]).camera.sdd_mm == 1100.0


def test_a_file_that_is_no_model_is_named(row):
    with pytest.raises(MskdexError, match=r"radiograph\.dcm cannot be read as a model"):
        mskdex.load_model(row["radiograph"], "cpu")


def test_register_gives_every_body_that_the_labels_hold(row):
    sources = {"phantom": make.IDS}
    config = Config.model_validate({"label_sources": sources, "ct": make.SMALL_STRUCTURES, "registration": SEARCH})
    ct = mskdex.read_ct(row["ct"])
    labels = mskdex.read_labels(row["labels"], ct, "phantom", config=config)
    radiograph = mskdex.read_radiograph(row["radiograph"])
    found = mskdex.register(ct, labels, radiograph, config=config)
    assert set(found) == {"pelvis", "femur_left", "femur_right"}
    start = mskdex.Pose(found["pelvis"].start)
    for result in found.values():
        assert result.accepted == (result.pose is not None) == (result.reason is None)
    moved = mskdex.register(ct, labels, radiograph, start=start.moved(shift_mm=(0, 5, 0)), config=config)
    np.testing.assert_allclose(moved["pelvis"].start[1, 3] - start.camera_from_ct[1, 3], 5.0)
