"""Pairs from patients' own CTs as training samples: what they hold, what is learned from them and what is not."""

import json
from dataclasses import replace

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
from mskdex.training.distributed import ProcessGroup
from mskdex.training.simulated_pairs import PairStore, as_stack, with_aligned_muscles

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
    trainer, loader = prepare(describe(store, experiment(), "x", 0), store, torch.device("cpu"), ProcessGroup())
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


def mixed(**optimisation) -> ExperimentSettings:
    return experiment(**optimisation).model_copy(update={"pairs": "mixed"})


def test_half_of_a_mixed_epoch_is_real_after_epochs_of_pairs_alone(cohort):
    root, _ = cohort
    settings = mixed(pairs_alone_epochs=1, batch_size=3)
    store = open_store(root, ["P001", "P002", "P003"], settings)
    _, loader = prepare(describe(store, settings, "x", 0), store, torch.device("cpu"), ProcessGroup())
    first, later = (list(loader.epoch(epoch)) for epoch in (0, 1))
    assert len(first) == len(later) == len(loader) == 4
    real = {p: read_stack(root / p / "stack.safetensors") for p in store.people}
    factor = loader.normalisation.radiograph

    def is_real(batch, i):
        own = real[batch.patients[i]].radiograph / factor
        return np.allclose(batch.radiograph[i, 0].numpy(), own, atol=1e-6)

    # A phantom's first pair is its radiograph: six of twelve pairs, and all real samples beside three of six pairs.
    assert sum(is_real(b, i) for b in first for i in range(3)) == 6
    assert sum(is_real(b, i) for b in later for i in range(3)) == 9
    assert store.of_epoch(0) == store.simulated
    assert sorted(store.of_epoch(1)) == sorted([*store.simulated, *store.people, *store.people])


def test_muscles_of_the_registered_posture_are_aligned_with_the_real_radiograph(cohort):
    root, _ = cohort
    real = read_stack(root / "P001" / "stack.safetensors")
    pairs = read_simulated(root / "P001" / "simulated.safetensors")
    pairs.weight[0, :8] = 0.2
    found = with_aligned_muscles(real, pairs, 0.3)
    muscles = [c.name for c in real.channels if c.kind == "muscle"]
    assert found.aligned_objects == (*real.aligned_objects, *muscles)
    assert found.aligned_weights == (1.0,) * len(real.aligned_objects) + (0.3,) * len(muscles)
    # The phantom's first pair is the phantom: its DRRs are those of the stack.
    places = [real.objects.index(n) for n in muscles]
    aligned = found.aligned.dense()[:, len(real.aligned_objects) :]
    assert aligned == pytest.approx(real.drr.dense()[:, places], rel=2e-3, abs=1e-5)
    assert not found.field[:8].any()
    assert (found.field[8:] == real.field[8:]).all()
    assert np.array_equal(found.radiograph, real.radiograph)
    assert np.array_equal(found.truth, real.truth)


def test_muscles_are_not_aligned_where_bodies_were_not_accepted(cohort):
    root, _ = cohort
    real = read_stack(root / "P001" / "stack.safetensors")
    pairs = read_simulated(root / "P001" / "simulated.safetensors")
    assert with_aligned_muscles(real, replace(pairs, registered=False), 1.0) is real
    cut = replace(pairs, known=np.zeros_like(pairs.known))
    assert with_aligned_muscles(real, cut, 1.0).aligned_objects == real.aligned_objects


def test_aligned_muscles_count_as_much_as_the_config_says(cohort):
    root, _ = cohort
    losses = []
    for weight in (0.0, 0.5, 1.0):
        settings = mixed().model_copy(update={"losses": LOSSES.model_copy(update={"real_muscle_weight": weight})})
        store = open_store(root, ["P001", "P002"], settings)
        _, loader = prepare(describe(store, settings, "x", 0), store, torch.device("cpu"), ProcessGroup())
        muscles = [i for i, b in enumerate(loader.bones) if store["P001"].channels[b].kind == "muscle"]
        weights = torch.cat([batch.available[:, muscles] for batch in loader.epoch(0)])
        # Half of an epoch is pairs, of which every object counts; the other half is real radiographs.
        assert (weights == weight).all(dim=1).sum() >= len(weights) // 2
        losses.append(float(weights.sum()))
    assert losses[0] < losses[1] < losses[2]


def test_a_fold_learns_from_pairs_and_real_radiographs(cohort, tmp_path):
    root, folds = cohort
    train(root, folds, 0, mixed(pairs_alone_epochs=1), tmp_path / "mixed" / "fold0")
    history = pd.read_parquet(tmp_path / "mixed" / "fold0" / "history.parquet")
    assert len(history) == 2
    assert np.isfinite(history["total"]).all()
    table = pd.read_parquet(folds)
    facts = json.loads((tmp_path / "mixed" / "fold0" / "train.json").read_text(encoding="utf-8"))
    assert facts["patients"] == sorted(table.loc[table["fold"] != 0, "patient_id"])
