"""What a person sees of a training: one line with the time left, and TensorBoard."""

import logging
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from mskdex.training.batches import Batch, Loader
from mskdex.training.objective import Networks

if TYPE_CHECKING:
    from mskdex.training.trainer import Progress

log = logging.getLogger("mskdex")

SECONDS_BETWEEN_LINES = 10.0


class Monitor:
    """Follows a training.

    Attributes:
        waited: seconds that the loop has waited for batches, in this process.
    """

    def __init__(self, title: str, epochs: int, board: Path | None, *, quiet: bool = False):
        self.title, self.epochs, self.quiet = title, epochs, quiet
        self.waited = 0.0
        self._board = _writer(board) if board and not quiet else None

    def start(self, progress: "Progress", batches: int) -> None:
        """Notes where this process starts."""
        self._batches = batches
        self._first = progress.epoch * batches + progress.place
        self._began = time.monotonic()
        self._said = self._began

    def waiting(self, batches: Iterable[Batch]) -> Iterator[Batch]:
        """Passes batches on and measures the wait for each."""
        source = iter(batches)
        while True:
            began = time.monotonic()
            batch = next(source, None)
            self.waited += time.monotonic() - began
            if batch is None:
                return
            yield batch

    @property
    def waiting_share(self) -> float:
        """Share of this process's training time spent waiting for data, 0 to 1."""
        return self.waited / max(time.monotonic() - self._began, 1e-9)

    def batch(self, progress: "Progress") -> None:
        """Says how far it is, at most every few seconds."""
        now = time.monotonic()
        done = progress.epoch * self._batches + progress.place
        last = done == self.epochs * self._batches
        if self.quiet or (now - self._said < SECONDS_BETWEEN_LINES and not last):
            return
        self._said = now
        each = (now - self._began) / max(done - self._first, 1)
        left = each * (self.epochs * self._batches - done)
        parts = [f"{name} {value / progress.counted:.3g}" for name, value in progress.totals.items()]
        log.info(
            "%s: epoch %d/%d, batch %d/%d, %s left, %.2f s a batch, %s",
            self.title,
            progress.epoch + 1,
            self.epochs,
            progress.place,
            self._batches,
            _duration(left),
            each,
            ", ".join(parts),
        )

    def epoch(self, progress: "Progress", networks: Networks, loader: Loader) -> None:
        """Writes the epoch's scalars and a few images for TensorBoard."""
        if self._board is None:
            return
        row = progress.history[-1]
        for name, value in row.items():
            if name != "epoch":
                self._board.add_scalar(name, value, progress.epoch)
        if progress.epoch % max(1, self.epochs // 20) == 0 or progress.epoch == self.epochs:
            self._board.add_image("decomposition", _grid(networks, loader), progress.epoch)
        self._board.flush()


def _writer(folder: Path) -> Any:
    from torch.utils.tensorboard import SummaryWriter

    return SummaryWriter(str(folder))


def _duration(seconds: float) -> str:
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {seconds:02d} s"


@torch.no_grad()
def _grid(networks: Networks, loader: Loader) -> torch.Tensor:
    """A training radiograph beside the sums over objects of its weighted-volume and lean-mass DRRs, (1, H, 3·W)."""
    batch = loader.batch(0, 0)
    drr = networks.decompose(batch.radiograph[:1], batch.water[:1], batch.relative[:1]).float().unflatten(1, (3, -1))
    images = [batch.compared[0, 0], drr[0, 0].sum(0), drr[0, 2].sum(0)]
    return torch.cat([(i / i.max().clamp_min(1e-6)).clamp(0, 1) for i in images], dim=1)[None].cpu()
