"""Registration of a virtual patient, and of inputs that must end as "not registered: why"."""

from dataclasses import replace

import numpy as np
import pytest

from mskdex.config.registration import BodySettings, RegistrationSettings
from mskdex.geometry.rigid import difference
from mskdex.registration.pose_error import pose_error
from mskdex.registration.registering import PatientViews, no_finer_than_voxels, register_bodies, sided

SETTINGS = RegistrationSettings()
QUICK = RegistrationSettings(attempts=1, bodies=(BodySettings(name="pelvis"),))


@pytest.fixture(scope="module")
def found(case):
    return register_bodies(case.patient, SETTINGS, 1.0)


def error(case, found, name):
    body = case.patient.bodies[name]
    return pose_error(found[name].pose, case.truth[name], body.targets_mm, case.patient.view.camera)


def test_every_bone_is_found_and_accepted(case, found):
    assert list(found) == ["pelvis", "femur_left", "femur_right"]
    for name in found:
        assert found[name].accepted, found[name].reason
        assert found[name].reason is None
        assert found[name].confidence > 0.8
        assert error(case, found, name).mtre_mm < 2.0
        assert error(case, found, name).mpd_mm < 1.0


def test_predicted_uncertainty_covers_the_error(case, found):
    for name in found:
        off = difference(found[name].pose, case.truth[name], case.patient.bodies[name].centre_mm)
        assert np.linalg.norm(off[3:]) < 4 * found[name].sd_mm
        assert np.linalg.norm(off[:3]) < 4 * found[name].sd_deg


def test_refinement_goes_no_finer_than_the_ct():
    assert no_finer_than_voxels((3.2, 1.6), 1.0) == (3.2, 1.6)
    assert no_finer_than_voxels((3.2, 1.6), 3.0) == pytest.approx((3.2, 2.4))
    assert no_finer_than_voxels((3.2, 1.6), 5.0) == (4.0,)


def test_same_seed_same_pose(case, found):
    again = register_bodies(case.patient, QUICK, 1.0)["pelvis"]
    assert np.array_equal(again.pose, found["pelvis"].pose)
    other = register_bodies(case.patient, QUICK.model_copy(update={"seed": 5}), 1.0)["pelvis"]
    assert not np.array_equal(again.pose, other.pose)
    np.testing.assert_allclose(again.pose[:3, 3], other.pose[:3, 3], atol=0.5)


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("flipped left-right", "flipped left-right"),
        ("upside down", None),
        ("over-collimated", "exposed field"),
        ("half out of view", None),
    ],
)
def test_wrong_radiographs_are_refused(case, kind, words):
    from registration_cases import wrong_inputs

    wrong = wrong_inputs(case, case)[kind]
    result = register_bodies(wrong.patient, RegistrationSettings(attempts=1), 1.0)
    if words is None:
        untrusted(result["pelvis"])
    else:
        refused(result["pelvis"], words)
    refused(result["femur_left"], "pelvis, which gives its start, is not registered")


def test_another_persons_radiograph_is_refused(case, patients):
    from registration_cases import virtual

    other = virtual(2, patients, 3.0)
    result = register_bodies(replace(case.patient, view=other.patient.view, nominal=other.patient.nominal), QUICK, 1.0)
    untrusted(result["pelvis"])


@pytest.mark.parametrize("part", ["thighs", "abdomen"])
def test_another_body_part_is_refused(case, part):
    from registration_cases import another_parts

    untrusted(register_bodies(another_parts(case)[part].patient, QUICK, 1.0)["pelvis"])


def test_the_other_sides_radiograph_is_refused(case):
    """The CT holds the right femur alone, the radiograph shows the left one alone: nearly its mirror image."""
    from registration_cases import one_side

    alone = RegistrationSettings(attempts=1, bodies=(BodySettings(name="femur"),))
    wrong = register_bodies(one_side(case, "femur_right", "femur_left"), alone, 1.0)["femur"]
    refused(wrong, "flipped left-right|confidence|uncertain")
    assert register_bodies(one_side(case, "femur_right", "femur_right"), alone, 1.0)["femur"].accepted


