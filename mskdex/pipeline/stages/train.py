"""Stage: train one fold of an experiment."""

import contextlib
import logging
import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from mskdex.cohort.folds import NO_FOLD
from mskdex.compute.device import choose_device
from mskdex.config.base import of_results
from mskdex.config.learning import ExperimentSettings
from mskdex.errors import MskdexError
from mskdex.io.artifacts import manifest, read_parquet, write_json, write_parquet
from mskdex.io.files import content_hash
from mskdex.io.stack import Greys, read_stack
from mskdex.models.device_profiles import fit_profiles
from mskdex.models.likeness import Likeness, fit_likeness, thumbnail
from mskdex.models.model import ModelCard, write_model
from mskdex.models.normalisation import fit_normalisation
from mskdex.models.recalibration import site_profiles
from mskdex.pipeline.lock import locked
from mskdex.pipeline.provenance import stage_hash
from mskdex.training.batches import Loader
from mskdex.training.distributed import ProcessGroup, join_group
from mskdex.training.job_deadline import JobDeadline
from mskdex.training.loop import Checkpoints, fingerprint, run_epochs, set_up_torch
from mskdex.training.monitor import Monitor
from mskdex.training.simulated_pairs import Mixture, PairStore
from mskdex.training.stack_store import StackStore
from mskdex.training.starting_model import require_fit, starting_model, with_scales_of
from mskdex.training.trainer import Trainer

log = logging.getLogger("mskdex")


def train(
    patients_root: Path, folds: Path, fold: int, experiment: ExperimentSettings, out: Path, *, name: str | None = None
) -> None:
    """Trains on every patient outside the fold; goes on from `out`/checkpoint where there is one of this training.

    Two trainings of one fold do not disturb each other: the second waits for the first to end, or, of several
    processes, does not begin.

    Args:
        patients_root: folder of imported patients, each with its stack.safetensors.
        folds: folds.parquet.
        fold: the fold to leave out for testing.
        experiment: settings, per-fold overrides already applied.
        out: folder of this experiment's fold; model.safetensors, history.parquet and train.json are written there.
        name: the experiment's name; by default that of the folder above `out`.

    Raises:
        MskdexError: too few patients, stacks that do not fit together, a loss that is not finite.
        UnfinishedError: SLURM's time for the job is nearly up, or SIGTERM came; there is a checkpoint to go on from.
    """
    out = Path(out)
    name = name or out.resolve().parent.name
    first, alone = os.environ.get("RANK", "0") == "0", os.environ.get("WORLD_SIZE", "1") == "1"
    what = f"the training of fold {fold} of {name}"
    # The other processes of one training would wait for the first one, and give up.
    with locked(out / "checkpoint", what, wait=alone) if first else contextlib.nullcontext():
        _train(patients_root, folds, fold, experiment, out, name)


def _train(patients_root: Path, folds: Path, fold: int, experiment: ExperimentSettings, out: Path, name: str) -> None:
    started, group = time.time(), join_group()
    device = choose_device(experiment.optimisation.device, group.local_rank)
    set_up_torch(device)
    patients = training_patients(read_parquet(folds), fold, folds)
    store = open_store(Path(patients_root), patients, experiment)
    card = describe(store, experiment, name, fold)
    trainer, loader = prepare(card, store, device, group)
    decisive = card.as_dict() | {"experiment": of_results(experiment), "start": _start_hash(experiment)}
    identity = fingerprint(decisive, device.type, group.size, trainer.shapes)
    checkpoints = Checkpoints(out / "checkpoint", trainer, identity, stage_hash("train"))
    if not checkpoints.restore():
        checkpoints.save()  # a folder that cannot hold one is told of now, not after hours
    board = out / "tensorboard" if experiment.optimisation.tensorboard else None
    monitor = Monitor(f"{name}, fold {fold}", experiment.optimisation.epochs, board, quiet=group.rank > 0)
    deadline = JobDeadline()
    with deadline.caught_sigterm():
        run_epochs(trainer, loader, checkpoints, monitor, deadline)
    if group.rank == 0:
        facts = _manifest(started, card, trainer, monitor)
        write_parquet(out / "history.parquet", pd.DataFrame(trainer.progress.history))
        write_json(out / "train.json", facts)
        write_model(out / "model.safetensors", trainer.final, card, facts["manifest"], likeness_of(store))
    group.leave()


def _start_hash(experiment: ExperimentSettings) -> str | None:
    return content_hash([Path(experiment.start_from)]) if experiment.start_from else None


