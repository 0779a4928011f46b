"""Growth as a flow: tissue swells or shrinks, what surrounds it makes room, bone stays as it is.

The displacement u of a small step obeys div u = rate, u = m ∇p: the flow of an incompressible medium through
tissues of mobility m, with sources where tissue grows. Bone has next to no mobility, so it hardly moves or deforms;
air is very mobile, so that the skin gives way; muscle and fat lie between. An elastic model would need three unknowns
per cell, many times the time, and moduli that nobody knows.
"""

import numpy as np
from numba import njit

from mskdex.virtual.template import Tissue

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
    _conjugate_gradients(rate * cell_mm**2, mobility, pressure, tolerance, 400)
    return _gradient(pressure, mobility, cell_mm)


@njit(cache=True, fastmath=True)
def _face(a, b):
    return 2.0 * a * b / (a + b) if a + b > 0.0 else 0.0


@njit(cache=True, fastmath=True)
def _faces(m, faces, diagonal):
    nz, ny, nx = m.shape
    for k in range(nz):
        for j in range(ny):
            for i in range(nx):
                here = m[k, j, i]
                faces[0, k, j, i] = _face(here, m[k, j, i + 1]) if i + 1 < nx else 2.0 * here
                faces[1, k, j, i] = _face(here, m[k, j + 1, i]) if j + 1 < ny else 2.0 * here
                faces[2, k, j, i] = _face(here, m[k + 1, j, i]) if k + 1 < nz else 0.0
    for k in range(nz):
        for j in range(ny):
            for i in range(nx):
                total = faces[0, k, j, i] + faces[1, k, j, i] + faces[2, k, j, i]
                total += faces[0, k, j, i - 1] if i > 0 else 2.0 * m[k, j, i]
                total += faces[1, k, j - 1, i] if j > 0 else 2.0 * m[k, j, i]
                total += faces[2, k - 1, j, i] if k > 0 else 0.0
                diagonal[k, j, i] = total


@njit(cache=True, fastmath=True)
def _apply(faces, diagonal, p, out):
    nz, ny, nx = p.shape
    for k in range(nz):
        for j in range(ny):
            for i in range(nx):
                value = diagonal[k, j, i] * p[k, j, i]
                if i + 1 < nx:
                    value -= faces[0, k, j, i] * p[k, j, i + 1]
                if i > 0:
                    value -= faces[0, k, j, i - 1] * p[k, j, i - 1]
                if j + 1 < ny:
                    value -= faces[1, k, j, i] * p[k, j + 1, i]
                if j > 0:
                    value -= faces[1, k, j - 1, i] * p[k, j - 1, i]
                if k + 1 < nz:
                    value -= faces[2, k, j, i] * p[k + 1, j, i]
                if k > 0:
                    value -= faces[2, k - 1, j, i] * p[k - 1, j, i]
                out[k, j, i] = value


@njit(cache=True, fastmath=True)
def _conjugate_gradients(source, m, p, tolerance, most):
    """Solves div(m ∇p) = source / h², with the diagonal as the preconditioner."""
    faces = np.empty((3, *m.shape))
    diagonal = np.empty(m.shape)
    _faces(m, faces, diagonal)
    product = np.empty(m.shape)
    _apply(faces, diagonal, p, product)
    inverse, residual = np.empty(m.size), np.empty(m.size)
    x, s, d, a = p.ravel(), source.ravel(), diagonal.ravel(), product.ravel()
    first, rho = 0.0, 0.0
    for n in range(m.size):
        inverse[n] = 1.0 / d[n] if d[n] > 1e-9 else 0.0
        residual[n] = (-s[n] - a[n]) if d[n] > 1e-9 else 0.0
        first += s[n] * s[n] * inverse[n]
        rho += residual[n] * residual[n] * inverse[n]
    direction = residual * inverse
    for _ in range(most):
        if rho <= tolerance * tolerance * first:
            break
        _apply(faces, diagonal, direction.reshape(m.shape), product)
        curvature = 0.0
        for n in range(m.size):
            curvature += direction[n] * a[n]
        step = rho / curvature
        after = 0.0
        for n in range(m.size):
            x[n] += step * direction[n]
            residual[n] -= step * a[n]
            after += residual[n] * residual[n] * inverse[n]
        for n in range(m.size):
            direction[n] = residual[n] * inverse[n] + after / rho * direction[n]
        rho = after


@njit(cache=True, fastmath=True)
def _gradient(p, m, cell):
    nz, ny, nx = p.shape
    out = np.empty((nz, ny, nx, 3), np.float32)
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
    return out
