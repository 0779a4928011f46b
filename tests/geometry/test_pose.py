"""Rigid motions: exponential, logarithm, composition, interpolation."""

import jaxtyping
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.linalg import expm

from mskdex.geometry import pose as p

angles = st.floats(-1.7, 1.7)
lengths = st.floats(-500, 500)
twists = st.tuples(angles, angles, angles, lengths, lengths, lengths).map(np.array)


def generator(twist: np.ndarray) -> np.ndarray:
    matrix = np.zeros((4, 4))
    matrix[:3, :3] = p.hat(twist[:3])
    matrix[:3, 3] = twist[3:]
    return matrix


@settings(deadline=None, derandomize=True)
@given(twists)
def test_exponential_is_the_matrix_exponential(twist: np.ndarray) -> None:
    np.testing.assert_allclose(p.exp(twist), expm(generator(twist)), atol=1e-9)


@settings(deadline=None, derandomize=True)
@given(twists)
def test_logarithm_undoes_the_exponential(twist: np.ndarray) -> None:
    np.testing.assert_allclose(p.exp(p.log(p.exp(twist))), p.exp(twist), atol=1e-9)
    if np.linalg.norm(twist[:3]) < np.pi - 1e-2:
        np.testing.assert_allclose(p.log(p.exp(twist)), twist, atol=1e-7)


@pytest.mark.parametrize("angle", [0.0, 1e-9, 1e-5, 0.99e-4, 1.01e-4, 1e-2, 3.0, np.pi - 1e-4, np.pi - 1e-9, np.pi])
@pytest.mark.parametrize("axis", [[1, 0, 0], [0, -1, 0], [0.6, 0.0, -0.8], [-0.48, 0.6, 0.64]])
def test_logarithm_near_zero_and_near_pi(angle: float, axis: list[float]) -> None:
    pose = p.exp(np.concatenate([angle * np.array(axis, dtype=float), [3.0, -4.0, 900.0]]))
    twist = p.log(pose)
    assert np.linalg.norm(twist[:3]) == pytest.approx(angle, abs=1e-7)
    np.testing.assert_allclose(p.exp(twist), pose, atol=1e-6)


def test_quarter_turn_by_hand() -> None:
    pose = p.exp(np.array([0, 0, np.pi / 2, 0, 0, 0]))
    np.testing.assert_allclose(pose @ [1, 0, 0, 1], [0, 1, 0, 1], atol=1e-12)


@settings(deadline=None, derandomize=True)
@given(twists, twists)
def test_inverse_and_composition(first: np.ndarray, second: np.ndarray) -> None:
    a, b = p.exp(first), p.exp(second)
    np.testing.assert_allclose(p.inverse(a) @ a, np.eye(4), atol=1e-9)
    np.testing.assert_allclose(p.inverse(a @ b), p.inverse(b) @ p.inverse(a), atol=1e-9)


def test_motion_about_a_centre_leaves_the_centre() -> None:
    pose = p.exp(np.array([0.3, 0.1, -0.2, 5.0, 6.0, 850.0]))
    centre = np.array([12.0, -30.0, 44.0])
    turned = p.moved(pose, np.array([0.2, -0.4, 0.1, 0, 0, 0]), centre)
    shifted = p.moved(pose, np.array([0, 0, 0, 1.0, 2.0, 3.0]), centre)
    np.testing.assert_allclose((turned @ [*centre, 1])[:3], (pose @ [*centre, 1])[:3], atol=1e-9)
    np.testing.assert_allclose(((shifted - pose) @ [*centre, 1])[:3], [1.0, 2.0, 3.0], atol=1e-9)
    angle, distance = p.difference(pose, turned, centre)
    assert angle == pytest.approx(np.degrees(np.linalg.norm([0.2, -0.4, 0.1])))
    assert distance == pytest.approx(0.0, abs=1e-9)


def test_shapes_are_checked_while_the_tests_run():
    with pytest.raises(jaxtyping.TypeCheckError, match="twist"):
        p.exp(np.zeros(5))
