"""Affine maps of points in compiled code."""

from mskdex.compute.kernels import kernel


@kernel
def moved(matrix, x, y, z):
    """The point that a 4×4 matrix takes (x, y, z) to, as three numbers."""
    return (
        matrix[0, 0] * x + matrix[0, 1] * y + matrix[0, 2] * z + matrix[0, 3],
        matrix[1, 0] * x + matrix[1, 1] * y + matrix[1, 2] * z + matrix[1, 3],
        matrix[2, 0] * x + matrix[2, 1] * y + matrix[2, 2] * z + matrix[2, 3],
    )
