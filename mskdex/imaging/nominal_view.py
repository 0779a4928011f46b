"""The nominal pose of a CT: where the camera is taken to stand before anything is registered."""

import numpy as np

from mskdex.config.objects import Channel
from mskdex.geometry.camera import nominal_pose
from mskdex.imaging.view_geometry import ViewGeometry
from mskdex.io.volume import Volume


def nominal_camera(
    labels: Volume, channels: tuple[Channel, ...], geometry: ViewGeometry
) -> tuple[np.ndarray, np.ndarray]:
    """The nominal pose: the central ray through the middle of the labelled bones.

    Args:
        labels: uint8 Channel.label, RAS.
        channels: the config's.
        geometry: of the radiograph; where it shows one side only, that side's bones are taken.

    Returns:
        camera_from_ct (4×4) and the isocentre (RAS mm).
    """
    isocentre = middle_of_bones(labels, channels, geometry.laterality)
    return nominal_pose(isocentre, geometry.source_to_isocentre_mm, geometry.view), isocentre


def middle_of_bones(labels: Volume, channels: tuple[Channel, ...], laterality: str | None = None) -> np.ndarray:
    """Middle of the labelled bones' bounding box (RAS mm), of all labels where no bone is labelled.

    Args:
        labels: uint8 Channel.label, RAS; the volume's middle is taken where nothing is labelled.
        channels: the config's.
        laterality: L or R takes that side's bones, where there are any.
    """
    side = {"L": "left", "R": "right"}.get(laterality or "")
    bones = [c.label for c in channels if c.kind == "bone"]
    wanted = [c.label for c in channels if c.kind == "bone" and c.side == side] if side else bones
    for ids in (wanted, bones, [c.label for c in channels]):
        box = _bounding_box(labels.array, ids)
        if box is not None:
            break
    middle = (
        np.append(box[::-1], 1.0) if box is not None else np.append((np.array(labels.array.shape[::-1]) - 1) / 2, 1)
    )
    return np.asarray((labels.world_from_voxel @ middle)[:3])


def _bounding_box(labels: np.ndarray, ids: list[int]) -> np.ndarray | None:
    """Middle (z, y, x) of the bounding box of some labels, in voxels."""
    table = np.zeros(256, bool)
    table[ids] = True
    inside = table[labels]
    if not inside.any():
        return None
    ends = [np.flatnonzero(inside.any(axis=tuple(a for a in range(3) if a != axis)))[[0, -1]] for axis in range(3)]
    return np.mean(ends, axis=1)
