"""A small untrained model, and errors that make an interval."""

import sys
from pathlib import Path

import numpy as np
import pandas as pd
import torch

sys.path.insert(0, str(Path(__file__).parents[1] / "training"))

from phantoms import CHANNELS

from mskdex.config.learning import ExperimentSettings, NetworkSettings
from mskdex.evaluation.conformal import Calibration
from mskdex.evaluation.model_calibration import ModelCalibration
from mskdex.geometry.camera import Camera
from mskdex.models.generator import make_decomposer
from mskdex.models.model import ModelCard, write_model
from mskdex.models.normalisation import Normalisation

SIDE = 32
GRID = Camera(1100.0, 72.0 / SIDE, (SIDE, SIDE), ((SIDE - 1) / 2, (SIDE - 1) / 2))
NETWORK = NetworkSettings(backbone="hrnet_tiny", stem_stride=2, head="composition")
QUANTITIES = ("volume_cm3", "lean_mass_g")


def card(**changes):
    count = len(CHANNELS)
    normalisation = Normalisation(
        3.0,
        np.full((3, count), 2.0),
        np.zeros((3, count, 0, 0), np.float32),
        np.zeros((0, 0), np.float32),
        1.0,
        None,
        (0.5, 3.5),
    )
    facts = {
        "name": "hip",
        "fold": 1,
        "experiment": ExperimentSettings(network=NETWORK),
        "channels": CHANNELS,
        "normalisation": normalisation,
        "grid": GRID,
        "sdd_range_mm": (1000.0, 1200.0),
        "isocentre_range_mm": (800.0, 1000.0),
        "patients": ("P000", "P002"),
    }
    return ModelCard(**facts | changes)


def make_model(path, network=NETWORK):
    generator = make_decomposer(CHANNELS, (SIDE, SIDE), network, seed=0)
    with torch.no_grad():
        generator.head.last.weight.mul_(5.0)  # untrained shares are alike everywhere
    write_model(path, generator, card(experiment=ExperimentSettings(network=network)), {})
    return path


def held_out():
    """Errors of 1 to 12 cm³ or g of every object, so that an interval reaches 12 to both sides."""
    rows = [
        {"patient_id": "P001", "channel": c.name, "quantity": q, "predicted": 10.0 + i, "truth": 10.0}
        for c in CHANNELS
        for q in QUANTITIES
        for i in range(1, 13)
    ]
    return ModelCalibration(Calibration.of(pd.DataFrame(rows)))
