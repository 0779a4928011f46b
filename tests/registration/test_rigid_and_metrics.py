"""Motions about a pivot, and errors of a pose worked out by hand."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mskdex.geometry import pose as projection_pose
from mskdex.geometry.camera import Camera, nominal_pose
from mskdex.geometry.rigid import RAD_PER_UNIT, along_ray, difference, moved
from mskdex.registration.joint import fit_sphere, joint_centre
from mskdex.registration.pose_error import pose_error

CAMERA = Camera(1000.0, 2.0, (100, 120), (49.5, 59.5))
NOMINAL = nominal_pose(np.array([10.0, -20.0, 30.0]), 800.0)
numbers = st.lists(st.floats(-50, 50), min_size=6, max_size=6)


@given(numbers)
@settings(max_examples=50, deadline=None)
def test_batch_of_motions_is_the_projection_rooms_motion(values):
    parameters, pivot = np.array(values), np.array([5.0, 6.0, -70.0])
    expected = projection_pose.moved(NOMINAL, parameters * RAD_PER_UNIT, pivot)
    np.testing.assert_allclose(moved(NOMINAL, pivot, parameters[None])[0], expected, atol=1e-9)
    np.testing.assert_allclose(difference(expected, NOMINAL, pivot), parameters, atol=1e-6)


def test_pivot_stays_under_rotation_and_its_projection_under_depth():
    pivot = np.array([60.0, 10.0, -40.0])
    turned = moved(NOMINAL, pivot, np.array([20.0, -10.0, 5.0, 0, 0, 0]))
    before, after = (pose[:3, :3] @ pivot + pose[:3, 3] for pose in (NOMINAL, turned))
    np.testing.assert_allclose(before, after, atol=1e-9)
    deeper = along_ray(NOMINAL, pivot, np.array([0, 0, 0, 0, 0, 40.0]))
    there = deeper[:3, :3] @ pivot + deeper[:3, 3]
    np.testing.assert_allclose(CAMERA.project(there), CAMERA.project(before), atol=1e-9)
    assert there[2] - before[2] == pytest.approx(40.0)


def test_error_of_a_shift_across():
    targets = np.array([[10.0, -20.0, 30.0]])  # on the axis, depth 800
    error = pose_error(moved(NOMINAL, targets[0], np.array([0, 0, 0, 3.0, 4.0, 0])), NOMINAL, targets, CAMERA)
    assert error.mtre_mm == pytest.approx(5.0)
    assert error.in_plane_mm == pytest.approx(5.0)
    assert error.mpd_mm == pytest.approx(5.0 * 1000 / 800)
    assert error.mrpd_mm == pytest.approx(5.0 * 800 / np.hypot(800, 5))
    assert error.depth_mm == pytest.approx(0.0)


def test_error_of_depth_is_not_seen_on_the_detector():
    targets = np.array([[10.0, -20.0, 30.0]])
    error = pose_error(moved(NOMINAL, targets[0], np.array([0, 0, 0, 0, 0, 16.0])), NOMINAL, targets, CAMERA)
    assert (error.mtre_mm, error.depth_mm) == pytest.approx((16.0, 16.0))
    assert (error.mpd_mm, error.mrpd_mm, error.rotation_deg) == pytest.approx((0.0, 0.0, 0.0), abs=1e-9)


def test_error_of_a_rotation():
    targets = np.array([[110.0, -20.0, 30.0], [-90.0, -20.0, 30.0]])  # ± 100 mm across
    turned = moved(NOMINAL, targets.mean(axis=0), np.array([0, 0, 1.0, 0, 0, 0]))
    error = pose_error(turned, NOMINAL, targets, CAMERA)
    assert error.rotation_deg == pytest.approx(1.0)
    assert error.mtre_mm == pytest.approx(2 * 100 * np.sin(np.deg2rad(0.5)))


def sphere(centre: np.ndarray, radius: float, up: float) -> np.ndarray:
    draw = np.random.default_rng(0).normal(size=(4000, 3))
    points = draw / np.linalg.norm(draw, axis=1, keepdims=True)
    return centre + radius * points[points[:, 2] > up]


def test_sphere_of_a_cap():
    centre = np.array([80.0, 140.0, -20.0])
    found, radius = fit_sphere(sphere(centre, 23.0, 0.2))
    np.testing.assert_allclose(found, centre, atol=1e-6)
    assert radius == pytest.approx(23.0)


def test_joint_of_a_head_in_its_socket_and_of_a_hinge():
    centre = np.array([80.0, 140.0, -20.0])
    shaft = np.column_stack([np.full(200, 80.0), np.full(200, 140.0), np.linspace(-200.0, -45.0, 200)])
    child = np.concatenate([sphere(centre, 23.0, -0.8), shaft])
    found = joint_centre(child, sphere(centre, 27.0, 0.1))
    np.testing.assert_allclose(found, centre, atol=0.2)
    flat = np.column_stack([np.indices((20, 20)).reshape(2, -1).T * 2.0, np.zeros(400)])
    hinge = joint_centre(flat, flat + np.array([0, 0, 4.0]))
    assert abs(hinge[2]) < 1e-9  # no sphere there: the contact's own middle
