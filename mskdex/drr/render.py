"""One function that renders a labelled CT into object-wise images that conserve every object's total."""

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from mskdex.drr import cpu
from mskdex.drr.rays import checked_pose
from mskdex.drr.sampling import Method, Sampling
from mskdex.drr.scene import Scene
from mskdex.errors import MskdexError
from mskdex.geometry.camera import Camera
from mskdex.quantities import HU_MAX, HU_MIN


@dataclass(frozen=True)
class Rendering:
    """Object-wise images.

    Attributes:
        images: (Q, N, H, W) float32, or (P, Q, N, H, W) of P poses; density × cm³ per pixel (cm³, g), or
            density × mm of a plain line integral.
        outside: (N,) or (P, N): fraction of each object's volume that projects outside the detector; 1 where
            the pose misses the detector altogether, NaN where the object has no voxels. Images are zero then.
    """

    images: np.ndarray
    outside: np.ndarray


def render(
    ct: np.ndarray,
    labels: np.ndarray | None,
    world_from_voxel: np.ndarray,
    label_ids: Sequence[int],
    camera: Camera,
    camera_from_ct: np.ndarray,
    tables: np.ndarray,
    *,
    step_mm: float = 1.0,
    conserve_sums: bool = True,
    method: Method = "march",
    oversampling: int | None = None,
    device: str = "auto",
) -> Rendering:
    """Renders every object and quantity in one pass.

    Each voxel's quantity is looked up by its HU and given to its label's object before the trilinear
    interpolation, so objects add up to the whole and, with `conserve_sums`, the sum over an object's pixels is the
    sum over its voxels times their volume.

    Args:
        ct: (z, y, x) int16 HU within HU_MIN … HU_MAX.
        labels: (z, y, x) uint8; None takes the whole CT as one object of label 0.
        world_from_voxel: 4×4, voxel (i, j, k, 1) to RAS mm.
        label_ids: label of each of the N objects, 0 … 254.
        camera: camera of the images.
        camera_from_ct: (4, 4), or (N, 4, 4) for a pose per object.
        tables: (Q, HU_MAX - HU_MIN + 1), density per HU, see `quantities.density_table`.
        step_mm: distance between samples in depth.
        conserve_sums: weight by (z/SDD)², so that sums are conserved; False is the plain line integral in mm.
        method: "march" (trilinear, the better image) or "walk" (exact lengths through voxels, Siddon; faster).
        oversampling: rays per pixel edge; None takes what keeps rays no farther apart than voxels.
        device: "cpu", "cuda" or "cuda:i" (Triton); "auto" is the CPU.

    Raises:
        MskdexError: arrays that do not match, HU out of range, a pose that is not rigid or not finite, a
            singular affine, a source inside the objects' box or beyond it.
    """
    scene = Scene.of(ct, labels, world_from_voxel)
    sampling = Sampling(step_mm, conserve_sums, method, oversampling or 0)
    return render_scene(scene, label_ids, camera, camera_from_ct, tables, sampling, device)


def render_scene(
    scene: Scene,
    label_ids: Sequence[int],
    camera: Camera,
    camera_from_ct: np.ndarray,
    tables: np.ndarray,
    sampling: Sampling,
    device: str = "auto",
) -> Rendering:
    """As `render`, of a scene that was checked before; an oversampling of 0 is chosen by the voxels."""
    ids = _checked_ids(label_ids)
    tables = _checked_tables(tables)
    if not sampling.step_mm > 0:
        msg = f"step_mm is {sampling.step_mm}; it must be positive"
        raise MskdexError(msg)
    add_images = _kernels(device)
    images = np.zeros((len(tables), len(ids), *camera.shape), np.float32)
    outside = np.full(len(ids), np.nan)
    for pose, members in _by_pose(camera_from_ct, len(ids)):
        chosen = [ids[i] for i in members]
        rays = replace(sampling, oversampling=sampling.oversampling or auto_oversampling(scene, chosen, camera, pose))
        part = np.zeros((len(tables), len(chosen), *camera.shape), np.float32) if len(chosen) < len(ids) else images
        add_images(scene, chosen, camera, pose, tables, rays, part)
        outside[members] = scene.outside(chosen, camera, pose)
        if part is not images:
            images[:, members] = part
    return Rendering(images, outside)


def render_poses(
    scene: Scene,
    label_ids: Sequence[int],
    camera: Camera,
    poses: np.ndarray,
    tables: np.ndarray,
    sampling: Sampling,
    device: str = "auto",
) -> Rendering:
    """A batch: as `render_scene` for each of P poses, (P, 4, 4) or (P, N, 4, 4); adds an axis of poses in front."""
    parts = [render_scene(scene, label_ids, camera, pose, tables, sampling, device) for pose in np.asarray(poses)]
    return Rendering(np.stack([p.images for p in parts]), np.stack([p.outside for p in parts]))


def auto_oversampling(scene: Scene, ids: Sequence[int], camera: Camera, pose: np.ndarray) -> int:
    """Rays per pixel edge so that neighbours lie no farther apart than voxels at the objects' middle depth.

    Coarser rays step over parts of small objects: at pixels three voxels wide the sums of the smallest hip
    muscles are off by up to 1.5 %, at rays one voxel apart by 0.05 %.
    """
    box = scene.box(ids)
    if box is None:
        return 1
    pitch = camera.pixel_mm
    if camera.beam == "cone":
        pitch *= sum(scene.depths_mm(box, camera, pose)) / 2.0 / camera.sdd_mm
    voxel = np.linalg.norm(scene.world_from_voxel[:3, :3], axis=0).min()
    return max(1, int(np.ceil(pitch / voxel - 0.05)))


def _kernels(device: str) -> Callable[..., None]:
    if device in ("auto", "cpu"):
        return cpu.add_images
    try:
        from mskdex.drr import cuda
    except ImportError as error:
        msg = f"rendering on {device} needs torch for CUDA with Triton ({error}); use auto or cpu"
        raise MskdexError(msg) from error
    return functools.partial(cuda.add_images, device=device)


def _by_pose(camera_from_ct: np.ndarray, count: int) -> list[tuple[np.ndarray, list[int]]]:
    poses = np.asarray(camera_from_ct, dtype=np.float64)
    if poses.ndim == 2:
        return [(checked_pose(poses), list(range(count)))]
    if poses.shape != (count, 4, 4):
        msg = f"camera_from_ct has shape {poses.shape}; (4, 4) or one per object, ({count}, 4, 4), is needed"
        raise MskdexError(msg)
    groups: dict[bytes, list[int]] = {}
    for index, pose in enumerate(poses):
        groups.setdefault(pose.tobytes(), []).append(index)
    return [(checked_pose(poses[members[0]]), members) for members in groups.values()]


def _checked_ids(label_ids: Sequence[int]) -> list[int]:
    ids = [int(i) for i in label_ids]
    if not ids or len(set(ids)) < len(ids) or min(ids) < 0 or max(ids) > 254:
        msg = f"label_ids {ids} must be different numbers from 0 to 254, one per object"
        raise MskdexError(msg)
    return ids


def _checked_tables(tables: np.ndarray) -> np.ndarray:
    tables = np.asarray(tables, dtype=np.float32)
    if tables.ndim != 2 or tables.shape[1] != HU_MAX - HU_MIN + 1 or not np.isfinite(tables).all():
        msg = f"tables {tables.shape} must be finite and hold {HU_MAX - HU_MIN + 1} values per quantity, one per HU"
        raise MskdexError(msg)
    return tables
