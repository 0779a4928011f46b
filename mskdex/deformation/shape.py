"""A person's shape: the template scaled to the skeleton, then grown tissue by tissue to the wanted volumes."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy.ndimage import zoom

from mskdex.compute.kernels import kernel
from mskdex.deformation.coarse_grid import Grid, sample
from mskdex.deformation.flow import LEAST_MOBILITY, MOBILITY, displacement
from mskdex.deformation.template import Template, Tissue, label_counts

_LEAST_STEPS, _MOST_STEPS, _GROWTH_OF_STEP = 4, 7, 0.25
"""Steps of a growth, as many as the muscle that changes most needs by log volume; three more if one is not there."""
_MOST_REMAINING, _CORRECTIONS = 0.02, 3
CELL_MM = 8.0
"""Size of the cells on which people grow."""
_RIDGE = 0.003
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

    @cached_property
    def labels(self) -> np.ndarray:
        """Nearest labels of the person on twice as fine a grid as `grid`, uint8."""
        return fine_labels(self.template, self.shift, self.grid, self.scale)

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
    bend: Callable[[np.ndarray], np.ndarray] | None = None,
    cell_mm: float = CELL_MM,
) -> Shape:
    """Scales the template, bends it a little, and grows its tissues.

    Args:
        template: the body to start from.
        scale: factors along x, y, z.
        volumes_cm3: wanted volume of each label that is to change, within the template's own height. Bones keep theirs.
        box_mm: corners (x, y, z) of the person's box.
        draw: source of the bending, which makes the two sides and no two persons alike.
        warp_mm: its size, SD.
        bend: displacement (…, 3) in mm from the person's points (…, 3) to the scaled template, besides.
        cell_mm: size of the cells of the growth; time goes with its inverse cube.
    """
    grid = Grid.around(*box_mm, cell_mm)
    shift = _warp(grid, draw, warp_mm)
    if bend is not None:
        shift = shift + bend(grid.points())
    shape = Shape(template, np.asarray(scale, float), grid, shift)
    mobility_of = np.array([MOBILITY[t] for t in template.tissues])
    is_bone = (template.tissues == Tissue.BONE).astype(float)
    pressure = np.zeros(grid.shape)
    points = grid.points()
    counted = _within_template(template, shape.scale, grid)
    step, steps = 0, _LEAST_STEPS
    while step < steps + _CORRECTIONS:
        labels = shape.labels
        now = label_counts(labels[counted])[: len(template.names)] * (cell_mm / FINE) ** 3 / 1000.0
        if step == 0:
            wanted = now * is_bone
            wanted[list(volumes_cm3)] = list(volumes_cm3.values())
            muscles = (template.tissues == Tissue.MUSCLE) & (now > 1.0) & (wanted > 0)
            far = float(np.abs(np.log(wanted[muscles] / now[muscles])).max(initial=0.0))
            steps = int(np.clip(np.ceil(far / _GROWTH_OF_STEP), _LEAST_STEPS, _MOST_STEPS))
        left = np.log(wanted[muscles] / np.maximum(now[muscles], 1e-9))  # of a muscle that was lost: far from done
        if step >= steps and np.abs(left).max(initial=0.0) < _MOST_REMAINING:
            break
        aim = now * (wanted / np.maximum(now, 1e-9)) ** (1.0 / max(steps - step, 1))
        asked = rates(labels, aim, now, 0.3)
        rate, mobility, bone = cell_means(labels, np.stack([asked, mobility_of, is_bone]))
        mobility = np.maximum(mobility * (1.0 - bone) ** 2, LEAST_MOBILITY)
        move = displacement(rate, mobility, cell_mm, pressure)
        shape = Shape(template, shape.scale, grid, sample(shape.shift, grid, points - move) - move)
        step += 1
    return shape


def rates(labels: np.ndarray, wanted: np.ndarray, now: np.ndarray, most: float) -> np.ndarray:
    """Growth that each label is asked for, so that it comes from its volume `now` to the one `wanted`.

    A cell at a border holds several labels and grows as a whole, by the mean of what they are asked for. With s the
    share of label i in cell c, label i grows by the mean of Σ_j s_cj a_j over its own part of the cells, and the a
    that give the wanted growth solve a linear system: sᵀs a = diag(sᵀ1) growth.

    Args:
        labels: uint8, FINE³ a cell.
        wanted: (labels,) volumes; 0 where a label is free, and is asked for nothing.
        now: (labels,) volumes.
        most: largest growth or shrinkage.
    """
    shared = np.zeros((len(wanted), len(wanted)))
    _add_shared(labels, np.empty(FINE**3, np.int64), shared)
    size = shared.sum(axis=1)
    known = np.flatnonzero((wanted > 0) & (now > 0) & (size > 0))
    growth = np.clip(np.log(wanted[known] / now[known]), -most, most)
    asked = np.zeros(len(wanted))
    system = shared[np.ix_(known, known)] + np.diag(_RIDGE * size[known])
    asked[known] = np.clip(np.linalg.solve(system, (1.0 + _RIDGE) * size[known] * growth), -2.0 * most, 2.0 * most)
    return asked


@kernel
def _add_shared(labels, here, out):
    """Adds, for each pair of labels, the sum over the cells of the product of their shares; `here` is scratch."""
    for k in range(0, labels.shape[0], FINE):
        for j in range(0, labels.shape[1], FINE):
            for i in range(0, labels.shape[2], FINE):
                alike = 1
                for n in range(FINE**3):
                    here[n] = labels[k + n // FINE**2, j + n // FINE % FINE, i + n % FINE]
                    alike *= int(here[n] == here[0])
                if alike:
                    out[here[0], here[0]] += 1.0
                    continue
                for m in range(FINE**3):
                    for n in range(FINE**3):
                        out[here[m], here[n]] += 1.0 / FINE**6


def _warp(grid: Grid, draw: np.random.Generator, warp_mm: float) -> np.ndarray:
    """A smooth random displacement, float32 (z, y, x, 3), standard deviation `warp_mm`."""
    size = [max(4, round(n * grid.cell_mm / WARP_LENGTH_MM) + 3) for n in grid.shape]
    nodes = draw.normal(size=(*size, 3))
    # A spline in three directions is a product of three, each a matrix.
    along = [zoom(np.eye(m), (n / m, 1), order=3, mode="nearest") for n, m in zip(grid.shape, size, strict=True)]
    smooth = np.einsum("kc,jb,ia,cbad->kjid", *along, nodes, optimize=True)
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
    out = np.zeros(tuple(n * FINE for n in grid.shape), np.uint8)
    row = np.empty((grid.shape[2], 3), np.float32)
    to_template = template.index_from(scale)
    nearest_labels(template.labels, to_template, grid.origin_mm, grid.cell_mm, np.ascontiguousarray(shift), row, out)
    return out


@kernel
def nearest_labels(labels, to_template, origin, cell, shift, row, out):
    """Sets `out` to the template's labels, nearest, on FINE times as fine a grid as that of `shift`.

    Args:
        labels: template, uint8 (z, y, x).
        to_template: (2, 3), factor and offset from a scaled point (x, y, z) to the template's index.
        origin, cell: of the grid. shift: (z, y, x, 3).
        row: (x, 3), scratch.
        out: uint8, FINE times the shape of the grid.
    """
    nz, ny, nx = labels.shape
    rows, columns, width = shift.shape[0], shift.shape[1], shift.shape[2]
    for k in range(out.shape[0]):
        at = (k + 0.5) / FINE - 0.5
        z, w = origin[2] + cell * at, min(max(at, 0.0), rows - 1.001)
        c = int(w)
        fz = np.float32(w - c)
        for j in range(out.shape[1]):
            at = (j + 0.5) / FINE - 0.5
            y, w = origin[1] + cell * at, min(max(at, 0.0), columns - 1.001)
            b = int(w)
            fy = np.float32(w - b)
            for i in range(width):
                for d in range(3):
                    low = shift[c, b, i, d] + fy * (shift[c, b + 1, i, d] - shift[c, b, i, d])
                    high = shift[c + 1, b, i, d] + fy * (shift[c + 1, b + 1, i, d] - shift[c + 1, b, i, d])
                    row[i, d] = low + fz * (high - low)
            for i in range(out.shape[2]):
                at = (i + 0.5) / FINE - 0.5
                x, w = origin[0] + cell * at, min(max(at, 0.0), width - 1.001)
                a = int(w)
                fx = np.float32(w - a)
                x += row[a, 0] + fx * (row[a + 1, 0] - row[a, 0])
                p = int(np.rint(x * to_template[0, 0] + to_template[1, 0]))
                q = int(
                    np.rint((y + row[a, 1] + fx * (row[a + 1, 1] - row[a, 1])) * to_template[0, 1] + to_template[1, 1])
                )
                r = int(
                    np.rint((z + row[a, 2] + fx * (row[a + 1, 2] - row[a, 2])) * to_template[0, 2] + to_template[1, 2])
                )
                if 0 <= p < nx and 0 <= q < ny:
                    out[k, j, i] = labels[min(max(r, 0), nz - 1), q, p]


def cell_means(labels: np.ndarray, tables: np.ndarray) -> np.ndarray:
    """Mean of each table (tables, labels) over the FINE³ labels of each coarse cell, (tables, z, y, x)."""
    out = np.zeros((len(tables), *(n // FINE for n in labels.shape)))
    _add_cells(labels, np.ascontiguousarray(tables, dtype=np.float64) / FINE**3, out)
    return out


@kernel
def _add_cells(labels, tables, out):
    for k in range(labels.shape[0]):
        for j in range(labels.shape[1]):
            for i in range(labels.shape[2]):
                for t in range(len(tables)):
                    out[t, k // FINE, j // FINE, i // FINE] += tables[t, labels[k, j, i]]
