"""The coarse grid on which deformations live, and lookups on it."""

from dataclasses import dataclass

import numpy as np

from mskdex.compute.kernels import kernel


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


@kernel
def _mean(field, k, j, i, c, fz, fy, fx):
    a0 = field[k, j, i, c] + fx * (field[k, j, i + 1, c] - field[k, j, i, c])
    a1 = field[k, j + 1, i, c] + fx * (field[k, j + 1, i + 1, c] - field[k, j + 1, i, c])
    b0 = field[k + 1, j, i, c] + fx * (field[k + 1, j, i + 1, c] - field[k + 1, j, i, c])
    b1 = field[k + 1, j + 1, i, c] + fx * (field[k + 1, j + 1, i + 1, c] - field[k + 1, j + 1, i, c])
    a0 += fy * (a1 - a0)
    b0 += fy * (b1 - b0)
    return a0 + fz * (b0 - a0)


@kernel
def trilinear(field, x, y, z):
    """The vector of a field (z, y, x, 3) at the index (x, y, z), held at the edges."""
    nz, ny, nx = field.shape[:3]
    x = min(max(x, 0.0), nx - 1.001)
    y = min(max(y, 0.0), ny - 1.001)
    z = min(max(z, 0.0), nz - 1.001)
    i, j, k = int(x), int(y), int(z)
    fx, fy, fz = np.float32(x - i), np.float32(y - j), np.float32(z - k)
    u = _mean(field, k, j, i, 0, fz, fy, fx)
    v = _mean(field, k, j, i, 1, fz, fy, fx)
    w = _mean(field, k, j, i, 2, fz, fy, fx)
    return u, v, w


@kernel
def interpolate(field, origin, cell, points, out):
    """Sets `out` (n, C) to a field (z, y, x, C) on a grid at points (n, 3) in mm, held at the edges."""
    nz, ny, nx = field.shape[:3]
    for n in range(len(points)):
        x = min(max((points[n, 0] - origin[0]) / cell, 0.0), nx - 1.001)
        y = min(max((points[n, 1] - origin[1]) / cell, 0.0), ny - 1.001)
        z = min(max((points[n, 2] - origin[2]) / cell, 0.0), nz - 1.001)
        i, j, k = int(x), int(y), int(z)
        fx, fy, fz = np.float32(x - i), np.float32(y - j), np.float32(z - k)
        for c in range(field.shape[3]):
            out[n, c] = _mean(field, k, j, i, c, fz, fy, fx)


def sample(field: np.ndarray, grid: Grid, points_mm: np.ndarray) -> np.ndarray:
    """A field (z, y, x, C) at points (…, 3) in mm, float32 (…, C), held at the edges of the grid."""
    flat = np.ascontiguousarray(points_mm, dtype=np.float32).reshape(-1, 3)
    out = np.empty((len(flat), field.shape[-1]), np.float32)
    interpolate(np.ascontiguousarray(field), grid.origin_mm, grid.cell_mm, flat, out)
    return out.reshape(*points_mm.shape[:-1], field.shape[-1])
