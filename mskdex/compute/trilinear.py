"""Trilinear interpolation on a grid whose axes are those of the volume."""

import numpy as np

from mskdex.compute.kernels import kernel


@kernel
def interpolate(values, first_z, first_y, first_x, share_z, share_y, share_x, out):
    """Sets `out` (z, y, x) to integer `values` between voxels, rounded half up.

    Args:
        values: (Z, Y, X), at least two voxels along each axis.
        first_z, first_y, first_x: int64, index of the voxel before each of the output's.
        share_z, share_y, share_x: float32, share of the voxel after it.
        out: integer, the type of `values`.
    """
    for k in range(len(first_z)):
        z, w = first_z[k], share_z[k]
        for j in range(len(first_y)):
            y, v = first_y[j], share_y[j]
            for i in range(len(first_x)):
                x, u = first_x[i], share_x[i]
                a = np.float32(values[z, y, x]) + u * np.float32(values[z, y, x + 1] - values[z, y, x])
                b = np.float32(values[z, y + 1, x]) + u * np.float32(values[z, y + 1, x + 1] - values[z, y + 1, x])
                c = np.float32(values[z + 1, y, x]) + u * np.float32(values[z + 1, y, x + 1] - values[z + 1, y, x])
                d = np.float32(values[z + 1, y + 1, x])
                d += u * np.float32(values[z + 1, y + 1, x + 1] - values[z + 1, y + 1, x])
                a += v * (b - a)
                c += v * (d - c)
                out[k, j, i] = int(np.floor(a + w * (c - a) + np.float32(0.5)))
