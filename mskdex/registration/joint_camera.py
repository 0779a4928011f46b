"""Pose and camera together: what the registered bones themselves tell of source distance and principal point.

A view tells the depth of a bone from the distance of the source by perspective alone: near parts are magnified more.
Poses that were found with the camera as given are right on the image; from there the camera's change and theirs are
estimated together, with what was known of the camera before as a penalty.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from mskdex.config.registration import RegistrationSettings
from mskdex.drr.density import render_with_tangents
from mskdex.geometry.camera import Camera
from mskdex.geometry.rigid import RAD_PER_UNIT, moved
from mskdex.registration.camera_prior import CameraPrior, compensation
from mskdex.registration.contrast import attenuation_slope, bone_attenuation
from mskdex.registration.fixed_image import FixedImage
from mskdex.registration.refine import sample_variance
from mskdex.registration.similarity import GradientCorrelation
from mskdex.registration.single import RenderedBody, neighbourhood

_STEPS_MM = np.array([20.0, 5.0, 5.0])
"""Of the camera's derivatives: with the pose that compensates it, such a change moves the image by tenths of a mm."""
_ITERATIONS = 2
_LEAST_SD_MM = 1e-3
_STAY = np.array([3.0, 3.0, 3.0, 3.0, 3.0, 3.0])
"""Degrees and mm (SD) by which a pose differs from the found one at most: what registration.max_sd_… accept."""


@dataclass(frozen=True)
class PlacedBody:
    """A body at a pose that was found with the camera as it was given."""

    model: RenderedBody
    pose: np.ndarray


@dataclass(frozen=True)
class Depth:
    """What was known of the patient's distance from the source.

    Attributes:
        point_mm: the middle of the bones, RAS, (3,), which the first body carries.
        depth_mm: its distance from the source along the principal axis.
        sd_mm: standard deviation of that.
    """

    point_mm: np.ndarray
    depth_mm: float
    sd_mm: float

    def row(self, pose: np.ndarray, centre_mm: np.ndarray, gain: np.ndarray) -> tuple[float, np.ndarray]:
        """Residual in standard deviations, and its derivative by pose and camera, (9,)."""
        x, y, _ = pose[:3, :3] @ (self.point_mm - centre_mm)
        by_pose = np.array([y * RAD_PER_UNIT[0], -x * RAD_PER_UNIT[1], 0.0, 0.0, 0.0, 1.0])
        depth = float(pose[2, :3] @ self.point_mm + pose[2, 3])
        return (depth - self.depth_mm) / self.sd_mm, np.concatenate([by_pose, by_pose @ gain]) / self.sd_mm


@dataclass(frozen=True)
class CameraEstimate:
    """A camera by prior and image.

    Attributes:
        camera: the estimate, on the grid of the one that was given.
        covariance: of source distance, principal row and principal column in mm on the detector, (3, 3).
        poses: camera_from_ct of the bodies in that camera, in their order.
    """

    camera: Camera
    covariance: np.ndarray
    poses: tuple[np.ndarray, ...]


def changed(camera: Camera, change_mm: np.ndarray) -> Camera:
    """A camera whose source distance, principal row and column differ by `change_mm`, (3,), on the detector."""
    row, column = np.array(camera.principal_point_px) + change_mm[1:] / camera.pixel_mm
    return replace(camera, sdd_mm=camera.sdd_mm + float(change_mm[0]), principal_point_px=(float(row), float(column)))


