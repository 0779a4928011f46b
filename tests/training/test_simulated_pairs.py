"""Pairs from patients' own CTs as training samples: what they hold, what is learned from them and what is not."""

import json

import numpy as np
import pandas as pd
import pytest
import torch
from phantoms import write_cohort

from mskdex.config.learning import ExperimentSettings, LossSettings, NetworkSettings
from mskdex.errors import MskdexError
from mskdex.io.arrays import Crops
from mskdex.io.simulated import Simulated, read_simulated, write_simulated
from mskdex.io.stack import read_stack
from mskdex.io.tensors import read_tensors
from mskdex.pipeline.stages.train import describe, open_store, prepare, train
from mskdex.training.distributed import Group
from mskdex.training.pairs import PairStore, as_stack

LOSSES = LossSettings(lambda_gan=0.0, lambda_cyc=0.0, lambda_gc=0.0)
NETWORK = NetworkSettings(backbone="hrnet_tiny", stem_stride=2, ndf=4, discriminator_scales=1, head="composition")


def experiment(**optimisation) -> ExperimentSettings:
    o = {"epochs": 2, "restart_epochs": 2, "tensorboard": False, "augmentation": None, "learning_rate": 1e-3}
    return ExperimentSettings(losses=LOSSES, network=NETWORK, optimisation=o | optimisation, pairs="simulated")


def pair_of(stack, factors=(1.0, 1.2), weights=(1.0, 1.0)) -> Simulated:
    """Two pairs of a phantom: itself, and one with more of everything; objects in another order than the stack's."""
    drr = stack.drr.dense()[:, ::-1]
    scaled = [drr * f for f in factors]
    return Simulated(
        patient=stack.patient,
        objects=stack.objects[::-1],
        camera=stack.camera,
        radiograph=np.stack([stack.radiograph * np.float32(f) for f in factors]),
        field=stack.field,
        drr=tuple(Crops.of(d) for d in scaled),
        weight=np.stack([np.full(stack.field.shape, w, np.float32) for w in weights]),
        sums=np.stack([d.sum(axis=(-2, -1), dtype=np.float64) for d in scaled]),
        known=np.stack([stack.known[::-1]] * 2),
        registered=True,
        scale="absolute",
        facts=[{}, {}],
    )


@pytest.fixture(scope="module")
def cohort(tmp_path_factory):
    root, folds = write_cohort(tmp_path_factory.mktemp("cohort"), 6, side=32)
    for path in sorted(root.glob("*/stack.safetensors")):
        stack = read_stack(path)
        write_simulated(path.with_name("simulated.safetensors"), pair_of(stack), {})
    return root, folds


def test_a_pair_is_a_sample_with_every_object_aligned(cohort):
    root, _ = cohort
    real = read_stack(root / "P001" / "stack.safetensors")
    found = as_stack(read_simulated(root / "P001" / "simulated.safetensors"), 1, real)
    assert found.objects == found.aligned_objects == real.objects
    assert found.drr.dense() == pytest.approx(1.2 * real.drr.dense(), rel=2e-3, abs=1e-5)
    assert found.truth == pytest.approx(found.drr.dense().sum(axis=(-2, -1)), rel=1e-3)
    assert found.radiograph == pytest.approx(1.2 * real.radiograph, rel=1e-5)


def test_pixels_and_pairs_that_are_not_trusted_do_not_count(cohort, tmp_path):
    root, _ = cohort
    real = read_stack(root / "P001" / "stack.safetensors")
    pairs = pair_of(real, weights=(1.0, 0.2))
    pairs.weight[0, :10] = 0.3
    assert not as_stack(pairs, 0, real).field[:10].any()
    assert as_stack(pairs, 0, real).field[10:].all()
    path = tmp_path / "P001" / "simulated.safetensors"
    write_simulated(path, pairs, {})
    store = PairStore({"P001": root / "P001" / "stack.safetensors"}, {"P001": path}, 1e9)
    assert store.patients == ("P001, pair 0",)


def test_a_fold_learns_from_its_training_patients_pairs_alone(cohort, tmp_path):
    root, folds = cohort
    out = tmp_path / "experiments" / "simulated" / "fold0"
    train(root, folds, 0, experiment(), out)
    facts = json.loads((out / "train.json").read_text(encoding="utf-8"))
    table = pd.read_parquet(folds)
    assert facts["patients"] == sorted(table.loc[table["fold"] != 0, "patient_id"])
    history = pd.read_parquet(out / "history.parquet")
    assert {"bone", "intensity_sum"} <= set(history)
    assert np.isfinite(history["total"]).all()


def test_real_radiographs_change_nothing(cohort, tmp_path):
    """The weights are the same whatever the real radiographs and DRRs show: the pairs alone are learned from."""
    root, folds = cohort
    weights = []
    for number, seed in enumerate((0, 7)):
        other = write_cohort(tmp_path / str(number), 6, side=32, seed=seed)[0]
        for path in sorted(root.glob("*/simulated.safetensors")):
            (other / path.parent.name / path.name).write_bytes(path.read_bytes())
        train(other, folds, 0, experiment(epochs=1), tmp_path / str(number) / "out")
        weights.append(read_tensors(tmp_path / str(number) / "out" / "model.safetensors")[0])
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])


def test_every_object_is_compared(cohort):
    root, _ = cohort
    store = open_store(root, ["P001", "P002"], experiment())
    trainer, loader = prepare(describe(store, experiment(), "x", 0), store, torch.device("cpu"), Group())
    batch = loader.batch(0, 0)
    assert batch.available.all()
    assert batch.aligned.shape[2] == len(store[store.patients[0]].objects)
    before = trainer.train_batch(batch, 100)["bone"]
    for _ in range(30):
        after = trainer.train_batch(batch, 100)["bone"]
    assert after < 0.8 * before


def test_pairs_of_other_objects_are_refused(cohort):
    root, _ = cohort
    real = read_stack(root / "P001" / "stack.safetensors")
    pairs = read_simulated(root / "P001" / "simulated.safetensors")
    fewer = Simulated(**{**vars(pairs), "objects": ("strange", *pairs.objects[1:])})
    with pytest.raises(
        MskdexError, match=f"P001: simulated.safetensors holds other objects .* it lacks {pairs.objects[0]}"
    ):
        as_stack(fewer, 0, real)
