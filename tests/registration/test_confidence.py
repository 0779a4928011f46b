"""What a pose's measures say of it, and what is tried when they say that it is wrong."""

import numpy as np
import pytest

from mskdex.config.registration import RegistrationSettings
from mskdex.registration import confidence, registering
from mskdex.registration.refine import RefinedPose

SURE = {
    "similarity": 0.85,
    "patch_correlation": 0.75,
    "sd_mm": 0.5,
    "sd_deg": 0.4,
    "agreement": 1.0,
    "margin": 0.3,
}
"""Of a right pose of a virtual patient."""

THICK = {**SURE, "similarity": 0.55, "patch_correlation": 0.52, "sd_mm": 0.65, "sd_deg": 0.9}
"""Of a right pose of a heavy patient, or of one whose labels have errors."""

WRONG = {**SURE, "similarity": 0.15, "patch_correlation": 0.15, "sd_mm": 1.5, "sd_deg": 1.9, "margin": 0.01}
"""Of a bone that was not found."""


def test_right_poses_are_told_from_wrong_ones():
    assert confidence.on_image(SURE) > 0.95
    assert confidence.on_image(THICK) > 0.5
    assert confidence.on_image(WRONG) < 0.1


@pytest.mark.parametrize("scores", [SURE, THICK, WRONG])
def test_a_pose_is_right_in_space_only_where_it_is_on_the_image(scores):
    assert 0.0 <= confidence.in_space(scores) <= confidence.on_image(scores) <= 1.0


@pytest.mark.parametrize("name", ["similarity", "patch_correlation"])
def test_a_closer_fit_is_never_less_sure(name):
    rising = [confidence.on_image({**THICK, name: share}) for share in np.linspace(0.0, 1.0, 21)]
    assert (np.diff(rising) >= 0).all()


def test_searches_that_all_agree_on_a_wrong_place_are_followed_by_another_kind(case, monkeypatch):
    """The same patches from other starts would end there again."""
    tried = []

    def nothing_found(task, _, settings):
        tried.append((task.seed, settings.coarse_patch_mm, settings.finalists))
        return registering.Outcome(task.start, RefinedPose(task.start, 0.1, np.eye(6), 0, converged=False), (), ())

    monkeypatch.setattr(registering, "register_body", nothing_found)
    monkeypatch.setattr(registering, "search_mirrored", nothing_found)
    monkeypatch.setattr(registering, "measures", lambda *_: {**WRONG, "in_field": 0.0, "search": 0.0, "joint": 0.0})
    settings = RegistrationSettings()
    found = registering.register_bodies(case.patient, settings, 1.0)["pelvis"]
    assert not found.accepted
    assert len(tried) == settings.attempts + 1, "the last one in the mirrored radiograph"
    assert len({seed for seed, *_ in tried}) == settings.attempts
    patches = [patch for _, patch, _ in tried]
    assert patches[0] == patches[-1] == settings.coarse_patch_mm
    assert max(patches[1:-1]) < settings.coarse_patch_mm
    assert tried[2][2] > tried[1][2] == settings.finalists
