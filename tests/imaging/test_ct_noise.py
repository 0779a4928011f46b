"""Noise of a CT: measured in muscle, taken down to a level, and with it the lean mass that it costs."""

import json

import hospital as make
import numpy as np
import pytest

from mskdex.config.objects import ObjectSettings, channels
from mskdex.imaging.ct_noise import MIN_VOXELS, muscle_noise_hu, smooth_muscles, smoothing_mm
from mskdex.io.volume import Volume
from mskdex.pipeline.stages.importing import import_patient, smoothed_to
from mskdex.quantities import lean_mass_density_g_cm3

SPACING = (0.8, 0.8, 1.5)


def two_muscles(noise_hu: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A muscle of 45 HU beside one of 10 HU, fat around them: noisy CT, the same without noise, labels."""
    labels = np.zeros((24, 40, 40), np.uint8)
    labels[2:-2, 5:20, 5:35] = 1
    labels[2:-2, 20:35, 5:35] = 2
    exact = np.array([-100, 45, 10], np.int16)[labels]
    noise = np.random.default_rng(3).normal(0.0, noise_hu, labels.shape)
    return np.rint(exact + noise).astype(np.int16), exact, labels


@pytest.mark.parametrize("noise_hu", [8.0, 12.0, 30.0])
def test_the_noise_is_measured_in_muscle(noise_hu):
    ct, _, labels = two_muscles(noise_hu)
    assert muscle_noise_hu(ct, labels, [1, 2]) == pytest.approx(noise_hu, rel=0.04)


def test_a_gradient_along_the_body_is_not_noise():
    ct, _, labels = two_muscles(10.0)
    ct = ct + np.arange(24, dtype=np.int16)[:, None, None] * 3
    assert muscle_noise_hu(ct, labels, [1, 2]) == pytest.approx(10.0, rel=0.04)


def test_too_few_voxels_tell_nothing():
    ct, _, labels = two_muscles(10.0)
    assert muscle_noise_hu(ct[:3], labels[:3], [1]) is None
    assert muscle_noise_hu(ct, labels, []) is None
    assert (labels == 1).sum() > MIN_VOXELS


def test_smoothing_reaches_the_level():
    ct, exact, labels = two_muscles(30.0)
    sigma = smoothing_mm(30.0, 12.0, SPACING)
    smooth = smooth_muscles(ct, labels, [1, 2], sigma, SPACING)
    inner = np.zeros_like(labels, bool)
    inner[6:-6, 9:16, 9:-9] = inner[6:-6, 24:31, 9:-9] = True
    assert (smooth - exact)[inner].std() == pytest.approx(12.0, rel=0.05)
    assert smoothing_mm(12.0, 12.0, SPACING) == 0.0


def test_a_smoothed_muscle_keeps_its_mean_and_does_not_mix_with_its_neighbours():
    ct, _, labels = two_muscles(30.0)
    smooth = smooth_muscles(ct, labels, [1], smoothing_mm(30.0, 12.0, SPACING), SPACING)
    assert np.array_equal(smooth[labels != 1], ct[labels != 1])
    assert smooth[labels == 1].mean() == pytest.approx(ct[labels == 1].mean(), abs=0.3)


def test_lean_mass_that_noise_has_taken_comes_back():
    ct, exact, labels = two_muscles(30.0)
    smooth = smooth_muscles(ct, labels, [1, 2], smoothing_mm(30.0, 12.0, SPACING), SPACING)
    truth, noisy, found = (lean_mass_density_g_cm3(x)[labels == 1].sum() for x in (exact, ct, smooth))
    assert noisy < 0.91 * truth
    assert found == pytest.approx(truth, rel=0.02)


@pytest.mark.parametrize(
    ("noise_hu", "limit", "smooth"), [(10.0, 15.0, False), (25.0, 15.0, True), (25.0, None, False)]
)
def test_the_import_smooths_what_is_noisier_than_the_config_allows(noise_hu, limit, smooth):
    hu, _, labels = two_muscles(noise_hu)
    affine = np.diag([*SPACING, 1.0])
    muscles = channels((ObjectSettings(name="gluteus_maximus", kind="muscle"),), frozenset())
    found, facts = smoothed_to(limit, Volume(hu, affine), Volume(labels, affine), muscles)
    assert facts["muscle_noise_hu"] == pytest.approx(noise_hu, rel=0.1)
    assert (facts["muscles_smoothed_mm"] > 0) == smooth
    assert np.array_equal(found.array, hu) != smooth


def test_by_default_no_ct_is_smoothed(tmp_path):
    import_patient(make.patient(tmp_path), make.settings(), tmp_path / "out")
    facts = json.loads((tmp_path / "out" / "import.json").read_text(encoding="utf-8"))["ct"]
    assert facts["muscles_smoothed_mm"] == 0.0
    assert make.settings().ct.max_noise_hu is None
