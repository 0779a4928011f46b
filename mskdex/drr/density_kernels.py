"""CPU kernels of one density volume: the image, and the image with its six pose derivatives."""

import numpy as np

from mskdex.compute.kernels import image_kernel, kernel
from mskdex.drr.march import enter
from mskdex.drr.skipping import BLOCK, skipped_samples


@kernel
def march_density(density, blocks, box, coefficients, slope, weight, step, images, start, stop):
    """Fills `images` (poses, rows, columns) with the march through `density`, rows start … stop of all poses' rows.

    A ray asks once for the block that it is in, and takes all samples up to the block's end. Indices have no sign, as
    numba would ask of one that has whether it counts from the end.

    Args:
        density: (z, y, x) float32 or float64, padded by two voxels of zeros; sets the precision.
        blocks: chessboard distance of each block of voxels to one that is not empty.
        box: (2, 3) float64, x y z: where samples count; the padding's outermost cells are zero and left out.
        coefficients: (poses, 6, 3). slope, weight, step: of `Rays`.
    """
    real = density.dtype.type
    rows, columns = images.shape[1], images.shape[2]
    flat, one = density.reshape(-1), np.uint64(1)
    ny, nx = np.uint64(density.shape[1]), np.uint64(density.shape[2])
    for index in range(start, stop):
        pose, row = index // rows, index % rows
        for column in range(columns):
            x0, y0, z0, gx, gy, gz, depth0, count, obliquity = enter(
                coefficients[pose], slope, row, column, 0.0, box, step
            )
            x0, y0, z0, depth0 = real(x0), real(y0), real(z0), real(depth0)
            gx, gy, gz = real(gx), real(gy), real(gz)
            scale = obliquity if weight[2] > 0 else 1.0
            w_constant, w_quadratic = real(weight[0] * scale), real(weight[1] * scale)
            total = real(0)
            k = 0
            while k <= count:
                f = real(k)
                x, y, z = x0 + f * gx, y0 + f * gy, z0 + f * gz
                distance = blocks[np.uint32(z) // BLOCK, np.uint32(y) // BLOCK, np.uint32(x) // BLOCK]
                if distance > 0:
                    k += skipped_samples(x, y, z, gx, gy, gz, real(distance))
                    continue
                last = min(k + skipped_samples(x, y, z, gx, gy, gz, real(1)), count + 1)
                for m in range(k, last):
                    f = real(m)
                    x, y, z = x0 + f * gx, y0 + f * gy, z0 + f * gz
                    i, j, n = np.uint32(x), np.uint32(y), np.uint32(z)
                    fx, fy, fz = x - real(i), y - real(j), z - real(n)
                    p = (np.uint64(n) * ny + np.uint64(j)) * nx + np.uint64(i)
                    q, r = p + nx, p + ny * nx
                    s = r + nx
                    a0 = flat[p] + fy * (flat[q] - flat[p])
                    a1 = flat[p + one] + fy * (flat[q + one] - flat[p + one])
                    b0 = flat[r] + fy * (flat[s] - flat[r])
                    b1 = flat[r + one] + fy * (flat[s + one] - flat[r + one])
                    a0 += fz * (b0 - a0)
                    a1 += fz * (b1 - a1)
                    depth = depth0 + f * real(step)
                    total += (w_constant + w_quadratic * depth * depth) * (a0 + fx * (a1 - a0))
                k = last
            images[pose, row, column] = total


@image_kernel
def march_tangents(density, blocks, box, coefficients, slope, weight, step, images, moments, start, stop):
    """As `march_density`, and the moments of the density's gradient that all six derivatives are made of.

    `moments` (poses, rows, columns, 6): the sums over samples of weight · gradient and of
    weight · depth · gradient, the gradient in voxel coordinates (x, y, z).
    """
    real = density.dtype.type
    rows, columns = images.shape[1], images.shape[2]
    for index in range(start, stop):
        pose, row = index // rows, index % rows
        for column in range(columns):
            x0, y0, z0, gx, gy, gz, depth0, count, obliquity = enter(
                coefficients[pose], slope, row, column, 0.0, box, step
            )
            x0, y0, z0, depth0 = real(x0), real(y0), real(z0), real(depth0)
            gx, gy, gz = real(gx), real(gy), real(gz)
            scale = obliquity if weight[2] > 0 else 1.0
            w_constant, w_quadratic = real(weight[0] * scale), real(weight[1] * scale)
            total = real(0)
            m0, m1, m2, m3, m4, m5 = real(0), real(0), real(0), real(0), real(0), real(0)
            k = 0
            while k <= count:
                f = real(k)
                x, y, z = x0 + f * gx, y0 + f * gy, z0 + f * gz
                i, j, n = int(x), int(y), int(z)
                distance = blocks[n // BLOCK, j // BLOCK, i // BLOCK]
                if distance > 0:
                    k += skipped_samples(x, y, z, gx, gy, gz, real(distance))
                    continue
                k += 1
                depth = depth0 + f * real(step)
                w = w_constant + w_quadratic * depth * depth
                fx, fy, fz = x - real(i), y - real(j), z - real(n)
                v000, v001 = density[n, j, i], density[n, j, i + 1]
                v010, v011 = density[n, j + 1, i], density[n, j + 1, i + 1]
                v100, v101 = density[n + 1, j, i], density[n + 1, j, i + 1]
                v110, v111 = density[n + 1, j + 1, i], density[n + 1, j + 1, i + 1]
                d00, d01, d10, d11 = v001 - v000, v011 - v010, v101 - v100, v111 - v110
                a0, a1 = v000 + fx * d00, v010 + fx * d01
                b0, b1 = v100 + fx * d10, v110 + fx * d11
                ya, yb = a1 - a0, b1 - b0
                a, b = a0 + fy * ya, b0 + fy * yb
                total += w * (a + fz * (b - a))
                da, db = d00 + fy * (d01 - d00), d10 + fy * (d11 - d10)
                px, py, pz = w * (da + fz * (db - da)), w * (ya + fz * (yb - ya)), w * (b - a)
                m0, m1, m2 = m0 + px, m1 + py, m2 + pz
                m3, m4, m5 = m3 + depth * px, m4 + depth * py, m5 + depth * pz
            images[pose, row, column] = total
            out = moments[pose, row, column]
            out[0], out[1], out[2], out[3], out[4], out[5] = m0, m1, m2, m3, m4, m5


@kernel
def empty_blocks(density, blocks):
    """Sets blocks (z, y, x) uint8 to 0 where a cell of theirs has a corner that is not zero, elsewhere to 255."""
    blocks[:] = 255
    nz, ny, nx = density.shape
    for z in range(nz):
        for y in range(ny):
            for x in range(nx):
                if density[z, y, x] != 0:
                    for c in range(max(z - 1, 0) // BLOCK, z // BLOCK + 1):
                        for b in range(max(y - 1, 0) // BLOCK, y // BLOCK + 1):
                            for a in range(max(x - 1, 0) // BLOCK, x // BLOCK + 1):
                                blocks[c, b, a] = 0
