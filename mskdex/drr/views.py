"""What one render call holds: the poses, and the objects that each of them shows."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mskdex.drr.rays import checked_pose
from mskdex.drr.sampling import Sampling
from mskdex.drr.scene import Scene
from mskdex.errors import MskdexError
from mskdex.geometry.camera import Camera


@dataclass(frozen=True, eq=False)
class View:
    """Objects that are seen from one pose.

    Attributes:
        index: number of the image stack, of a batch of poses, that the view belongs to.
        pose: 4×4 camera_from_ct.
        members: places of the objects among all objects. ids: their labels.
        box: (2, 3) of their voxels, low and high (exclusive) z, y, x; None where they have none.
        depths_mm: nearest and farthest depth of the box.
        oversampling: rays per pixel edge.
    """

    index: int
    pose: np.ndarray
    members: tuple[int, ...]
    ids: tuple[int, ...]
    box: np.ndarray | None
    depths_mm: tuple[float, float]
    oversampling: int


def make_views(
    scene: Scene, ids: Sequence[int], camera: Camera, poses: Sequence[np.ndarray], sampling: Sampling
) -> list[View]:
    """The views of a batch: each pose is (4, 4), or (N, 4, 4) for a pose per object.

    Raises:
        MskdexError: poses of another shape, not rigid or not finite; a source inside the objects' box or beyond it.
    """
    views = []
    for index, given in enumerate(poses):
        for pose, members in _by_pose(given, len(ids)):
            chosen = tuple(ids[i] for i in members)
            box = scene.box(chosen)
            depths = (0.0, 0.0) if box is None else scene.depths_mm(box, camera, pose)
            sub = sampling.oversampling or _auto_oversampling(scene, camera, depths)
            views.append(View(index, pose, members, chosen, box, depths, sub))
    return views


def _auto_oversampling(scene: Scene, camera: Camera, depths_mm: tuple[float, float]) -> int:
    """Rays per pixel edge so that neighbours lie no farther apart than voxels at the objects' middle depth.

    Coarser rays step over parts of small objects: at pixels three voxels wide the sums of the smallest hip
    muscles are off by up to 1.5 %, at rays one voxel apart by 0.05 %.
    """
    pitch = camera.pixel_mm
    if camera.beam == "cone":
        pitch *= sum(depths_mm) / 2.0 / camera.sdd_mm
    voxel = np.linalg.norm(scene.world_from_voxel[:3, :3], axis=0).min()
    return max(1, int(np.ceil(pitch / voxel - 0.05)))


def _by_pose(camera_from_ct: np.ndarray, count: int) -> list[tuple[np.ndarray, tuple[int, ...]]]:
    poses = np.asarray(camera_from_ct, dtype=np.float64)
    if poses.ndim == 2:
        return [(checked_pose(poses), tuple(range(count)))]
    if poses.shape != (count, 4, 4):
        msg = f"camera_from_ct has shape {poses.shape}; (4, 4) or one per object, ({count}, 4, 4), is needed"
        raise MskdexError(msg)
    groups: dict[bytes, list[int]] = {}
    for index, pose in enumerate(poses):
        groups.setdefault(pose.tobytes(), []).append(index)
    return [(checked_pose(poses[members[0]]), tuple(members)) for members in groups.values()]
