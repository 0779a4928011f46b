"""A trained model that a training goes on from with other patients, as those of another site."""

from dataclasses import replace
from pathlib import Path

import torch

from mskdex.config.learning import ExperimentSettings, NetworkSettings
from mskdex.errors import MskdexError
from mskdex.io.stack import Stack, require_same
from mskdex.models.model import Model, read_model
from mskdex.models.normalisation import Normalisation


def starting_model(experiment: ExperimentSettings) -> Model | None:
    """The model of `start_from` on the CPU; None where the training begins with random weights.

    Raises:
        MskdexError: no such file, not a model, or one with another network than the experiment's.
    """
    if experiment.start_from is None:
        return None
    path = Path(experiment.start_from)
    if not path.is_file():
        msg = f"start_from: {path} does not exist; give the model.safetensors of a trained fold, or null"
        raise MskdexError(msg)
    model = read_model(path, torch.device("cpu"))
    if model.card.members:
        msg = f"start_from: {path} is an ensemble; give the model.safetensors of one of its folds"
        raise MskdexError(msg)
    theirs, ours = (_shape(e.network) for e in (model.card.experiment, experiment))
    if different := [f"{key}: {theirs[key]}, here {ours[key]}" for key in ours if ours[key] != theirs[key]]:
        msg = f"start_from: {path} has another network ({'; '.join(different)}); set network as the model has it"
        raise MskdexError(msg)
    return model


def require_fit(model: Model, experiment: ExperimentSettings, first: Stack, patients: tuple[str, ...]) -> None:
    """The model's images and objects are those of the stacks, and it has not seen the patients.

    Raises:
        MskdexError: tells what differs, or names the patients.
    """
    path = str(experiment.start_from)
    require_same(model.card.objects, first.objects, path, f"the stack of patient {first.patient}")
    grid, own = model.card.grid, first.camera
    if grid.shape != own.shape or abs(grid.pixel_mm / own.pixel_mm - 1.0) > 1e-3:
        theirs, ours = (f"{c.shape[0]}×{c.shape[1]} pixels of {c.pixel_mm:g} mm" for c in (grid, own))
        msg = (
            f"start_from: {path} has images of {theirs}, the stack of patient {first.patient} {ours}; "
            "set image as the model has it"
        )
        raise MskdexError(msg)
    if seen := sorted(set(patients) & model.card.seen):
        msg = f"start_from: {path} has seen {', '.join(seen)}; leave them out, or rename them if they are other persons"
        raise MskdexError(msg)


def with_scales_of(model: Model, own: Normalisation) -> Normalisation:
    """The site's own constants, with the model's scales, which its weights are made for."""
    theirs = model.card.normalisation
    return replace(
        own, radiograph=theirs.radiograph, drr=theirs.drr, scales=tuple(sorted({*own.scales, *theirs.scales}))
    )


def _shape(network: NetworkSettings) -> dict[str, object]:
    """The settings that decide what weights the generator has, and what they do."""
    return network.model_dump(include={"backbone", "stem_stride", "norm", "head", "output"})
