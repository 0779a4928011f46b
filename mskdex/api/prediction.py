"""Volume and lean mass of every object from radiographs, by a trained model."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from mskdex.api.radiographs import read_radiograph
from mskdex.api.settings import AnyConfig, AnyPath, as_path
from mskdex.compute.device import choose_device
from mskdex.config.objects import Channel
from mskdex.errors import MskdexError
from mskdex.evaluation.conformal import Calibration
from mskdex.imaging.area_average import average_onto
from mskdex.imaging.radiograph_import import Imported
from mskdex.io.stack import Greys
from mskdex.io.user_files import read_user_parquet
from mskdex.models.device_profiles import by_profile, device_flags
from mskdex.models.flags import object_flags, radiograph_flags
from mskdex.models.model import Model, Seen, read_model
from mskdex.quantities import COLUMNS, QUANTITIES

COVERAGE = 0.9
"""Share of new patients that the intervals are made to hold."""

PREDICTED = ("volume", "lean_mass")
"""The quantities that tables of predictions have."""


@dataclass(frozen=True, eq=False)
class Prediction:
    """What a model says of one radiograph.

    Attributes:
        drr: float32 (3, N, rows, columns) on the model's grid, in the order of `mskdex.quantities.QUANTITIES`: cm³,
            cm³ and g per pixel.
        channels: the N objects.
        flags: what is unusual about the radiograph, for this model.
        table: one row per object and quantity: object, side, quantity, predicted (cm³ or g), low and high (the 90 %
            interval, where a calibration was given and nothing is flagged), flag.
    """

    drr: np.ndarray
    channels: tuple[Channel, ...]
    flags: list[str]
    table: pd.DataFrame

    @property
    def masses_g(self) -> dict[str, float]:
        """Lean mass of every object in g, e.g. of gluteus_maximus_left."""
        return self._sums("lean_mass")

    @property
    def volumes_cm3(self) -> dict[str, float]:
        """Volume of every object in cm³."""
        return self._sums("volume")

    def _sums(self, quantity: str) -> dict[str, float]:
        sums = self.drr[QUANTITIES.index(quantity)].sum(axis=(-2, -1), dtype=np.float64)
        return {channel.name: float(value) for channel, value in zip(self.channels, sums, strict=True)}


def load_model(path: AnyPath, device: str = "auto") -> Model:
    """Reads a trained model, ready to predict.

    Args:
        path: model.safetensors of an experiment's fold.
        device: "auto" (a GPU where there is one), "cpu", "cuda" or "cuda:i".

    Raises:
        MskdexError: not a model of MSKdeX or of another format, or no such device.
    """
    return read_model(as_path(path, "a trained model, model.safetensors"), choose_device(device))


def predict(
    model: Model,
    radiograph: AnyPath | Imported,
    *,
    calibration: AnyPath | None = None,
    config: AnyConfig = None,
) -> Prediction:
    """Decomposes one radiograph.

    Args:
        model: of `load_model`.
        radiograph: of `read_radiograph`, or its file.
        calibration: predictions.parquet of patients that the model has not seen; without one there are no intervals.
        config: whose radiograph section is used where a file is given.

    Raises:
        MskdexError: a radiograph that cannot be imported, or a calibration on patients of the training.
    """
    held_out = Calibration({}) if calibration is None else read_calibration(Path(calibration), model)
    imported = radiograph if isinstance(radiograph, Imported) else read_radiograph(radiograph, config=config)
    return predict_batch(model, [imported], held_out)[0]


def predict_batch(model: Model, radiographs: Sequence[Imported], held_out: Calibration) -> list[Prediction]:
    """Decomposes several radiographs in one pass of the network.

    Args:
        model: of `load_model`.
        radiographs: of `read_radiograph`.
        held_out: the model's errors on patients that it has not seen.

    Raises:
        MskdexError: a result that is not finite.
    """
    inputs = [_on_grid(model, radiograph) for radiograph in radiographs]
    drrs = model.decompose_batch([seen for seen, _ in inputs])
    if not np.isfinite(drrs).all():
        msg = "the model's images are not finite; the radiograph is unlike any of the training, or the model is damaged"
        raise MskdexError(msg)
    found = []
    for radiograph, (seen, field), drr in zip(radiographs, inputs, drrs, strict=True):
        distance = seen.source_to_isocentre_mm
        scale = "relative" if seen.relative else "absolute"
        flags = device_flags(radiograph.scale, radiograph.facts["device_profile"], model.card.device_profiles)
        flags += radiograph_flags(model.card, seen.image, field, seen.camera, distance, scale)
        flags += model.likeness.flags(seen.image, field) if model.likeness else []
        rows = _rows(model, drr, Calibration({}) if flags else held_out, object_flags(model.card, drr[1], field))
        found.append(Prediction(drr, model.card.channels, flags, pd.DataFrame(rows)))
    return found


def read_calibration(path: Path, model: Model) -> Calibration:
    """A model's errors on patients that it has not seen.

    Args:
        path: predictions.parquet of an experiment's fold.
        model: of `load_model`.

    Raises:
        MskdexError: the table holds a patient that the model was trained on, or lacks an object of the model.
    """
    table = read_user_parquet(path)
    seen = sorted(set(table["patient_id"].astype(str)) & set(model.card.patients))
    if seen:
        msg = f"{path} holds patients that the model was trained on ({', '.join(seen[:5])}); give its left-out fold's"
        raise MskdexError(msg)
    if missing := [name for name in model.card.objects if name not in set(table["channel"])]:
        msg = f"{path} has no predictions of {', '.join(missing)}; give those of a model of the same objects"
        raise MskdexError(msg)
    return Calibration.of(table)


def _on_grid(model: Model, radiograph: Imported) -> tuple[Seen, np.ndarray]:
    """The radiograph on the model's grid, and its field there."""
    grid = radiograph.camera.resized(model.card.grid.shape, model.card.grid.pixel_mm)
    image, field = average_onto(radiograph.image, radiograph.field, radiograph.camera, grid)
    line = radiograph.facts["standardisation"]
    greys = Greys(radiograph.facts["device_profile"], None if line is None else (line[0], line[1]))
    image, scale = by_profile(image.astype(np.float32), radiograph.scale, greys, model.card.device_profiles)
    return Seen(image, grid, radiograph.geometry.source_to_isocentre_mm, scale == "relative"), field


def _rows(model: Model, drr: np.ndarray, held_out: Calibration, by_object: dict[str, str]) -> list[dict[str, Any]]:
    sums = drr.sum(axis=(-2, -1), dtype=np.float64)
    found = []
    for n, channel in enumerate(model.card.channels):
        for quantity in PREDICTED:
            value, column = float(sums[QUANTITIES.index(quantity), n]), COLUMNS[quantity]
            flagged = by_object.get(channel.name, "")
            half = None if flagged else held_out.half_width(channel.name, column, COVERAGE)
            found.append(
                {
                    "object": channel.object,
                    "side": channel.side,
                    "quantity": column,
                    "predicted": value,
                    "low": max(value - half, 0.0) if half is not None else None,
                    "high": value + half if half is not None else None,
                    "flag": flagged,
                }
            )
    return found
