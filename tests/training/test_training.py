import dataclasses
import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import time
from datetime import datetime
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from phantoms import CHANNELS, write_cohort

from mskdex.cohort.folds import NO_FOLD
from mskdex.config.learning import (
    CONVENTIONAL_LOSSES,
    ExperimentSettings,
    LossSettings,
    NetworkSettings,
)
from mskdex.errors import MskdexError, UnfinishedError
from mskdex.io.arrays import Crops, read_arrays, write_arrays
from mskdex.io.artifacts import write_parquet
from mskdex.io.stack import read_stack, write_stack
from mskdex.io.tensors import read_tensors, write_tensors
from mskdex.models.generator import make_decomposer
from mskdex.pipeline.lock import locked
from mskdex.pipeline.stages.predict import predict_fold
from mskdex.pipeline.stages.train import describe, prepare, train, training_patients
from mskdex.training.distributed import ProcessGroup, join_group
from mskdex.training.job_deadline import JobDeadline
from mskdex.training.loop import Checkpoints, set_up_torch
from mskdex.training.stack_store import StackStore

NETWORK = NetworkSettings(backbone="hrnet_tiny", stem_stride=2, ndf=4, discriminator_scales=1, head="composition")


def _experiment(losses=None, **optimisation):
    defaults = {"epochs": 2, "restart_epochs": 2, "history_images": 3, "ema_decay": 0.9, "tensorboard": False}
    return ExperimentSettings(losses=losses or LossSettings(), network=NETWORK, optimisation=defaults | optimisation)


@pytest.fixture(scope="module")
def cohort(tmp_path_factory):
    return write_cohort(tmp_path_factory.mktemp("cohort"), 8, side=32)


@pytest.fixture(scope="module")
def trained(cohort, tmp_path_factory):
    out = tmp_path_factory.mktemp("results") / "experiments" / "mine" / "fold1"
    train(*cohort, 1, _experiment(), out)
    return out


def _weights(out):
    return read_tensors(out / "model.safetensors")[0]


def _same(a, b):
    return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)


def test_what_a_training_leaves_behind(trained):
    facts = json.loads((trained / "train.json").read_text(encoding="utf-8"))
    assert facts["experiment"] == "mine"
    assert facts["patients"] == ["P000", "P002", "P003", "P004", "P006", "P007"]
    assert facts["manifest"]["seed"] == 0
    history = pd.read_parquet(trained / "history.parquet")
    assert history["epoch"].tolist() == [1, 2]
    losses = "gc_alpha gc_beta intensity_sum bone cycle_drr gan_radiograph discriminator_drr total"
    for name in losses.split():
        assert np.isfinite(history[name]).all()
    assert not list(trained.glob(".*"))


def test_the_same_seed_gives_the_same_weights_and_another_seed_others(cohort, trained, tmp_path):
    train(*cohort, 1, _experiment(), tmp_path / "mine" / "fold1")
    assert _same(_weights(trained), _weights(tmp_path / "mine" / "fold1"))
    train(*cohort, 1, _experiment(seed=1, epochs=1), tmp_path / "other" / "fold1")
    assert not _same(_weights(trained), _weights(tmp_path / "other" / "fold1"))


def test_the_conventional_baseline_is_config_alone(cohort, tmp_path):
    train(*cohort, 0, _experiment(CONVENTIONAL_LOSSES, epochs=1), tmp_path / "x" / "fold0")
    history = pd.read_parquet(tmp_path / "x" / "fold0" / "history.parquet")
    assert set(history.columns) == {
        "epoch",
        "learning_rate",
        "gc_alpha",
        "cycle_radiograph",
        "cycle_drr",
        "gan_drr",
        "gan_radiograph",
        "total",
        "discriminator_drr",
        "discriminator_radiograph",
    }


def test_without_discriminators_a_training_ends_and_is_taken_up_again(cohort, tmp_path):
    losses = LossSettings(lambda_gan=0.0, lambda_cyc=0.0)
    for _ in range(2):
        train(*cohort, 0, _experiment(losses, epochs=1), tmp_path / "x" / "fold0")
        history = pd.read_parquet(tmp_path / "x" / "fold0" / "history.parquet")
        assert set(history.columns) == {
            "epoch",
            "learning_rate",
            "gc_alpha",
            "gc_beta",
            "intensity_sum",
            "bone",
            "total",
        }
    facts = json.loads((tmp_path / "x" / "fold0" / "train.json").read_text(encoding="utf-8"))
    assert facts["settings"]["losses"]["lambda_gan"] == 0.0


