"""A trained model: one safetensors file with weights and everything needed to use them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import nn

from mskdex.compute.device import place
from mskdex.compute.transfer import pack
from mskdex.config.learning import ExperimentSettings
from mskdex.config.objects import Channel
from mskdex.errors import MskdexError
from mskdex.geometry.camera import Camera
from mskdex.io.tensors import read_tensors, write_tensors
from mskdex.models.device_profiles import DeviceProfile, as_dicts
from mskdex.models.generator import MeanGenerator, make_decomposer
from mskdex.models.likeness import Likeness
from mskdex.models.normalisation import Normalisation
from mskdex.models.water import water_volume

FORMAT = 6
ENSEMBLE = -2
"""Stands for the fold of an ensemble, beside folds from 0 on and the -1 of patients whom no fold trains on."""

_LIKENESS = "likeness."
"""Begins the names of tensors that are the likeness model's, beside those of the generator."""


@dataclass(frozen=True)
class Member:
    """One fold's model in an ensemble.

    Attributes:
        fold: the fold that it left out.
        patients: its training patients.
    """

    fold: int
    patients: tuple[str, ...]


@dataclass(frozen=True)
class ModelCard:
    """What a model file says about itself.

    Attributes:
        name: name of the experiment.
        fold: the fold that was left out; `ENSEMBLE` of the mean of several folds' models.
        experiment: settings.
        channels: objects.
        normalisation: constants of the training fold.
        grid: camera of the first training patient: image size, pixel size, distances.
        sdd_range_mm, isocentre_range_mm: smallest and largest distance from source to detector and to the
            patient's middle among the training patients.
        patients: training patients.
        device_profiles: of the devices of their radiographs.
        started_from: patients that the model had seen that the training began with.
        recalibrated_on: patients of another site that factors and device profiles were fitted to afterwards.
        members: the models that an ensemble is the mean of; empty of a single one.
    """

    name: str
    fold: int
    experiment: ExperimentSettings
    channels: tuple[Channel, ...]
    normalisation: Normalisation
    grid: Camera
    sdd_range_mm: tuple[float, float]
    isocentre_range_mm: tuple[float, float]
    patients: tuple[str, ...]
    device_profiles: tuple[DeviceProfile, ...] = ()
    started_from: tuple[str, ...] = ()
    recalibrated_on: tuple[str, ...] = ()
    members: tuple[Member, ...] = ()

    @property
    def left_out(self) -> str:
        """Which fold was left out, in words."""
        if not self.members:
            return f"fold {self.fold}"
        return f"folds {', '.join(str(member.fold) for member in self.members)}, each by one of {len(self.members)}"

    def unseen(self, predictions: pd.DataFrame) -> np.ndarray:
        """Which rows of a table of patient_id and fold are of patients whom the model of that row has not trained on.

        Of an ensemble a row is by the member that left its fold out; rows of other folds are by the whole.
        """
        trained = {member.fold: frozenset(member.patients) for member in self.members}
        every = frozenset(self.patients)
        folds = predictions["fold"] if "fold" in predictions else [self.fold] * len(predictions)
        rows = zip(predictions["patient_id"].astype(str), folds, strict=True)
        return np.array([patient not in trained.get(fold, every) for patient, fold in rows], bool)

    @property
    def seen(self) -> frozenset[str]:
        """Patients that the model must not be judged on."""
        return frozenset((*self.patients, *self.started_from, *self.recalibrated_on))

    @property
    def objects(self) -> tuple[str, ...]:
        """Names of the channels, in the order of the generator's output."""
        return tuple(channel.name for channel in self.channels)

    def as_dict(self) -> dict[str, Any]:
        """JSON-able; `from_dict` reads it."""
        return {
            "format": FORMAT,
            "name": self.name,
            "fold": self.fold,
            "experiment": self.experiment.model_dump(),
            "channels": [c.model_dump() for c in self.channels],
            "normalisation": self.normalisation.as_dict(),
            "grid": self.grid.as_dict(),
            "sdd_range_mm": list(self.sdd_range_mm),
            "isocentre_range_mm": list(self.isocentre_range_mm),
            "patients": list(self.patients),
            "device_profiles": as_dicts(self.device_profiles),
            "started_from": list(self.started_from),
            "recalibrated_on": list(self.recalibrated_on),
            "members": [{"fold": m.fold, "patients": list(m.patients)} for m in self.members],
        }

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> "ModelCard":
        """Reads `as_dict`."""
        return cls(
            name=content["name"],
            fold=content["fold"],
            experiment=ExperimentSettings.model_validate(content["experiment"]),
            channels=tuple(Channel.model_validate(c) for c in content["channels"]),
            normalisation=Normalisation.from_dict(content["normalisation"]),
            grid=Camera.from_dict(content["grid"]),
            sdd_range_mm=(content["sdd_range_mm"][0], content["sdd_range_mm"][1]),
            isocentre_range_mm=(content["isocentre_range_mm"][0], content["isocentre_range_mm"][1]),
            patients=tuple(content["patients"]),
            device_profiles=tuple(DeviceProfile.from_dict(p) for p in content.get("device_profiles", [])),
            started_from=tuple(content.get("started_from", [])),
            recalibrated_on=tuple(content.get("recalibrated_on", [])),
            members=tuple(Member(m["fold"], tuple(m["patients"])) for m in content.get("members", [])),
        )


