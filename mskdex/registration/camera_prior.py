"""What an uncertain camera does to a registered pose: nearly nothing on the image, much in space."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from mskdex.config.registration import CameraPriorSettings
from mskdex.geometry.camera import Camera
from mskdex.geometry.rigid import moved
from mskdex.registration.confidence import RIGHT_MTRE_MM

_SAMPLES = 512
_SEED = 0
_TARGETS = 60
_STEP = 0.01


@dataclass(frozen=True)
class CameraPrior:
    """Standard deviations of a radiograph's camera.

    Attributes:
        sdd_mm: of the distance from source to detector.
        principal_point_mm: of the principal point on the detector, in each direction.
        depth_mm: of the distance from source to the middle of the patient's bones, where something is said of it.
    """

    sdd_mm: float
    principal_point_mm: float
    depth_mm: float = np.inf

    @property
    def deviations_mm(self) -> np.ndarray:
        """Of source distance, principal row and principal column, (3,)."""
        return np.array([self.sdd_mm, self.principal_point_mm, self.principal_point_mm])

    @property
    def covariance(self) -> np.ndarray:
        """Of the same, (3, 3)."""
        return np.diag(np.square(self.deviations_mm))

    @classmethod
    def of(cls, sources: Mapping[str, str], settings: CameraPriorSettings) -> "CameraPrior":
        """The prior that the camera's sources give: `sources` of camera.json; a number without one was assumed."""
        point, depth = settings.principal_point_assumed_sd_mm, np.inf
        if all(_measured(sources.get(name, "assumed")) for name in ("principal_row_px", "principal_column_px")):
            point = settings.principal_point_measured_sd_mm
        known = _measured(sources.get("sdd_mm", "assumed"))
        by = sources.get("source_to_isocentre_mm", "assumed")
        # sdd_mm over a magnification, or less a distance: as wrong as sdd_mm.
        if _measured(by) and (known or "sdd_mm" not in by):
            depth = settings.depth_sd_mm
        return cls(settings.sdd_measured_sd_mm if known else settings.sdd_assumed_sd_mm, point, depth)


@dataclass(frozen=True)
class SpaceError:
    """How far off a pose has to be expected.

    Attributes:
        expected_mpd_mm: on the image: mean distance of projected targets on the detector, camera as it was given.
        expected_mtre_mm: in space: mean distance of targets, the camera's uncertainty included.
        sd_mm: standard deviation of the centre's position in space, over all directions, the camera's included.
        within: probability that the camera alone leaves mTRE below 2 mm.
    """

    expected_mpd_mm: float
    expected_mtre_mm: float
    sd_mm: float
    within: float


def space_error(
    pose: np.ndarray,
    covariance: np.ndarray,
    centre_mm: np.ndarray,
    targets_mm: np.ndarray,
    camera: Camera,
    camera_covariance: np.ndarray,
) -> SpaceError:
    """Errors on the image and in space.

    The image holds the projections of the body's targets. Where the camera differs by c, the pose that shows the
    same image differs by K·c, K = -(JᵀJ)⁻¹ Jᵀ C with J and C the derivatives of the projections by pose and camera, so
    that the pose's covariance in space is that given the camera plus K Σ Kᵀ.

    Args:
        pose: camera_from_ct, (4, 4).
        covariance: of `rigid.PARAMETERS` about the centre given the camera, (6, 6), degrees and mm.
        centre_mm: pivot, RAS, (3,).
        targets_mm: points on the body's surface, RAS, (N, 3).
        camera: as it is taken to be.
        camera_covariance: of its source distance, principal row and principal column in mm, (3, 3).
    """
    targets = targets_mm[:: max(len(targets_mm) // _TARGETS, 1)]
    places, by_pose = _by_pose(pose, centre_mm, targets, camera)
    gain = compensation(pose, centre_mm, targets_mm, camera)
    in_space = np.stack([(_points(pose, centre_mm, targets, u) - places).ravel() / _STEP for u in _units()], axis=1)
    draw = np.random.default_rng(_SEED)
    own = draw.multivariate_normal(np.zeros(6), covariance, _SAMPLES, method="eigh")
    of_camera = draw.multivariate_normal(np.zeros(3), camera_covariance, _SAMPLES, method="eigh") @ gain.T
    camera_variance = gain @ camera_covariance @ gain.T
    return SpaceError(
        expected_mpd_mm=float(_mean_lengths(own @ by_pose.T, 2).mean()),
        expected_mtre_mm=float(_mean_lengths((own + of_camera) @ in_space.T, 3).mean()),
        sd_mm=float(np.sqrt(np.trace((covariance + camera_variance)[3:, 3:]))),
        within=float(np.mean(_mean_lengths(of_camera @ in_space.T, 3) < RIGHT_MTRE_MM)),
    )


def compensation(pose: np.ndarray, centre_mm: np.ndarray, targets_mm: np.ndarray, camera: Camera) -> np.ndarray:
    """K: the change of a pose that keeps the image where the camera changes, (6, 3).

    Of `rigid.PARAMETERS` in degrees and mm by source distance, principal row and principal column in mm; least squares
    over the projections of the targets; other arguments as of `space_error`.
    """
    targets = targets_mm[:: max(len(targets_mm) // _TARGETS, 1)]
    places, by_pose = _by_pose(pose, centre_mm, targets, camera)
    gain: np.ndarray = -np.linalg.lstsq(by_pose, _by_camera(places, camera), rcond=1e-9)[0]
    return gain


def _measured(source: str) -> bool:
    return not source.startswith(("assumed", "config"))


def _units() -> np.ndarray:
    return np.eye(6) * _STEP


def _points(pose: np.ndarray, centre_mm: np.ndarray, targets: np.ndarray, parameters: np.ndarray) -> np.ndarray:
    there = moved(pose, centre_mm, parameters)
    points: np.ndarray = targets @ there[:3, :3].T + there[:3, 3]
    return points


def _by_pose(
    pose: np.ndarray, centre_mm: np.ndarray, targets: np.ndarray, camera: Camera
) -> tuple[np.ndarray, np.ndarray]:
    """The targets in the camera's frame, and the derivative of their projections in mm on the detector, (2N, 6)."""
    places = _points(pose, centre_mm, targets, np.zeros(6))
    middle = camera.project(places)
    columns = [(camera.project(_points(pose, centre_mm, targets, u)) - middle).ravel() / _STEP for u in _units()]
    return places, np.stack(columns, axis=1) * camera.pixel_mm


def _by_camera(places: np.ndarray, camera: Camera) -> np.ndarray:
    """Derivative of the projections in mm by SDD and by the principal point's row and column in mm, (2N, 3)."""
    middle = camera.project(places)
    farther = (replace(camera, sdd_mm=camera.sdd_mm + _STEP).project(places) - middle) * camera.pixel_mm / _STEP
    row = np.tile([1.0, 0.0], len(places))
    return np.stack([farther.ravel(), row, 1.0 - row], axis=1)


def _mean_lengths(vectors: np.ndarray, size: int) -> np.ndarray:
    """Mean length of the vectors of each sample: (samples, N·size) to (samples,)."""
    lengths: np.ndarray = np.linalg.norm(vectors.reshape(len(vectors), -1, size), axis=2).mean(axis=1)
    return lengths