def test_predictions_are_sums_of_the_decompositions_in_cm3_and_g(cohort, trained):
    predict_fold(trained / "model.safetensors", *cohort, 1, trained)
    table = pd.read_parquet(trained / "predictions.parquet")
    assert sorted(table["patient_id"].unique()) == ["P001", "P005"]
    assert len(table) == 2 * 17 * 3
    drr, meta = read_arrays(trained / "decompositions" / "P001.safetensors")
    stack = read_stack(cohort[0] / "P001" / "stack.safetensors")
    for q, quantity in enumerate(("weighted_volume_cm3", "volume_cm3", "lean_mass_g")):
        rows = table[(table["patient_id"] == "P001") & (table["quantity"] == quantity)].set_index("channel")
        np.testing.assert_allclose(rows.loc[meta["objects"], "predicted"], drr["drr"][q].sum((-2, -1)), rtol=1e-3)
        np.testing.assert_allclose(rows.loc[meta["objects"], "truth"], stack.truth[q])
    # Two epochs teach little, but de-normalisation already puts typical sums on the right scale.
    assert np.abs(np.log(table["predicted"] / table["truth"])).median() < np.log(2)


def test_a_model_is_never_tested_on_a_patient_it_has_seen(cohort, trained, tmp_path):
    with pytest.raises(MskdexError, match=r"must not be tested on fold 0: it has seen P000, P004"):
        predict_fold(trained / "model.safetensors", *cohort, 0, tmp_path)
    moved = pd.read_parquet(cohort[1])
    moved.loc[moved["patient_id"] == "P002", "fold"] = 1
    write_parquet(tmp_path / "folds.parquet", moved)
    with pytest.raises(MskdexError, match="it has seen P002"):
        predict_fold(trained / "model.safetensors", cohort[0], tmp_path / "folds.parquet", 1, tmp_path)
    assert not (tmp_path / "predictions.parquet").exists()


def test_patients_who_are_evaluated_only_are_not_trained_on():
    table = pd.DataFrame({"patient_id": ["P3", "P2", "P1", "P0"], "fold": [1, NO_FOLD, 1, 0]})
    assert training_patients(table, 0, Path("folds.parquet")) == ("P1", "P3")
    with pytest.raises(MskdexError, match=r"no fold -1; it has \[0, 1\]"):
        training_patients(table, NO_FOLD, Path("folds.parquet"))


def test_test_patients_do_not_change_the_model(cohort, trained, tmp_path):
    """The stacks of the left-out fold may hold anything: the weights stay the same."""
    root = tmp_path / "patients"
    for path in cohort[0].glob("*/stack.safetensors"):
        target = root / path.parent.name / "stack.safetensors"
        if path.parent.name in ("P001", "P005"):
            write_arrays(target, {}, {})
        else:
            write_stack(target, read_stack(path))
    train(root, cohort[1], 1, _experiment(), tmp_path / "mine" / "fold1")
    assert _same(_weights(trained), _weights(tmp_path / "mine" / "fold1"))


def test_a_loss_that_is_not_finite_stops_and_names_the_patients(cohort, tmp_path):
    with pytest.raises(MskdexError, match=r"not finite for patients P\d+, P\d+"):
        train(*cohort, 1, _experiment(learning_rate=1e18, epochs=5), tmp_path / "x" / "fold1")
    assert not (tmp_path / "x" / "fold1" / "model.safetensors").exists()


