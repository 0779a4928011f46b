"""Several folds' models as one: the mean of their DRRs, intervals of patients whom each left out."""

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from phantoms import CHANNELS, phantom
from test_recalibration import site

sys.path.insert(0, str(Path(__file__).parents[1] / "clinic"))

from small_model import GRID, NETWORK, SIDE, card

from mskdex.api.prediction import read_calibration
from mskdex.clinic.export import interface
from mskdex.clinic.object_context import Algorithm
from mskdex.config.learning import ExperimentSettings
from mskdex.errors import MskdexError
from mskdex.io.artifacts import read_parquet, write_parquet
from mskdex.models.device_profiles import DeviceProfile
from mskdex.models.ensemble import ensemble_of
from mskdex.models.generator import make_decomposer
from mskdex.models.model import ENSEMBLE, Model, read_model, write_model
from mskdex.pipeline.stages.ensemble import ensemble
from mskdex.pipeline.stages.recalibrate import recalibrate
from mskdex.training.starting_model import starting_model


def member(fold, **changes):
    """A model with weights and scales of its own; four patients in four folds."""
    generator = make_decomposer(CHANNELS, (SIDE, SIDE), NETWORK, seed=fold)
    with torch.no_grad():
        generator.head.last.weight.mul_(5.0)
    scales, more = card().normalisation, 1.0 + 0.2 * fold
    scales = replace(scales, radiograph=3.0 * more, drr=scales.drr * more, radiograph_range=(0.5, 3.0 + fold))
    patients = tuple(f"P00{i}" for i in range(4) if i != fold)
    profiles = (DeviceProfile("Corvia", "relative", 3 + fold),)
    facts = {"fold": fold, "normalisation": scales, "patients": patients, "device_profiles": profiles} | changes
    return Model(card(**facts), generator.eval())


@pytest.fixture(scope="module")
def folds(tmp_path_factory):
    """results/experiments/hip of two folds, each with the prediction of the patient it left out."""
    root = tmp_path_factory.mktemp("results") / "experiments" / "hip"
    for fold in (0, 2):
        model = member(fold)
        write_model(root / f"fold{fold}" / "model.safetensors", model.generator, model.card, {})
        rows = [
            {
                "patient_id": f"P00{fold}",
                "fold": fold,
                "channel": c.name,
                "quantity": q,
                "predicted": 9.0,
                "truth": 10.0,
            }
            for c in CHANNELS
            for q in ("volume_cm3", "lean_mass_g")
        ]
        write_parquet(root / f"fold{fold}" / "predictions.parquet", pd.DataFrame(rows))
    return root


@pytest.fixture(scope="module")
def joint(folds, tmp_path_factory):
    out = tmp_path_factory.mktemp("joint")
    assert ensemble(folds, out) == [0, 2]
    return out / "model.safetensors"


def _read(path):
    return read_model(path, torch.device("cpu"))


@pytest.mark.parametrize("relative", [False, True])
def test_its_drrs_are_the_mean_of_the_members(folds, joint, relative):
    stack = phantom(0, SIDE)
    of = (stack.radiograph, stack.camera, 900.0, relative)
    members = [_read(folds / f"fold{fold}" / "model.safetensors").decompose(*of) for fold in (0, 2)]
    assert np.abs(members[0] - members[1]).max() > 1e-2 * members[0].max()
    found = _read(joint).decompose(*of)
    np.testing.assert_allclose(found, np.mean(members, axis=0), rtol=0, atol=2e-5 * found.max())


def test_its_card_has_all_that_its_members_saw(joint):
    found = _read(joint).card
    assert found.fold == ENSEMBLE
    assert found.patients == ("P000", "P001", "P002", "P003")
    assert [m.fold for m in found.members] == [0, 2]
    assert [m.patients for m in found.members] == [("P001", "P002", "P003"), ("P000", "P001", "P003")]
    assert found.normalisation.radiograph_range == (0.5, 5.0)
    assert [p.patients for p in found.device_profiles] == [5]
    assert Algorithm.of(joint, found).identifier.startswith("hip, folds 0, 2, each by one of 2, sha256 ")
    assert interface(_read(joint))["card"]["members"] == [{"fold": 0, "patients": 3}, {"fold": 2, "patients": 3}]


def test_its_intervals_are_of_patients_whom_a_member_left_out(joint, tmp_path):
    model, beside = _read(joint), joint.with_name("predictions.parquet")
    known = read_calibration(beside, model)
    assert known.image.errors["iliacus_left", "lean_mass_g"]["error"].tolist() == [1.0, 1.0]
    table = read_parquet(beside).assign(fold=0)  # the second's patient, as if the first's model had left it out
    write_parquet(tmp_path / "wrong.parquet", table)
    with pytest.raises(MskdexError, match=r"trained on \(P002\)"):
        read_calibration(tmp_path / "wrong.parquet", model)


def test_it_is_recalibrated_as_one_model(joint, tmp_path):
    stacks = site(tmp_path / "site", 10)
    recalibrate(joint, tmp_path / "site", tmp_path / "out")
    new, old = _read(tmp_path / "out" / "model.safetensors"), _read(joint)
    assert new.card.members == old.card.members
    place = [c.object for c in CHANNELS].index("gluteus_medius")
    factor = new.card.normalisation.drr[2, place] / old.card.normalisation.drr[2, place]
    of = (stacks[3].radiograph, stacks[3].camera, stacks[3].source_to_isocentre_mm, False)
    before, after = (m.decompose(*of)[2, place].sum() for m in (old, new))
    assert factor != pytest.approx(1.0, abs=0.01)
    assert after == pytest.approx(factor * before, rel=1e-4)
    assert len(read_calibration(tmp_path / "out" / "predictions.parquet", new).image.errors) >= 2 * len(CHANNELS)


def _other_settings():
    changed = ExperimentSettings(network=NETWORK, optimisation={"epochs": 7, "restart_epochs": 7})
    return [member(0), member(1, experiment=changed)]


@pytest.mark.parametrize(
    ("models", "told"),
    [
        (lambda: [member(0)], "1 trained folds were found, an ensemble needs 2"),
        (lambda: [member(0), member(0)], r"a fold is there twice \(folds 0, 0\)"),
        (lambda: [member(0), member(1, name="other")], "fold 1 has other experiments than fold 0"),
        (_other_settings, "fold 1 has other settings than fold 0"),
        (lambda: [member(0), member(1, grid=replace(GRID, pixel_mm=3.0))], "fold 1 has other image grids"),
        (lambda: [member(0), member(1, recalibrated_on=("S1",))], "hip, fold 1, is an ensemble or was recalibrated"),
        (lambda: [ensemble_of([member(0), member(1)]), member(2)], "is an ensemble or was recalibrated"),
    ],
)
def test_what_is_no_ensemble_is_named(models, told):
    with pytest.raises(MskdexError, match=told):
        ensemble_of(models())


def test_a_folder_without_models_and_a_start_from_an_ensemble_are_refused(joint, tmp_path):
    with pytest.raises(MskdexError, match=r"has no trained fold .* give results/experiments/NAME"):
        ensemble(tmp_path, tmp_path / "out")
    with pytest.raises(MskdexError, match=r"start_from: .* is an ensemble; give the model"):
        starting_model(ExperimentSettings(network=NETWORK, start_from=str(joint)))
