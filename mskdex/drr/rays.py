"""Rays of a camera, expressed in voxel coordinates."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64, Real

from mskdex.errors import MskdexError
from mskdex.geometry.camera import Camera


@dataclass(frozen=True)
class Rays:
    """Where every pixel's ray runs through a voxel grid.

    The ray of pixel (row, column) passes, at depth z (mm along the principal axis), the voxel coordinate
    `origin @ (1, row, column) + z · direction @ (1, row, column)`.

    Attributes:
        coefficients: (6, 3) float64: the columns' three origin terms, then the three direction terms, each
            in voxel coordinates (x, y, z).
        slope: (2, 3) float64: camera-frame x, then y, of the direction per unit depth, as (1, row, column) terms.
        weight: (constant, quadratic, oblique): a sample at depth z stands for constant + quadratic · z² of its
            density, times the ray's obliquity sqrt(1 + slope²) if oblique is 1.
        step_mm: distance between samples in depth.
    """

    coefficients: Float64[np.ndarray, "6 3"]
    slope: Float64[np.ndarray, "2 3"]
    weight: Float64[np.ndarray, "3"]
    step_mm: float


def checked_pose(pose: np.ndarray) -> Float64[np.ndarray, "4 4"]:
    """A rigid 4×4 float64 pose.

    Raises:
        MskdexError: the matrix has another shape, is not finite or not rigid.
    """
    pose = np.asarray(pose, dtype=np.float64)
    if pose.shape != (4, 4):
        msg = f"camera_from_ct has shape {pose.shape}; a 4×4 matrix is needed"
        raise MskdexError(msg)
    if not np.isfinite(pose).all():
        msg = "camera_from_ct holds NaN or infinity; the pose was not determined, render at another one"
        raise MskdexError(msg)
    rotation = pose[:3, :3]
    if np.abs(rotation @ rotation.T - np.eye(3)).max() > 1e-5 or np.linalg.det(rotation) < 0:
        msg = f"camera_from_ct is not rigid: its 3×3 part {np.round(rotation, 4).tolist()} is not a rotation"
        raise MskdexError(msg)
    return pose


def checked_affine(world_from_voxel: np.ndarray) -> Float64[np.ndarray, "4 4"]:
    """An invertible 4×4 float64 affine.

    Raises:
        MskdexError: the matrix has another shape, is not finite or singular.
    """
    affine = np.asarray(world_from_voxel, dtype=np.float64)
    if affine.shape != (4, 4) or not np.isfinite(affine).all():
        msg = f"world_from_voxel must be a finite 4×4 matrix, got {affine.tolist()}"
        raise MskdexError(msg)
    spacing = np.linalg.norm(affine[:3, :3], axis=0)
    if np.abs(np.linalg.det(affine[:3, :3])) < 1e-6 * max(float(np.prod(spacing)), 1e-9):
        msg = f"world_from_voxel is singular ({affine[:3, :3].tolist()}); the volume's header is damaged"
        raise MskdexError(msg)
    return affine


def checked_depth(camera: Camera, nearest_mm: float) -> None:
    """Refuses a cone beam whose source lies inside the volume or beyond it.

    Raises:
        MskdexError: `nearest_mm`, the depth of the volume's nearest corner, is not positive.
    """
    if camera.beam == "cone" and nearest_mm <= 0:
        msg = (
            f"the X-ray source lies inside the volume or beyond it (nearest depth {nearest_mm:.0f} mm); "
            "check camera_from_ct and the distance from source to patient"
        )
        raise MskdexError(msg)


def voxel_from_camera(
    world_from_voxel: Real[np.ndarray, "4 4"], camera_from_ct: Real[np.ndarray, "4 4"]
) -> Float64[np.ndarray, "4 4"]:
    """The matrix that takes camera-frame mm to voxel coordinates (i along x, j, k)."""
    return np.linalg.inv(camera_from_ct @ world_from_voxel)


def make_rays(
    camera: Camera,
    world_from_voxel: Real[np.ndarray, "4 4"],
    camera_from_ct: Real[np.ndarray, "4 4"],
    step_mm: float,
    conserve_sums: bool,
) -> Rays:
    """The rays of `camera` at a pose.

    With `conserve_sums` the weight of a sample is the volume in cm³ that it stands for, pixel_mm² · (z/SDD)² · step of
    a cone beam (dV = (z/SDD)² dA dz); without it the path length in mm, so that the sum is the line integral.
    """
    inverse = voxel_from_camera(world_from_voxel, camera_from_ct)
    row, column = camera.principal_point_px
    pixel = camera.pixel_mm
    on_detector = np.array([[-column * pixel, 0.0, pixel], [-row * pixel, pixel, 0.0]])
    slope = on_detector / camera.sdd_mm if camera.beam == "cone" else np.zeros((2, 3))
    origin = np.zeros((2, 3)) if camera.beam == "cone" else on_detector
    coefficients = np.zeros((6, 3))
    coefficients[:3] = (inverse[:3, :2] @ origin).T
    coefficients[0] += inverse[:3, 3]
    coefficients[3:] = (inverse[:3, :2] @ slope).T
    coefficients[3] += inverse[:3, 2]
    if not conserve_sums:
        weight = np.array([step_mm, 0.0, 1.0])
    elif camera.beam == "cone":
        weight = np.array([0.0, step_mm * (pixel / camera.sdd_mm) ** 2 / 1000.0, 0.0])
    else:
        weight = np.array([step_mm * pixel**2 / 1000.0, 0.0, 0.0])
    return Rays(coefficients, slope, weight, step_mm)
