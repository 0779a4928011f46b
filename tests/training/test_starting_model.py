"""A training that goes on from a trained model, with another site's patients."""

import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from phantoms import CHANNELS, phantom

from mskdex.cohort.folds import NO_FOLD
from mskdex.config import load_config
from mskdex.config.learning import ExperimentSettings, LossSettings, OptimisationSettings
from mskdex.errors import MskdexError
from mskdex.io.artifacts import write_parquet
from mskdex.io.stack import write_stack
from mskdex.models.generator import make_decomposer
from mskdex.models.model import read_model, write_model
from mskdex.pipeline.sources import Digests
from mskdex.pipeline.stages.predict import predict_external
from mskdex.pipeline.stages.train import train
from mskdex.pipeline.workflow import model_digest, require_starting_models

sys.path.insert(0, str(Path(__file__).parents[1] / "clinic"))

from small_model import NETWORK, SIDE, card

SMALL = NETWORK.model_copy(update={"discriminator_scales": 1, "ndf": 4})
LOSSES = LossSettings(lambda_gan=0.0, lambda_cyc=0.0)
TINY = 1e-9
"""A learning rate at which nothing is learned."""


def make_model(path, network=NETWORK):
    generator = make_decomposer(CHANNELS, (SIDE, SIDE), network, seed=0)
    with torch.no_grad():
        generator.head.last.weight.mul_(5.0)
    facts = card(grid=phantom(0, SIDE).camera, experiment=ExperimentSettings(network=network))
    write_model(path, generator, facts, {})
    return path


@pytest.fixture(scope="module")
def start(tmp_path_factory):
    return make_model(tmp_path_factory.mktemp("start") / "model.safetensors")


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """Results of a site with six patients in two folds, none of whom the model has seen."""
    root, ids = tmp_path_factory.mktemp("site"), []
    for number in range(100, 106):
        stack = phantom(number, SIDE)
        write_stack(root / "patients" / stack.patient / "stack.safetensors", stack)
        ids.append(stack.patient)
    write_parquet(root / "folds.parquet", pd.DataFrame({"patient_id": ids, "fold": [0, 1] * 3}))
    return root


def _experiment(start, rate=TINY, **changes):
    optimisation = OptimisationSettings(
        device="cpu", epochs=1, restart_epochs=1, learning_rate=rate, weight_decay=0.0, tensorboard=False
    )
    settings = {"losses": LOSSES, "network": SMALL, "optimisation": optimisation, "start_from": str(start)}
    return ExperimentSettings(**settings | changes)


def _train(site, experiment, out):
    train(site / "patients", site / "folds.parquet", 0, experiment, out / "hip" / "fold0")
    return read_model(out / "hip" / "fold0" / "model.safetensors", torch.device("cpu"))


def test_a_training_begins_with_the_models_weights_and_scales(site, start, tmp_path):
    before, after = read_model(start, torch.device("cpu")), _train(site, _experiment(start), tmp_path)
    for name, weight in before.generator.state_dict().items():
        torch.testing.assert_close(after.generator.state_dict()[name], weight, rtol=0.0, atol=1e-6)
    np.testing.assert_array_equal(after.card.normalisation.drr, before.card.normalisation.drr)
    assert after.card.normalisation.radiograph == before.card.normalisation.radiograph
    assert after.card.started_from == ("P000", "P002")
    assert set(after.card.patients) == {"P101", "P103", "P105"}
    assert after.card.seen == {"P000", "P002", "P101", "P103", "P105"}


def test_it_learns_from_there(site, start, tmp_path):
    before, after = read_model(start, torch.device("cpu")), _train(site, _experiment(start, 1e-3), tmp_path)
    name = "head.last.weight"
    change = (after.generator.state_dict()[name] - before.generator.state_dict()[name]).abs().max()
    assert 1e-4 < change < 0.1


def test_its_patients_are_not_evaluated_either(site, start, tmp_path):
    """P002 was in the training of the model that this one began with."""
    _train(site, _experiment(start), tmp_path)
    folds = tmp_path / "folds.parquet"
    write_parquet(folds, pd.DataFrame({"patient_id": ["P002"], "fold": [NO_FOLD]}))
    with pytest.raises(MskdexError, match="has seen P002"):
        predict_external(tmp_path / "hip/fold0/model.safetensors", site / "patients", folds, tmp_path / "out.parquet")


def test_a_patient_that_the_model_has_seen_is_not_trained_on_again(start, tmp_path):
    for number in (0, 100, 101):
        stack = phantom(number, SIDE)
        write_stack(tmp_path / "patients" / stack.patient / "stack.safetensors", stack)
    ids = ["P000", "P100", "P101"]
    write_parquet(tmp_path / "folds.parquet", pd.DataFrame({"patient_id": ids, "fold": [1, 1, 0]}))
    with pytest.raises(MskdexError, match="has seen P000; leave them out, or rename them"):
        _train(tmp_path, _experiment(start), tmp_path)


def test_another_network_grid_or_set_of_objects_is_refused(site, start, tmp_path):
    other = SMALL.model_copy(update={"stem_stride": 1})
    with pytest.raises(MskdexError, match=r"another network \(stem_stride: 2, here 1\)"):
        _train(site, _experiment(start, network=other), tmp_path)
    stack = phantom(100, 2 * SIDE)
    for number in range(2):
        write_stack(tmp_path / f"patients/P10{number}/stack.safetensors", phantom(100 + number, 2 * SIDE))
    write_parquet(tmp_path / "folds.parquet", pd.DataFrame({"patient_id": ["P100", "P101", "P9"], "fold": [1, 1, 0]}))
    with pytest.raises(MskdexError, match=rf"images of {SIDE}×{SIDE} pixels .* {stack.patient} {2 * SIDE}×{2 * SIDE}"):
        _train(tmp_path, _experiment(start), tmp_path)


def test_a_model_that_is_not_there_is_told_of_before_anything_runs(tmp_path):
    experiment = _experiment(tmp_path / "none.safetensors").model_dump()
    config = _config(experiment)
    with pytest.raises(MskdexError, match=r"experiments.hip.start_from: .*none.safetensors does not exist"):
        require_starting_models(config)
    with pytest.raises(MskdexError, match=r"none.safetensors does not exist"):
        train(tmp_path, _folds(tmp_path), 0, _experiment(tmp_path / "none.safetensors"), tmp_path / "x" / "fold0")


def test_another_model_in_its_place_trains_anew(start, tmp_path):
    config = _config(_experiment(start).model_dump())
    digests = Digests(tmp_path / "digests.jsonl")
    first = model_digest(config, "hip", 0, digests)
    assert model_digest(config, "other", 0, digests) == "none"
    make_model(start, NETWORK.model_copy(update={"norm": "none"}))
    assert model_digest(config, "hip", 0, digests) != first
    make_model(start)


def _config(hip):
    compared = {"proposed": "hip", "baseline": "other"}
    return load_config({"experiments": {"hip": hip, "other": {}}, "evaluation": compared})


def _folds(root):
    write_parquet(root / "folds.parquet", pd.DataFrame({"patient_id": ["A", "B", "C"], "fold": [1, 1, 0]}))
    for name, number in (("A", 1), ("B", 2)):
        stack = phantom(number, SIDE)
        write_stack(root / name / "stack.safetensors", type(stack)(**{**vars(stack), "patient": name}))
    return root / "folds.parquet"
