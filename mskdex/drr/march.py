"""CPU kernel: the trilinear march that adds every object's quantities in one pass."""

import numpy as np

from mskdex.compute.kernels import kernel
from mskdex.drr.skipping import BLOCK, TILE, skipped_samples, span
from mskdex.quantities import HU_MIN

LANES = 4
"""Quantities per pass: one SIMD register of float32."""

_ONE = np.float32(1)
"""Kernels that mix float32 with integers compute in double precision."""


@kernel
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


@kernel
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


@kernel
def _at_border(hu, labels, lookup, table, line, seen, column, z, y, x, fz, fy, fx, weight):
    """Adds a cell that reaches out of the volume: each corner to its own object; corners outside hold nothing."""
    nz, ny, nx = labels.shape
    for a in range(max(0, -z), min(2, nz - z)):
        wz = weight * (fz if a else _ONE - fz)
        for b in range(max(0, -y), min(2, ny - y)):
            wy = wz * (fy if b else _ONE - fy)
            for c in range(max(0, -x), min(2, nx - x)):
                owner = lookup[labels[z + a, y + b, x + c]]
                if owner >= 0:
                    w = wy * (fx if c else _ONE - fx)
                    entry = np.int64(hu[z + a, y + b, x + c]) - HU_MIN
                    seen[owner] = 1
                    line[owner, column, 0] += w * table[entry, 0]
                    line[owner, column, 1] += w * table[entry, 1]
                    line[owner, column, 2] += w * table[entry, 2]
                    line[owner, column, 3] += w * table[entry, 3]


@kernel
def write_row(line, seen, images, row):
    """Writes what a row's rays gathered in `line` (objects, columns, 4) of the objects `seen`, and clears both.

    Rows of objects that no ray met are left alone: images are zero, and untouched pages of theirs cost nothing.
    """
    quantities, objects, columns = images.shape[0], images.shape[1], images.shape[3]
    for o in range(objects):
        if seen[o]:
            for q in range(quantities):
                for column in range(columns):
                    images[q, o, row, column] = line[o, column, q]
            line[o] = 0
            seen[o] = 0


@kernel
def _gather(line, seen, owner, column, s0, s1, s2, s3):
    seen[owner] = 1
    line[owner, column, 0] += s0
    line[owner, column, 1] += s1
    line[owner, column, 2] += s2
    line[owner, column, 3] += s3