@pytest.mark.parametrize("where", ["generators", "discriminators"])
def test_no_weight_changes_where_a_loss_is_not_finite(cohort, where):
    store = StackStore({p.parent.name: p for p in sorted(cohort[0].glob("*/stack.safetensors"))}, 1e9)
    trainer, loader = prepare(describe(store, _experiment(), "x", 0), store, torch.device("cpu"), ProcessGroup())
    batch = loader.batch(0, 0)
    if where == "generators":
        batch = dataclasses.replace(batch, target=batch.target * float("nan"))
    else:
        with torch.no_grad():
            trainer.networks.discriminator_drr.scales[0][0].weight.fill_(1e30)
    named = trainer.networks.named()
    chosen = ("decompose", "compose") if where == "generators" else ("discriminator_radiograph", "discriminator_drr")
    before = {n: {k: v.clone() for k, v in named[n].state_dict().items()} for n in chosen}
    with pytest.raises(MskdexError, match="not finite"):
        trainer.train_batch(batch, len(loader))
    assert all(_same(before[n], named[n].state_dict()) for n in chosen)


def test_a_checkpoint_of_other_settings_is_not_used(cohort, trained, tmp_path):
    out = tmp_path / "mine" / "fold1"
    train(*cohort, 1, _experiment(epochs=1, seed=9), out)
    train(*cohort, 1, _experiment(), out)
    assert _same(_weights(trained), _weights(out))


def test_keys_that_change_no_result_keep_the_checkpoint(cohort, trained, tmp_path, caplog):
    out = tmp_path / "mine" / "fold1"
    shutil.copytree(trained, out)
    (out / "model.safetensors").unlink()
    caplog.set_level("INFO")
    train(*cohort, 1, _experiment(tensorboard=True, cache_gb=1.0, checkpoint_minutes=3.0), out)
    assert "going on from the checkpoint" in caplog.text
    assert _same(_weights(trained), _weights(out))


def test_accumulated_gradients_are_those_of_one_large_batch(cohort):
    store = StackStore({p.parent.name: p for p in sorted(cohort[0].glob("*/stack.safetensors"))}, 1e9)
    gradients = []
    for size, count in ((2, 1), (1, 2)):
        experiment = _experiment(batch_size=size, accumulate_batches=count, augmentation=None, history_images=0)
        trainer, loader = prepare(describe(store, experiment, "x", 0), store, torch.device("cpu"), ProcessGroup())
        for place in range(count):
            trainer.train_batch(loader.batch(0, place), len(loader))
            trainer.progress.place += 1
        gradients.append(torch.cat([p.grad.flatten() for m in trainer.networks.generators for p in m.parameters()]))
    large, summed = gradients
    # Rounding grows in the norm layers of a 2×2 branch; a missing division by the batches would be an error of 1.
    assert torch.linalg.vector_norm(large - summed) < 0.05 * torch.linalg.vector_norm(large)


_CHILD = """
import sys, torch
from pathlib import Path
torch.set_num_threads(1)
from mskdex.config.learning import ExperimentSettings
from mskdex.pipeline.stages.train import train
train(Path(sys.argv[1]), Path(sys.argv[2]), 1, ExperimentSettings.model_validate_json(sys.argv[3]), Path(sys.argv[4]))
"""


def _start(cohort, experiment, out, **environment):
    command = [sys.executable, "-c", _CHILD, *map(str, cohort), experiment.model_dump_json(), str(out)]
    return subprocess.Popen(command, env=os.environ | {"OMP_NUM_THREADS": "1"} | environment, stderr=subprocess.PIPE)


def _free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return str(s.getsockname()[1])


def test_two_processes_train_as_one_does_with_the_whole_batch(cohort, tmp_path):
    plain = {"epochs": 1, "augmentation": None, "history_images": 0, "ema_decay": None}
    alone, shared = tmp_path / "alone" / "fold1", tmp_path / "shared" / "fold1"
    train(*cohort, 1, _experiment(batch_size=2, **plain), alone)
    group = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": _free_port()}
    half = _experiment(batch_size=1, **plain)
    children = [_start(cohort, half, shared, RANK=str(r), LOCAL_RANK=str(r), **group) for r in range(2)]
    for child in children:
        _, errors = child.communicate(timeout=300)
        assert child.returncode == 0, errors.decode()
    a, b = (pd.read_parquet(out / "history.parquet") for out in (alone, shared))
    # Process 0 reports its half of each batch, so losses agree only roughly; the weights took the same three steps.
    assert a["intensity_sum"][0] == pytest.approx(b["intensity_sum"][0], rel=0.5)
    start = dict(make_decomposer(CHANNELS, (32, 32), NETWORK, seed=0).named_parameters())
    a, b, first = (torch.cat([w[n].flatten() for n in start]) for w in (_weights(alone), _weights(shared), start))
    moved = (first != a) & (first != b)
    assert ((a - first).sign() == (b - first).sign())[moved].float().mean() > 0.95


