"""Growth as a flow: tissue swells or shrinks, what surrounds it makes room, bone stays as it is.

The displacement u of a small step obeys div u = rate, u = m ∇p: the flow of an incompressible medium through
tissues of mobility m, with sources where tissue grows. Bone has next to no mobility, so it hardly moves or deforms;
air is very mobile, so that the skin gives way; muscle and fat lie between. An elastic model would need three unknowns
per cell, many times the time, and moduli that nobody knows.
"""

import numpy as np

from mskdex.compute.kernels import kernel
from mskdex.deformation.template import Tissue

MOBILITY = {
    Tissue.AIR: 4.0,
    Tissue.FAT: 1.5,
    Tissue.MUSCLE: 1.0,
    Tissue.BONE: 0.0,
    Tissue.ORGAN: 0.7,
    Tissue.SKIN: 1.0,
    Tissue.GAS: 0.7,
    Tissue.METAL: 0.0,
}
"""Relative mobility of tissues; only their order matters: skin moves rather than organs are squeezed aside."""

LEAST_MOBILITY = 0.02
"""Of a cell of bone in a body: a pocket between bones could otherwise neither swell nor shrink."""


def displacement(
    rate: np.ndarray, mobility: np.ndarray, cell_mm: float, pressure: np.ndarray, tolerance: float = 1e-3
) -> np.ndarray:
    """Displacement whose divergence is `rate`.

    Args:
        rate: (z, y, x) float64, relative growth of each cell's volume in this step.
        mobility: (z, y, x) float64; 0 is rigid.
        cell_mm: size of the cells.
        pressure: (z, y, x) float64, start of the solver; overwritten with the solution.
        tolerance: relative residual at which the solver stops.

    Returns:
        float32 (z, y, x, 3), displacement at the cell centres in mm, as (x, y, z). Nothing flows through the
        lowest and the highest slice; the other sides are open.
    """
    padded = tuple(n + 2 for n in rate.shape)
    inner = (slice(1, -1),) * 3
    work = np.zeros((7, *padded), np.float32)
    work[0][inner], work[1][inner] = pressure, rate * cell_mm**2
    rows = work.reshape(7, -1, padded[2])
    _conjugate_gradients(mobility, work, rows, np.zeros((3, *padded), np.float32), tolerance, 400)
    pressure[:] = work[0][inner]
    out = np.empty((*rate.shape, 3), np.float32)
    _gradient(pressure, mobility, cell_mm, out)
    return out


@kernel
def _face(a, b):
    return 2.0 * a * b / (a + b) if a + b > 0.0 else 0.0


@kernel
def _faces(m, faces, diagonal):
    """Conductance of the faces between cells, and the sum over each cell's six; all but `m` padded by one."""
    nz, ny, nx = m.shape
    for k in range(nz):
        for j in range(ny):
            for i in range(nx):
                here = m[k, j, i]
                if i + 1 < nx:
                    faces[0, k + 1, j + 1, i + 1] = _face(here, m[k, j, i + 1])
                if j + 1 < ny:
                    faces[1, k + 1, j + 1, i + 1] = _face(here, m[k, j + 1, i])
                if k + 1 < nz:
                    faces[2, k + 1, j + 1, i + 1] = _face(here, m[k + 1, j, i])
    for k in range(1, nz + 1):
        for j in range(1, ny + 1):
            for i in range(1, nx + 1):
                total = faces[0, k, j, i] + faces[0, k, j, i - 1] + faces[1, k, j, i] + faces[1, k, j - 1, i]
                total += faces[2, k, j, i] + faces[2, k - 1, j, i]
                outer = int(i == 1) + int(i == nx) + int(j == 1) + int(j == ny)
                diagonal[k, j, i] = total + outer * 2.0 * m[k - 1, j - 1, i - 1]


@kernel
def _along(right, diagonal, p, out):
    """A row's own cells and neighbours; it counts from 0 and takes few arrays, as only such loops become SIMD code."""
    for i in range(p.size - 2):
        out[i + 1] = diagonal[i + 1] * p[i + 1] - right[i + 1] * p[i + 2] - right[i] * p[i]


@kernel
def _across(after, p_after, before, p_before, out):
    for i in range(out.size - 2):
        out[i + 1] -= after[i + 1] * p_after[i + 1] + before[i + 1] * p_before[i + 1]


@kernel
def _inner(a, b):
    total = np.float32(0.0)
    for i in range(a.size):
        total += a[i] * b[i]
    return total


