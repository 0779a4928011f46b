"""The training loop: epochs, checkpoints, progress, and going on after any interruption."""

import hashlib
import json
import logging
import time
from pathlib import Path
from typing import Any

import torch

from mskdex.errors import MskdexError
from mskdex.io.tensors import read_tensors, write_tensors
from mskdex.training.checkpoint import sweep
from mskdex.training.data import Loader
from mskdex.training.monitor import Monitor
from mskdex.training.trainer import Trainer

log = logging.getLogger("mskdex")

CHECKPOINT = "last.safetensors"


def fingerprint(*facts: Any) -> str:
    """Hash of what a checkpoint must have in common with the training that would go on from it."""
    return hashlib.sha256(json.dumps(facts, sort_keys=True, default=str).encode()).hexdigest()


class Checkpoints:
    """The checkpoint of a training, on disk."""

    def __init__(self, folder: Path, trainer: Trainer, identity: str):
        self.path, self.trainer, self.identity = folder / CHECKPOINT, trainer, identity
        self.written = time.monotonic()
        folder.mkdir(parents=True, exist_ok=True)
        if trainer.group.rank == 0:
            sweep(folder)

    def restore(self) -> bool:
        """Goes on from the checkpoint, if there is one of the same training."""
        if not self.path.is_file():
            return False
        try:
            tensors, facts = read_tensors(self.path, made_here=True)
        except MskdexError as error:
            if self.path.exists():
                raise
            log.warning("%s; training starts anew", error)
            return False
        if facts["identity"] != self.identity:
            log.info("the checkpoint is of other settings, patients or code; training starts anew")
            return False
        self.trainer.load_state(tensors, facts["progress"])
        p = self.trainer.progress
        log.info("going on from the checkpoint: epoch %d, batch %d", p.epoch + 1, p.place + 1)
        return True

    def save(self) -> None:
        """Writes the checkpoint over the one before.

        Raises:
            MskdexError: a loss since the last reading is not finite; nothing is written.
        """
        if self.trainer.group.rank == 0:
            self.trainer.progress.count(self.trainer.record.read())
            tensors, progress = self.trainer.state()
            write_tensors(self.path, tensors, {"identity": self.identity, "progress": progress})
        self.written = time.monotonic()

    def save_if_due(self, minutes: float) -> None:
        """Writes it when the last one is older than this. Only where no gradients wait to be used."""
        if time.monotonic() - self.written >= 60.0 * minutes:
            self.save()


def run_epochs(trainer: Trainer, loader: Loader, checkpoints: Checkpoints, monitor: Monitor) -> None:
    """Trains to the last epoch from wherever the trainer stands."""
    o, progress = trainer.settings.optimisation, trainer.progress
    batches = len(loader)
    monitor.start(progress, batches)
    while progress.epoch < o.epochs:
        began = time.monotonic()
        for batch in monitor.waiting(loader.epoch(progress.epoch, progress.place)):
            sums = trainer.train_batch(batch, batches)
            progress.place += 1
            progress.count(sums)
            monitor.batch(progress)
            now = time.monotonic()
            progress.seconds, began = progress.seconds + now - began, now
            if progress.place < batches and progress.place % o.accumulate_batches == 0:
                checkpoints.save_if_due(o.checkpoint_minutes)
        progress.count(trainer.record.read())
        _finish_epoch(trainer, batches)
        monitor.epoch(progress, trainer.networks, loader)
        checkpoints.save()


def _finish_epoch(trainer: Trainer, batches: int) -> None:
    progress = trainer.progress
    rate = trainer.optimisers["generators"].param_groups[0]["lr"]
    row = {name: value / batches for name, value in progress.totals.items()}
    progress.epoch += 1
    progress.history.append({"epoch": progress.epoch, "learning_rate": float(rate), **row})
    progress.place, progress.told, progress.totals = 0, 0, {}


def set_up_torch(device: torch.device) -> None:
    """Makes a CPU's results repeatable, and lets a GPU choose its fastest kernels."""
    if device.type == "cpu":
        torch.use_deterministic_algorithms(True)
        # Filling fresh memory with NaN is meant for debugging, and takes a sixth of a step on small images.
        torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    else:
        torch.backends.cudnn.benchmark = True
        torch.backends.cuda.matmul.allow_tf32 = True
        torch.backends.cudnn.allow_tf32 = True
