"""Volume and lean mass of every object from radiographs, by a trained model."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from mskdex.api.arguments import AnyConfig, AnyPath, as_path
from mskdex.api.radiographs import read_radiograph
from mskdex.compute.device import choose_device
from mskdex.config.objects import Channel
from mskdex.errors import MskdexError
from mskdex.evaluation.conformal import Calibration
from mskdex.evaluation.model_calibration import ModelCalibration, read_model_calibration
from mskdex.imaging.area_average import average_onto
from mskdex.imaging.radiograph_import import ImportedRadiograph
from mskdex.io.stack import Greys
from mskdex.io.user_files import read_user_parquet
from mskdex.models.device_profiles import by_profile, device_flags
from mskdex.models.flags import object_flags, radiograph_flags
from mskdex.models.model import GridRadiograph, Model, read_model
from mskdex.quantities import COLUMNS, QUANTITIES

NO_CALIBRATION = ModelCalibration()
"""Of a model without held-out patients: no intervals, and no estimate joined with demographics."""

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
        table: one row per object and quantity: object, side, quantity, predicted (cm³ or g) of the image alone, low and
            high (the 90 % interval, where a calibration was given and nothing is flagged); fused, the same joined with
            the person's demographics where they are known, with fused_low and fused_high; flag.
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
    radiograph: AnyPath | ImportedRadiograph,
    *,
    calibration: AnyPath | None = None,
    person: Mapping[str, Any] | None = None,
    config: AnyConfig = None,
) -> Prediction:
    """Decomposes one radiograph.

    Args:
        model: of `load_model`.
        radiograph: of `read_radiograph`, or its file.
        calibration: results/evaluation of this model, or predictions.parquet of patients that it has not seen; without
            one there are no intervals.
        person: sex (F or M), age, height_cm and weight_kg; with those that the evaluation's regression asks for there
            is an estimate joined with them, and sex alone chooses the held-out patients of the interval.
        config: whose radiograph section is used where a file is given.

    Raises:
        MskdexError: a radiograph that cannot be imported, or a calibration on patients of the training.
    """
    known = NO_CALIBRATION if calibration is None else read_calibration(Path(calibration), model)
    imported = radiograph if isinstance(radiograph, ImportedRadiograph) else read_radiograph(radiograph, config=config)
    return predict_batch(model, [imported], known, [person or {}])[0]


def predict_batch(
    model: Model,
    radiographs: Sequence[ImportedRadiograph],
    calibration: ModelCalibration,
    persons: Sequence[Mapping[str, Any]] | None = None,
) -> list[Prediction]:
    """Decomposes several radiographs in one pass of the network.

    Args:
        model: of `load_model`.
        radiographs: of `read_radiograph`.
        calibration: of the model's errors on patients that it has not seen, and of demographics.
        persons: of whom each radiograph is, as `predict` takes it; None where nothing is known of anybody.

    Raises:
        MskdexError: a result that is not finite.
    """
    inputs = [_on_grid(model, radiograph) for radiograph in radiographs]
    drrs = model.decompose_batch([seen for seen, _ in inputs])
    if not np.isfinite(drrs).all():
        msg = "the model's images are not finite; the radiograph is unlike any of the training, or the model is damaged"
        raise MskdexError(msg)
    found = []
    known_of = [{}] * len(radiographs) if persons is None else persons
    for radiograph, (seen, field), drr, person in zip(radiographs, inputs, drrs, known_of, strict=True):
        distance = seen.source_to_isocentre_mm
        scale = "relative" if seen.relative else "absolute"
        flags = device_flags(radiograph.scale, radiograph.facts["device_profile"], model.card.device_profiles)
        flags += radiograph_flags(model.card, seen.image, field, seen.camera, distance, scale)
        flags += model.likeness.flags(seen.image, field) if model.likeness else []
        by_object = object_flags(model.card, drr[1], field)
        whole = "; ".join(flags)
        flagged = {c.name: whole or by_object.get(c.name, "") for c in model.card.channels}
        rows = _Rows(calibration, person, radiograph.scale, flagged).of(model, drr)
        for row in rows:
            row["flag"] = by_object.get(row.pop("channel"), "")
        found.append(Prediction(drr, model.card.channels, flags, pd.DataFrame(rows)))
    return found


def read_calibration(path: Path, model: Model) -> ModelCalibration:
    """What is known of a model's errors on patients that it has not seen.

    Args:
        path: results/evaluation, or predictions.parquet of an experiment's fold.
        model: of `load_model`.

    Raises:
        MskdexError: the table holds a patient that the model was trained on or lacks an object of the model, or the
            evaluation is of another model.
    """
    if path.is_dir():
        card = model.card
        trained_on = {m.fold: m.patients for m in card.members} or {card.fold: card.patients}
        return read_model_calibration(path, card.name, trained_on)
    table = read_user_parquet(path)
    if seen := sorted(set(table.loc[~model.card.unseen(table), "patient_id"].astype(str))):
        msg = f"{path} holds patients that the model was trained on ({', '.join(seen[:5])}); give its left-out fold's"
        raise MskdexError(msg)
    if missing := [name for name in model.card.objects if name not in set(table["channel"])]:
        msg = f"{path} has no predictions of {', '.join(missing)}; give those of a model of the same objects"
        raise MskdexError(msg)
    return ModelCalibration(Calibration.of(table))


def _on_grid(model: Model, radiograph: ImportedRadiograph) -> tuple[GridRadiograph, np.ndarray]:
    """The radiograph on the model's grid, and its field there."""
    grid = radiograph.camera.resized(model.card.grid.shape, model.card.grid.pixel_mm)
    image, field = average_onto(radiograph.image, radiograph.field, radiograph.camera, grid)
    line = radiograph.facts["standardisation"]
    greys = Greys(radiograph.facts["device_profile"], None if line is None else (line[0], line[1]))
    image, scale = by_profile(image.astype(np.float32), radiograph.scale, greys, model.card.device_profiles)
    return GridRadiograph(image, grid, radiograph.geometry.source_to_isocentre_mm, scale == "relative"), field


