"""The coarse grid on which deformations live, and lookups on it."""

from dataclasses import dataclass

import numpy as np
from numba import njit


@dataclass(frozen=True)
class Grid:
    """A regular grid along the axes of its frame.

    Attributes:
        shape: (z, y, x).
        origin_mm: centre of cell (0, 0, 0), as (x, y, z).
        cell_mm: size of a cell, isotropic.
    """

    shape: tuple[int, int, int]
    origin_mm: np.ndarray
    cell_mm: float

    @classmethod
    def around(cls, low_mm: np.ndarray, high_mm: np.ndarray, cell_mm: float) -> "Grid":
        """The grid that covers the box from `low_mm` to `high_mm` (x, y, z)."""
        low, high = np.asarray(low_mm, float), np.asarray(high_mm, float)
        count = np.maximum(np.ceil((high - low) / cell_mm).astype(int), 3)
        origin = (low + high) / 2.0 - (count - 1) * cell_mm / 2.0
        nx, ny, nz = (int(n) for n in count)
        return cls((nz, ny, nx), origin, float(cell_mm))

    @property
    def world_from_voxel(self) -> np.ndarray:
        """4×4, index (i, j, k, 1), i along x, to mm."""
        affine = np.diag([self.cell_mm] * 3 + [1.0])
        affine[:3, 3] = self.origin_mm
        return affine

    def points(self) -> np.ndarray:
        """Centres of the cells, float32 (z, y, x, 3)."""
        axes = [self.origin_mm[d] + self.cell_mm * np.arange(self.shape[2 - d]) for d in range(3)]
        z, y, x = np.meshgrid(axes[2], axes[1], axes[0], indexing="ij")
        return np.stack([x, y, z], axis=-1).astype(np.float32)


@njit(cache=True, fastmath=True)
def trilinear(field, x, y, z, out):
    """Sets `out` to the vector field (z, y, x, 3) at the index (x, y, z), held at the edges."""
    nz, ny, nx = field.shape[:3]
    x = min(max(x, 0.0), nx - 1.001)
    y = min(max(y, 0.0), ny - 1.001)
    z = min(max(z, 0.0), nz - 1.001)
    i, j, k = int(x), int(y), int(z)
    fx, fy, fz = np.float32(x - i), np.float32(y - j), np.float32(z - k)
    gx, gy, gz = 1 - fx, 1 - fy, 1 - fz
    for c in range(field.shape[3]):
        low = (field[k, j, i, c] * gx + field[k, j, i + 1, c] * fx) * gy
        low += (field[k, j + 1, i, c] * gx + field[k, j + 1, i + 1, c] * fx) * fy
        high = (field[k + 1, j, i, c] * gx + field[k + 1, j, i + 1, c] * fx) * gy
        high += (field[k + 1, j + 1, i, c] * gx + field[k + 1, j + 1, i + 1, c] * fx) * fy
        out[c] = low * gz + high * fz


@njit(cache=True, fastmath=True)
def interpolate(field, origin, cell, points):
    """Values (n, C) of a field on a grid at points (n, 3) in mm, held at the edges."""
    out = np.empty((len(points), field.shape[3]), np.float32)
    value = np.empty(field.shape[3], np.float32)
    for n in range(len(points)):
        x = (points[n, 0] - origin[0]) / cell
        y = (points[n, 1] - origin[1]) / cell
        z = (points[n, 2] - origin[2]) / cell
        trilinear(field, x, y, z, value)
        for c in range(field.shape[3]):
            out[n, c] = value[c]
    return out


def sample(field: np.ndarray, grid: Grid, points_mm: np.ndarray) -> np.ndarray:
    """A field (z, y, x, C) at points (…, 3) in mm, float32 (…, C), held at the edges of the grid."""
    flat = np.ascontiguousarray(points_mm, dtype=np.float32).reshape(-1, 3)
    return interpolate(field, grid.origin_mm, grid.cell_mm, flat).reshape(*points_mm.shape[:-1], field.shape[-1])
