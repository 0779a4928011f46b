"""The losses of the batches gone by, on the device until they are read, and what to do where one is not finite."""

from dataclasses import dataclass

import torch
from torch import Tensor

from mskdex.errors import MskdexError
from mskdex.training.batches import Batch


@dataclass(frozen=True)
class _Row:
    names: tuple[str, ...]
    values: Tensor
    patients: tuple[str, ...]
    partners: tuple[str, ...]
    losses: bool


class LossRecord:
    """Losses and gradient norms since the last reading.

    Attributes:
        stopped: float32 scalar on the device, 1 from the first value on that is not finite. The optimisers change no
            weight while it is 1, so nothing is lost by reading the values some batches later.
    """

    def __init__(self, device: torch.device):
        self.stopped = torch.zeros((), device=device)
        self._rows: list[_Row] = []

    def add(self, scalars: dict[str, Tensor], batch: Batch, *, losses: bool = True) -> None:
        """Takes scalars of a batch down, without waiting for the device.

        Args:
            scalars: by name.
            batch: whose they are.
            losses: whether they are losses, which `read` returns, or only have to be finite.
        """
        values = torch.stack([v.detach() for v in scalars.values()])
        # In place: the optimisers hold this tensor.
        self.stopped.copy_(torch.maximum(self.stopped, (~torch.isfinite(values)).any().float()))
        self._rows.append(_Row(tuple(scalars), values, batch.patients, batch.partners, losses))

    def read(self) -> dict[str, float]:
        """Sums of the losses since the last reading, in one transfer from the device.

        Raises:
            MskdexError: a value is not finite; names the patients of its batch.
        """
        rows, self._rows = self._rows, []
        if not rows:
            return {}
        *values, stopped = torch.cat([*(r.values for r in rows), self.stopped[None]]).tolist()
        sums: dict[str, float] = {}
        for row in rows:
            own, values = values[: len(row.names)], values[len(row.names) :]
            _require_finite(row, own)
            if row.losses:
                for name, value in zip(row.names, own, strict=True):
                    sums[name] = sums.get(name, 0.0) + value
        if stopped:
            msg = "another process of this training met a loss that is not finite; its message names the patients"
            raise MskdexError(msg)
        return sums


def _require_finite(row: _Row, values: list[float]) -> None:
    bad = [name for name, value in zip(row.names, values, strict=True) if not abs(value) < float("inf")]
    if bad:
        msg = (
            f"the {'loss' if row.losses else 'gradient of the'} {', '.join(bad)} is not finite for patients "
            f"{', '.join(row.patients)} (DRRs of {', '.join(row.partners)}); look at their stacks, "
            "or lower the learning rate"
        )
        raise MskdexError(msg)
