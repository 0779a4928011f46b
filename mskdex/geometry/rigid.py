"""The six parameters that a search moves a body by, for many poses at once."""

import numpy as np
from jaxtyping import Float64, Real

from mskdex.geometry.pose import log

PARAMETERS = ("pitch_deg", "yaw_deg", "roll_deg", "across_mm", "down_mm", "depth_mm")
"""Order of the six parameters: rotation about the camera's x, y, z axes, then translation along them."""

RAD_PER_UNIT = np.array([np.pi / 180] * 3 + [1.0] * 3)
"""Takes `PARAMETERS` to the twist of `mskdex.geometry.pose`."""


def rotations(vectors_deg: Real[np.ndarray, "n 3"]) -> Float64[np.ndarray, "n 3 3"]:
    """Rotation matrices of rotation vectors in degrees (Rodrigues)."""
    vectors = np.deg2rad(vectors_deg)
    angle = np.linalg.norm(vectors, axis=1)[:, None, None]
    turn = np.zeros((len(vectors), 3, 3))
    turn[:, 2, 1], turn[:, 0, 2], turn[:, 1, 0] = vectors.T
    turn -= turn.transpose(0, 2, 1)
    sine, cosine = np.sinc(angle / np.pi), 0.5 * np.sinc(angle / (2 * np.pi)) ** 2
    return np.asarray(np.eye(3) + sine * turn + cosine * turn @ turn)


def moved(
    pose: Real[np.ndarray, "4 4"], pivot_mm: Real[np.ndarray, "3"], parameters: Real[np.ndarray, "*n 6"]
) -> Float64[np.ndarray, "*n 4 4"]:
    """Poses after motions about a pivot, in the camera's axes: `geometry.pose.moved` for a batch.

    Args:
        pose: camera_from_ct, (4, 4).
        pivot_mm: RAS point that the rotation leaves in place, (3,).
        parameters: `PARAMETERS`, (6,) or (N, 6), degrees and mm.

    Returns:
        camera_from_ct, (4, 4) or (N, 4, 4).
    """
    rows = np.atleast_2d(np.asarray(parameters, dtype=np.float64))
    result = np.tile(np.eye(4), (len(rows), 1, 1))
    result[:, :3, :3] = rotations(rows[:, :3]) @ pose[:3, :3]
    centre = pose[:3, :3] @ pivot_mm + pose[:3, 3] + rows[:, 3:]
    result[:, :3, 3] = centre - result[:, :3, :3] @ pivot_mm
    return result[0] if np.ndim(parameters) == 1 else result


def along_ray(
    pose: Real[np.ndarray, "4 4"], pivot_mm: Real[np.ndarray, "3"], parameters: Real[np.ndarray, "*n 6"]
) -> Float64[np.ndarray, "*n 4 4"]:
    """As `moved`, but depth moves the pivot along its ray, so that its projection stays.

    In one view, shift and depth are strongly coupled off the axis; these parameters are not.
    """
    parameters = np.array(parameters, dtype=np.float64)
    centre = pose[:3, :3] @ pivot_mm + pose[:3, 3]
    parameters[..., 3:5] += parameters[..., 5:6] * (centre[:2] + parameters[..., 3:5]) / centre[2]
    return moved(pose, pivot_mm, parameters)


def difference(
    pose: Real[np.ndarray, "4 4"], reference: Real[np.ndarray, "4 4"], pivot_mm: Real[np.ndarray, "3"]
) -> Float64[np.ndarray, "6"]:
    """The `PARAMETERS` that take `reference` to `pose` by `moved`."""
    turn = np.eye(4)
    turn[:3, :3] = pose[:3, :3] @ reference[:3, :3].T
    shift = (pose - reference)[:3, :3] @ pivot_mm + (pose - reference)[:3, 3]
    return np.concatenate([np.rad2deg(log(turn)[:3]), shift])
