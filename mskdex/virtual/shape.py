"""A person's shape: the template scaled to the skeleton, then grown tissue by tissue to the wanted volumes."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numba import njit
from scipy.ndimage import zoom

from mskdex.virtual.flow import LEAST_MOBILITY, MOBILITY, displacement
from mskdex.virtual.grid import Grid, sample, trilinear
from mskdex.virtual.template import Template, Tissue

_STEPS = 5
_CELL_MM = 8.0
WARP_MM, WARP_LENGTH_MM = 2.2, 85.0
"""Size and correlation length of what makes a skeleton a person's own."""
FINE = 2
"""Volumes are counted on this many samples along each edge of a cell."""


@dataclass(frozen=True)
class Shape:
    """A person in the reference posture.

    Attributes:
        template: the body it is made from.
        scale: factors along x, y, z from the template to the person.
        grid: grid of `shift`, in the person's frame.
        shift: float32 (z, y, x, 3) in mm: the person's point x comes from the scaled template's x + shift(x).
    """

    template: Template
    scale: np.ndarray
    grid: Grid
    shift: np.ndarray

    def to_template(self, points_mm: np.ndarray) -> np.ndarray:
        """Template points (mm) of the person's points (…, 3)."""
        return (points_mm + sample(self.shift, self.grid, points_mm)) / self.scale.astype(np.float32)

    def from_template(self, point_mm: np.ndarray) -> np.ndarray:
        """The person's point (3,) that comes from a template point."""
        wanted = np.asarray(point_mm) * self.scale
        point = wanted.copy()
        for _ in range(20):
            point = wanted - sample(self.shift, self.grid, point[None])[0]
        return point


def grow(
    template: Template,
    scale: np.ndarray,
    volumes_cm3: Mapping[int, float],
    box_mm: tuple[np.ndarray, np.ndarray],
    draw: np.random.Generator,
    warp_mm: float = WARP_MM,
) -> Shape:
    """Scales the template, bends it a little, and grows its tissues.

    Args:
        template: the body to start from.
        scale: factors along x, y, z.
        volumes_cm3: wanted volume of each label that is to change, within the template's own height.
        box_mm: corners (x, y, z) of the person's box.
        draw: source of the bending, which makes the two sides and no two persons alike.
        warp_mm: its size, SD.
    """
    grid = Grid.around(*box_mm, _CELL_MM)
    shape = Shape(template, np.asarray(scale, float), grid, _warp(grid, draw, warp_mm))
    mobility_of = np.array([MOBILITY[t] for t in template.tissues])
    is_bone = (template.tissues == Tissue.BONE).astype(float)
    pressure = np.zeros(grid.shape)
    points = grid.points()
    counted = _within_template(template, shape.scale, grid)
    for step in range(_STEPS):
        labels = fine_labels(template, shape.shift, grid, shape.scale)
        now = np.bincount(labels[counted].ravel(), minlength=len(template.names)) * (_CELL_MM / FINE) ** 3 / 1000.0
        rate_of = np.zeros(len(template.names))
        for label, wanted in volumes_cm3.items():
            if now[label] > 0:
                rate_of[label] = np.clip(np.log(wanted / now[label]) / (_STEPS - step), -0.3, 0.3)
        rate, mobility, bone = cell_means(labels, np.stack([rate_of, mobility_of, is_bone]), FINE)
        mobility = np.maximum(mobility * (1.0 - bone) ** 2, LEAST_MOBILITY)
        move = displacement(rate, mobility, _CELL_MM, pressure)
        shape = Shape(template, shape.scale, grid, sample(shape.shift, grid, points - move) - move)
    return shape


def _warp(grid: Grid, draw: np.random.Generator, warp_mm: float) -> np.ndarray:
    """A smooth random displacement, float32 (z, y, x, 3), standard deviation `warp_mm`."""
    size = [max(4, round(n * grid.cell_mm / WARP_LENGTH_MM) + 3) for n in grid.shape]
    nodes = draw.normal(size=(*size, 3))
    factors = [n / m for n, m in zip(grid.shape, size, strict=True)]
    smooth = np.stack([zoom(nodes[..., d], factors, order=3, mode="nearest") for d in range(3)], axis=-1)
    return (smooth * (warp_mm / 0.6)).astype(np.float32)


def _within_template(template: Template, scale: np.ndarray, grid: Grid) -> slice:
    """The fine slices that lie within the template's height: beyond it, its last slices only go on."""
    z = grid.origin_mm[2] + grid.cell_mm * ((np.arange(grid.shape[0] * FINE) + 0.5) / FINE - 0.5)
    bottom = template.origin_mm[2] - template.voxel_mm / 2.0
    inside = (z >= bottom * scale[2]) & (z <= (bottom + template.voxel_mm * template.labels.shape[0]) * scale[2])
    first, last = np.flatnonzero(inside)[[0, -1]]
    return slice(int(first), int(last) + 1)


def fine_labels(template: Template, shift: np.ndarray, grid: Grid, scale: np.ndarray) -> np.ndarray:
    """Nearest labels on twice as fine a grid as that of `shift`, uint8 (2z, 2y, 2x)."""
    shape = tuple(n * FINE for n in grid.shape)
    start = grid.origin_mm - grid.cell_mm * (FINE - 1) / (2 * FINE)
    return nearest_labels(
        template.labels, template.origin_mm, template.voxel_mm, shape, start, grid.cell_mm / FINE,
        shift, grid.origin_mm, grid.cell_mm, 1.0 / scale,
    )  # fmt: skip


@njit(cache=True)
def nearest_labels(labels, origin, voxel, shape, start, spacing, shift, shift_origin, cell, inverse_scale):
    """Template labels, nearest, on a regular grid of the person's frame."""
    nz, ny, nx = labels.shape
    out = np.zeros(shape, np.uint8)
    move = np.empty(3, np.float32)
    for k in range(shape[0]):
        z = start[2] + spacing * k
        for j in range(shape[1]):
            y = start[1] + spacing * j
            for i in range(shape[2]):
                x = start[0] + spacing * i
                trilinear(
                    shift,
                    (x - shift_origin[0]) / cell,
                    (y - shift_origin[1]) / cell,
                    (z - shift_origin[2]) / cell,
                    move,
                )
                a = round(((x + move[0]) * inverse_scale[0] - origin[0]) / voxel)
                b = round(((y + move[1]) * inverse_scale[1] - origin[1]) / voxel)
                c = round(((z + move[2]) * inverse_scale[2] - origin[2]) / voxel)
                if 0 <= a < nx and 0 <= b < ny:
                    out[k, j, i] = labels[min(max(c, 0), nz - 1), b, a]
    return out


@njit(cache=True)
def cell_means(labels, tables, fine):
    """Mean of each table (tables, labels) over the labels of each coarse cell, (tables, z, y, x)."""
    nz, ny, nx = labels.shape[0] // fine, labels.shape[1] // fine, labels.shape[2] // fine
    out = np.zeros((len(tables), nz, ny, nx))
    for k in range(labels.shape[0]):
        for j in range(labels.shape[1]):
            for i in range(labels.shape[2]):
                for t in range(len(tables)):
                    out[t, k // fine, j // fine, i // fine] += tables[t, labels[k, j, i]]
    return out / fine**3
