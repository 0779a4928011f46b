"""CPU kernel: the trilinear march that adds every object's quantities in one pass."""

import numpy as np

from mskdex.imaging.quantities import HU_MIN
from mskdex.projection.grid import BLOCK, leap, span
from mskdex.projection.native import Kernel

LANES = 4
"""Quantities per pass: one SIMD register of float32."""


@Kernel
def ray(coefficients, slope, row, column):
    """Origin and direction per mm of depth (voxel coordinates) and obliquity of the ray of a pixel."""
    ox = coefficients[0, 0] + coefficients[1, 0] * row + coefficients[2, 0] * column
    oy = coefficients[0, 1] + coefficients[1, 1] * row + coefficients[2, 1] * column
    oz = coefficients[0, 2] + coefficients[1, 2] * row + coefficients[2, 2] * column
    dx = coefficients[3, 0] + coefficients[4, 0] * row + coefficients[5, 0] * column
    dy = coefficients[3, 1] + coefficients[4, 1] * row + coefficients[5, 1] * column
    dz = coefficients[3, 2] + coefficients[4, 2] * row + coefficients[5, 2] * column
    sx = slope[0, 0] + slope[0, 1] * row + slope[0, 2] * column
    sy = slope[1, 0] + slope[1, 1] * row + slope[1, 2] * column
    return ox, oy, oz, dx, dy, dz, np.sqrt(1.0 + sx * sx + sy * sy)


@Kernel
def enter(coefficients, slope, row, column, shift, box, step):
    """Where the samples of a pixel's ray begin inside a box (2, 3), x y z, and how they go on.

    Returns:
        First sample x, y, z (voxel coordinates plus `shift`), step in x, y, z, depth of the first sample, number
        of samples after it (negative where the ray misses the box), and obliquity; all float64.
    """
    ox, oy, oz, dx, dy, dz, obliquity = ray(coefficients, slope, row, column)
    ox, oy, oz = ox + shift, oy + shift, oz + shift
    first, last = span(ox, dx * step, box[0, 0], box[1, 0], 0, 1 << 30)
    first, last = span(oy, dy * step, box[0, 1], box[1, 1], first, last)
    first, last = span(oz, dz * step, box[0, 2], box[1, 2], first, last)
    z = first * step
    return ox + dx * z, oy + dy * z, oz + dz * z, dx * step, dy * step, dz * step, z, last - first, obliquity


@Kernel
def _mixed(hu, labels, lookup, table, sums, z, y, x, fz, fy, fx, weight):
    """Adds a cell whose corners differ: each corner to its own object; corners outside the volume hold nothing."""
    nz, ny, nx = labels.shape
    for a in range(max(0, -z), min(2, nz - z)):
        wz = weight * (fz if a else 1 - fz)
        for b in range(max(0, -y), min(2, ny - y)):
            wy = wz * (fy if b else 1 - fy)
            for c in range(max(0, -x), min(2, nx - x)):
                owner = lookup[labels[z + a, y + b, x + c]]
                if owner >= 0:
                    w = wy * (fx if c else 1 - fx)
                    entry = np.int64(hu[z + a, y + b, x + c]) - HU_MIN
                    sums[owner, 0] += w * table[entry, 0]
                    sums[owner, 1] += w * table[entry, 1]
                    sums[owner, 2] += w * table[entry, 2]
                    sums[owner, 3] += w * table[entry, 3]


