"""A scene in a device's memory: copied there once, and what its rays may skip worked out there."""

import itertools
import weakref
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from mskdex.drr.scene import Scene
from mskdex.drr.skipping import BLOCK, CELL_SHIFT, MIXED
from mskdex.errors import MskdexError
from mskdex.quantities import HU_MIN

FAR = 254
"""Distance in blocks to an object where there is none."""

_residents: weakref.WeakKeyDictionary[Scene, dict[torch.device, "Resident"]] = weakref.WeakKeyDictionary()


@dataclass(frozen=True, eq=False)
class Resident:
    """A scene's arrays on a device, in cell coordinates: two voxels of nothing before the volume, as many behind.

    The arrays end at whole blocks. With nothing around the volume no kernel asks whether a corner lies inside it.

    Attributes:
        hu: (z, y, x) int16, HU less the lowest one allowed.
        labels: (z, y, x) uint8, `MIXED` around the volume.
        cells: (z, y, x) uint8, the label that a cell's eight corners share, or `MIXED`.
        holders: of each label in the volume, and of `MIXED`, the blocks (z, y, x) bool that hold such a cell.
    """

    hu: Tensor
    labels: Tensor
    cells: Tensor
    holders: dict[int, Tensor]

    @classmethod
    def of(cls, scene: Scene, device: torch.device) -> "Resident":
        """Copies a scene to a device.

        Raises:
            MskdexError: the volume has 2³¹ voxels or more.
        """
        shape = padded_shape(scene)
        if np.prod(shape, dtype=np.int64) >= 2**31:
            msg = f"a CT of {scene.ct.shape} voxels is too large for rendering on {device}; choose device cpu"
            raise MskdexError(msg)
        inside = tuple(slice(CELL_SHIFT, CELL_SHIFT + n) for n in scene.ct.shape)
        hu = torch.zeros(shape, dtype=torch.int16, device=device)
        hu[inside] = _moved(scene.ct, device)
        hu[inside] -= HU_MIN
        labels = torch.full(shape, MIXED, dtype=torch.uint8, device=device)
        labels[inside] = _moved(scene.labels, device)
        cells = _shared_labels(labels)
        present = [int(i) for i in np.flatnonzero(scene.counts)]
        return cls(hu, labels, cells, {label: _holders(cells, label) for label in {*present, MIXED}})

    def distances(self, ids: Sequence[int], box: np.ndarray) -> Tensor:
        """Chessboard distance (z, y, x) uint8 of each block to one that may hold one of the labels.

        Args:
            ids: labels. box: (2, 3) their voxels, low and high (exclusive) z, y, x.
        """
        found = self.holders[MIXED].clone()
        for label in ids:
            if label in self.holders:
                found |= self.holders[label]
        low, high = box[0] // BLOCK, (box[1] + CELL_SHIFT) // BLOCK + 1
        near = torch.zeros_like(found)
        part = tuple(slice(int(a), int(b)) for a, b in zip(low, high, strict=True))
        near[part] = found[part]
        return _chessboard(near)


def resident(scene: Scene, device: torch.device) -> Resident:
    """The scene on a device: copied there at the first call, and freed there as soon as the scene is no longer held."""
    by_device = _residents.setdefault(scene, {})
    if device not in by_device:
        by_device[device] = Resident.of(scene, device)
    return by_device[device]


def is_resident(scene: Scene, device: torch.device) -> bool:
    """Whether the scene was copied to the device before."""
    return device in _residents.get(scene, {})


def padded_shape(scene: Scene) -> tuple[int, ...]:
    """Shape (z, y, x) of a scene's arrays on a device."""
    return tuple(-(-(n + 2 * CELL_SHIFT) // BLOCK) * BLOCK for n in scene.ct.shape)


def _moved(array: np.ndarray, device: torch.device) -> Tensor:
    # PyTorch warns of arrays that cannot be written, e.g. of mapped files.
    return torch.from_numpy(array if array.flags.writeable else array.copy()).to(device)


def _shared_labels(labels: Tensor) -> Tensor:
    """The label that each cell's corners share; cells at the upper ends, which have none, are `MIXED`."""
    low = labels[:-1, :-1, :-1]
    differ = torch.zeros_like(low, dtype=torch.bool)
    for steps in itertools.product((0, 1), repeat=3):
        corner = tuple(slice(step, n - 1 + step) for step, n in zip(steps, labels.shape, strict=True))
        differ |= labels[corner] != low
    cells = torch.full_like(labels, MIXED)
    cells[:-1, :-1, :-1] = low.masked_fill(differ, MIXED)
    return cells


def _holders(cells: Tensor, label: int) -> Tensor:
    z, y, x = (n // BLOCK for n in cells.shape)
    return (cells == label).view(z, BLOCK, y, BLOCK, x, BLOCK).any(dim=5).any(dim=3).any(dim=1)


def _chessboard(near: Tensor) -> Tensor:
    """Distance of each block to the nearest one that is set: along one axis after the other."""
    distance = torch.where(near, 0, FAR).to(torch.int16)
    for axis in range(3):
        line = torch.arange(near.shape[axis], dtype=torch.int16, device=near.device)
        apart = (line[:, None] - line).abs()
        distance = torch.maximum(distance.movedim(axis, -1)[..., None, :], apart).amin(dim=-1).movedim(-1, axis)
    return distance.clamp(max=FAR).to(torch.uint8).contiguous()
