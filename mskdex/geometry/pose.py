"""Rigid poses as 4×4 float64 matrices: exponential, logarithm, motion about a centre."""

import numpy as np
from jaxtyping import Float64, Real

_SMALL = 1e-4
"""Below this angle the series replaces the closed form; its first term left out is 1e-16."""


def hat(vector: Real[np.ndarray, "3"]) -> Float64[np.ndarray, "3 3"]:
    """Cross-product matrix of a vector."""
    x, y, z = vector
    return np.array([[0.0, -z, y], [z, 0.0, -x], [-y, x, 0.0]])


def _coefficients(angle: float) -> tuple[float, float, float]:
    # sin θ/θ, (1 - cos θ)/θ², (θ - sin θ)/θ³
    if angle < _SMALL:
        square = angle * angle
        return 1.0 - square / 6.0, 0.5 - square / 24.0, 1.0 / 6.0 - square / 120.0
    return np.sin(angle) / angle, (1.0 - np.cos(angle)) / angle**2, (angle - np.sin(angle)) / angle**3


def left_jacobian(omega: Real[np.ndarray, "3"]) -> Float64[np.ndarray, "3 3"]:
    """V(ω) of ω in rad: exp(ω + δ) = exp(V(ω)·δ)·exp(ω) to first order in δ; the translation of `exp` is V(ω)·v."""
    turn = hat(omega)
    _, b, c = _coefficients(float(np.linalg.norm(omega)))
    return np.asarray(np.eye(3) + b * turn + c * turn @ turn)


def exp(twist: Real[np.ndarray, "6"]) -> Float64[np.ndarray, "4 4"]:
    """Exponential of se(3).

    Args:
        twist: (6,), rotation part ω in rad, then translation part v in mm.

    Returns:
        4×4 float64: rotation exp(ω) and translation V(ω)·v.

    Source: Murray, Li, Sastry, A Mathematical Introduction to Robotic Manipulation, 1994, prop. 2.9.
    """
    twist = np.asarray(twist, dtype=np.float64)
    turn = hat(twist[:3])
    a, b, _ = _coefficients(float(np.linalg.norm(twist[:3])))
    pose = np.eye(4)
    pose[:3, :3] += a * turn + b * turn @ turn
    pose[:3, 3] = left_jacobian(twist[:3]) @ twist[3:]
    return pose


def log(pose: Real[np.ndarray, "4 4"]) -> Float64[np.ndarray, "6"]:
    """Logarithm of a rigid pose: the twist (6,) with `exp(twist) == pose` and a rotation of at most π.

    At π the axis comes from the symmetric part, where the antisymmetric one vanishes.
    """
    pose = np.asarray(pose, dtype=np.float64)
    rotation = pose[:3, :3]
    antisymmetric = 0.5 * np.array(
        [rotation[2, 1] - rotation[1, 2], rotation[0, 2] - rotation[2, 0], rotation[1, 0] - rotation[0, 1]]
    )
    sine, cosine = float(np.linalg.norm(antisymmetric)), 0.5 * (np.trace(rotation) - 1.0)
    angle = float(np.arctan2(sine, cosine))
    if np.pi - angle > 1e-3:
        omega = antisymmetric / _coefficients(angle)[0]
    else:
        values, vectors = np.linalg.eigh(0.5 * (rotation + rotation.T))
        axis = vectors[:, int(np.argmax(values))]
        omega = angle * axis * (1.0 if axis @ antisymmetric >= 0 else -1.0)
    return np.concatenate([omega, np.linalg.solve(left_jacobian(omega), pose[:3, 3])])


def inverse(pose: Real[np.ndarray, "*poses 4 4"]) -> Float64[np.ndarray, "*poses 4 4"]:
    """Inverse of rigid poses."""
    pose = np.asarray(pose, dtype=np.float64)
    out = np.zeros_like(pose)
    turned = np.swapaxes(pose[..., :3, :3], -1, -2)
    out[..., :3, :3] = turned
    out[..., :3, 3] = -(turned @ pose[..., :3, 3:])[..., 0]
    out[..., 3, 3] = 1.0
    return out


def moved(
    camera_from_ct: Real[np.ndarray, "4 4"],
    twist: Real[np.ndarray, "6"],
    centre_mm: Real[np.ndarray, "3"] | None = None,
) -> Float64[np.ndarray, "4 4"]:
    """The pose after the volume was turned about `centre_mm` by ω and then shifted by t, along the camera's axes.

    Args:
        camera_from_ct: 4×4.
        twist: (6,), ω in rad and t in mm; here t is the shift itself, not passed through V(ω).
        centre_mm: RAS point that stays in place under ω; None is the camera's origin.
    """
    twist = np.asarray(twist, dtype=np.float64)
    centre = np.zeros(3)
    if centre_mm is not None:
        centre = camera_from_ct[:3, :3] @ np.asarray(centre_mm, dtype=np.float64) + camera_from_ct[:3, 3]
    motion = exp(np.concatenate([twist[:3], np.zeros(3)]))
    motion[:3, 3] = centre - motion[:3, :3] @ centre + twist[3:]
    return np.asarray(motion @ camera_from_ct)


def difference(
    first: Real[np.ndarray, "4 4"], second: Real[np.ndarray, "4 4"], centre_mm: Real[np.ndarray, "3"]
) -> tuple[float, float]:
    """How far two poses lie apart: angle in degrees, and distance in mm at the RAS point `centre_mm`."""
    relative = second[:3, :3] @ first[:3, :3].T
    angle = np.linalg.norm(log(np.block([[relative, np.zeros((3, 1))], [np.zeros((1, 3)), np.ones((1, 1))]]))[:3])
    centre = np.append(np.asarray(centre_mm, dtype=np.float64), 1.0)
    return float(np.degrees(angle)), float(np.linalg.norm(((second - first) @ centre)[:3]))