def test_implants_refuse_the_femurs(case):
    from registration_cases import with_implants

    result = register_bodies(replace(case.patient, view=with_implants(case)), RegistrationSettings(attempts=1), 1.0)
    for name in ("femur_left", "femur_right"):
        refused(result[name], "confidence|uncertain .* implant")


def test_half_a_femur_is_refused(case, found):
    from registration_cases import half_femurs

    patient = replace(half_femurs(case).patient, starts={"pelvis": found["pelvis"].pose})
    result = register_bodies(patient, RegistrationSettings(attempts=1), 1.0)
    assert result["pelvis"].accepted
    for name in ("femur_left", "femur_right"):
        refused(result[name], "the CT holds only .* mm of it, cut by the CT's border; at least 110 mm are needed")


def test_half_a_femur_that_is_tried_is_known_to_be_uncertain(case, found):
    from registration_cases import half_femurs

    bodies = (BodySettings(name="pelvis"), BodySettings(name="femur", paired=True, parent="pelvis", min_extent_mm=0))
    patient = replace(half_femurs(case).patient, starts={"pelvis": found["pelvis"].pose})
    result = register_bodies(patient, RegistrationSettings(attempts=1, bodies=bodies), 1.0)
    for name in ("femur_left", "femur_right"):
        refused(result[name], "its pose is uncertain by")


def test_too_short_a_piece_of_bone_is_refused(case):
    bodies = (BodySettings(name="pelvis", min_extent_mm=2000),)
    result = register_bodies(case.patient, RegistrationSettings(bodies=bodies), 1.0)
    refused(result["pelvis"], "the CT holds only .* mm of it.*; at least 2000 mm are needed")


def test_noise_is_refused(case):
    view = case.patient.view
    noise = np.random.default_rng(0).normal(3.0, 0.1, view.image.shape).astype(np.float32)
    untrusted(register_bodies(replace(case.patient, view=replace(view, image=noise)), QUICK, 1.0)["pelvis"])


def test_a_bone_outside_the_view_is_refused(case, found):
    view = case.patient.view
    femur = case.patient.bodies["femur_right"].surface_mm
    pose = case.truth["femur_right"]
    columns = view.camera.project(femur @ pose[:3, :3].T + pose[:3, 3])[:, 1]
    field = view.field.copy()
    field[:, int(columns.min()) - 10 :] = False
    if columns.mean() < view.image.shape[1] / 2:
        field = view.field.copy()
        field[:, : int(columns.max()) + 10] = False
    start = {"pelvis": found["pelvis"].pose}
    patient = PatientViews(case.patient.bodies, replace(view, field=field), case.patient.nominal, start)
    result = register_bodies(patient, RegistrationSettings(attempts=1), 1.0)
    assert result["femur_left"].accepted
    refused(result["femur_right"], "only 0 % of it lies in the radiograph's exposed field")


def untrusted(result):
    """Where no pose in reach is right, the search ends at one of many that fit about as badly.

    Which one, and so which check refuses it first, hangs on the last digits of the sums, which differ between
    processors. On all of them it is refused for something in the picture and has little confidence.
    """
    refused(result, "exposed field|flipped left-right|uncertain|confidence")
    assert result.confidence < SETTINGS.min_confidence


def refused(result, words):
    import re

    assert not result.accepted
    assert result.pose is None
    assert re.search(words, result.reason), result.reason


def test_sides_of_bodies_and_their_parents():
    bodies = (
        BodySettings(name="thigh", paired=True),
        BodySettings(name="shin", paired=True, parent="thigh"),
        BodySettings(name="trunk"),
    )
    assert sided(bodies[1], bodies) == [("shin_left", "thigh_left"), ("shin_right", "thigh_right")]
    assert sided(bodies[2], bodies) == [("trunk", None)]
