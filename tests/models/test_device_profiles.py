"""Curves of devices from their training patients: what comes back, and what cannot."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mskdex.io.stack import Greys
from mskdex.models.device_profiles import (
    ALL,
    DeviceProfile,
    as_dicts,
    by_profile,
    device_flags,
    fit_profiles,
)

FIXED, RANGED = "Corvia / DR-S / 2.4 / -", "Dunmere / Clarity / 11 / -"


def tone(nepers):
    """A sigmoid tone curve, of values from 0 to 1."""
    return 1.0 / (1.0 + np.exp(-1.1 * (nepers - 3.5)))


def patient(number: int, device: str = FIXED, *, ranged: bool = False) -> Greys:
    """Grey values of a patient whose attenuation has its own mean and spread, standardised as the import does it."""
    rng = np.random.default_rng(number)
    middle, width = rng.normal(3.6, 0.5), rng.uniform(0.8, 1.2)
    nepers = np.sort(middle + width * np.linspace(-1.2, 1.2, 12))
    own = tone((nepers - middle) / width + 3.5) if ranged else tone(nepers)
    gain = 1.4 / (own[-2] - own[2])
    offset = 3.7 - gain * own[2]
    return Greys(device, (gain, offset), tuple(nepers), tuple(gain * own + offset))


def samples(device: str, count: int, *, ranged: bool = False) -> list[tuple[str, Greys]]:
    return [("relative", patient(n, device, ranged=ranged)) for n in range(count)]


def test_a_fixed_tone_curve_comes_back_and_gives_absolute_attenuation():
    profiles = fit_profiles(samples(FIXED, 8))
    own = next(p for p in profiles if p.device == FIXED)
    assert (own.patients, own.own_greys, own.exact) == (8, True, True)
    new = patient(100)
    image, scale = by_profile(np.array(new.grey), "relative", new, profiles)
    assert scale == "absolute"
    np.testing.assert_allclose(image, new.attenuation, atol=0.15)
    assert device_flags("relative", FIXED, profiles) == []


def test_brightness_set_by_the_image_leaves_a_relative_scale_with_the_tone_curve_straightened():
    profiles = fit_profiles(samples(RANGED, 10, ranged=True))
    own = next(p for p in profiles if p.device == RANGED)
    assert (own.own_greys, own.exact) == (False, False)
    assert own.error_nepers == pytest.approx(0.5, abs=0.25), "the patients' means differ by 0.5 nepers"
    new = patient(100, RANGED, ranged=True)
    image, scale = by_profile(np.array(new.grey), "relative", new, profiles)
    assert scale == "relative"
    bend = [np.ptp(v[6:]) / np.ptp(v[:6]) for v in (np.array(new.grey), image)]
    assert abs(np.log(bend[1])) <= abs(np.log(bend[0])) + 0.1
    assert device_flags("relative", RANGED, profiles) == []


def test_an_unknown_device_is_flagged_and_read_by_the_curve_of_all():
    profiles = fit_profiles(samples(FIXED, 5) + samples(RANGED, 5, ranged=True))
    new = patient(100, "Estrand / CS 2 / 5 / -", ranged=True)
    flag = device_flags("relative", new.device, profiles)[0]
    assert "Estrand / CS 2" in flag
    assert FIXED in flag
    image, scale = by_profile(np.array(new.grey), "relative", new, profiles)
    assert scale == "relative"
    of_all = next(p for p in profiles if p.device == ALL)
    np.testing.assert_allclose(image, of_all.read_off(np.array(new.grey), new))
    changed = device_flags("relative", FIXED.replace("2.4", "2.5"), profiles)
    assert "2.5" in changed[0], "another software version is another device"


@pytest.mark.parametrize("count", [1, 2])
def test_too_few_patients_of_a_device_make_no_curve_of_its_own(count):
    profiles = fit_profiles(samples(FIXED, count) + samples(RANGED, 4, ranged=True))
    own = next(p for p in profiles if p.device == FIXED)
    assert (own.patients, own.grey, own.error_nepers) == (count, (), None)
    assert f"training had {count} patients of {FIXED}" in device_flags("relative", FIXED, profiles)[0]
    new = patient(100)
    image, _ = by_profile(np.array(new.grey), "relative", new, profiles)
    of_all = next(p for p in profiles if p.device == ALL)
    np.testing.assert_array_equal(image, of_all.read_off(np.array(new.grey), new))


def test_one_patient_in_all_leaves_images_as_they_are():
    profiles = fit_profiles(samples(FIXED, 1))
    new = patient(100)
    image, scale = by_profile(np.array(new.grey), "relative", new, profiles)
    assert scale == "relative"
    np.testing.assert_array_equal(image, new.grey)


def test_devices_without_names_are_no_device_but_count_among_all():
    profiles = fit_profiles(samples("", 6))
    assert next(p for p in profiles if p.device == "").grey == ()
    assert next(p for p in profiles if p.device == ALL).patients == 6
    assert "the sheet's column device" in device_flags("relative", "", profiles)[0]
    assert by_profile(np.array(patient(9, "").grey), "relative", patient(9, ""), profiles)[1] == "relative"


def test_an_absolute_image_stays_as_it_is_and_its_device_is_known_by_name():
    profiles = fit_profiles([("absolute", Greys("Arvik / L / 3 / -", None, (1.0, 2.0), (1.0, 2.0)))])
    image = np.linspace(0, 5, 9)
    found, scale = by_profile(image, "absolute", Greys("Arvik / L / 3 / -"), profiles)
    assert found is image
    assert scale == "absolute"
    assert device_flags("absolute", "Arvik / L / 3 / -", profiles) == []
    assert "training had Arvik" in device_flags("absolute", "Other / X / 1 / -", profiles)[0]
    assert "nothing names it" in device_flags("absolute", "", profiles)[0]
    assert device_flags("absolute", "", fit_profiles([("absolute", Greys())])) == []
    assert device_flags("absolute", "Other / X / 1 / -", ()) == []


def test_without_what_the_curve_is_over_that_of_all_is_taken():
    profiles = fit_profiles(samples(FIXED, 6))
    new = Greys(FIXED, None)
    image, scale = by_profile(np.array([3.7, 4.4, 5.1]), "relative", new, profiles)
    assert scale == "relative"
    assert (np.diff(image) > 0).all()


def test_a_profile_comes_back_from_a_models_card():
    profiles = fit_profiles(samples(FIXED, 4))
    back = [DeviceProfile.from_dict(p) for p in json.loads(json.dumps(as_dicts(profiles)))]
    assert [(p.device, p.patients, p.own_greys) for p in back] == [
        (p.device, p.patients, p.own_greys) for p in profiles
    ]
    np.testing.assert_allclose(back[0].grey, profiles[0].grey, atol=1e-5)


@settings(max_examples=25)
@given(st.integers(0, 10_000), st.floats(-20.0, 20.0))
def test_a_curve_never_falls_and_never_leaves_the_possible(seed, shift):
    found = [patient(seed + n, ranged=bool(n % 2)) for n in range(4)]
    profile = fit_profiles([("relative", g) for g in found])[0]
    image = np.sort(np.append(np.linspace(-30, 30, 50), shift))
    values = profile.read_off(image, found[0])
    assert np.isfinite(values).all()
    assert (values >= 0).all()
    assert (np.diff(values) >= -1e-4).all()
