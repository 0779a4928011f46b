"""The body that every virtual patient is made from: a label map in the anatomical frame."""

from dataclasses import dataclass
from enum import IntEnum

import numpy as np

from mskdex.compute.kernels import kernel

_ROOT1, _ROOT2, _ROOT3 = 1.0, 2.0**0.5, 3.0**0.5


class Tissue(IntEnum):
    """What a label is made of."""

    AIR = 0
    FAT = 1
    MUSCLE = 2
    BONE = 3
    ORGAN = 4
    SKIN = 5
    GAS = 6
    METAL = 7


@dataclass(frozen=True)
class Template:
    """A body's label map.

    Frame: millimetres from the midpoint of the femoral heads, RAS. Above and below the map the first and the
    last slice go on for ever, so that thighs and trunk have no end in the field of view.

    Attributes:
        labels: uint8 (z, y, x), 0 is air.
        origin_mm: centre of voxel (0, 0, 0), as (x, y, z).
        voxel_mm: voxel size, isotropic.
        names: name of each label, index 0 is "air"; paired structures end in _left or _right.
        tissues: `Tissue` of each label.
        depth_mm: float32 (z, y, x), depth of bone and muscle under their own surface, 0 elsewhere.
        heads_mm: centre of each femoral head, by side.
    """

    labels: np.ndarray
    origin_mm: np.ndarray
    voxel_mm: float
    names: tuple[str, ...]
    tissues: np.ndarray
    depth_mm: np.ndarray
    heads_mm: dict[str, np.ndarray]

    def label(self, name: str) -> int:
        """The id of a label."""
        return self.names.index(name)

    def index_from(self, scale: np.ndarray) -> np.ndarray:
        """Factor and offset, (2, 3), from a point in mm of the scaled template to a voxel's index, as (x, y, z)."""
        return np.stack([1.0 / (np.asarray(scale) * self.voxel_mm), -self.origin_mm / self.voxel_mm])

    @property
    def volumes_cm3(self) -> np.ndarray:
        """Volume of each label in the map."""
        return label_counts(self.labels)[: len(self.names)] * self.voxel_mm**3 / 1000.0


def label_counts(labels: np.ndarray) -> np.ndarray:
    """Voxels of each label 0 … 255, int64 (256,), of a uint8 map (z, y, x)."""
    counts = np.zeros(256, np.int64)
    _count(np.ascontiguousarray(labels), counts)
    return counts


@kernel
def _count(labels, counts):
    for z in range(labels.shape[0]):
        for y in range(labels.shape[1]):
            for x in range(labels.shape[2]):
                counts[labels[z, y, x]] += 1


def label_depth(labels: np.ndarray, tissues: np.ndarray, voxel_mm: float) -> np.ndarray:
    """Depth of each voxel of bone and muscle under the surface of its own label in mm, float32; 0 elsewhere.

    Two-pass chamfer distance with the weights 1, √2, √3, less half a voxel: within 6 % of the Euclidean one. What
    lies beyond the map goes on as at its border.
    """
    around = np.pad(labels, 1, mode="edge")
    solid = np.isin(tissues, (Tissue.BONE, Tissue.MUSCLE))
    far = np.where(solid, np.float32(1e6), np.float32(0.0))
    depth = far[around]
    _chamfer(depth, around)
    depth = depth[1:-1, 1:-1, 1:-1] * np.float32(voxel_mm)
    return np.maximum(depth - np.float32(0.5 * voxel_mm), np.float32(0.0))


@kernel
def _row(depth, labels, z, y, x, own, middle, side):
    """Least depth that a voxel of the label `own` can have by three neighbours of one row."""
    left = depth[z, y, x - 1] if labels[z, y, x - 1] == own else np.float32(0)
    here = depth[z, y, x] if labels[z, y, x] == own else np.float32(0)
    right = depth[z, y, x + 1] if labels[z, y, x + 1] == own else np.float32(0)
    return min(here + np.float32(middle), min(left, right) + np.float32(side))


@kernel
def _chamfer(depth, labels):
    """Both passes; the outermost voxels of both arrays are read only."""
    nz, ny, nx = depth.shape
    for sweep in (1, -1):
        for step_z in range(1, nz - 1):
            z = step_z if sweep > 0 else nz - 1 - step_z
            for step_y in range(1, ny - 1):
                y = step_y if sweep > 0 else ny - 1 - step_y
                for step_x in range(1, nx - 1):
                    x = step_x if sweep > 0 else nx - 1 - step_x
                    best = depth[z, y, x]
                    if best > 0:
                        own = labels[z, y, x]
                        best = min(best, _row(depth, labels, z - sweep, y - 1, x, own, _ROOT2, _ROOT3))
                        best = min(best, _row(depth, labels, z - sweep, y, x, own, _ROOT1, _ROOT2))
                        best = min(best, _row(depth, labels, z - sweep, y + 1, x, own, _ROOT2, _ROOT3))
                        best = min(best, _row(depth, labels, z, y - sweep, x, own, _ROOT1, _ROOT2))
                        behind = depth[z, y, x - sweep] if labels[z, y, x - sweep] == own else np.float32(0)
                        depth[z, y, x] = min(best, behind + np.float32(_ROOT1))
