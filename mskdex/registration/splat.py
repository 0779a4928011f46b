"""Coarse DRRs of many poses at once: every voxel of a bone is cast onto the detector.

Bone fills a few percent of a CT, so that a voxel-driven projection of its voxels costs tens of
microseconds per pose on a coarse grid, where a march along rays costs milliseconds. The footprint is a
quadratic B-spline, so that the image changes smoothly with the pose.
"""

from dataclasses import dataclass

import numpy as np

from mskdex.compute.kernels import kernel
from mskdex.compute.parallel import in_chunks
from mskdex.geometry.camera import Camera
from mskdex.registration.bodies import RigidBody


@dataclass(frozen=True)
class Points:
    """A body as points with a strength.

    Attributes:
        position_mm: RAS, (N, 3) float64.
        strength_mm3: excess attenuation × volume, relative to water, (N,) float64.
        size_mm: edge length of the cell that each stands for.
    """

    position_mm: np.ndarray
    strength_mm3: np.ndarray
    size_mm: float


def body_points(body: RigidBody, size_mm: float) -> Points:
    """Gathers a body's excess attenuation into cells of about `size_mm`."""
    spacing = np.linalg.norm(body.world_from_voxel[:3, :3], axis=0)[::-1]
    factor = np.maximum(np.round(size_mm / spacing), 1).astype(int)
    shape = -(-np.array(body.excess.shape) // factor)
    padded = np.zeros(shape * factor, dtype=np.float64)
    padded[tuple(slice(0, n) for n in body.excess.shape)] = body.excess
    cells = padded.reshape(shape[0], factor[0], shape[1], factor[1], shape[2], factor[2])
    strength = cells.sum(axis=(1, 3, 5))
    occupied = np.argwhere(np.abs(strength) > 1e-6)
    voxel = occupied * factor + (factor - 1) / 2.0
    position = voxel[:, ::-1] @ body.world_from_voxel[:3, :3].T + body.world_from_voxel[:3, 3]
    volume = float(np.prod(spacing))
    return Points(position, strength[tuple(occupied.T)] * volume, float((factor * spacing).max()))


def splat(points: Points, camera: Camera, poses: np.ndarray) -> np.ndarray:
    """DRRs of excess attenuation at many poses.

    Args:
        points: the body.
        camera: a coarse detector.
        poses: camera_from_ct, (B, 4, 4).

    Returns:
        line integrals of excess attenuation relative to water in mm, (B, rows, columns) float32.
    """
    poses = np.ascontiguousarray(poses, dtype=np.float64)
    images = np.zeros((len(poses), *camera.shape), dtype=np.float32)
    position, strength = (np.ascontiguousarray(a, dtype=np.float64) for a in (points.position_mm, points.strength_mm3))
    constants = (position, strength, float(points.size_mm), _geometry(camera), poses, images)
    in_chunks(lambda start, stop: _splat(*constants, start, stop), len(poses))
    return images


def _geometry(camera: Camera) -> np.ndarray:
    row, column = camera.principal_point_px
    return np.array([camera.sdd_mm, camera.pixel_mm, row, column])


@kernel
def _spline(t):
    """Quadratic B-spline at `t`, in its own knot spacing."""
    t = abs(t)
    if t < 0.5:
        return 0.75 - t * t
    return 0.5 * (1.5 - t) ** 2 if t < 1.5 else 0.0


@kernel
def _cast(images, b, row, column, width, value):
    reach = 1.5 * width
    first, last = max(0, int(np.ceil(column - reach))), min(images.shape[2] - 1, int(np.floor(column + reach)))
    for r in range(max(0, int(np.ceil(row - reach))), min(images.shape[1] - 1, int(np.floor(row + reach))) + 1):
        along = value * _spline((r - row) / width)
        for c in range(first, last + 1):
            images[b, r, c] += along * _spline((c - column) / width)


@kernel
def _splat(position, strength, size, geometry, poses, images, start, stop):
    """Adds the DRRs of poses start … stop to `images`; `geometry` is (sdd_mm, pixel_mm, principal row, column)."""
    rows, columns = images.shape[1], images.shape[2]
    for b in range(start, stop):
        for n in range(len(strength)):
            x, y, z = position[n, 0], position[n, 1], position[n, 2]
            depth = poses[b, 2, 0] * x + poses[b, 2, 1] * y + poses[b, 2, 2] * z + poses[b, 2, 3]
            if depth < 1.0:
                continue
            scale = geometry[0] / (depth * geometry[1])
            column = (poses[b, 0, 0] * x + poses[b, 0, 1] * y + poses[b, 0, 2] * z + poses[b, 0, 3]) * scale
            row = (poses[b, 1, 0] * x + poses[b, 1, 1] * y + poses[b, 1, 2] * z + poses[b, 1, 3]) * scale
            row, column = row + geometry[2], column + geometry[3]
            width = max(1.0, 0.7 * size * scale)
            if row < -2 * width or column < -2 * width or row > rows + 2 * width or column > columns + 2 * width:
                continue
            _cast(images, b, row, column, width, strength[n] * scale * scale / (width * width))
