"""Start poses that a user gives: a file of poses or of landmarks, in place of the nominal camera."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from mskdex.errors import MskdexError
from mskdex.geometry.camera import Camera, nominal_pose
from mskdex.geometry.rigid import moved
from mskdex.io.user_files import read_user_json

_MIN_LANDMARKS = 4


def read_starts(folder: str | None, patient_id: str, bodies: Iterable[str], camera: Camera) -> dict[str, np.ndarray]:
    """Reads {folder}/{patient_id}.json, if there is one.

    The file gives each body either its pose or at least four landmarks:
    `{"pelvis": {"camera_from_ct": [[…], …]}, "femur_left": {"landmarks": [{"ct_mm": [x, y, z],
    "radiograph_px": [row, column]}, …]}}`; pixels are those of the imported radiograph.

    Args:
        folder: the config's registration.starts.
        patient_id: name of the file.
        bodies: bodies that may be named.
        camera: the imported radiograph's camera.

    Returns:
        camera_from_ct by body.

    Raises:
        MskdexError: an unknown body, a matrix that is not rigid, too few or inconsistent landmarks.
    """
    path = None if folder is None else Path(folder) / f"{patient_id}.json"
    if path is None or not path.is_file():
        return {}
    content, known = read_user_json(path), sorted(bodies)
    starts = {}
    for name, entry in content.items():
        if name not in known:
            msg = f"{path}: unknown body {name}; this patient has {', '.join(known)}"
            raise MskdexError(msg)
        starts[name] = _pose(path, name, entry, camera)
    return starts


def _pose(path: Path, name: str, entry: Mapping[str, Any], camera: Camera) -> np.ndarray:
    if set(entry) == {"camera_from_ct"}:
        pose = np.asarray(entry["camera_from_ct"], dtype=np.float64)
        turn = pose[:3, :3] if pose.shape == (4, 4) else np.zeros((3, 3))
        if not np.allclose(turn @ turn.T, np.eye(3), atol=1e-3) or np.linalg.det(turn) < 0:
            msg = f"{path}: camera_from_ct of {name} must be a rigid 4×4 matrix, RAS mm to camera mm"
            raise MskdexError(msg)
        return pose
    if set(entry) == {"landmarks"} and len(entry["landmarks"]) >= _MIN_LANDMARKS:
        points = np.array([landmark["ct_mm"] for landmark in entry["landmarks"]], dtype=np.float64)
        pixels = np.array([landmark["radiograph_px"] for landmark in entry["landmarks"]], dtype=np.float64)
        return pose_from_landmarks(points, pixels, camera)
    msg = f"{path}: {name} needs either camera_from_ct or at least {_MIN_LANDMARKS} landmarks"
    raise MskdexError(msg)


def pose_from_landmarks(points_mm: np.ndarray, pixels: np.ndarray, camera: Camera) -> np.ndarray:
    """camera_from_ct that projects RAS points (N, 3) onto pixels (N, 2) as (row, column), in the least squares.

    Both an AP and a PA view are tried, so that no start is needed.
    """
    from scipy.optimize import least_squares

    centre = points_mm.mean(axis=0)
    fits = []
    for view in ("AP", "PA"):
        nominal = nominal_pose(centre, 0.8 * camera.sdd_mm, view)

        def error(parameters: np.ndarray, nominal: np.ndarray = nominal) -> np.ndarray:
            pose = moved(nominal, centre, parameters)
            return (camera.project(points_mm @ pose[:3, :3].T + pose[:3, 3]) - pixels).ravel()

        fit = least_squares(error, np.zeros(6), x_scale=[5.0, 5.0, 5.0, 20.0, 20.0, 50.0])
        fits.append((fit.cost, moved(nominal, centre, fit.x)))
    return min(fits, key=lambda fit: fit[0])[1]
