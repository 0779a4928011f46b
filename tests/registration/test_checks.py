"""Each reason not to accept a pose, from measures that are far from every threshold."""

from types import SimpleNamespace

import pytest

from mskdex.config.registration import RegistrationSettings
from mskdex.registration import checks

GOOD = {"in_field": 1.0, "sd_mm": 0.4, "sd_deg": 0.3, "similarity": 0.6, "patch_correlation": 0.7, "margin": 0.2}


def reason(monkeypatch, here=0.5, there=0.3, flipped=0.0, similarity=0.5, **scores):
    """What `of_pose` says of a body without parent whose similarities and measures are these."""
    monkeypatch.setattr(checks, "flip_similarities", lambda *_: (here, there))
    outcome = SimpleNamespace(
        pose=None, flipped=flipped, refined=SimpleNamespace(similarity=similarity), scores={**GOOD, **scores}
    )
    return checks.of_pose(SimpleNamespace(joint=None), outcome, lambda _: None, RegistrationSettings())


def test_a_good_pose_has_no_reason(monkeypatch):
    assert reason(monkeypatch) is None


@pytest.mark.parametrize(
    ("measured", "words"),
    [
        ({"in_field": 0.3}, "only 30 % of it lies in the radiograph's exposed field; 50 % are needed"),
        ({"here": 0.3, "there": 0.5}, "flipped left-right (similarity 0.50 against 0.30)"),
        ({"flipped": 0.6, "similarity": 0.4}, "flipped left-right (similarity 0.60 against 0.40)"),
        ({"sd_mm": 4.9}, "uncertain by 4.9 mm and 0.3°, more than 3 mm or 3°"),
        ({"sd_deg": 9.0}, "uncertain by 0.4 mm and 9.0°"),
        ({"in_field": 0.3, "there": 0.9, "sd_mm": 9.0}, "exposed field"),  # what explains the rest comes first
        ({"there": 0.9, "sd_mm": 9.0}, "flipped left-right"),
    ],
)
def test_each_reason_is_told(monkeypatch, measured, words):
    assert words in reason(monkeypatch, **measured)


@pytest.mark.parametrize(("here", "there"), [(0.5, 0.51), (0.05, 0.15)])
def test_nearly_symmetric_bones_and_other_pictures_are_not_called_flipped(monkeypatch, here, there):
    assert reason(monkeypatch, here=here, there=there) is None


def test_what_stands_out_of_an_untrusted_pose_is_described():
    text = checks.describe({**GOOD, "similarity": 0.12, "margin": 0.001, "sd_mm": 2.5}, 0.2, 0.5)
    assert text.startswith("confidence 0.20 is below 0.50 (registration.min_confidence): its DRR explains 12 % of")
    assert "another pose fits as well; its pose is uncertain by 2.5 mm and 0.3°" in text
    assert "another pose" not in checks.describe(GOOD, 0.2, 0.5)
