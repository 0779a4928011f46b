"""What a ray may skip: cells of one label, empty blocks, and the box that holds every label."""

import numpy as np

from mskdex.compute.kernels import kernel

BLOCK = 8
"""Edge of a block in cells: of 4, 8 and 16 the fastest for objects of 3 to 20 cm at 1 to 3 mm voxels."""

CELL_SHIFT = 2
"""A voxel's cell coordinates less its voxel coordinates: what cells reach out of the volume at its low ends."""

TILE = 8
"""Edge of a tile of the image in pixels."""

MIXED = 255
"""Cell whose eight corners differ, or that reaches out of the volume."""


@kernel
def survey(ct, labels, start, stop, boxes, counts, limits):
    """Box and voxel count of each label id in the slices start … stop, and the range of HU.

    Args:
        ct, labels: (z, y, x). boxes: (256, 6) int64, filled: low z, y, x, high z, y, x (exclusive).
        counts: (256,) int64, filled. limits: (2,) int64, filled: lowest and highest HU.
    """
    nx = labels.shape[2]
    lowest, highest = np.int16(32767), np.int16(-32768)
    for z in range(start, stop):
        for y in range(labels.shape[1]):
            hu, row = ct[z, y], labels[z, y]
            smallest, largest = np.uint8(255), np.uint8(0)
            for x in range(nx):
                lowest, highest = min(lowest, hu[x]), max(highest, hu[x])
            for x in range(nx):
                smallest, largest = min(smallest, row[x]), max(largest, row[x])
            x = 0
            while x < nx:
                label, begin = row[x], x
                if smallest == largest:
                    x = nx
                while x < nx and row[x] == label:
                    x += 1
                box = boxes[label]
                if counts[label] == 0:
                    box[0], box[1], box[2] = z, y, begin
                    box[3], box[4], box[5] = z + 1, y + 1, x
                else:
                    box[1], box[2] = min(box[1], y), min(box[2], begin)
                    box[3], box[4], box[5] = z + 1, max(box[4], y + 1), max(box[5], x)
                counts[label] += x - begin
    limits[0], limits[1] = lowest, highest


@kernel
def _shared(a, b, c, d, out):
    """A row of cells from its four rows of voxels; counts from 0 over few arrays, so that it vectorises."""
    for x in range(out.size):
        v, w = a[x], a[x + 1]
        differ = (v ^ b[x]) | (v ^ c[x]) | (v ^ d[x]) | (v ^ w) | (w ^ b[x + 1]) | (w ^ c[x + 1]) | (w ^ d[x + 1])
        out[x] = np.uint8(MIXED) if np.uint8(differ) != 0 else v


@kernel
def classify_cells(labels, cells, low, high, start, stop):
    """Fills `cells` (z, y, x; three longer than the volume): the label that a cell's corners share.

    Cell (c_z, c_y, c_x) has its lowest corner at voxel (c_z - 2, c_y - 2, c_x - 2); cells that reach out of the
    volume are `MIXED`. Only cells of the box low ≤ cell < high (z, y, x) and of slices start … stop are filled.
    """
    nz, ny, nx = labels.shape
    for cz in range(max(start, low[0]), min(stop, high[0])):
        z = cz - 2
        for cy in range(low[1], high[1]):
            y = cy - 2
            row = cells[cz, cy]
            if z < 0 or y < 0 or z + 1 >= nz or y + 1 >= ny:
                row[low[2] : high[2]] = MIXED
                continue
            row[:2] = MIXED
            row[nx + 1 :] = MIXED
            begin, end = max(low[2] - 2, 0), min(high[2] - 2, nx - 1)
            if end > begin:
                _shared(
                    labels[z, y, begin : end + 1],
                    labels[z, y + 1, begin : end + 1],
                    labels[z + 1, y, begin : end + 1],
                    labels[z + 1, y + 1, begin : end + 1],
                    row[begin + 2 : end + 2],
                )


