"""A person's body on a voxel grid, in the reference posture or another."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.ndimage import binary_dilation

from mskdex.imaging.quantities import density_table
from mskdex.virtual.grid import Grid
from mskdex.virtual.posture import Posture, body_of, composed
from mskdex.virtual.shape import FINE, Shape, fine_labels
from mskdex.virtual.template import Tissue
from mskdex.virtual.tissue import Composition
from mskdex.virtual.voxels import fill

_REFERENCE = (np.zeros((0, 0, 0, 3), np.float32), np.zeros(3), 1.0)
_BOX_MARGIN_MM = 12.0


@dataclass(frozen=True)
class Body:
    """Labels and HU on a grid.

    Attributes:
        grid: the voxels, in the frame that was asked for.
        labels: uint8 (z, y, x), ids of the template.
        hu: float32 (z, y, x), without noise.
        volumes_cm3: per label, partial voxels counted in part.
        masses_g: lean mass per label of bone and muscle, likewise.
    """

    grid: Grid
    labels: np.ndarray
    hu: np.ndarray
    volumes_cm3: np.ndarray
    masses_g: np.ndarray


def lying(shape: Shape, made_of: Composition, grid: Grid, person_from_grid: np.ndarray) -> Body:
    """The body in the reference posture.

    Args:
        shape: the person.
        made_of: the person's tissues.
        grid: voxels, in a frame of their own.
        person_from_grid: 4×4 from that frame to the person's.
    """
    count = len(shape.template.names)
    none = (np.zeros((0, 4, 4)), np.zeros((0, 6)), np.zeros((0, count), bool))
    labels = fine_labels(shape.template, shape.shift, shape.grid, shape.scale)
    occupied = (_occupied(labels), shape.grid.origin_mm, shape.grid.cell_mm)
    return _filled(shape, made_of, grid, person_from_grid, (occupied, _REFERENCE), none)


def posed(shape: Shape, made_of: Composition, posture: Posture, grid: Grid) -> Body:
    """The body in another posture, on a grid of the posed frame; bones lie exactly where their poses put them."""
    names = list(posture.poses)
    mine = np.array([[body_of(n) == body for n in shape.template.names] for body in names])
    inverse = np.stack([np.linalg.inv(posture.poses[body]) for body in names])
    boxes = np.stack([_posed_box(shape, mine[i], posture.poses[body]) for i, body in enumerate(names)])
    labels = fine_labels(shape.template, composed(shape, posture), posture.grid, shape.scale)
    where = posture.grid.origin_mm, posture.grid.cell_mm
    soft = ((_occupied(labels), *where), (posture.shift, *where))
    return _filled(shape, made_of, grid, np.eye(4), soft, (inverse, boxes, mine))


def _occupied(labels: np.ndarray) -> np.ndarray:
    """Cells, each of FINE³ labels, that hold anything but air, and their neighbours."""
    z, y, x = (n // FINE for n in labels.shape)
    return binary_dilation((labels > 0).reshape(z, FINE, y, FINE, x, FINE).any(axis=(1, 3, 5)), np.ones((3, 3, 3)))


def _filled(shape: Shape, made_of: Composition, grid: Grid, to_person: np.ndarray, soft: tuple, bodies: tuple) -> Body:
    template = shape.template
    labels, hu = np.zeros(grid.shape, np.uint8), np.empty(grid.shape, np.float32)
    volumes, masses = np.zeros((2, len(template.names)))
    (lean_density,) = density_table(("lean_mass",))
    arguments: tuple[Any, ...] = (
        grid.shape, grid.origin_mm, grid.cell_mm, to_person, *soft,
        (shape.shift, shape.grid.origin_mm, shape.grid.cell_mm, 1.0 / shape.scale), *bodies,
        (template.labels, template.depth_mm, template.origin_mm, template.voxel_mm),
        (made_of.hu, made_of.tissue, made_of.threshold, made_of.cortex_mm, made_of.axis, made_of.cortex_hu,
         made_of.noise),
        template.names.index("cartilage") if "cartilage" in template.names else template.names.index("fat"),
        lean_density, labels, hu, volumes, masses,
    )  # fmt: skip
    fill(*arguments)
    voxel_cm3 = grid.cell_mm**3 / 1000.0
    return Body(grid, labels, hu, volumes * voxel_cm3, masses * voxel_cm3)


def label_box(shape: Shape, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Box (low, high) in mm of the labels of which `labels` is True, in the reference posture."""
    return box_of(labels[fine_labels(shape.template, shape.shift, shape.grid, shape.scale)], shape.grid)


def posed_box(shape: Shape, posture: Posture) -> tuple[np.ndarray, np.ndarray]:
    """Box (low, high) in mm of the posed body, with a margin at its sides."""
    labels = fine_labels(shape.template, composed(shape, posture), posture.grid, shape.scale)
    low, high = box_of(labels > 0, posture.grid)
    return low - _BOX_MARGIN_MM, high + _BOX_MARGIN_MM


def box_of(where: np.ndarray, grid: Grid) -> tuple[np.ndarray, np.ndarray]:
    """Box (low, high) in mm of what is True on twice as fine a grid as `grid`."""
    step = grid.cell_mm / FINE
    origin = grid.origin_mm - grid.cell_mm * (FINE - 1) / (2 * FINE)
    ends = [np.flatnonzero(where.any(axis=tuple({0, 1, 2} - {2 - d})))[[0, -1]] for d in range(3)]
    return origin + step * np.array([e[0] for e in ends]), origin + step * np.array([e[1] for e in ends])


def bone_box(shape: Shape) -> tuple[np.ndarray, np.ndarray]:
    """Box (low, high) of the person's bones in the reference posture, in mm."""
    return label_box(shape, shape.template.tissues == Tissue.BONE)


def _posed_box(shape: Shape, mine: np.ndarray, pose: np.ndarray) -> np.ndarray:
    low, high = label_box(shape, mine)
    # A shaft that goes on beyond the grid does so in every posture.
    low[2] -= 60.0 if low[2] < shape.grid.origin_mm[2] + shape.grid.cell_mm else 0.0
    corners = np.array([[(low, high)[(n >> d) & 1][d] for d in range(3)] for n in range(8)])
    moved = corners @ pose[:3, :3].T + pose[:3, 3]
    return np.r_[moved.min(axis=0) - _BOX_MARGIN_MM, moved.max(axis=0) + _BOX_MARGIN_MM]