def open_store(root: Path, patients: Sequence[str], experiment: ExperimentSettings) -> StackStore:
    """The training samples of an experiment: the patients' stacks, or the pairs from their CTs."""
    memory = experiment.optimisation.cache_gb * 1e9
    stacks, greys = paired({p: root / p / "stack.safetensors" for p in patients})
    profiles = fit_profiles(greys)
    if start := starting_model(experiment):
        profiles = site_profiles(start.card.device_profiles, profiles)
    if experiment.pairs == "none":
        return StackStore(stacks, memory, profiles)
    pairs = {p: root / p / "simulated.safetensors" for p in stacks}
    if experiment.pairs == "simulated":
        # Simulated images of relative scale have no device: without absolute ones none is to be read as absolute.
        absolute = any(scale == "absolute" for scale, _ in greys)
        return PairStore(stacks, pairs, memory, profiles if absolute else ())
    mixture = Mixture(experiment.optimisation.pairs_alone_epochs, experiment.losses.real_muscle_weight)
    return PairStore(stacks, pairs, memory, profiles, mixture)


def training_patients(table: pd.DataFrame, fold: int, path: Path) -> tuple[str, ...]:
    """Patients outside the fold, sorted; those who are evaluated only are among none."""
    table = table[table["fold"] != NO_FOLD]
    if fold not in set(table["fold"]):
        msg = f"{path} has no fold {fold}; it has {sorted(set(table['fold']))}"
        raise MskdexError(msg)
    return tuple(sorted(table.loc[table["fold"] != fold, "patient_id"].astype(str)))


def paired(stacks: Mapping[str, Path]) -> tuple[dict[str, Path], list[tuple[str, Greys]]]:
    """The stacks of the patients whose radiograph and CT belong together, and their scales and grey values.

    The others are told of.
    """
    belonging, greys = {}, []
    for patient, path in stacks.items():
        stack = read_stack(path, patient)
        if stack.refused:
            log.warning("patient %s is not trained on: %s", patient, stack.refused)
        else:
            belonging[patient] = path
            greys.append((stack.scale, stack.greys))
    return belonging, greys


def describe(store: StackStore, experiment: ExperimentSettings, name: str, fold: int) -> ModelCard:
    """The model's card, from the training patients alone."""
    start, first = starting_model(experiment), store[store.patients[0]]
    if start:
        require_fit(start, experiment, first, store.people)
    cameras = [(s.camera.sdd_mm, s.source_to_isocentre_mm) for s in store]
    low, high = np.min(cameras, axis=0), np.max(cameras, axis=0)
    own = fit_normalisation(store)
    return ModelCard(
        name=name,
        fold=fold,
        experiment=experiment,
        channels=first.channels,
        normalisation=with_scales_of(start, own) if start else own,
        grid=first.camera,
        sdd_range_mm=(float(low[0]), float(high[0])),
        isocentre_range_mm=(float(low[1]), float(high[1])),
        patients=store.people,
        device_profiles=store.profiles,
        started_from=tuple(sorted(start.card.seen)) if start else (),
    )


def likeness_of(store: StackStore) -> Likeness | None:
    """What the training patients' own radiographs look like."""
    real = (store.real(person) for person in store.people)
    return fit_likeness(thumbnail(stack.radiograph, stack.field) for stack in real)


def prepare(card: ModelCard, store: StackStore, device: torch.device, group: ProcessGroup) -> tuple[Trainer, Loader]:
    """Networks, optimisers and batches of a training."""
    o = card.experiment.optimisation
    loader = Loader(
        store,
        card.normalisation,
        batch_size=o.batch_size,
        seed=o.seed,
        augmentation=o.augmentation,
        device=device,
        rank=(group.rank, group.size),
        every_object=card.experiment.pairs != "none",
        unpaired=card.experiment.losses.unpaired,
        coarse_epochs=o.coarse_epochs,
    )
    trainer = Trainer(card.experiment, card.normalisation, card.channels, device, group)
    if start := starting_model(card.experiment):
        trainer.start_with(start.generator.state_dict())
    return trainer, loader


def _manifest(started: float, card: ModelCard, trainer: Trainer, monitor: Monitor) -> dict:
    facts = manifest(
        "train",
        started,
        torch=torch.__version__,
        device=str(trainer.device),
        threads=torch.get_num_threads(),
        processes=trainer.group.size,
        seed=card.experiment.optimisation.seed,
        training_seconds=round(trainer.progress.seconds, 1),
        waiting_share=round(monitor.waiting_share, 4),
    )
    facts["code"] = [{"hash": code, "from_epoch": epoch + 1} for code, epoch in trainer.progress.code]
    facts["parameters"] = {n: sum(p.numel() for p in m.parameters()) for n, m in trainer.networks.named().items()}
    return {
        "experiment": card.name,
        "fold": card.fold,
        "patients": list(card.patients),
        "device_profiles": card.as_dict()["device_profiles"],
        "settings": card.experiment.model_dump(),
        "manifest": facts,
    }
