"""Second-order refinement: Levenberg–Marquardt on patch-wise gradient correlation, with exact derivatives."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from mskdex.geometry.rigid import RAD_PER_UNIT, moved
from mskdex.registration.similarity import GradientCorrelation

RenderTangents = Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]
"""Takes camera_from_ct to the image (rows, columns) and its derivatives (6, rows, columns), per rad and mm."""


PIXELS_PER_SAMPLE = 40.0
"""With these, predicted covariances match the errors on virtual patients."""


@dataclass(frozen=True)
class Joint:
    """Where the parent body holds a point of this one.

    Attributes:
        point_mm: the joint's centre in the CT, RAS, (3,).
        target_mm: the same point in the camera's frame, as the parent's pose puts it, (3,).
        sd_mm: how far apart the two may lie.
    """

    point_mm: np.ndarray
    target_mm: np.ndarray
    sd_mm: float


@dataclass(frozen=True)
class RefinedPose:
    """A refined pose.

    Attributes:
        pose: camera_from_ct.
        similarity: share of the radiograph's gradient energy that the DRR explains, 0 … 1.
        covariance: of `rigid.PARAMETERS` about the pivot, (6, 6), in degrees and mm, uncalibrated.
        iterations: steps that were taken.
        converged: whether the last step was below the tolerance.
    """

    pose: np.ndarray
    similarity: float
    covariance: np.ndarray
    iterations: int
    converged: bool


@dataclass(frozen=True)
class RefinementProblem:
    """What is minimised.

    Attributes:
        render: renderer of the scene with its derivatives by the body's pose.
        similarity: prepared for the radiograph, energy-weighted.
        pivot_mm: pivot of `render`'s derivatives, RAS.
        joint: the parent's hold, if any.
        pixels_per_sample: pixels of the gradient image that count as one independent observation.
    """

    render: RenderTangents
    similarity: GradientCorrelation
    pivot_mm: np.ndarray
    joint: Joint | None = None
    pixels_per_sample: float = PIXELS_PER_SAMPLE


@dataclass(frozen=True)
class _Linearisation:
    residual: np.ndarray
    jacobian: np.ndarray
    prior: np.ndarray
    prior_jacobian: np.ndarray


def refine(
    problem: RefinementProblem, start: np.ndarray, max_iterations: int = 12, tolerance: float = 0.02
) -> RefinedPose:
    """Refines a pose until a step moves it by less than `tolerance` (degrees, mm).

    Args:
        problem: what to minimise.
        start: camera_from_ct, (4, 4).
        max_iterations: evaluations of the image and its derivatives, at most.
    """
    pose, now = start, _linearise(problem, start)
    variance = _variance(problem, now)
    damping, converged, taken = 1e-2, False, 0
    while taken < max_iterations and not converged and damping < 1e6:
        taken += 1
        step = _step(now, variance, damping)
        trial = moved(pose, problem.pivot_mm, step)
        then = _linearise(problem, trial)
        if _cost(then, variance) < _cost(now, variance):
            pose, now, damping = trial, then, damping / 10
            variance = _variance(problem, now)
        else:
            damping *= 10
        converged = bool(np.abs(step[[0, 1, 2, 3, 4]]).max() < tolerance and abs(step[5]) < 5 * tolerance)
    normal, _ = _normal(now, variance)
    covariance = np.linalg.inv(normal + 1e-12 * np.eye(6))
    return RefinedPose(pose, 1.0 - float(now.residual @ now.residual), covariance, taken, converged)


def _linearise(problem: RefinementProblem, pose: np.ndarray) -> _Linearisation:
    image, jacobian = problem.render(pose)
    jacobian = jacobian * RAD_PER_UNIT[:, None, None].astype(jacobian.dtype)
    residual, slope = problem.similarity.residuals(image, jacobian)
    prior, prior_slope = np.zeros(0), np.zeros((6, 0))
    if problem.joint is not None:
        prior, prior_slope = _hold(problem.joint, pose, problem.pivot_mm)
    return _Linearisation(residual, slope, prior, prior_slope)


def _hold(joint: Joint, pose: np.ndarray, pivot_mm: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    point = pose[:3, :3] @ joint.point_mm + pose[:3, 3]
    x, y, z = pose[:3, :3] @ (joint.point_mm - pivot_mm)
    turn = np.array([[0.0, -z, y], [z, 0.0, -x], [-y, x, 0.0]]) * RAD_PER_UNIT[:3, None]
    return (point - joint.target_mm) / joint.sd_mm, np.concatenate([turn, np.eye(3)]) / joint.sd_mm


def _variance(problem: RefinementProblem, linear: _Linearisation) -> float:
    return sample_variance(linear.residual, problem.pixels_per_sample)


def sample_variance(residual: np.ndarray, pixels_per_sample: float = PIXELS_PER_SAMPLE) -> float:
    """Variance of one independent observation among the residuals of pixels, (N,)."""
    samples = max(len(residual) / pixels_per_sample, 10.0)
    return max(float(residual @ residual) / samples, 1e-9)


def _cost(linear: _Linearisation, variance: float) -> float:
    return float(linear.residual @ linear.residual) / variance + float(linear.prior @ linear.prior)


def _normal(linear: _Linearisation, variance: float) -> tuple[np.ndarray, np.ndarray]:
    matrix = linear.jacobian @ linear.jacobian.T / variance + linear.prior_jacobian @ linear.prior_jacobian.T
    right = linear.jacobian @ linear.residual / variance + linear.prior_jacobian @ linear.prior
    return matrix.astype(np.float64), right.astype(np.float64)


def _step(linear: _Linearisation, variance: float, damping: float) -> np.ndarray:
    matrix, right = _normal(linear, variance)
    damped = matrix + damping * np.diag(np.diag(matrix)) + 1e-9 * np.eye(6)
    step = -np.linalg.solve(damped, right)
    limit = np.array([6.0, 6.0, 6.0, 12.0, 12.0, 30.0])
    result: np.ndarray = step / max(1.0, float(np.abs(step / limit).max()))
    return result
