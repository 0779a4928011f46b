"""A camera that is not known leaves the image's error as it is and makes the error in space as large as it is."""

from dataclasses import replace

import numpy as np
import pytest

from mskdex.config.registration import BodySettings, CameraPriorSettings, RegistrationSettings
from mskdex.geometry.camera import Camera, nominal_pose
from mskdex.registration.camera_prior import CameraPrior, space_error
from mskdex.registration.pose_error import pose_error
from mskdex.registration.registering import register_bodies

CAMERA = Camera(1000.0, 1.0, (400, 400), (199.5, 199.5))
CENTRE = np.array([5.0, -8.0, 30.0])
TARGETS = CENTRE + np.random.default_rng(0).uniform(-1, 1, (300, 3)) * [120.0, 60.0, 100.0]
POSE = nominal_pose(CENTRE, 800.0)
SHARP = np.diag([0.1, 0.1, 0.1, 0.1, 0.1, 0.5]) ** 2


def error(prior):
    return space_error(POSE, SHARP, CENTRE, TARGETS, CAMERA, prior.covariance)


def test_a_known_camera_adds_nothing():
    found = error(CameraPrior(0.0, 0.0))
    assert found.sd_mm == pytest.approx(np.sqrt(0.1**2 + 0.1**2 + 0.5**2))
    assert found.within == 1.0
    assert found.expected_mtre_mm < 1.0


def test_source_distance_goes_into_depth_and_not_onto_the_image():
    known, unknown = error(CameraPrior(0.0, 0.0)), error(CameraPrior(50.0, 0.0))
    assert unknown.expected_mpd_mm == known.expected_mpd_mm
    assert unknown.sd_mm == pytest.approx(50.0 * 800 / 1000, rel=0.25)
    assert unknown.expected_mtre_mm == pytest.approx(np.sqrt(2 / np.pi) * unknown.sd_mm, rel=0.1)
    assert unknown.within < 0.1


def test_the_principal_point_goes_across():
    found = error(CameraPrior(0.0, 10.0))
    assert found.sd_mm == pytest.approx(np.sqrt(2) * 10.0 * 800 / 1000, rel=0.3)
    assert found.within < 0.15


def test_the_prior_follows_the_source_of_each_number():
    settings = CameraPriorSettings()
    tags = {"sdd_mm": "tag DistanceSourceToDetector", "principal_row_px": "sheet", "principal_column_px": "sheet"}
    assert CameraPrior.of(tags, settings) == CameraPrior(1.0, 0.5, np.inf)
    assert CameraPrior.of(tags | {"sdd_mm": "config radiograph.sdd_mm"}, settings) == CameraPrior(50.0, 0.5)
    assert (
        CameraPrior.of(tags | {"principal_row_px": "assumed: middle of the image"}, settings).principal_point_mm == 10.0
    )
    assert CameraPrior.of({}, settings) == CameraPrior(50.0, 10.0)


@pytest.mark.parametrize(
    ("sdd", "middle", "sd"),
    [
        ("tag DistanceSourceToDetector", "tag DistanceSourceToPatient, to the table, less config …", 30.0),
        ("config radiograph.sdd_mm", "tag DistanceSourceToPatient, to the table, less config …", 30.0),
        ("config radiograph.sdd_mm", "sheet", 30.0),
        ("tag DistanceSourceToDetector", "tag EstimatedRadiographicMagnificationFactor and sdd_mm", 30.0),
        ("config radiograph.sdd_mm", "tag EstimatedRadiographicMagnificationFactor and sdd_mm", np.inf),
        ("tag DistanceSourceToDetector", "assumed: sdd_mm less config radiograph.isocentre_to_detector_mm", np.inf),
        ("tag DistanceSourceToDetector", "config radiograph.source_to_isocentre_mm", np.inf),
    ],
)
def test_the_patients_distance_tells_something_where_it_is_not_made_of_an_assumed_one(sdd, middle, sd):
    sources = {"sdd_mm": sdd, "source_to_isocentre_mm": middle}
    assert CameraPrior.of(sources, CameraPriorSettings()).depth_mm == sd


def test_the_error_in_space_covers_that_of_a_source_distance_50_mm_too_long(case):
    view = case.patient.view
    wrong = replace(view.camera, sdd_mm=view.camera.sdd_mm + 50.0)
    quick = RegistrationSettings(attempts=1, bodies=(BodySettings(name="pelvis"),))
    found = register_bodies(replace(case.patient, view=replace(view, camera=wrong)), quick, 1.0)["pelvis"]
    assert found.accepted
    body = case.patient.bodies["pelvis"]
    off = pose_error(found.pose, case.truth["pelvis"], body.targets_mm, view.camera)
    assert off.mtre_mm > 20.0
    given = (found.pose, found.covariance, body.centre_mm, body.targets_mm, wrong)
    known, unknown = (space_error(*given, CameraPrior(sd, 0.0).covariance) for sd in (0.0, 50.0))
    assert off.mtre_mm > 10 * known.sd_mm, "which a camera taken for known does not tell"
    assert 0.4 * unknown.sd_mm < off.mtre_mm < 2.0 * unknown.sd_mm
    assert found.confidence > 0.5
    assert found.confidence * unknown.within < 0.1