@kernel
def _apply(faces, diagonal, p, out):
    """The operator on `p`, whose padding is zero; returns p · out."""
    nz, ny, _ = p.shape
    product = 0.0
    for k in range(nz - 2):
        for j in range(ny - 2):
            here, target = p[k + 1, j + 1], out[k + 1, j + 1]
            _along(faces[0, k + 1, j + 1], diagonal[k + 1, j + 1], here, target)
            _across(faces[1, k + 1, j + 1], p[k + 1, j + 2], faces[1, k + 1, j], p[k + 1, j], target)
            _across(faces[2, k + 1, j + 1], p[k + 2, j + 1], faces[2, k, j + 1], p[k, j + 1], target)
            product += _inner(here, target)
    return product


@kernel
def _start(source, diagonal, product, direction, inverse, residual):
    """Residual, inverse diagonal and first direction; squares of source and residual."""
    first, rho = 0.0, 0.0
    for r in range(source.shape[0]):
        for n in range(source.shape[1]):
            d = diagonal[r, n]
            inverse[r, n] = np.float32(1.0) / d if d > 1e-9 else np.float32(0.0)
            residual[r, n] = -source[r, n] - product[r, n] if d > 1e-9 else np.float32(0.0)
            direction[r, n] = residual[r, n] * inverse[r, n]
            first += source[r, n] * source[r, n] * inverse[r, n]
            rho += residual[r, n] * residual[r, n] * inverse[r, n]
    return first, rho


@kernel
def _descend(p, product, direction, inverse, residual, step):
    """One step along `direction`; square of the residual, which is summed by rows, so that single precision will do."""
    total = 0.0
    for r in range(p.shape[0]):
        row = np.float32(0.0)
        for n in range(p.shape[1]):
            p[r, n] += step * direction[r, n]
            residual[r, n] -= step * product[r, n]
            row += residual[r, n] * residual[r, n] * inverse[r, n]
        total += float(row)
    return total


@kernel
def _turn(direction, inverse, residual, share):
    for r in range(direction.shape[0]):
        for n in range(direction.shape[1]):
            direction[r, n] = residual[r, n] * inverse[r, n] + share * direction[r, n]


@kernel
def _conjugate_gradients(m, work, rows, faces, tolerance, most):
    """Solves div(m ∇p) = source / h², with the diagonal as the preconditioner.

    Args:
        m: mobility (z, y, x).
        work: float32 (7, z + 2, y + 2, x + 2): p, the source, and zeros. rows: the same memory, (7, rows, x + 2).
        faces: float32 (3, z + 2, y + 2, x + 2), zeros.
        tolerance: relative residual. most: number of steps.
    """
    diagonal, product, direction = work[2], work[3], work[4]
    _faces(m, faces, diagonal)
    _apply(faces, diagonal, work[0], product)
    first, rho = _start(rows[1], rows[2], rows[3], rows[4], rows[5], rows[6])
    for _ in range(most):
        if rho <= tolerance * tolerance * first:
            break
        step = rho / _apply(faces, diagonal, direction, product)
        after = _descend(rows[0], rows[3], rows[4], rows[5], rows[6], np.float32(step))
        _turn(rows[4], rows[5], rows[6], np.float32(after / rho))
        rho = after


@kernel
def _gradient(p, m, cell, out):
    nz, ny, nx = p.shape
    for k in range(nz):
        for j in range(ny):
            for i in range(nx):
                here, mh = p[k, j, i], m[k, j, i]
                right = _face(mh, m[k, j, i + 1]) * (p[k, j, i + 1] - here) if i + 1 < nx else -2.0 * mh * here
                left = _face(mh, m[k, j, i - 1]) * (here - p[k, j, i - 1]) if i > 0 else 2.0 * mh * here
                front = _face(mh, m[k, j + 1, i]) * (p[k, j + 1, i] - here) if j + 1 < ny else -2.0 * mh * here
                back = _face(mh, m[k, j - 1, i]) * (here - p[k, j - 1, i]) if j > 0 else 2.0 * mh * here
                up = _face(mh, m[k + 1, j, i]) * (p[k + 1, j, i] - here) if k + 1 < nz else 0.0
                down = _face(mh, m[k - 1, j, i]) * (here - p[k - 1, j, i]) if k > 0 else 0.0
                out[k, j, i, 0] = 0.5 * (right + left) / cell
                out[k, j, i, 1] = 0.5 * (front + back) / cell
                out[k, j, i, 2] = 0.5 * (up + down) / cell