@kernel
def occupied_blocks(cells, lookup, blocks, low, high, start, stop):
    """Sets blocks (z, y, x) uint8 of layers start … stop to 0 where a cell may hold an object, elsewhere to 255."""
    for k in range(start, stop):
        blocks[k] = 255
        for z in range(max(k * BLOCK, low[0]), min((k + 1) * BLOCK, high[0])):
            for y in range(low[1], high[1]):
                row, out = cells[z, y], blocks[k, y // BLOCK]
                for b in range(low[2] // BLOCK, (high[2] - 1) // BLOCK + 1):
                    if out[b] == 255:
                        begin, end = max(b * BLOCK, low[2]), min((b + 1) * BLOCK, high[2])
                        last = row[begin]
                        found = lookup[last] >= -1
                        for x in range(begin, end):
                            if row[x] != last:
                                last = row[x]
                                found = found or lookup[last] >= -1
                        if found:
                            out[b] = 0


def distance_of_blocks(blocks: np.ndarray) -> None:
    """Turns occupied (0) and empty (255) blocks into chessboard distances to the nearest occupied one, in place."""
    far = (blocks > 0).astype(np.uint8)
    blocks[:] = far
    for _ in range(min(max(blocks.shape), 254) - 1):
        for axis in range(3):
            line = np.moveaxis(far, axis, 0)
            before = line.copy()
            line[1:] &= before[:-1]
            line[:-1] &= before[1:]
        if not far.any():
            break
        blocks += far


@kernel
def _tiles(low, high, count):
    """First and last of `count` tiles that hold pixels with centres from `low` to `high`, half a pixel around."""
    first = np.floor((max(low, -1e6) + 0.49) / TILE)
    last = np.floor((min(high, 1e6) + 0.51) / TILE)
    return max(int(first), 0), min(int(last), count - 1)


@kernel
def _add_block(a, b, c, matrix, cone, scale, principal, reach):
    near, far, top, bottom, left, right = 1e30, -1e30, 1e30, -1e30, 1e30, -1e30
    for corner in range(8):
        x, y, z = BLOCK * (a + corner % 2), BLOCK * (b + corner // 2 % 2), BLOCK * (c + corner // 4)
        depth = matrix[2, 0] * x + matrix[2, 1] * y + matrix[2, 2] * z + matrix[2, 3]
        factor = scale / max(depth, 1.0) if cone else scale
        row = principal[0] + factor * (matrix[1, 0] * x + matrix[1, 1] * y + matrix[1, 2] * z + matrix[1, 3])
        column = principal[1] + factor * (matrix[0, 0] * x + matrix[0, 1] * y + matrix[0, 2] * z + matrix[0, 3])
        near, far = min(near, depth), max(far, depth)
        top, bottom = min(top, row), max(bottom, row)
        left, right = min(left, column), max(right, column)
    rows, columns = reach.shape[0], reach.shape[1]
    first_row, last_row = _tiles(top, bottom, rows)
    first_column, last_column = _tiles(left, right, columns)
    if cone and near < 1.0:  # a block beside the source, whose corners do not bound its shadow
        first_row, last_row, first_column, last_column = 0, rows - 1, 0, columns - 1
    for m in range(first_row, last_row + 1):
        for n in range(first_column, last_column + 1):
            reach[m, n, 0], reach[m, n, 1] = min(reach[m, n, 0], near), max(reach[m, n, 1], far)


@kernel
def tile_depths(blocks, matrix, cone, scale, principal, reach):
    """Narrows what a tile's rays march through to the depths at which they can meet occupied blocks.

    Args:
        blocks: distances of `distance_of_blocks`; 0 is occupied.
        matrix: (3, 4) float64, cell coordinates (x, y, z, 1) to camera mm. cone: whether the beam is a cone.
        scale: pixels per unit of slope of a cone beam, per mm of a parallel one.
        principal: (row, column) of the principal point.
        reach: (tile rows, tile columns, 2) float64, filled: nearest and farthest depth; nearest > farthest where
            no occupied block projects onto the tile.
    """
    reach[:, :, 0], reach[:, :, 1] = 1e30, -1e30
    for c in range(blocks.shape[0]):
        for b in range(blocks.shape[1]):
            for a in range(blocks.shape[2]):
                if blocks[c, b, a] == 0:
                    _add_block(a, b, c, matrix, cone, scale, principal, reach)


@kernel
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


@kernel
def count_outside(labels, label, box, matrix, cone, low, high, start, stop):
    """Voxels of `label` in the slices start … stop whose centre projects outside the detector.

    Args:
        labels: (z, y, x). box: (6,) of the label. cone: whether the beam is a cone.
        matrix: (3, 4) float64, voxel (x, y, z, 1) to camera mm.
        low, high: (2,) limits of x and y: per mm of depth of a cone beam, in mm of a parallel one.
    """
    count = 0
    for z in range(max(start, box[0]), min(stop, box[3])):
        for y in range(box[1], box[4]):
            line = labels[z, y, box[2] : box[5]]
            bx = matrix[0, 0] * box[2] + matrix[0, 1] * y + matrix[0, 2] * z + matrix[0, 3]
            by = matrix[1, 0] * box[2] + matrix[1, 1] * y + matrix[1, 2] * z + matrix[1, 3]
            bz = matrix[2, 0] * box[2] + matrix[2, 1] * y + matrix[2, 2] * z + matrix[2, 3]
            for x in range(line.size):
                if line[x] == label:
                    depth = bz + x * matrix[2, 0] if cone else 1.0
                    u, v = bx + x * matrix[0, 0], by + x * matrix[1, 0]
                    inside = u >= low[0] * depth and u <= high[0] * depth
                    if not (inside and v >= low[1] * depth and v <= high[1] * depth):
                        count += 1
    return count


@kernel
def _rest(x, g, distance):
    size = np.float32(BLOCK)
    place = x - size * np.floor(x / size)
    rest = (size - place if g > 0 else place) + (distance - np.float32(1)) * size
    return rest / max(abs(g), np.float32(1e-6))


@kernel
def advance(x, y, z, gx, gy, gz, distance):
    """How many times (gx, gy, gz) a ray at (x, y, z), in cells, may advance from an empty block.

    To the end of its block, and then through `distance` - 1 further ones, which are empty too.
    """
    least = min(_rest(x, gx, distance), _rest(y, gy, distance))
    return min(least, _rest(z, gz, distance))


@kernel
def skipped_samples(x, y, z, gx, gy, gz, distance):
    """Samples that a ray may advance from an empty block; at least one."""
    return int(advance(x, y, z, gx, gy, gz, distance)) + 1