def _fork_training(cohort, experiment, out):
    """A child process that trains; a fork, because starting Python and torch anew takes longer than the training."""
    child = os.fork()
    if child == 0:
        try:
            train(*cohort, 1, experiment, out, name="same")
        finally:
            os._exit(0)
    return child


def _written(path):
    return path.stat().st_mtime_ns if path.exists() else 0


@pytest.mark.slow
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_killed_ten_times_at_random_moments_the_weights_are_bit_identical(
    cohort, tmp_path, caplog, monkeypatch, layout
):
    monkeypatch.setattr("mskdex.compute.device.memory_layout", lambda _: layout)
    experiment = _experiment(epochs=16, restart_epochs=16, checkpoint_minutes=1e-6)
    whole, broken = tmp_path / "whole" / "fold1", tmp_path / "broken" / "fold1"
    train(*cohort, 1, experiment, whole, name="same")
    dice, checkpoint = random.Random(0), broken / "checkpoint" / "last.safetensors"
    for _ in range(10):
        before = _written(checkpoint)
        child = _fork_training(cohort, experiment, broken)
        while _written(checkpoint) == before:
            time.sleep(0.002)
        time.sleep(dice.uniform(0.0, 0.15))
        os.kill(child, signal.SIGKILL)
        assert os.WIFSIGNALED(os.waitpid(child, 0)[1]), "the training ended before it could be killed"
    with caplog.at_level("INFO", logger="mskdex"):
        train(*cohort, 1, experiment, broken, name="same")
    assert "going on from the checkpoint" in caplog.text
    assert _same(_weights(whole), _weights(broken))
    a, b = (pd.read_parquet(out / "history.parquet") for out in (whole, broken))
    pd.testing.assert_frame_equal(a, b)
    assert sorted(p.name for p in (broken / "checkpoint").iterdir()) == [".lock", "last.safetensors"]


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_a_step_after_a_resume_is_that_of_a_training_without_one(cohort, tmp_path, monkeypatch, layout):
    monkeypatch.setattr("mskdex.compute.device.memory_layout", lambda _: layout)
    store = StackStore({p.parent.name: p for p in sorted(cohort[0].glob("*/stack.safetensors"))}, 1e9)
    card = describe(store, _experiment(), "x", 0)
    whole, loader = prepare(card, store, torch.device("cpu"), ProcessGroup())
    whole.train_batch(loader.batch(0, 0), len(loader))
    whole.progress.place += 1
    tensors, progress = whole.state()
    if layout is torch.channels_last:  # an earlier checkpoint names one entry otherwise
        progress["told"] = progress.pop("counted")
    write_tensors(tmp_path / "a.safetensors", tensors, progress)
    resumed, _ = prepare(card, store, torch.device("cpu"), ProcessGroup())
    resumed.load_state(*read_tensors(tmp_path / "a.safetensors"))
    for optimiser in resumed.optimisers.values():
        for parameter, state in optimiser.state.items():
            assert state["exp_avg"].stride() == state["exp_avg_sq"].stride() == parameter.stride()
    assert resumed.progress == whole.progress
    for trainer in (whole, resumed):
        trainer.train_batch(loader.batch(0, 1), len(loader))
    assert _same(whole.state()[0], resumed.state()[0])


def test_a_stack_in_another_order_gets_the_same_predictions_by_name(cohort, trained, tmp_path):
    predict_fold(trained / "model.safetensors", *cohort, 1, tmp_path / "before")
    for patient in ("P001", "P005"):
        old = read_stack(cohort[0] / patient / "stack.safetensors")
        write_stack(
            tmp_path / patient / "stack.safetensors",
            dataclasses.replace(
                old,
                channels=old.channels[::-1],
                drr=Crops.of(old.drr.dense()[:, ::-1]),
                truth=old.truth[:, ::-1],
                known=old.known[::-1],
                visible=old.visible[::-1],
            ),
        )
    predict_fold(trained / "model.safetensors", tmp_path, cohort[1], 1, tmp_path / "after")
    tables = [pd.read_parquet(tmp_path / name / "predictions.parquet") for name in ("before", "after")]
    pd.testing.assert_frame_equal(*tables)
    other = dataclasses.replace(old, channels=(old.channels[0].model_copy(update={"name": "psoas"}), *old.channels[1:]))
    write_stack(tmp_path / "P005" / "stack.safetensors", other)
    with pytest.raises(MskdexError, match=r"model\.safetensors holds other objects than the stack of patient P005"):
        predict_fold(trained / "model.safetensors", tmp_path, cohort[1], 1, tmp_path / "after")