@dataclass(frozen=True)
class _Rows:
    """Rows of a table of predictions.

    Attributes:
        calibration: of the model. person: of whom the radiograph is. scale: of its grey values.
        flagged: by channel, why there is no interval; "" where there is one.
    """

    calibration: ModelCalibration
    person: Mapping[str, Any]
    scale: str
    flagged: Mapping[str, str]

    def of(self, model: Model, drr: np.ndarray) -> list[dict[str, Any]]:
        """A row per channel and quantity."""
        sums = drr.sum(axis=(-2, -1), dtype=np.float64)
        return [
            {"channel": channel.name, "object": channel.object, "side": channel.side, "quantity": COLUMNS[quantity]}
            | self._estimates(channel.name, COLUMNS[quantity], float(sums[QUANTITIES.index(quantity), n]))
            for n, channel in enumerate(model.card.channels)
            for quantity in PREDICTED
        ]

    def _estimates(self, channel: str, column: str, value: float) -> dict[str, float | None]:
        low, high = self._interval(self.calibration.image, channel, column, value)
        row = {"predicted": value, "low": low, "high": high, "fused": None, "fused_low": None, "fused_high": None}
        both = self.calibration.joined(channel, column, value, self.person)
        if both is not None:
            low, high = self._interval(self.calibration.fused, channel, column, both)
            row |= {"fused": both, "fused_low": low, "fused_high": high}
        return row

    def _interval(
        self, held_out: Calibration, channel: str, column: str, value: float
    ) -> tuple[float | None, float | None]:
        found = None if self.flagged[channel] else held_out.ends(channel, column, self.person.get("sex"), self.scale)
        return (None, None) if found is None else (max(value + found[0], 0.0), value + found[1])
