"""Groups of virtual patients as samples, on the grid that a network learns on."""

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from many_patients import people
from measures import Patients, muscles_of, scaled_demographics

from mskdex.config.virtual import VirtualSettings
from mskdex.evaluation.maps import on_grid
from mskdex.imaging.area_average import average_onto
from mskdex.io.arrays import Crops
from mskdex.io.stack import Stack
from mskdex.training.stack_store import StackStore


@dataclass(frozen=True)
class Group:
    """Patients of one seed, on the networks' grid.

    Attributes:
        store: their samples.
        patients: their muscles and demographics.
        sheet: sex, age, height, weight, in the store's order.
    """

    store: StackStore
    patients: Patients
    sheet: pd.DataFrame


class CoarserStore(StackStore):
    """Samples averaged onto fewer pixels of the same detector; sums stay."""

    def __init__(self, paths: dict[str, Path], pixels: int):
        super().__init__(paths, 8e9)
        self.pixels = pixels

    def _read(self, patient: str) -> tuple[Stack, Path]:
        stack, path = super()._read(patient)
        return coarser(stack, self.pixels), path


def coarser(stack: Stack, pixels: int) -> Stack:
    """A sample on (pixels, pixels) that cover the same part of the detector."""
    if stack.camera.shape == (pixels, pixels):
        return stack
    size = stack.camera.pixel_mm * stack.camera.shape[0] / pixels
    grid = stack.camera.resized((pixels, pixels), size)
    radiograph, field = average_onto(stack.radiograph, stack.field, stack.camera, grid)
    drr = Crops.of(on_grid(stack.drr.dense(), stack.camera, grid).astype(np.float32))
    return Stack(
        **{**vars(stack), "camera": grid, "radiograph": radiograph, "field": field, "drr": drr, "aligned": drr}
    )


def group(paths: Sequence[Path], settings: VirtualSettings, pixels: int) -> Group:
    """The patients of some samples; they are named by folder and number, as seeds share numbers."""
    store = CoarserStore({path.stem: path for path in paths}, pixels)
    chosen = [store[store.patients[0]].channels[i] for i in muscles_of(store[store.patients[0]].channels)]
    sheet = people(settings, [int(p.stem[1:]) for p in paths])
    truth = np.stack([true_sums(s) for s in store])
    names, sides = [c.object for c in chosen], [str(c.side) for c in chosen]
    sheet.index = pd.Index([f"{p.parent.name}/{p.stem}" for p in paths])
    return Group(store, Patients(truth, scaled_demographics(sheet), names, sides), sheet)


def first(of: Group, count: int) -> Group:
    """The first patients of a group; their samples are read once for all such."""
    names = list(of.store.patients)[:count]
    p = of.patients
    store = copy.copy(of.store)
    store.patients = store.people = tuple(names)
    return Group(store, Patients(p.truth[:count], p.demographics[:count], p.names, p.sides), of.sheet.iloc[:count])


def true_sums(stack: Stack) -> np.ndarray:
    """(2, muscles): volume and lean mass that the radiograph shows."""
    return (stack.truth * stack.visible)[1:, muscles_of(stack.channels)]
