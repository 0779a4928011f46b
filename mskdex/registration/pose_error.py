"""How far a registered pose is from the truth."""

from dataclasses import asdict, dataclass

import numpy as np

from mskdex.geometry.camera import Camera
from mskdex.geometry.rigid import difference


@dataclass(frozen=True)
class PoseError:
    """Errors of a pose over a body's target points.

    Attributes:
        mtre_mm: mean distance of targets in space.
        mpd_mm: mean distance of their projections on the detector.
        mrpd_mm: mean distance from the true target to the ray through its registered projection.
        in_plane_mm: distance of the targets' mean, parallel to the detector.
        depth_mm: signed difference of the targets' mean along the principal axis.
        rotation_deg: angle between the orientations.
    """

    mtre_mm: float
    mpd_mm: float
    mrpd_mm: float
    in_plane_mm: float
    depth_mm: float
    rotation_deg: float

    def as_dict(self) -> dict[str, float]:
        """JSON-able form."""
        return asdict(self)


def pose_error(pose: np.ndarray, truth: np.ndarray, targets_mm: np.ndarray, camera: Camera) -> PoseError:
    """Errors of a pose against the true one.

    Args:
        pose: camera_from_ct, (4, 4).
        truth: the true camera_from_ct, (4, 4).
        targets_mm: RAS points on the body's surface, (N, 3).
        camera: the radiograph's camera.

    Source: van de Kraats et al. 2005 for mTRE, mPD and mRPD.
    """
    found = targets_mm @ pose[:3, :3].T + pose[:3, 3]
    true = targets_mm @ truth[:3, :3].T + truth[:3, 3]
    on_detector = (camera.project(found) - camera.project(true)) * camera.pixel_mm
    ray = found / np.linalg.norm(found, axis=1, keepdims=True)
    off_ray = true - np.sum(true * ray, axis=1, keepdims=True) * ray
    shift = (found - true).mean(axis=0)
    return PoseError(
        mtre_mm=_mean_norm(found - true),
        mpd_mm=_mean_norm(on_detector),
        mrpd_mm=_mean_norm(off_ray),
        in_plane_mm=float(np.hypot(shift[0], shift[1])),
        depth_mm=float(shift[2]),
        rotation_deg=float(np.linalg.norm(difference(pose, truth, targets_mm.mean(axis=0))[:3])),
    )


def _mean_norm(vectors: np.ndarray) -> float:
    return float(np.linalg.norm(vectors, axis=1).mean())
