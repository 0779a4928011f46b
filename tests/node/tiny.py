"""A small model of the default objects, untrained: its results are whole, and their values mean nothing."""

from pathlib import Path

import numpy as np
import torch

from mskdex.config.learning import ExperimentSettings, NetworkSettings
from mskdex.config.objects import channels, default_objects
from mskdex.geometry.camera import Camera
from mskdex.models.generator import make_decomposer
from mskdex.models.model import ModelCard, write_model
from mskdex.models.normalisation import Normalisation

SIDE = 32
GRID = Camera(1000.0, 430.0 / SIDE, (SIDE, SIDE), ((SIDE - 1) / 2, (SIDE - 1) / 2))
CHANNELS = channels(default_objects(), frozenset({"femur"}))


def write(path: Path) -> Path:
    """Writes the model's file."""
    network = NetworkSettings(backbone="hrnet_tiny", stem_stride=2, head="composition")
    card = ModelCard(
        name="tiny",
        fold=0,
        experiment=ExperimentSettings(network=network),
        channels=CHANNELS,
        normalisation=Normalisation(
            3.0,
            np.full((3, len(CHANNELS)), 2.0),
            np.zeros((3, 17, 0, 0), np.float32),
            np.zeros((0, 0), np.float32),
            1.0,
            None,
            (1.0, 3.0),
        ),
        grid=GRID,
        sdd_range_mm=(990.0, 1110.0),
        isocentre_range_mm=(820.0, 960.0),
        patients=("P000",),
    )
    generator = make_decomposer(CHANNELS, (SIDE, SIDE), network, seed=0)
    with torch.no_grad():
        generator.head.scale.fill_(2.0)
        generator.head.last.weight.zero_()
    path.parent.mkdir(parents=True, exist_ok=True)
    write_model(path, generator, card, {})
    return path