class _At:
    """An ending that is due after so many questions."""

    def __init__(self, batches):
        self.left = batches

    def due(self, _):
        self.left -= 1
        return self.left < 0


def test_a_training_that_ends_before_its_time_is_up_goes_on_bit_identically(cohort, trained, tmp_path, monkeypatch):
    out = tmp_path / "mine" / "fold1"
    for _ in range(3):  # a batch each; the fourth process has time enough
        end = _At(0)
        monkeypatch.setattr(
            "mskdex.training.job_deadline.JobDeadline.due", lambda _, seconds, end=end: end.due(seconds)
        )
        with pytest.raises(UnfinishedError, match="the same command goes on from its checkpoint") as error:
            train(*cohort, 1, _experiment(), out)
        assert error.value.exit_code == 75
    assert not (out / "model.safetensors").exists()
    monkeypatch.undo()
    train(*cohort, 1, _experiment(), out)
    assert _same(_weights(trained), _weights(out))
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


def test_a_training_is_due_to_end_before_slurm_ends_its_job_or_at_sigterm(tmp_path, monkeypatch):
    now = time.time()
    assert not JobDeadline({}).due(0.0)
    assert not JobDeadline({"SLURM_JOB_END_TIME": f"{now + 100:.0f}"}).due(10.0)
    assert JobDeadline({"SLURM_JOB_END_TIME": f"{now + 100:.0f}"}).due(40.0)
    squeue = tmp_path / "squeue"
    squeue.write_text(f"#!/bin/sh\necho {datetime.fromtimestamp(now + 100).isoformat(timespec='seconds')}\n")
    squeue.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    assert not JobDeadline({"SLURM_JOB_ID": "7"}).due(10.0)
    assert JobDeadline({"SLURM_JOB_ID": "7"}).due(40.0)
    squeue.write_text("#!/bin/sh\necho N/A\n")
    assert not JobDeadline({"SLURM_JOB_ID": "7"}).due(40.0)
    asked = JobDeadline({})
    with asked.caught_sigterm():
        for _ in range(2):  # to the job, and to its step
            os.kill(os.getpid(), signal.SIGTERM)
        assert asked.due(0.0)
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


def test_a_code_change_keeps_the_checkpoint_of_a_training_that_is_not_done(cohort, tmp_path, monkeypatch, caplog):
    out = tmp_path / "mine" / "fold1"
    end = _At(2)
    with monkeypatch.context() as patch:
        patch.setattr("mskdex.training.job_deadline.JobDeadline.due", lambda _, seconds: end.due(seconds))
        with pytest.raises(UnfinishedError):
            train(*cohort, 1, _experiment(), out)
    monkeypatch.setattr("mskdex.pipeline.stages.train.stage_hash", lambda _: "other")
    caplog.set_level("INFO")
    train(*cohort, 1, _experiment(), out)
    assert "going on from the checkpoint: epoch 2, batch 1" in caplog.text
    code = json.loads((out / "train.json").read_text(encoding="utf-8"))["manifest"]["code"]
    assert [(row["hash"] == "other", row["from_epoch"]) for row in code] == [(False, 1), (True, 2)]
    monkeypatch.setattr("mskdex.pipeline.stages.train.stage_hash", lambda _: "third")
    train(*cohort, 1, _experiment(), out)
    assert "a training that other code has finished; training starts anew" in caplog.text


