"""CPU kernel: the trilinear march that adds every object's quantities in one pass."""

import numba
import numpy as np

from mskdex.imaging.quantities import HU_MIN
from mskdex.projection.grid import BLOCK, span
from mskdex.projection.jit import inner, kernel

LANES = 4
"""Quantities per pass: one SIMD register of float32."""


@inner()
def ray(coefficients, slope, row, column):
    """Origin and direction per mm of depth (voxel coordinates) and obliquity of the ray of a pixel."""
    ox = coefficients[0, 0] + coefficients[1, 0] * row + coefficients[2, 0] * column
    oy = coefficients[0, 1] + coefficients[1, 1] * row + coefficients[2, 1] * column
    oz = coefficients[0, 2] + coefficients[1, 2] * row + coefficients[2, 2] * column
    dx = coefficients[3, 0] + coefficients[4, 0] * row + coefficients[5, 0] * column
    dy = coefficients[3, 1] + coefficients[4, 1] * row + coefficients[5, 1] * column
    dz = coefficients[3, 2] + coefficients[4, 2] * row + coefficients[5, 2] * column
    sx = slope[0, 0] + slope[1, 0] * column
    sy = slope[0, 1] + slope[1, 1] * row
    return ox, oy, oz, dx, dy, dz, np.sqrt(1.0 + sx * sx + sy * sy)


@inner()
def _mixed(hu, labels, lookup, table, sums, z, y, x, fz, fy, fx, weight):
    """Adds a cell whose corners differ: each corner to its own object; corners outside the volume hold nothing."""
    nz, ny, nx = labels.shape
    for corner in range(8):
        a, b, c = corner >> 2, (corner >> 1) & 1, corner & 1
        zz, yy, xx = z + a, y + b, x + c
        if 0 <= zz < nz and 0 <= yy < ny and 0 <= xx < nx:
            owner = lookup[labels[zz, yy, xx]]
            if owner >= 0:
                w = weight * (fz if a else 1 - fz) * (fy if b else 1 - fy) * (fx if c else 1 - fx)
                entry = hu[zz, yy, xx] - HU_MIN
                for q in range(LANES):
                    sums[owner, q] += w * table[entry, q]


@kernel()
def march(hu, labels, cells, blocks, lookup, table, order, box, coefficients, slope, weight, oblique, step, images):
    """Adds the march to `images` (objects, rows, columns, 4) float32.

    Args:
        hu: (z, y, x) int16 within HU_MIN … HU_MAX. labels: (z, y, x) uint8.
        cells, blocks: of `grid`. lookup: (256,) int16, object of a label, -1 mixed, -2 none.
        table: (HU range, 4) float32. order: rows in the order of work.
        box: (2, 3) float64, cell coordinates (x, y, z) that hold every object.
        coefficients, slope, weight, oblique, step: of `geometry.Rays`.
    """
    columns = images.shape[2]
    for index in numba.prange(order.size):
        row = order[index]
        sums = np.zeros((images.shape[0], LANES), np.float32)
        for column in range(columns):
            ox, oy, oz, dx, dy, dz, obliquity = ray(coefficients, slope, row, column)
            first, last = span(ox + 2.0, dx * step, box[0, 0], box[1, 0], 0, 1 << 30)
            first, last = span(oy + 2.0, dy * step, box[0, 1], box[1, 1], first, last)
            first, last = span(oz + 2.0, dz * step, box[0, 2], box[1, 2], first, last)
            if first > last:
                continue
            z_first = first * step
            x0, y0, z0 = (
                np.float32(ox + 2.0 + dx * z_first),
                np.float32(oy + 2.0 + dy * z_first),
                np.float32(oz + 2.0 + dz * z_first),
            )
            gx, gy, gz = np.float32(dx * step), np.float32(dy * step), np.float32(dz * step)
            scale = obliquity if oblique else 1.0
            w_constant, w_quadratic = np.float32(weight[0] * scale), np.float32(weight[1] * scale)
            reach = np.float32(BLOCK) / max(max(abs(gx), abs(gy)), max(abs(gz), np.float32(1e-6)))
            sums[:] = 0
            current = -1
            s0, s1, s2, s3 = np.float32(0), np.float32(0), np.float32(0), np.float32(0)
            k = 0
            count = last - first
            while k <= count:
                f = np.float32(k)
                x, y, z = x0 + f * gx, y0 + f * gy, z0 + f * gz
                i, j, n = int(x), int(y), int(z)
                owner = lookup[cells[n, j, i]]
                if owner == -2:
                    distance = blocks[n // BLOCK, j // BLOCK, i // BLOCK]
                    k += 1 if distance < 2 else max(1, int((distance - 1) * reach))
                    continue
                depth = np.float32(z_first) + f * np.float32(step)
                w = w_constant + w_quadratic * depth * depth
                fx, fy, fz = x - np.float32(i), y - np.float32(j), z - np.float32(n)
                i, j, n = i - 2, j - 2, n - 2
                k += 1
                if owner == -1:
                    _mixed(hu, labels, lookup, table, sums, n, j, i, fz, fy, fx, w)
                    continue
                if owner != current:
                    if current >= 0:
                        sums[current, 0] += s0
                        sums[current, 1] += s1
                        sums[current, 2] += s2
                        sums[current, 3] += s3
                    current = owner
                    s0, s1, s2, s3 = np.float32(0), np.float32(0), np.float32(0), np.float32(0)
                for a in range(2):
                    wz = w * (fz if a else 1 - fz)
                    for b in range(2):
                        wy = wz * (fy if b else 1 - fy)
                        w1 = wy * fx
                        w0 = wy - w1
                        e0 = hu[n + a, j + b, i] - HU_MIN
                        e1 = hu[n + a, j + b, i + 1] - HU_MIN
                        s0 += w0 * table[e0, 0] + w1 * table[e1, 0]
                        s1 += w0 * table[e0, 1] + w1 * table[e1, 1]
                        s2 += w0 * table[e0, 2] + w1 * table[e1, 2]
                        s3 += w0 * table[e0, 3] + w1 * table[e1, 3]
            if current >= 0:
                sums[current, 0] += s0
                sums[current, 1] += s1
                sums[current, 2] += s2
                sums[current, 3] += s3
            for o in range(images.shape[0]):
                for q in range(LANES):
                    images[o, row, column, q] += sums[o, q]
