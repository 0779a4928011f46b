"""What a ray may skip: cells of one label, empty blocks, and the box that holds every label."""

import numba
import numpy as np

from mskdex.projection.jit import inner, kernel

BLOCK = 8
"""Edge of a block in cells: of 4, 8 and 16 the fastest for objects of 3 to 20 cm at 1 to 3 mm voxels."""

MIXED = 255
"""Cell whose eight corners differ, or that reaches out of the volume."""


@kernel()
def classify_cells(labels, cells, low, high):
    """Fills `cells` (z, y, x; two larger than the volume and one more): the label that a cell's corners share.

    Cell (c_z, c_y, c_x) has its lowest corner at voxel (c_z - 2, c_y - 2, c_x - 2); cells that reach out of the
    volume are `MIXED`. Only the cells of the box low ≤ cell < high (z, y, x) are filled.
    """
    nz, ny, nx = labels.shape
    for cz in numba.prange(low[0], high[0]):
        z = cz - 2
        for cy in range(low[1], high[1]):
            y = cy - 2
            row = cells[cz, cy]
            if z < 0 or y < 0 or z + 1 >= nz or y + 1 >= ny:
                row[low[2] : high[2]] = MIXED
                continue
            row[:2] = MIXED
            row[nx + 1 :] = MIXED
            start, stop = max(low[2] - 2, 0), min(high[2] - 2, nx - 1)
            a, b, c, d = labels[z, y], labels[z, y + 1], labels[z + 1, y], labels[z + 1, y + 1]
            middle = row[2:]
            for x in range(start, stop):
                v = a[x]
                same = (v == b[x]) & (v == c[x]) & (v == d[x]) & (v == a[x + 1]) & (v == b[x + 1])
                same = same & (v == c[x + 1]) & (v == d[x + 1])
                middle[x] = v if same else np.uint8(MIXED)


@kernel()
def occupied_blocks(cells, lookup, blocks, low, high):
    """Sets blocks (z, y, x) uint8 to 0 where a cell may hold an object, elsewhere to 255."""
    bz, by, bx = blocks.shape
    for k in numba.prange(bz):
        for j in range(by):
            for i in range(bx):
                blocks[k, j, i] = 255
        for z in range(max(k * BLOCK, low[0]), min((k + 1) * BLOCK, high[0])):
            for y in range(low[1], high[1]):
                for x in range(low[2], high[2]):
                    if lookup[cells[z, y, x]] >= -1:
                        blocks[k, y // BLOCK, x // BLOCK] = 0


@inner()
def distance_of_blocks(blocks):
    """Turns occupied (0) and empty (255) blocks into chessboard distances to the nearest occupied one, in place."""
    nz, ny, nx = blocks.shape
    for sweep in range(2):
        sign = 1 - 2 * sweep
        for a in range(nz):
            z = a if sweep == 0 else nz - 1 - a
            for b in range(ny):
                y = b if sweep == 0 else ny - 1 - b
                for c in range(nx):
                    x = c if sweep == 0 else nx - 1 - c
                    best = np.int64(blocks[z, y, x])
                    for m in range(13):
                        zz = z - sign * (1 if m < 9 else 0)
                        yy = y + sign * ((m // 3 - 1) if m < 9 else (-1 if m < 12 else 0))
                        xx = x + sign * ((m % 3 - 1) if m < 12 else -1)
                        if 0 <= zz < nz and 0 <= yy < ny and 0 <= xx < nx:
                            best = min(best, np.int64(blocks[zz, yy, xx]) + 1)
                    blocks[z, y, x] = min(best, 254)


@inner()
def label_boxes(labels, boxes, counts):
    """Box and voxel count of each label id: boxes (256, 6) int64 as low z, y, x, high z, y, x (exclusive)."""
    nz, ny, nx = labels.shape
    for z in range(nz):
        for y in range(ny):
            row = labels[z, y]
            x = 0
            while x < nx:
                label = row[x]
                start = x
                while x < nx and row[x] == label:
                    x += 1
                box = boxes[label]
                if counts[label] == 0:
                    box[0], box[1], box[2] = z, y, start
                    box[3], box[4], box[5] = z + 1, y + 1, x
                else:
                    box[1] = min(box[1], y)
                    box[2] = min(box[2], start)
                    box[3] = max(box[3], z + 1)
                    box[4] = max(box[4], y + 1)
                    box[5] = max(box[5], x)
                counts[label] += x - start


@inner()
def span(origin, direction, low, high, first, last):
    """Narrows the sample range first ≤ k ≤ last to where low ≤ origin + k·direction ≤ high."""
    if abs(direction) < 1e-12:
        if origin < low or origin > high:
            return first, first - 1
        return first, last
    a, b = (low - origin) / direction, (high - origin) / direction
    if a > b:
        a, b = b, a
    return max(first, int(np.ceil(max(a, -1e9)))), min(last, int(np.floor(min(b, 1e9))))
