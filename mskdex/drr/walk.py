"""CPU kernel: the exact walk of every ray from voxel to voxel."""

import numpy as np

from mskdex.compute.kernels import kernel
from mskdex.drr.march import ray, write_row
from mskdex.drr.skipping import BLOCK, TILE, advance
from mskdex.quantities import HU_MIN


@kernel
def _entry(origin, direction, low, high, enter, leave):
    """Narrows the depths enter … leave to where low ≤ origin + depth · direction ≤ high."""
    if abs(direction) < 1e-12:
        if origin < low or origin >= high:
            return enter, enter - 1.0
        return enter, leave
    a, b = (low - origin) / direction, (high - origin) / direction
    return max(enter, min(a, b)), min(leave, max(a, b))


@kernel
def _next_face(place, origin, direction):
    """Depth at which the ray leaves voxel `place` along one axis, and the depth between two faces."""
    if abs(direction) < 1e-12:
        return 1e30, 1e30
    face = place + (0.5 if direction > 0 else -0.5)
    return (face - origin) / direction, abs(1.0 / direction)


@kernel
def walk(
    hu,
    labels,
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
    """Fills rows start … stop of `images` with the exact integral over voxels of constant density.

    Arguments as in `march.march`, but `box` (2, 3) is in voxel coordinates and `step` is 1.
    Source: Siddon 1985; the walk from face to face of Amanatides and Woo 1987.
    """
    columns = images.shape[3]
    for row in range(start, stop):
        for column in range(columns):
            nearest, farthest = reach[row // TILE, column // TILE, 0], reach[row // TILE, column // TILE, 1]
            if nearest > farthest:
                continue
            for part in range(sub * sub):
                r = row + (part // sub + 0.5) / sub - 0.5
                c = column + (part % sub + 0.5) / sub - 0.5
                ox, oy, oz, dx, dy, dz, obliquity = ray(coefficients, slope, r, c)
                depth, leave = _entry(ox, dx, box[0, 0], box[1, 0], max(nearest, 0.0), farthest)
                depth, leave = _entry(oy, dy, box[0, 1], box[1, 1], depth, leave)
                depth, leave = _entry(oz, dz, box[0, 2], box[1, 2], depth, leave)
                if depth >= leave:
                    continue
                scale = (obliquity if weight[2] > 0 else 1.0) * step / (sub * sub)
                w_constant, w_cubic = weight[0] * scale, weight[1] * scale / 3.0
                low_x, low_y, low_z = int(box[0, 0] + 0.5), int(box[0, 1] + 0.5), int(box[0, 2] + 0.5)
                high_x, high_y, high_z = int(box[1, 0] - 0.5), int(box[1, 1] - 0.5), int(box[1, 2] - 0.5)
                while depth < leave:
                    # Into the voxel that holds the ray just behind `depth`, at the box's face or after skipped blocks.
                    ahead = depth + 1e-7
                    i = min(max(int(np.rint(ox + dx * ahead)), low_x), high_x)
                    j = min(max(int(np.rint(oy + dy * ahead)), low_y), high_y)
                    n = min(max(int(np.rint(oz + dz * ahead)), low_z), high_z)
                    next_x, gap_x = _next_face(i, ox, dx)
                    next_y, gap_y = _next_face(j, oy, dy)
                    next_z, gap_z = _next_face(n, oz, dz)
                    while low_x <= i <= high_x and low_y <= j <= high_y and low_z <= n <= high_z:
                        end = min(min(next_x, next_y), min(next_z, leave))
                        owner = lookup[labels[n, j, i]]
                        if owner >= 0 and end > depth:
                            cubes = end * end + end * depth + depth * depth
                            w = np.float32((end - depth) * (w_constant + w_cubic * cubes))
                            entry = np.int64(hu[n, j, i]) - HU_MIN
                            seen[owner] = 1
                            line[owner, column, 0] += w * table[entry, 0]
                            line[owner, column, 1] += w * table[entry, 1]
                            line[owner, column, 2] += w * table[entry, 2]
                            line[owner, column, 3] += w * table[entry, 3]
                        depth = max(depth, end)
                        if owner < 0:
                            x, y, z = ox + dx * depth + 2.0, oy + dy * depth + 2.0, oz + dz * depth + 2.0
                            distance = blocks[int(z) // BLOCK, int(y) // BLOCK, int(x) // BLOCK]
                            if distance > 1:
                                depth += advance(x, y, z, dx, dy, dz, np.float64(distance))
                                break
                        if depth >= leave:
                            break
                        if next_x <= next_y and next_x <= next_z:
                            i += 1 if dx > 0 else -1
                            next_x += gap_x
                        elif next_y <= next_z:
                            j += 1 if dy > 0 else -1
                            next_y += gap_y
                        else:
                            n += 1 if dz > 0 else -1
                            next_z += gap_z
                    else:
                        depth = leave
        write_row(line, seen, images, row)
