"""Several processes that share one training, started by torchrun."""

import os
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, distributed

State = tuple[dict[str, Tensor], dict[str, Any]]
"""Tensors by name, and JSON-able facts."""


@dataclass(frozen=True)
class ProcessGroup:
    """The processes of a training.

    Attributes:
        rank: this process's number; 0 writes the files.
        size: number of processes; 1 is an ordinary training.
        local_rank: this process's number on its machine.
    """

    rank: int = 0
    size: int = 1
    local_rank: int = 0

    def average_gradients(self, parameters: Iterable[torch.nn.Parameter], stopped: Tensor) -> None:
        """Replaces each gradient by its mean over the processes, in one exchange; alone it does nothing.

        Args:
            parameters: whose gradients.
            stopped: float32 scalar; becomes 1 where it is 1 in any process, so that all stop together.
        """
        gradients = [p.grad for p in parameters if p.grad is not None]
        if self.size == 1 or not gradients:
            return
        flat = torch.cat([*(g.reshape(-1) for g in gradients), stopped[None]])
        distributed.all_reduce(flat)
        stopped.copy_((flat[-1] > 0).float())
        flat /= self.size
        offset = 0
        for g in gradients:
            g.copy_(flat[offset : offset + g.numel()].view_as(g))
            offset += g.numel()

    def any(self, condition: bool, device: torch.device) -> bool:
        """Whether it is so in any process."""
        if self.size == 1:
            return condition
        flag = torch.tensor(float(condition), device=device)
        distributed.all_reduce(flag)
        return bool(flag.item() > 0)

    def of_first(self, state: State | None, device: torch.device) -> State | None:
        """Tensors and facts of process 0, or that it has none, in every process.

        Args:
            state: what this process has; that of others than process 0 does not count.
            device: where the others get the tensors.
        """
        if self.size == 1:
            return state
        tensors, facts = state or ({}, None)
        sent: list[Any] = [facts, [(name, t.shape, t.dtype) for name, t in tensors.items()]]
        distributed.broadcast_object_list(sent, device=device)
        received = {}
        for name, shape, dtype in sent[1]:
            own = tensors[name].to(device) if self.rank == 0 else torch.empty(shape, dtype=dtype, device=device)
            distributed.broadcast(own, 0)
            received[name] = own
        return None if sent[0] is None else (received, sent[0])

    def leave(self) -> None:
        """Waits until every process is here, and takes the group apart."""
        if self.size > 1:
            distributed.barrier()
            distributed.destroy_process_group()


def join_group() -> ProcessGroup:
    """The group that torchrun's environment describes, or a process by itself."""
    size = int(os.environ.get("WORLD_SIZE", "1"))
    if size == 1:
        return ProcessGroup()
    local_rank = int(os.environ.get("LOCAL_RANK", "0"))
    if torch.cuda.is_available():
        torch.cuda.set_device(local_rank)
    distributed.init_process_group("nccl" if torch.cuda.is_available() else "gloo")
    return ProcessGroup(distributed.get_rank(), size, local_rank)
