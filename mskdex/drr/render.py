"""One function that renders a labelled CT into object-wise images that conserve every object's total."""

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32, Float64, Real, Shaped

from mskdex.drr import cpu
from mskdex.drr.choice import choose_device
from mskdex.drr.sampling import Method, Sampling
from mskdex.drr.scene import Scene
from mskdex.drr.views import make_views
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
        device: "cpu" or "cuda…", where they were rendered.
    """

    images: Float32[np.ndarray, "*poses q n h w"]
    outside: Float64[np.ndarray, "*poses n"]
    device: str


def render(
    ct: Shaped[np.ndarray, "..."],
    labels: Shaped[np.ndarray, "..."] | None,
    world_from_voxel: Real[np.ndarray, "..."],
    label_ids: Sequence[int],
    camera: Camera,
    camera_from_ct: Real[np.ndarray, "..."],
    tables: Real[np.ndarray, "..."],
    *,
    step_mm: float = 1.0,
    conserve_sums: bool = True,
    method: Method = "march",
    oversampling: int | None = None,
    device: str = "auto",
    renders: int = 1,
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
        device: "cpu", "cuda" or "cuda:i" (Triton); "auto" is what is estimated to be faster, see `choice`.
        renders: how many renders of about this size this process makes; a GPU's start counts once for all of them.

    Raises:
        MskdexError: arrays that do not match, HU out of range, a pose that is not rigid or not finite, a
            singular affine, a source inside the objects' box or beyond it.
    """
    scene = Scene.of(ct, labels, world_from_voxel)
    sampling = Sampling(step_mm, conserve_sums, method, oversampling or 0)
    return render_scene(scene, label_ids, camera, camera_from_ct, tables, sampling, device, renders)


def render_scene(
    scene: Scene,
    label_ids: Sequence[int],
    camera: Camera,
    camera_from_ct: Real[np.ndarray, "..."],
    tables: Real[np.ndarray, "..."],
    sampling: Sampling,
    device: str = "auto",
    renders: int = 1,
) -> Rendering:
    """As `render`, of a scene that was checked before; an oversampling of 0 is chosen by the voxels."""
    found = render_poses(scene, label_ids, camera, np.asarray(camera_from_ct)[None], tables, sampling, device, renders)
    return Rendering(found.images[0], found.outside[0], found.device)


def render_poses(
    scene: Scene,
    label_ids: Sequence[int],
    camera: Camera,
    poses: Real[np.ndarray, "poses ..."],
    tables: Real[np.ndarray, "..."],
    sampling: Sampling,
    device: str = "auto",
    renders: int = 1,
) -> Rendering:
    """A batch: as `render_scene` for each of P poses, (P, 4, 4) or (P, N, 4, 4); adds an axis of poses in front.

    On a CUDA device the batch is one launch, and the scene stays in its memory as long as it is held.
    """
    ids = _checked_ids(label_ids)
    tables = _checked_tables(tables)
    if not sampling.step_mm > 0:
        msg = f"step_mm is {sampling.step_mm}; it must be positive"
        raise MskdexError(msg)
    views = make_views(scene, ids, camera, list(poses), sampling)
    chosen = choose_device(device, scene, views, camera, tables, sampling, renders)
    images = np.zeros((len(poses), len(tables), len(ids), *camera.shape), np.float32)
    _renderer(chosen)(scene, views, camera, tables, sampling, images)
    outside = np.full((len(poses), len(ids)), np.nan)
    for view in views:
        outside[view.index, list(view.members)] = scene.outside(view.ids, camera, view.pose)
    return Rendering(images, outside, chosen)


def _renderer(device: str) -> Callable[..., None]:
    if device == "cpu":
        return cpu.render_views
    try:
        from mskdex.drr import cuda
    except ImportError as error:
        msg = f"rendering on {device} needs torch for CUDA with Triton ({error}); use auto or cpu"
        raise MskdexError(msg) from error
    return functools.partial(cuda.render_views, device=device)


def _checked_ids(label_ids: Sequence[int]) -> list[int]:
    ids = [int(i) for i in label_ids]
    if not ids or len(set(ids)) < len(ids) or min(ids) < 0 or max(ids) > 254:
        msg = f"label_ids {ids} must be different numbers from 0 to 254, one per object"
        raise MskdexError(msg)
    return ids


def _checked_tables(tables: Real[np.ndarray, "..."]) -> Float32[np.ndarray, "q hu"]:
    tables = np.asarray(tables, dtype=np.float32)
    if tables.ndim != 2 or tables.shape[1] != HU_MAX - HU_MIN + 1 or not np.isfinite(tables).all():
        msg = f"tables {tables.shape} must be finite and hold {HU_MAX - HU_MIN + 1} values per quantity, one per HU"
        raise MskdexError(msg)
    return tables
