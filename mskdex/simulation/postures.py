"""Postures of a patient's rigid bodies: the registered one, and others about it."""

from collections.abc import Mapping, Sequence

import numpy as np
from scipy import ndimage

from mskdex.config.registration import BodySettings
from mskdex.config.virtual import PostureSettings
from mskdex.deformation.labelled_ct import LabelledCt
from mskdex.deformation.posture import rotation_about
from mskdex.registration.joint import joint_centre
from mskdex.registration.registering import sided

_TRUSTED_DEG, _UNTRUSTED_DEG = 20.0, 40.0
"""Turn of a joint up to which following soft tissue is trusted, and from which on it is not."""

_SURFACE_POINTS = 4000


def registered_posture(
    camera_from_ct: Mapping[str, np.ndarray], nominal: np.ndarray, bodies: Sequence[str]
) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Camera and poses of the registered posture, in the frame that moves with the first accepted body.

    Args:
        camera_from_ct: by accepted body, 4×4.
        nominal: 4×4, used where no body was accepted.
        bodies: those that the CT holds.

    Returns:
        camera_from_posed, and posed_from_ct of each body; one that was not accepted moves with the first.
    """
    accepted = [body for body in bodies if body in camera_from_ct]
    anchor = camera_from_ct[accepted[0]] if accepted else nominal
    back = np.linalg.inv(anchor)
    poses = {body: back @ camera_from_ct[body] if body in accepted[1:] else np.eye(4) for body in bodies}
    return anchor, poses


def draw_posture(
    settings: PostureSettings,
    parents: Mapping[str, str | None],
    centres_mm: Mapping[str, np.ndarray],
    draw: np.random.Generator,
) -> dict[str, np.ndarray]:
    """Random poses: bodies without a parent turn as the pelvis does, the others in their joints as the hips do.

    Args:
        settings: spreads of the angles.
        parents: of each body, parents first.
        centres_mm: pivot of each body in the CT, RAS mm, see `pivots`.
        draw: source of randomness.
    """
    tilt = (settings.pelvic_tilt_sd_deg, settings.pelvic_turn_sd_deg, settings.pelvic_turn_sd_deg)
    hip = (settings.hip_flexion_sd_deg, settings.hip_abduction_sd_deg, settings.hip_rotation_sd_deg)
    poses: dict[str, np.ndarray] = {}
    for body, parent in parents.items():
        limited, centre = np.clip(draw.normal(size=3), -2.0, 2.0), centres_mm[body]
        poses[body] = rotation_about(centre, limited * (tilt if parent is None else hip))
        if parent is not None:
            poses[body][:3, 3] += (poses[parent] @ np.r_[centre, 1.0])[:3] - centre
    return poses


def parents_of(settings: Sequence[BodySettings], bodies: Sequence[str]) -> dict[str, str | None]:
    """Parent of each body that the CT holds, parents first; None where the CT does not hold the parent."""
    known = {name: parent for item in settings for name, parent in sided(item, tuple(settings))}
    return {name: parent if parent in bodies else None for name, parent in known.items() if name in bodies}


def pivots(ct: LabelledCt, parents: Mapping[str, str | None]) -> dict[str, np.ndarray]:
    """What each body turns about, RAS mm: its joint with its parent, else the middle of its children's joints.

    A body without either turns about its own middle.
    """
    surfaces = {body: _surface(ct, body) for body in parents}
    found = {b: joint_centre(surfaces[b], surfaces[p]) for b, p in parents.items() if p is not None}
    for body in parents:
        if body not in found:
            joints = [found[child] for child, parent in parents.items() if parent == body]
            found[body] = np.mean(joints, axis=0) if joints else surfaces[body].mean(axis=0)
    return found


def posture_weight(poses: Mapping[str, np.ndarray], parents: Mapping[str, str | None]) -> float:
    """Weight of a posture, 1 to 0: how far following soft tissue is trusted by the largest turn of a joint."""
    turns = [_turn_deg(np.linalg.inv(poses[p]) @ poses[b]) for b, p in parents.items() if p is not None]
    return float(np.clip((_UNTRUSTED_DEG - max(turns, default=0.0)) / (_UNTRUSTED_DEG - _TRUSTED_DEG), 0.0, 1.0))


def _turn_deg(pose: np.ndarray) -> float:
    return float(np.degrees(np.arccos(np.clip((np.trace(pose[:3, :3]) - 1.0) / 2.0, -1.0, 1.0))))


def _surface(ct: LabelledCt, body: str) -> np.ndarray:
    """Points of a body's surface, RAS mm, (at most 4000, 3)."""
    mask = ct.of_body(body)[ct.labels]
    voxels = np.argwhere(mask & ~ndimage.binary_erosion(mask, border_value=1))
    if len(voxels) == 0:
        voxels = np.argwhere(mask)
    voxels = voxels[np.linspace(0, len(voxels) - 1, min(_SURFACE_POINTS, len(voxels))).astype(int)]
    return voxels[:, ::-1] @ ct.world_from_voxel[:3, :3].T + ct.world_from_voxel[:3, 3]