def estimate_camera(
    bodies: Sequence[PlacedBody],
    view: FixedImage,
    prior: CameraPrior,
    settings: RegistrationSettings,
    depth: Depth | None = None,
) -> CameraEstimate:
    """The camera that prior and bodies agree on, by Gauss-Newton on poses and camera from the poses that were found.

    Each body is compared as in its refinement, with the others in the scene as they were found; its pose is
    eliminated (Schur complement), so that one camera remains that all bodies share.

    Args:
        bodies: accepted ones, with their poses.
        view: the radiograph on the finest grid of the refinement, with the camera as it was given.
        prior: standard deviations of that camera.
        settings: margins, patches, scatter.
        depth: what was known of the first body's distance from the source.
    """
    known = np.diag(1.0 / np.square(np.maximum(prior.deviations_mm, _LEAST_SD_MM)))
    change, poses = np.zeros(3), [body.pose for body in bodies]
    precision = known
    for _ in range(_ITERATIONS):
        linear = [_linear(n, bodies, poses, view, change, settings, None if n else depth) for n in range(len(bodies))]
        precision = known + sum((one.schur for one in linear), start=np.zeros((3, 3)))
        pull = known @ change + sum((one.pull for one in linear), start=np.zeros(3))
        step = -np.linalg.solve(precision, pull)
        for n, one in enumerate(linear):
            own = one.gain @ step - np.linalg.solve(one.by_pose, one.gradient + one.mixed @ step)
            poses[n] = moved(poses[n], bodies[n].model.body.centre_mm, own)
        change = change + step
    return CameraEstimate(changed(view.camera, change), np.linalg.inv(precision), tuple(poses))


@dataclass(frozen=True)
class _NormalEquations:
    """One body's normal equations about poses and camera: the camera's change takes the pose along by `gain`."""

    gain: np.ndarray
    by_pose: np.ndarray
    mixed: np.ndarray
    gradient: np.ndarray
    schur: np.ndarray
    pull: np.ndarray


def _linear(
    number: int,
    bodies: Sequence[PlacedBody],
    poses: Sequence[np.ndarray],
    view: FixedImage,
    change: np.ndarray,
    settings: RegistrationSettings,
    depth: Depth | None,
) -> _NormalEquations:
    model, found = bodies[number].model, bodies[number].pose
    mask = neighbourhood(model, view, found, settings.neighbourhood_mm)
    part, mask = view.cropped(mask)
    others = sum((b.model.image(part.camera, b.pose) for n, b in enumerate(bodies) if n != number), start=0.0)
    camera, centre = changed(part.camera, change), model.body.centre_mm
    pose = poses[number]
    image, tangents = render_with_tangents(model.density, camera, pose, centre_mm=centre, step_mm=model.step_mm)
    scene, scatter = image + others, settings.scatter_to_primary
    gain = compensation(pose, centre, model.body.targets_mm, camera)
    by_camera = []
    for step in np.diag(_STEPS_MM):
        both = [(changed(camera, d), moved(pose, centre, gain @ d)) for d in (step, -step)]
        ends = [bone_attenuation(model.image(*there) + others, scatter) for there in both]
        by_camera.append((ends[0] - ends[1]) / (2 * step.sum()))
    by_pose = tangents * attenuation_slope(scene, scatter) * RAD_PER_UNIT[:, None, None].astype(tangents.dtype)
    patch = max(4, round(settings.patch_mm / part.camera.pixel_mm))
    similarity = GradientCorrelation(part.image, mask, patch, "energy", trend=1)
    residual, jacobian = similarity.residuals(
        bone_attenuation(scene, scatter), np.concatenate([by_pose, np.stack(by_camera)])
    )
    variance = sample_variance(residual)
    normal = (jacobian @ jacobian.T).astype(np.float64) / variance
    right = (jacobian @ residual).astype(np.float64) / variance
    if depth is not None:
        off, by_all = depth.row(pose, centre, gain)
        normal, right = normal + np.outer(by_all, by_all), right + off * by_all
    inner, mixed = normal[:6, :6] + np.diag(_STAY**-2.0), normal[:6, 6:]
    eliminated = np.linalg.solve(inner, np.column_stack([mixed, right[:6]]))
    return _NormalEquations(
        gain,
        inner,
        mixed,
        right[:6],
        schur=normal[6:, 6:] - mixed.T @ eliminated[:, :3],
        pull=right[6:] - mixed.T @ eliminated[:, 3],
    )