@Kernel
def march(
    hu, labels, cells, blocks, lookup, table, box, coefficients, slope, weight, step, sub, images, sums, start, stop
):
    """Fills rows start … stop of `images` (up to 4 quantities, objects, rows, columns) float32.

    Args:
        hu: (z, y, x) int16 within HU_MIN … HU_MAX. labels: (z, y, x) uint8.
        cells, blocks: of `grid`. lookup: (256,) int16, object of a label, -1 mixed, -2 none.
        table: (HU range, 4) float32.
        box: (2, 3) float64, cell coordinates (x, y, z) that hold every object.
        coefficients, slope: of `geometry.Rays`. weight: its weight, and 1 if the weight takes the obliquity.
        step: mm of depth. sub: rays per pixel edge.
        sums: (objects, 4) float32, scratch.
    """
    quantities, objects, columns = images.shape[0], images.shape[1], images.shape[3]
    for row in range(start, stop):
        for column in range(columns):
            touched = False
            for part in range(sub * sub):
                r = row + (part // sub + 0.5) / sub - 0.5
                c = column + (part % sub + 0.5) / sub - 0.5
                x0, y0, z0, gx, gy, gz, depth0, count, obliquity = enter(coefficients, slope, r, c, 2.0, box, step)
                if count < 0:
                    continue
                if not touched:
                    sums[:] = 0
                    touched = True
                x0, y0, z0, depth0 = np.float32(x0), np.float32(y0), np.float32(z0), np.float32(depth0)
                gx, gy, gz, gd = np.float32(gx), np.float32(gy), np.float32(gz), np.float32(step)
                scale = (obliquity if weight[2] > 0 else 1.0) / (sub * sub)
                w_constant, w_quadratic = np.float32(weight[0] * scale), np.float32(weight[1] * scale)
                current = np.int16(-1)
                s0, s1, s2, s3 = np.float32(0), np.float32(0), np.float32(0), np.float32(0)
                k = 0
                while k <= count:
                    f = np.float32(k)
                    x, y, z = x0 + f * gx, y0 + f * gy, z0 + f * gz
                    i, j, n = np.uint32(x), np.uint32(y), np.uint32(z)
                    owner = lookup[cells[n, j, i]]
                    if owner == -2:
                        distance = blocks[n // BLOCK, j // BLOCK, i // BLOCK]
                        k += leap(x, y, z, gx, gy, gz, np.float32(distance)) if distance > 0 else 1
                        continue
                    k += 1
                    depth = depth0 + f * gd
                    w = w_constant + w_quadratic * depth * depth
                    fx, fy, fz = x - np.float32(i), y - np.float32(j), z - np.float32(n)
                    if owner == -1:
                        _mixed(
                            hu, labels, lookup, table, sums,
                            np.int64(n) - 2, np.int64(j) - 2, np.int64(i) - 2, fz, fy, fx, w,
                        )  # fmt: skip
                        continue
                    if owner != current:
                        if current >= 0:
                            sums[current, 0] += s0
                            sums[current, 1] += s1
                            sums[current, 2] += s2
                            sums[current, 3] += s3
                        current = owner
                        s0, s1, s2, s3 = np.float32(0), np.float32(0), np.float32(0), np.float32(0)
                    i, j, n = i - np.uint32(2), j - np.uint32(2), n - np.uint32(2)
                    for a in range(2):
                        wz = w * (fz if a else 1 - fz)
                        for b in range(2):
                            wy = wz * (fy if b else 1 - fy)
                            w1 = wy * fx
                            w0 = wy - w1
                            line = hu[n + np.uint32(a), j + np.uint32(b)]
                            e0 = np.uint32(np.int32(line[i]) - HU_MIN)
                            e1 = np.uint32(np.int32(line[i + np.uint32(1)]) - HU_MIN)
                            s0 += w0 * table[e0, 0] + w1 * table[e1, 0]
                            s1 += w0 * table[e0, 1] + w1 * table[e1, 1]
                            s2 += w0 * table[e0, 2] + w1 * table[e1, 2]
                            s3 += w0 * table[e0, 3] + w1 * table[e1, 3]
                if current >= 0:
                    sums[current, 0] += s0
                    sums[current, 1] += s1
                    sums[current, 2] += s2
                    sums[current, 3] += s3
            if touched:
                for q in range(quantities):
                    for o in range(objects):
                        images[q, o, row, column] = sums[o, q]
