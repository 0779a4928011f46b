"""The renderer in plain NumPy and float64: slow, and written from the definition alone, for the tests to trust."""

import itertools
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Float64, Integer, Real

from mskdex.geometry.camera import Camera
from mskdex.quantities import HU_MIN


def render_reference(
    ct: Integer[np.ndarray, "z y x"],
    labels: Integer[np.ndarray, "z y x"],
    world_from_voxel: Real[np.ndarray, "4 4"],
    label_ids: Sequence[int],
    camera: Camera,
    camera_from_ct: Real[np.ndarray, "4 4"],
    tables: Float[np.ndarray, "q hu"],
    *,
    step_mm: float = 1.0,
    conserve_sums: bool = True,
    oversampling: int = 1,
) -> Float64[np.ndarray, "q n h w"]:
    """Object-wise images by the trilinear march; arguments as in `render.render`, one pose.

    Samples stand at the depths k · step_mm. Each corner of a sample's cell gives its quantity, times its
    trilinear weight, to its own label's object; corners outside the volume hold nothing.

    Returns:
        (Q, N, H, W) float64.
    """
    images = np.zeros((len(tables), len(label_ids), *camera.shape))
    owner = np.full(256, -1)
    owner[list(label_ids)] = np.arange(len(label_ids))
    matrix = np.linalg.inv(np.asarray(camera_from_ct, np.float64) @ world_from_voxel)
    depths = _depths(ct.shape, world_from_voxel, camera_from_ct, step_mm)
    for part in range(oversampling**2):
        shift = ((part // oversampling + 0.5) / oversampling - 0.5, (part % oversampling + 0.5) / oversampling - 0.5)
        for depth in depths:
            points, weight = _plane(camera, depth, shift, step_mm, conserve_sums)
            voxels = points @ matrix[:3, :3].T + matrix[:3, 3]
            _add_samples(images, ct, owner[labels], tables, voxels, weight / oversampling**2)
    return images


def _depths(shape: tuple[int, ...], world_from_voxel: np.ndarray, pose: np.ndarray, step_mm: float) -> np.ndarray:
    ends = np.stack(np.meshgrid(*[(-1, n) for n in shape[::-1]], indexing="ij"), axis=-1).reshape(-1, 3)
    z = (pose @ world_from_voxel @ np.column_stack([ends, np.ones(8)]).T)[2]
    return step_mm * np.arange(np.ceil(z.min() / step_mm), np.floor(z.max() / step_mm) + 1)


def _plane(
    camera: Camera, depth: float, shift: tuple[float, float], step_mm: float, conserve_sums: bool
) -> tuple[np.ndarray, np.ndarray]:
    """Camera-frame points (H, W, 3) where the rays cross a depth, and what a sample there stands for (H, W)."""
    y, x = camera.pixel_centres_mm()
    y, x = np.broadcast_arrays(y + shift[0] * camera.pixel_mm, x + shift[1] * camera.pixel_mm)
    magnification = depth / camera.sdd_mm if camera.beam == "cone" else 1.0
    points = np.stack([x * magnification, y * magnification, np.full(camera.shape, depth)], axis=-1)
    if conserve_sums:
        return points, np.full(camera.shape, (camera.pixel_mm * magnification) ** 2 * step_mm / 1000.0)
    if camera.beam == "cone":
        return points, step_mm * np.sqrt(x**2 + y**2 + camera.sdd_mm**2) / camera.sdd_mm
    return points, np.full(camera.shape, step_mm)


def _add_samples(
    images: np.ndarray, ct: np.ndarray, owner: np.ndarray, tables: np.ndarray, voxels: np.ndarray, weight: np.ndarray
) -> None:
    lowest: np.ndarray = np.floor(voxels).astype(int)
    fraction = voxels - lowest
    pixels = np.indices(weight.shape)
    rows, columns = pixels[0], pixels[1]
    for corner in itertools.product((0, 1), repeat=3):
        i, j, k = (lowest[..., axis] + step for axis, step in enumerate(corner))
        near = np.prod(np.where(corner, fraction, 1.0 - fraction), axis=-1)
        inside = (i >= 0) & (j >= 0) & (k >= 0) & (i < ct.shape[2]) & (j < ct.shape[1]) & (k < ct.shape[0])
        place = k[inside], j[inside], i[inside]
        index, known = owner[place], owner[place] >= 0
        values = tables[:, ct[place][known].astype(int) - HU_MIN].astype(np.float64)
        target = index[known], rows[inside][known], columns[inside][known]
        for image, value in zip(images, values, strict=True):
            np.add.at(image, target, value * (near * weight)[inside][known])
