"""What a registered pose looks like: the measures that tell a right one from a wrong one."""

from collections.abc import Callable

import numpy as np

from mskdex.config.registration import RegistrationSettings
from mskdex.registration.fixed_image import FixedImage
from mskdex.registration.similarity import GradientCorrelation
from mskdex.registration.single import Outcome, Task, neighbourhood, objective

MEASURES = ("similarity", "patch_correlation", "search", "margin", "agreement", "sd_mm", "sd_deg", "in_field", "joint")
"""Names of the measures, in the order of the calibration."""

_SAME_MM = 20.0
"""Ends of the coarse search within this mTRE of the pose lie in its basin."""


def measures(
    task: Task, outcome: Outcome, views: Callable[[float], FixedImage], settings: RegistrationSettings
) -> dict[str, float]:
    """The `MEASURES` of a pose.

    similarity: share of gradient energy explained near the bone at the finest level; patch_correlation:
    mean gradient correlation over its patches; search: share explained wherever the search could have put
    it; margin: by how much that beats the best restart that ended elsewhere; agreement: share of restarts
    that ended near it; sd_mm, sd_deg: predicted standard deviations; in_field: share of the projection
    in the exposed field; joint: distance of the joint from where the parent holds it, in its sd.
    """
    fine = views(settings.fine_pixels_mm[-1])
    mask = neighbourhood(task.model, fine, outcome.pose, settings.neighbourhood_mm)
    view, mask = fine.cropped(mask)
    image = task.model.image(view.camera, outcome.pose)
    patch = max(4, round(settings.patch_mm / view.camera.pixel_mm))
    first = views(settings.fine_pixels_mm[0])
    search = objective(task, first, outcome.pose, settings)
    apart = [_distance(task, pose, outcome.pose) for pose in outcome.ends]
    others = [pose for pose in outcome.candidates if _distance(task, pose, outcome.pose) > 6.0]
    elsewhere = [objective(task, first, pose, settings) for pose in others]
    sd_mm, sd_deg = standard_deviations(outcome.refined.covariance)
    return {
        "similarity": outcome.refined.similarity,
        "patch_correlation": float(GradientCorrelation(view.image, mask, patch).value(image)) if mask.any() else 0.0,
        "search": search,
        "margin": search - max(elsewhere, default=0.0),
        "agreement": float(np.mean([a < _SAME_MM for a in apart])) if apart else 1.0,
        "sd_mm": sd_mm,
        "sd_deg": sd_deg,
        "in_field": in_field(task, fine, outcome.pose),
        "joint": _joint_distance(task, outcome.pose),
    }


def in_field(task: Task, view: FixedImage, pose: np.ndarray) -> float:
    """Share of a body's voxels, weighed by their excess attenuation, that project into the exposed field."""
    points = task.model.coarse
    camera_points = points.position_mm @ pose[:3, :3].T + pose[:3, 3]
    pixel = np.round(view.camera.project(camera_points)).astype(int)
    inside = np.all((pixel >= 0) & (pixel < view.image.shape), axis=1) & (camera_points[:, 2] > 0)
    exposed = np.zeros(len(pixel), dtype=bool)
    exposed[inside] = view.field[tuple(pixel[inside].T)]
    strength = np.maximum(points.strength_mm3, 0.0)
    return float(strength[exposed].sum() / strength.sum())


def standard_deviations(covariance: np.ndarray) -> tuple[float, float]:
    """Standard deviations of the centre's position (mm) and of the rotation (degrees), over all directions."""
    variance = np.diag(covariance)
    return float(np.sqrt(variance[3:].sum())), float(np.sqrt(variance[:3].sum()))


def _distance(task: Task, first: np.ndarray, second: np.ndarray) -> float:
    difference = first - second
    moved = task.model.body.targets_mm @ difference[:3, :3].T + difference[:3, 3]
    return float(np.linalg.norm(moved, axis=1).mean())


def _joint_distance(task: Task, pose: np.ndarray) -> float:
    if task.joint is None:
        return 0.0
    point = pose[:3, :3] @ task.joint.point_mm + pose[:3, 3]
    return float(np.linalg.norm(point - task.joint.target_mm)) / task.joint.sd_mm
