"""One density volume seen by a camera: attenuation for radiographs and registration, and pose derivatives."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float, Float64, Real, UInt8

from mskdex.compute.parallel import in_chunks
from mskdex.drr.density_kernels import empty_blocks, march_density, march_tangents
from mskdex.drr.rays import Rays, checked_affine, checked_depth, checked_pose, make_rays
from mskdex.drr.skipping import BLOCK, distance_of_blocks
from mskdex.errors import MskdexError
from mskdex.geometry.camera import Camera

_PADDING = 2


@dataclass(frozen=True)
class Density:
    """A density volume made ready for rendering: cropped to what is not zero, padded, its empty blocks known.

    Attributes:
        padded: (z, y, x) float32 or float64, C-contiguous, two voxels of zeros around the values.
        blocks: chessboard distance of each block to one that is not empty.
        world_from_voxel: 4×4 of the padded array.
    """

    padded: Float[np.ndarray, "z y x"]
    blocks: UInt8[np.ndarray, "kz ky kx"]
    world_from_voxel: Float64[np.ndarray, "4 4"]

    @classmethod
    def of(cls, values: np.ndarray, world_from_voxel: np.ndarray) -> "Density":
        """Prepares a volume once; rendering it is then cheap.

        Args:
            values: (z, y, x), density per voxel, e.g. attenuation per mm; may be negative. float64 is kept
                and rendered in double precision, everything else becomes float32.
            world_from_voxel: 4×4, voxel (i, j, k, 1) to RAS mm.

        Raises:
            MskdexError: not three-dimensional, NaN or infinite values, a singular affine.
        """
        affine = checked_affine(world_from_voxel)
        if values.ndim != 3:
            msg = f"a density volume has three dimensions, got shape {values.shape}"
            raise MskdexError(msg)
        crop = _filled_box(values)
        part = values[crop]
        dtype = np.float64 if values.dtype == np.float64 else np.float32
        padded = np.zeros([n + 2 * _PADDING for n in part.shape], dtype)
        padded[(slice(_PADDING, -_PADDING),) * 3] = part
        if not np.isfinite(padded).all():
            msg = "the density volume holds NaN or infinity; check the CT and the table that made it"
            raise MskdexError(msg)
        blocks = np.empty([-(-n // BLOCK) for n in padded.shape], np.uint8)
        empty_blocks(padded, blocks)
        distance_of_blocks(blocks)
        shift = np.eye(4)
        shift[:3, 3] = [c.start - _PADDING for c in reversed(crop)]
        return cls(padded, blocks, affine @ shift)

    def corners_mm(self) -> Float64[np.ndarray, "8 3"]:
        """RAS corners, mm, of the box of values that are not zero, half a cell around them included."""
        ends = [(1.0, n - 2.0) for n in self.padded.shape]
        grid = np.stack(np.meshgrid(*ends, indexing="ij"), axis=-1).reshape(-1, 3)[:, ::-1]
        corners: np.ndarray = grid @ self.world_from_voxel[:3, :3].T + self.world_from_voxel[:3, 3]
        return corners


def render_density(
    density: Density,
    camera: Camera,
    camera_from_ct: Real[np.ndarray, "*poses 4 4"],
    *,
    step_mm: float = 1.0,
    conserve_sums: bool = False,
) -> Float[np.ndarray, "*poses h w"]:
    """Renders one density volume.

    Args:
        density: what to integrate.
        camera: camera of the image.
        camera_from_ct: (4, 4), or (P, 4, 4) for P poses in one call.
        step_mm: distance between samples in depth.
        conserve_sums: weight by (z/SDD)² · pixel area, so that the sum over pixels is the sum over voxels times
            their volume (density × cm³); False is the line integral (density × mm).

    Returns:
        (H, W) or (P, H, W) in the density's precision.

    Raises:
        MskdexError: a pose that is not rigid or not finite; a source inside or behind the volume.
    """
    images, _ = _render(density, camera, camera_from_ct, step_mm, conserve_sums, march_density)
    return images


def render_with_tangents(
    density: Density,
    camera: Camera,
    camera_from_ct: Real[np.ndarray, "*poses 4 4"],
    *,
    centre_mm: Real[np.ndarray, "3"] | None = None,
    step_mm: float = 1.0,
    conserve_sums: bool = False,
) -> tuple[Float[np.ndarray, "*poses h w"], Float[np.ndarray, "*poses 6 h w"]]:
    """Renders one density volume with its derivatives by the six pose parameters, in one pass.

    The parameters are a twist ξ = (ω, t), rotation vector in rad and translation in mm, both along the
    camera's axes, that moves the volume: x ↦ exp(ω)·(x - c) + c + t, c being `centre_mm` in the camera frame.
    `pose.moved` gives the moved pose. Derivatives are at ξ = 0, where this motion and the screw of
    `pose.exp` agree to first order if c = 0.

    Args:
        density: what to integrate.
        camera: camera of the image.
        camera_from_ct: (4, 4), or (P, 4, 4).
        centre_mm: RAS point that the volume turns about; None is the camera's origin (the source).
        step_mm: distance between samples in depth.
        conserve_sums: as in `render_density`.

    Returns:
        image (H, W) and jacobian (6, H, W): ∂/∂(ω_x, ω_y, ω_z) per rad, ∂/∂(t_x, t_y, t_z) per mm; with P
        poses (P, H, W) and (P, 6, H, W).

    Raises:
        MskdexError: as `render_density`.
    """
    poses = np.asarray(camera_from_ct, dtype=np.float64)
    images, moments = _render(density, camera, poses, step_mm, conserve_sums, march_tangents)
    stack = np.atleast_3d(poses.T).T
    jacobian = np.stack(
        [
            _jacobian(m, density, camera, pose, centre_mm)
            for m, pose in zip(moments.reshape(-1, *camera.shape, 6), stack, strict=True)
        ]
    )
    return images, jacobian if poses.ndim == 3 else jacobian[0]


def _jacobian(
    moments: np.ndarray, density: Density, camera: Camera, pose: np.ndarray, centre_mm: np.ndarray | None
) -> np.ndarray:
    # A point x of the ray sees the density that came from exp(-ξ)·x, so with g the gradient in the camera
    # frame dI = -Σ w g·(t + ω × (x - c)) = -(Σ w g)·t - (Σ w (x - c) × g)·ω, and x = origin + z·direction.
    voxel_from_camera = np.linalg.inv(pose @ density.world_from_voxel)[:3, :3]
    turn = voxel_from_camera.astype(moments.dtype)
    g = np.moveaxis(moments[..., :3] @ turn, -1, 0)
    zg = np.moveaxis(moments[..., 3:] @ turn, -1, 0)
    centre = np.zeros(3) if centre_mm is None else pose[:3, :3] @ np.asarray(centre_mm, np.float64) + pose[:3, 3]
    cx, cy, cz = centre.astype(moments.dtype)
    row, column = (side.astype(moments.dtype) for side in camera.pixel_centres_mm())
    if camera.beam == "cone":
        sx, sy = column / moments.dtype.type(camera.sdd_mm), row / moments.dtype.type(camera.sdd_mm)
        xg = (sy * zg[2] - zg[1], zg[0] - sx * zg[2], sx * zg[1] - sy * zg[0])
    else:
        xg = (row * g[2] - zg[1], zg[0] - column * g[2], column * g[1] - row * g[0])
    out = np.empty((6, *camera.shape), moments.dtype)
    out[0] = cy * g[2] - cz * g[1] - xg[0]
    out[1] = cz * g[0] - cx * g[2] - xg[1]
    out[2] = cx * g[1] - cy * g[0] - xg[2]
    np.negative(g, out=out[3:])
    return out


def _render(
    density: Density,
    camera: Camera,
    camera_from_ct: np.ndarray,
    step_mm: float,
    conserve_sums: bool,
    kernel: Callable[..., Any],
) -> tuple[np.ndarray, np.ndarray]:
    poses = np.asarray(camera_from_ct, dtype=np.float64)
    stack = poses.reshape(-1, *poses.shape[-2:]) if poses.ndim >= 2 else poses[None]
    rays = [_rays(density, camera, pose, step_mm, conserve_sums) for pose in stack]
    dtype = density.padded.dtype
    images = np.empty((len(rays), *camera.shape), dtype)
    moments = np.empty((len(rays), *camera.shape, 6), dtype) if kernel is march_tangents else images
    outputs = (images, moments) if kernel is march_tangents else (images,)
    coefficients = np.stack([r.coefficients for r in rays])
    first = rays[0]
    box = np.array([np.ones(3), np.array(density.padded.shape[::-1]) - 2.0])
    constants = (density.padded, density.blocks, box, coefficients, first.slope, first.weight, step_mm, *outputs)
    in_chunks(lambda start, stop: kernel(*constants, start, stop), len(rays) * camera.shape[0])
    shape = (*poses.shape[:-2], *camera.shape)
    return images.reshape(shape), moments.reshape(*shape, -1)


def _rays(density: Density, camera: Camera, pose: np.ndarray, step_mm: float, conserve_sums: bool) -> Rays:
    pose = checked_pose(pose)
    checked_depth(camera, float((density.corners_mm() @ pose[2, :3] + pose[2, 3]).min()))
    return make_rays(camera, density.world_from_voxel, pose, step_mm, conserve_sums)


def _filled_box(values: np.ndarray) -> tuple[slice, ...]:
    box: list[slice] = []
    for axis in range(3):
        part = values[tuple(box)] != 0
        filled = np.flatnonzero(part.any(axis=tuple(a for a in range(3) if a != axis)))
        box.append(slice(int(filled[0]), int(filled[-1]) + 1) if filled.size else slice(0, 1))
    return tuple(box)
