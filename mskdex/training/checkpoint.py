"""What a checkpoint holds beside the networks: the state of optimisers, as named tensors."""

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor


def optimiser_tensors(prefix: str, optimiser: torch.optim.Optimizer) -> dict[str, Tensor]:
    """The state of an optimiser as named tensors: prefix/parameter number/state name."""
    state = optimiser.state_dict()["state"]
    return {
        f"{prefix}/{number}/{name}": torch.as_tensor(value)
        for number, values in state.items()
        for name, value in values.items()
    }


@torch.no_grad()
def load_optimiser(prefix: str, optimiser: torch.optim.Optimizer, tensors: Mapping[str, Tensor]) -> None:
    """Puts `optimiser_tensors` back, each state in the memory layout of its parameter.

    A fused step asks for equal strides of both; a file keeps values in rows, whatever their layout was.
    """
    parameters = [p for group in optimiser.param_groups for p in group["params"]]
    state: dict[int, dict[str, Tensor]] = {}
    for key, value in tensors.items():
        if key.startswith(f"{prefix}/"):
            _, number, name = key.split("/")
            parameter = parameters[int(number)]
            like = torch.empty_like(parameter).copy_(value) if value.shape == parameter.shape else value
            state.setdefault(int(number), {})[name] = like
    content = optimiser.state_dict()
    optimiser.load_state_dict({"state": state, "param_groups": content["param_groups"]})


def sweep(folder: Path) -> None:
    """Removes what a killed process left half written."""
    for unfinished in folder.glob(".*.safetensors"):
        unfinished.unlink(missing_ok=True)