@dataclass(frozen=True)
class GridRadiograph:
    """A radiograph on the model's grid.

    Attributes:
        image: (H, W) log attenuation.
        camera: camera of the grid.
        source_to_isocentre_mm: distance from the source to the patient's middle.
        relative: whether the radiograph's scale is relative.
    """

    image: np.ndarray
    camera: Camera
    source_to_isocentre_mm: float
    relative: bool


@dataclass(frozen=True)
class Model:
    """A trained generator, or several whose mean counts, its card, and what its training radiographs look like."""

    card: ModelCard
    generator: nn.Module
    likeness: Likeness | None = None

    def decompose(self, image: np.ndarray, camera: Camera, source_to_isocentre_mm: float, relative: bool) -> np.ndarray:
        """DRRs of a radiograph on the model's grid, (3, N, H, W) in cm³, cm³ and g per pixel.

        Args:
            image: (H, W) log attenuation.
            camera: camera of the grid.
            source_to_isocentre_mm: distance from the source to the patient's middle.
            relative: whether the radiograph's scale is relative.
        """
        found: np.ndarray = self.decompose_batch([GridRadiograph(image, camera, source_to_isocentre_mm, relative)])[0]
        return found

    @torch.no_grad()
    def decompose_batch(self, radiographs: Sequence[GridRadiograph]) -> np.ndarray:
        """As `decompose` of several radiographs in one pass of the network, (B, 3, N, H, W)."""
        device = next(self.generator.parameters()).device
        arrays = {
            "image": np.stack([r.image for r in radiographs]).astype(np.float32),
            "water": np.stack([water_volume(r.image, r.camera, r.source_to_isocentre_mm) for r in radiographs]),
            "relative": np.array([r.relative for r in radiographs]),
        }
        t = pack(arrays, device).on(device)
        normalised = t["image"][:, None] / self.card.normalisation.radiograph
        drr = self.generator(normalised, t["water"][:, None], t["relative"]).float()
        scale = self.card.normalisation.drr[..., None, None].astype(np.float32)
        found: np.ndarray = drr.unflatten(1, (3, -1)).cpu().numpy() * scale
        return found


def _network_of(card: ModelCard) -> nn.Module:
    """The network that a card tells of, its weights those of a seed."""
    count = max(len(card.members), 1)
    single = [make_decomposer(card.channels, card.grid.shape, card.experiment.network, seed=0) for _ in range(count)]
    return MeanGenerator(single, 3 * len(card.channels)) if card.members else single[0]


def write_model(
    path: Path, generator: nn.Module, card: ModelCard, manifest: dict[str, Any], likeness: Likeness | None = None
) -> None:
    """Writes a model file, its card as Markdown in the metadata too."""
    from mskdex.models.card_text import card_text  # it needs this module

    tensors = dict(generator.state_dict())
    for name, values in (likeness.arrays() if likeness else {}).items():
        tensors[f"{_LIKENESS}{name}"] = torch.from_numpy(values)
    write_tensors(
        path, tensors, {"card": card.as_dict(), "manifest": manifest, "model_card": card_text(card, manifest)}
    )


def read_model(path: Path, device: torch.device, *, made_here: bool = False) -> Model:
    """Reads a model file onto a device, ready to predict; arguments as of `read_tensors`.

    Raises:
        MskdexError: not a model of MSKdeX, or of another format.
    """
    tensors, facts = read_tensors(path, made_here=made_here)
    if facts.get("card", {}).get("format") != FORMAT:
        msg = f"{path} is not a model of format {FORMAT}; give the model.safetensors of an experiment's fold"
        raise MskdexError(msg)
    card = ModelCard.from_dict(facts["card"])
    generator = _network_of(card)
    generator.load_state_dict({k: v for k, v in tensors.items() if not k.startswith(_LIKENESS)})
    arrays = {k.removeprefix(_LIKENESS): v.cpu().numpy() for k, v in tensors.items() if k.startswith(_LIKENESS)}
    place(generator, device)
    return Model(card, generator.eval(), Likeness.from_arrays(arrays) if arrays else None)