@kernel
def march(
    hu,
    labels,
    cells,
    blocks,
    lookup,
    table,
    box,
    coefficients,
    slope,
    weight,
    step,
    reach,
    sub,
    images,
    line,
    seen,
    start,
    stop,
):
    """Fills rows start … stop of `images` (up to 4 quantities, objects, rows, columns) float32, zero before.

    Args:
        hu: (z, y, x) int16 within HU_MIN … HU_MAX. labels: (z, y, x) uint8.
        cells, blocks: of `grid`. lookup: (256,) int16, object of a label, -1 mixed, -2 none.
        table: (HU range, 4) float32.
        box: (2, 3) float64, cell coordinates (x, y, z) that hold every object.
        coefficients, slope: of `geometry.Rays`. weight: its weight, and 1 if the weight takes the obliquity.
        step: mm of depth.
        reach: (tile rows, tile columns, 2) float64, of `grid.tile_depths`.
        sub: rays per pixel edge.
        line: (objects, columns, 4) float32 and seen: (objects,) uint8, scratch, zero before and after.
    """
    columns = images.shape[3]
    nz, ny, nx = np.uint32(hu.shape[0]), np.uint32(hu.shape[1]), np.uint32(hu.shape[2])
    for row in range(start, stop):
        for column in range(columns):
            nearest, farthest = reach[row // TILE, column // TILE, 0], reach[row // TILE, column // TILE, 1]
            if nearest > farthest:
                continue
            for part in range(sub * sub):
                r = row + (part // sub + 0.5) / sub - 0.5
                c = column + (part % sub + 0.5) / sub - 0.5
                x0, y0, z0, gx, gy, gz, depth0, count, obliquity = enter(coefficients, slope, r, c, 2.0, box, step)
                k = max(int(np.ceil((nearest - depth0) / step)), 0)
                count = min(count, int(np.floor((farthest - depth0) / step)))
                if count < k:
                    continue
                x0, y0, z0, depth0 = np.float32(x0), np.float32(y0), np.float32(z0), np.float32(depth0)
                gx, gy, gz, gd = np.float32(gx), np.float32(gy), np.float32(gz), np.float32(step)
                scale = (obliquity if weight[2] > 0 else 1.0) / (sub * sub)
                w_constant, w_quadratic = np.float32(weight[0] * scale), np.float32(weight[1] * scale)
                current = np.int16(-1)
                s0, s1, s2, s3 = np.float32(0), np.float32(0), np.float32(0), np.float32(0)
                while k <= count:
                    f = np.float32(k)
                    x, y, z = x0 + f * gx, y0 + f * gy, z0 + f * gz
                    i, j, n = np.uint32(x), np.uint32(y), np.uint32(z)
                    owner = lookup[cells[n, j, i]]
                    if owner == -2:
                        distance = blocks[n // BLOCK, j // BLOCK, i // BLOCK]
                        k += skipped_samples(x, y, z, gx, gy, gz, np.float32(distance)) if distance > 0 else 1
                        continue
                    k += 1
                    depth = depth0 + f * gd
                    w = w_constant + w_quadratic * depth * depth
                    fx, fy, fz = x - np.float32(i), y - np.float32(j), z - np.float32(n)
                    if owner == -1 and not (2 <= n < nz and 2 <= j < ny and 2 <= i < nx):
                        _at_border(
                            hu,
                            labels,
                            lookup,
                            table,
                            line,
                            seen,
                            column,
                            np.int64(n) - 2,
                            np.int64(j) - 2,
                            np.int64(i) - 2,
                            fz,
                            fy,
                            fx,
                            w,
                        )
                        continue
                    i, j, n = i - np.uint32(2), j - np.uint32(2), n - np.uint32(2)
                    if owner == -1:
                        for a in range(2):
                            wz = w * (fz if a else _ONE - fz)
                            for b in range(2):
                                wy = wz * (fy if b else _ONE - fy)
                                near = hu[n + np.uint32(a), j + np.uint32(b)]
                                names = labels[n + np.uint32(a), j + np.uint32(b)]
                                for c in range(2):
                                    owner = lookup[names[i + np.uint32(c)]]
                                    if owner >= 0 and owner != current:
                                        if current >= 0:
                                            _gather(line, seen, current, column, s0, s1, s2, s3)
                                        current = owner
                                        s0, s1, s2, s3 = np.float32(0), np.float32(0), np.float32(0), np.float32(0)
                                    w1 = wy * (fx if c else _ONE - fx) if owner >= 0 else np.float32(0)
                                    e = np.uint32(np.int32(near[i + np.uint32(c)]) - HU_MIN)
                                    s0 += w1 * table[e, 0]
                                    s1 += w1 * table[e, 1]
                                    s2 += w1 * table[e, 2]
                                    s3 += w1 * table[e, 3]
                        continue
                    if owner != current:
                        if current >= 0:
                            _gather(line, seen, current, column, s0, s1, s2, s3)
                        current = owner
                        s0, s1, s2, s3 = np.float32(0), np.float32(0), np.float32(0), np.float32(0)
                    for a in range(2):
                        wz = w * (fz if a else _ONE - fz)
                        for b in range(2):
                            wy = wz * (fy if b else _ONE - fy)
                            w1 = wy * fx
                            w0 = wy - w1
                            near = hu[n + np.uint32(a), j + np.uint32(b)]
                            e0 = np.uint32(np.int32(near[i]) - HU_MIN)
                            e1 = np.uint32(np.int32(near[i + np.uint32(1)]) - HU_MIN)
                            s0 += w0 * table[e0, 0] + w1 * table[e1, 0]
                            s1 += w0 * table[e0, 1] + w1 * table[e1, 1]
                            s2 += w0 * table[e0, 2] + w1 * table[e1, 2]
                            s3 += w0 * table[e0, 3] + w1 * table[e1, 3]
                if current >= 0:
                    _gather(line, seen, current, column, s0, s1, s2, s3)
        write_row(line, seen, images, row)
