"""The training loop: epochs, checkpoints, progress, and going on after any interruption."""

import hashlib
import json
import logging
import time
from pathlib import Path
from typing import Any

import torch

from mskdex.errors import MskdexError, UnfinishedError
from mskdex.io.tensors import read_tensors, write_tensors
from mskdex.training.batches import Loader
from mskdex.training.checkpoint import sweep
from mskdex.training.distributed import State
from mskdex.training.job_deadline import JobDeadline
from mskdex.training.monitor import Monitor
from mskdex.training.trainer import Trainer

log = logging.getLogger("mskdex")

CHECKPOINT = "last.safetensors"


def fingerprint(*facts: Any) -> str:
    """Hash of what a checkpoint must have in common with the training that would go on from it."""
    return hashlib.sha256(json.dumps(facts, sort_keys=True, default=str).encode()).hexdigest()


class Checkpoints:
    """The checkpoint of a training, on disk.

    Attributes:
        seconds: how long the last one took to write.
    """

    def __init__(self, folder: Path, trainer: Trainer, identity: str, code: str):
        """Beside the folder and the training.

        Args:
            identity: `fingerprint` of all that a checkpoint must have in common with the training.
            code: hash of the code; a training that has begun goes on with other code, and says which in its progress.
        """
        self.path, self.trainer, self.identity, self.code = folder / CHECKPOINT, trainer, identity, code
        self.written, self.seconds = time.monotonic(), 0.0
        folder.mkdir(parents=True, exist_ok=True)
        if trainer.group.rank == 0:
            sweep(folder)

    def restore(self) -> bool:
        """Goes on from the checkpoint, if there is one of the same training; in every process as in the first."""
        trainer = self.trainer
        found = trainer.group.of_first(self._read() if trainer.group.rank == 0 else None, trainer.device)
        progress = trainer.progress
        if found:
            trainer.load_state(*found)
            progress = trainer.progress
            log.info("going on from the checkpoint: epoch %d, batch %d", progress.epoch + 1, progress.place + 1)
        if not progress.code or progress.code[-1][0] != self.code:
            if progress.code:
                log.warning(
                    "the code has changed since the checkpoint was written; train.json tells which code ran when"
                )
            progress.code.append([self.code, progress.epoch])
        return found is not None

    def _read(self) -> State | None:
        if not self.path.is_file():
            return None
        try:
            tensors, facts = read_tensors(self.path, made_here=True)
        except MskdexError as error:
            if self.path.exists():
                raise
            log.warning("%s; training starts anew", error)
            return None
        progress = facts["progress"]
        if facts["identity"] != self.identity:
            log.info("the checkpoint is of other settings or patients; training starts anew")
            return None
        if progress["epoch"] == self.trainer.settings.optimisation.epochs and progress["code"][-1][0] != self.code:
            log.info("the checkpoint is of a training that other code has finished; training starts anew")
            return None
        return tensors, progress

    def save(self) -> None:
        """Writes the checkpoint over the one before.

        Raises:
            MskdexError: a loss since the last reading is not finite; nothing is written.
        """
        began = time.monotonic()
        if self.trainer.group.rank == 0:
            self.trainer.progress.count(self.trainer.record.read())
            tensors, progress = self.trainer.state()
            write_tensors(self.path, tensors, {"identity": self.identity, "progress": progress})
        self.written = time.monotonic()
        self.seconds = self.written - began

    def save_if_due(self, minutes: float) -> None:
        """Writes it when the last one is older than this. Only where no gradients wait to be used.

        It waits as long again for the history pools to be empty, and longer where each process has its own.
        """
        age = time.monotonic() - self.written
        patience = 2.0 if self.trainer.group.size == 1 else float("inf")
        if age >= 60.0 * minutes * (patience if self.trainer.has_history else 1.0):
            self.save()


def run_epochs(
    trainer: Trainer, loader: Loader, checkpoints: Checkpoints, monitor: Monitor, deadline: JobDeadline
) -> None:
    """Trains to the last epoch from wherever the trainer stands.

    Raises:
        MskdexError: a loss is not finite.
        UnfinishedError: it had to end before; there is a checkpoint to go on from.
    """
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
                # Several processes decide together, where they wait for their devices anyway.
                _end_if_due(trainer, checkpoints, deadline, can=trainer.group.size == 1 or bool(sums))
                checkpoints.save_if_due(o.checkpoint_minutes)
        trainer.finish_epoch(batches)
        monitor.epoch(progress, trainer.networks, loader)
        if progress.epoch < o.epochs:
            _end_if_due(trainer, checkpoints, deadline)
            checkpoints.save_if_due(o.checkpoint_minutes)
    checkpoints.save()


def _end_if_due(trainer: Trainer, checkpoints: Checkpoints, deadline: JobDeadline, *, can: bool = True) -> None:
    if not can or not trainer.group.any(deadline.due(checkpoints.seconds), trainer.device):
        return
    if trainer.group.size == 1 or not trainer.has_history:
        checkpoints.save()
    p = trainer.progress
    msg = (
        f"the training ends before its time is up, at epoch {p.epoch + 1}, batch {p.place + 1}; "
        "the same command goes on from its checkpoint"
    )
    raise UnfinishedError(msg)


def set_up_torch(device: torch.device) -> None:
    """Makes a CPU's results repeatable, and lets a GPU choose its fastest kernels."""
    if device.type == "cpu":
        torch.use_deterministic_algorithms(True)
        # Filling fresh memory with NaN is meant for debugging, and takes a sixth of a step on small images.
        torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    else:
        # Some of a GPU's gradients have no repeatable kernel, and this process may have used the CPU before.
        torch.use_deterministic_algorithms(False)
        torch.backends.cudnn.benchmark = True
        torch.backends.cuda.matmul.allow_tf32 = True
        torch.backends.cudnn.allow_tf32 = True