def test_a_checkpoint_waits_for_the_history_pools_to_be_empty_and_holds_them_after_twice_the_time(
    cohort, tmp_path, monkeypatch
):
    store = StackStore({p.parent.name: p for p in sorted(cohort[0].glob("*/stack.safetensors"))}, 1e9)
    trainer, loader = prepare(
        describe(store, _experiment(epochs=99), "x", 0), store, torch.device("cpu"), ProcessGroup()
    )
    checkpoints = Checkpoints(tmp_path, trainer, "same", "code")
    clock = [checkpoints.written]
    monkeypatch.setattr("mskdex.training.loop.time.monotonic", lambda: clock[0])

    def pools(minutes_later):
        clock[0] += 60 * minutes_later
        checkpoints.path.unlink(missing_ok=True)
        checkpoints.save_if_due(10.0)
        if not checkpoints.path.exists():
            return None
        return sum(name.startswith("pool/") for name in read_tensors(checkpoints.path)[0])

    assert pools(9) is None
    assert pools(1.1) == 0
    trainer.train_batch(loader.batch(0, 0), len(loader))
    assert pools(11) is None
    assert pools(9) == 4  # two fakes of each pool
    trainer.progress.place += 1
    for _ in range(7):
        trainer.finish_epoch(len(loader))
    assert pools(11) is None
    trainer.finish_epoch(len(loader))  # 64 fakes of each kind in 8 epochs, 20 for each of 3 places
    assert pools(0) == 0


def test_several_processes_do_not_wait_for_a_training_under_way(cohort, tmp_path, monkeypatch):
    out = tmp_path / "mine" / "fold1"
    with locked(out / "checkpoint", "another"):
        monkeypatch.setenv("WORLD_SIZE", "2")
        with pytest.raises(
            MskdexError, match=r"fold 1 of mine is under way already \(process \d+ on .+\); run the same"
        ):
            train(*cohort, 1, _experiment(), out)


def _fork_group(size, work):
    """Runs `work(group)` in so many processes that are a group; returns their exit codes."""
    port = _free_port()
    children = []
    for rank in range(size):
        child = os.fork()
        if child == 0:
            code = 1
            try:
                os.environ.update(WORLD_SIZE=str(size), RANK=str(rank), MASTER_ADDR="127.0.0.1", MASTER_PORT=port)
                code = work(join_group())
            finally:
                os._exit(code)
        children.append(child)
    return [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]


def test_every_process_goes_on_from_the_checkpoint_of_the_first_and_all_stop_together(cohort, tmp_path):
    store = StackStore({p.parent.name: p for p in sorted(cohort[0].glob("*/stack.safetensors"))}, 1e9)
    card, cpu = describe(store, _experiment(), "x", 0), torch.device("cpu")
    trainer, loader = prepare(card, store, cpu, ProcessGroup())
    trainer.train_batch(loader.batch(0, 0), len(loader))
    trainer.finish_epoch(1)
    whole = {name: t for name, t in trainer.state()[0].items() if not name.startswith("pool/")}
    Checkpoints(tmp_path / "0", trainer, "same", "code").save()

    def work(group):
        other, _ = prepare(card, store, cpu, group)
        restored = Checkpoints(tmp_path / str(group.rank), other, "same", "code").restore()
        none = Checkpoints(tmp_path / str(group.rank), other, "another", "code").restore()
        stopped = torch.tensor(float(group.rank == 1))
        parameter = torch.nn.Parameter(torch.zeros(2))
        parameter.grad = torch.full((2,), float(group.rank))
        group.average_gradients([parameter], stopped)
        together = stopped.item() == 1.0 and parameter.grad.tolist() == [0.5, 0.5] and group.any(group.rank == 0, cpu)
        same = _same(whole, other.state()[0]) and other.progress.epoch == 1
        return 0 if restored and not none and together and same else 2

    assert _fork_group(2, work) == [0, 0]


def test_a_gpu_is_free_of_what_the_cpu_asked_for():
    """Some of a GPU's gradients have no repeatable kernel, and a process may have used the CPU before."""
    set_up_torch(torch.device("cpu"))
    assert torch.are_deterministic_algorithms_enabled()
    with pytest.MonkeyPatch.context() as patch:
        for backend, name in ((torch.backends.cudnn, "benchmark"), (torch.backends.cudnn, "allow_tf32")):
            patch.setattr(backend, name, getattr(backend, name))
        set_up_torch(torch.device("cuda"))
    assert not torch.are_deterministic_algorithms_enabled()
