"""Learning rates as a function of the time trained, so that nothing has to be remembered."""

import math

import torch
from torch import nn


def sgdr(epochs: float, maximum: float, minimum: float, period: float) -> float:
    """Cosine annealing with warm restarts, T_mult = 1.

    Args:
        epochs: epochs trained so far, with fraction.
        maximum: learning rate at each restart.
        minimum: η_min.
        period: T_0, epochs between restarts.

    Source: Loshchilov & Hutter 2017, SGDR, eq. 5.
    """
    return minimum + (maximum - minimum) * (1.0 + math.cos(math.pi * (epochs % period) / period)) / 2.0


def set_learning_rate(optimiser: torch.optim.Optimizer, rate: float) -> None:
    """Sets the learning rate of every parameter group."""
    for group in optimiser.param_groups:
        group["lr"] = rate


@torch.no_grad()
def update_average(average: nn.Module, model: nn.Module, decay: float) -> None:
    """Exponential moving average of the weights, in place: average ← decay·average + (1 - decay)·model."""
    for averaged, new in zip(average.state_dict().values(), model.state_dict().values(), strict=True):
        averaged.lerp_(new, 1.0 - decay)
