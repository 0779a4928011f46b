"""Curves of devices from their training patients: what comes back, and what cannot."""

import dataclasses
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


def with_air(greys: Greys, thin=(0.0, 0.5, 1.0, 1.5)) -> Greys:
    """The same patient with the edge of the body and the air beside it."""
    gain, offset = greys.standardisation
    return dataclasses.replace(
        greys, attenuation=(*thin, *greys.attenuation), grey=(*(gain * tone(np.array(thin)) + offset), *greys.grey)
    )


def test_air_and_thin_parts_are_read_as_what_they_are():
    """The line through the lowest knots of the body would read air as 2 nepers."""
    known = [("relative", with_air(patient(n))) for n in range(8)]
    new = with_air(patient(100))
    image, scale = by_profile(np.array(new.grey), "relative", new, fit_profiles(known))
    assert scale == "absolute"
    assert image[0] == pytest.approx(0.0, abs=0.05)
    np.testing.assert_allclose(image[1:], new.attenuation[1:], atol=0.2)
    darker = np.array(new.grey)[:1] - 0.5
    assert by_profile(darker, "relative", new, fit_profiles(known))[0] == 0.0
    body_alone = by_profile(np.array(new.grey), "relative", new, fit_profiles(samples(FIXED, 8)))[0]
    assert body_alone[0] > 0.5, "without pairs that show air nothing tells of it"


def blurred(number: int, device: str = RANGED) -> Greys:
    """A patient whose grey values follow no curve but are standardised well."""
    rng = np.random.default_rng(number)
    nepers = np.linspace(2.5, 5.5, 12)
    middle = float(rng.uniform(-20.0, 20.0))
    return Greys(device, (1.0, middle), tuple(nepers), tuple(np.sort(nepers + 0.02 * rng.normal(size=12))))


def test_a_curve_that_reads_others_no_better_than_they_are_standardised_is_not_used():
    profiles = fit_profiles([("relative", blurred(n)) for n in range(5)])
    own = next(p for p in profiles if p.device == RANGED)
    assert own.grey == ()
    assert not own.exact
    assert 0.0 < own.standardised_nepers <= own.error_nepers
    new = blurred(100)
    image, scale = by_profile(np.array(new.grey), "relative", new, profiles)
    assert scale == "relative"
    np.testing.assert_array_equal(image, new.grey, "nor is the curve of all devices")
    assert device_flags("relative", RANGED, profiles) == [], "the network knows the device's standardised images"
    assert RANGED in device_flags("relative", "Other / X / 1 / -", profiles)[0]


def test_the_curve_of_all_devices_has_to_read_a_device_that_it_was_not_made_of():
    def shifted(n: int, device: str, off: float) -> Greys:
        nepers = np.linspace(2.5, 5.5, 12) + 0.01 * n
        return Greys(device, (1.0, 0.0), tuple(nepers), tuple(nepers + off))

    apart = [("relative", shifted(n, d, o)) for n in range(5) for d, o in ((FIXED, 0.4), (RANGED, -0.4))]
    of_all = fit_profiles(apart)[-1]
    assert (of_all.device, of_all.grey) == (ALL, ())
    assert of_all.error_nepers == pytest.approx(0.8, abs=0.1)
    assert of_all.standardised_nepers == pytest.approx(0.4)
    alike = [("relative", shifted(n, d, 0.4)) for n in range(5) for d in (FIXED, RANGED)]
    assert fit_profiles(alike)[-1].grey
    assert fit_profiles(alike)[-1].error_nepers < 0.05


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
