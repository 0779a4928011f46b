"""The bones themselves tell a little of the camera: more than the prior where it is wide, nothing where it is known."""

from dataclasses import replace

import numpy as np
import pytest

from mskdex.config.registration import BodySettings, RegistrationSettings
from mskdex.geometry.camera import Camera
from mskdex.geometry.rigid import moved
from mskdex.registration.camera_prior import CameraPrior, compensation, space_error
from mskdex.registration.joint_camera import Depth, PlacedBody, changed, estimate_camera
from mskdex.registration.pose_error import pose_error
from mskdex.registration.registering import no_finer_than_voxels, register_bodies
from mskdex.registration.single import RenderedBody

SETTINGS = RegistrationSettings(attempts=1, bodies=(BodySettings(name="pelvis"),))
WIDE = CameraPrior(50.0, 10.0)


@pytest.fixture(scope="module")
def too_long(case):
    """The pelvis registered with a source distance 50 mm too long: body, its place there, and the view."""
    view = case.patient.view
    wrong = replace(view, camera=replace(view.camera, sdd_mm=view.camera.sdd_mm + 50.0))
    found = register_bodies(replace(case.patient, view=wrong), SETTINGS, 1.0)["pelvis"]
    assert found.accepted
    body = case.patient.bodies["pelvis"]
    fine = wrong.blurred(SETTINGS.radiograph_blur_mm).at(no_finer_than_voxels(SETTINGS.fine_pixels_mm, 3.0)[-1])
    return PlacedBody(RenderedBody.of(body, SETTINGS, 1.0), found.pose), fine, found


def test_a_change_is_in_mm_on_the_detector():
    camera = changed(Camera(1000.0, 2.0, (10, 10), (4.5, 4.5)), np.array([50.0, 10.0, -3.0]))
    assert (camera.sdd_mm, camera.principal_point_px) == (1050.0, (9.5, 3.0))


def test_a_wide_prior_and_the_image_bring_a_wrong_source_distance_nearer(case, too_long):
    body, view, found = too_long
    estimate = estimate_camera([body], view, WIDE, SETTINGS)
    true = case.patient.view.camera.sdd_mm
    sd = np.sqrt(np.diag(estimate.covariance))
    assert sd[0] < 40.0, "of 50 mm before"
    assert (sd[1:] < 10.0).all()
    assert view.camera.sdd_mm - estimate.camera.sdd_mm > 5.0
    assert abs(estimate.camera.sdd_mm - true) < 2.5 * sd[0]
    targets, truth = body.model.body.targets_mm, case.truth["pelvis"]
    before, after = (pose_error(p, truth, targets, view.camera).mtre_mm for p in (found.pose, estimate.poses[0]))
    assert after < 0.8 * before
    error = space_error(
        estimate.poses[0], found.covariance, body.model.body.centre_mm, targets, estimate.camera, estimate.covariance
    )
    assert after < 2.5 * error.sd_mm
    here = estimate.poses[0][:3, :3] @ targets.T + estimate.poses[0][:3, 3:]
    there = found.pose[:3, :3] @ targets.T + found.pose[:3, 3:]
    on_image = (estimate.camera.project(here.T) - view.camera.project(there.T)) * view.camera.pixel_mm
    assert np.linalg.norm(on_image, axis=1).mean() < 0.5, "the image stays where it was"


@pytest.mark.parametrize("prior", [CameraPrior(0.0, 0.0), CameraPrior(1.0, 0.5)])
def test_a_known_camera_is_not_moved(too_long, prior):
    body, view, found = too_long
    estimate = estimate_camera([body], view, prior, SETTINGS)
    assert abs(estimate.camera.sdd_mm - view.camera.sdd_mm) < 0.5
    np.testing.assert_allclose(estimate.camera.principal_point_px, view.camera.principal_point_px, atol=0.3)
    assert (np.sqrt(np.diag(estimate.covariance)) <= prior.deviations_mm + 1e-3).all()
    np.testing.assert_allclose(estimate.poses[0][:3, 3], found.pose[:3, 3], atol=1.5)


def test_a_known_distance_of_the_patient_tells_the_source_distance(case, too_long):
    body, view, _ = too_long
    truth, point = case.truth["pelvis"], body.model.body.centre_mm + np.array([0.0, 10.0, 40.0])
    depth = Depth(point, float(truth[2, :3] @ point + truth[2, 3]), 5.0)
    alone, told = (estimate_camera([body], view, WIDE, SETTINGS, given) for given in (None, depth))
    true = case.patient.view.camera.sdd_mm
    assert abs(told.camera.sdd_mm - true) < 15.0
    assert abs(told.camera.sdd_mm - true) < abs(alone.camera.sdd_mm - true)
    assert told.covariance[0, 0] < 0.3 * alone.covariance[0, 0]
    same = estimate_camera([body], view, WIDE, SETTINGS, Depth(point, depth.depth_mm, np.inf))
    assert same.camera == alone.camera


def test_the_depths_derivative_is_that_of_the_motion(too_long):
    body, view, found = too_long
    centre = body.model.body.centre_mm
    depth = Depth(centre + np.array([30.0, -20.0, 50.0]), 700.0, 2.0)
    gain = compensation(found.pose, centre, body.model.body.targets_mm, view.camera)
    off, row = depth.row(found.pose, centre, gain)
    for number, unit in enumerate(np.eye(6) * 1e-3):
        there, _ = depth.row(moved(found.pose, centre, unit), centre, gain)
        assert (there - off) / 1e-3 == pytest.approx(row[number], abs=1e-3)
    np.testing.assert_allclose(row[6:], row[:6] @ gain)
