"""Device profiles: from the CTs of the training pairs, the curve that takes a device's processed images to nepers.

A device with a fixed tone curve gives absolute attenuation back; one that sets brightness and contrast by the image
does not, and its images stay on a relative scale, with their tone curve straightened. A curve is used only where it
reads left-out patients clearly better than their standardised images are.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from scipy import optimize

from mskdex.io.stack import Greys, Stack

LEAST_PATIENTS = 3
"""Training patients of a device from which on it has a curve of its own: each is predicted by two others at least."""

ALL = "all devices"
"""Whose curve serves devices without one of their own."""

MOST_ERROR_NEPERS = 0.25
"""Error of a curve up to which its images count as absolute; the mean attenuation of hips differs by 0.5 (SD)."""

_BETTER = 0.9
"""Share of the standardised images' error below which a curve's error has to be: small differences are chance."""

_KNOTS = 16
_END = 4
"""Knots at either end whose line continues the curve."""


@dataclass(frozen=True)
class DeviceProfile:
    """What training knows of a device.

    Attributes:
        device: manufacturer, model, software and processing; "" of files that name none; `ALL`.
        scale: of its images, absolute or relative.
        patients: training patients whose grey values could be compared with their CT.
        own_greys: whether the curve is over the file's own grey values, 0 to 1 over their range, as of a fixed tone
            curve; else over the standardised ones, as of a console that sets brightness and contrast by the image.
        grey: knots, rising; empty without a curve.
        attenuation: log attenuation in nepers at the knots, never falling.
        error_nepers: root mean square error of the better curve on training patients that it was not made of; None
            where there are too few of them for one.
        standardised_nepers: the same of their standardised images as they are; a curve that is not clearly better is
            not used.
    """

    device: str
    scale: str
    patients: int
    own_greys: bool = False
    grey: tuple[float, ...] = ()
    attenuation: tuple[float, ...] = ()
    error_nepers: float | None = None
    standardised_nepers: float | None = None

    @property
    def compared(self) -> bool:
        """Whether enough patients of it could be compared with their CT to decide about a curve."""
        return self.error_nepers is not None

    @property
    def exact(self) -> bool:
        """Whether its curve gives absolute attenuation."""
        return bool(self.grey) and self.error_nepers is not None and self.error_nepers <= MOST_ERROR_NEPERS

    def read_off(self, image: np.ndarray, greys: Greys) -> np.ndarray:
        """Log attenuation of an image of relative scale by the curve, in nepers, float32, not below 0.

        Without a curve the image as it is.

        Args:
            image: standardised grey values, any shape.
            greys: of the image; its standardisation is needed where the curve is over the file's own grey values.
        """
        if not self.grey:
            return np.maximum(image, 0.0).astype(np.float32)
        values = _own(image, greys) if self.own_greys else image
        found: np.ndarray = np.maximum(_read_off(values, np.array(self.grey), np.array(self.attenuation)), 0.0)
        return found.astype(np.float32)

    def serves(self, greys: Greys) -> bool:
        """Whether it has a curve that an image with such grey values can be read off."""
        return bool(self.grey) and not (self.own_greys and greys.standardisation is None)

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> "DeviceProfile":
        """Reads `dataclasses.asdict`, also after JSON."""
        values: dict[str, Any] = {key: tuple(v) if isinstance(v, list) else v for key, v in content.items()}
        return cls(**values)


def fit_profiles(samples: Iterable[tuple[str, Greys]]) -> tuple[DeviceProfile, ...]:
    """A profile of each device and scale, and one of all devices' relative images.

    A device of at least `LEAST_PATIENTS` has a curve: over the file's own grey values or over the standardised ones,
    whichever predicts patients that are left out with the smaller error, and neither where that is not below 0.9 of the
    error of the standardised images as they are. The curve of all devices has to predict a device that is left out.

    Args:
        samples: scale and grey values of each training patient's radiograph, of no other patients.
    """
    of_device: dict[tuple[str, str], list[Greys]] = {}
    for scale, greys in samples:
        of_device.setdefault((greys.device, scale), []).append(greys)
    compared = {key: [g for g in found if g.grey] for key, found in sorted(of_device.items())}
    profiles = [
        _profile(device, scale, [[g] for g in found], own_greys=(False, True))
        if scale == "relative" and device
        else DeviceProfile(device, scale, len(found))
        for (device, scale), found in compared.items()
    ]
    devices = [found for (device, scale), found in compared.items() if scale == "relative" and device and found]
    nameless = [[g] for g in compared.get(("", "relative"), [])]
    parts = [*devices, *nameless] if len(devices) > 1 else [[g] for part in [*devices, *nameless] for g in part]
    return (*profiles, _profile(ALL, "relative", parts, own_greys=(False,)))


def by_profile(
    image: np.ndarray, scale: str, greys: Greys, profiles: Sequence[DeviceProfile]
) -> tuple[np.ndarray, str]:
    """An image and its scale as the network takes them: a relative one by the curve of its device, or else of all.

    Args:
        image: log attenuation or standardised grey values.
        scale: absolute or relative.
        greys: where its grey values come from.
        profiles: of the training patients.

    Returns:
        Image and scale, as they are where the image is absolute or no curve serves it; absolute by an exact curve.
    """
    profile = _serving(scale, greys, profiles)
    if profile is None:
        return image, scale
    return profile.read_off(image, greys), "absolute" if profile.exact else "relative"


def stack_by_profile(stack: Stack, profiles: Sequence[DeviceProfile]) -> Stack:
    """A sample with radiograph and scale as `by_profile` gives them."""
    image, scale = by_profile(stack.radiograph, stack.scale, stack.greys, profiles)
    return replace(stack, radiograph=image, scale=scale)


def device_flags(scale: str, device: str, profiles: Sequence[DeviceProfile]) -> list[str]:
    """A sentence where a radiograph's device is unknown to the training; empty where it is known.

    A relative image is of a known device where that was compared with enough CTs; an absolute one where training had
    images of that device on an absolute scale, or where neither it nor one of them names a device.

    Args:
        scale: absolute or relative, as it was imported.
        device: of the radiograph, "" where nothing names it.
        profiles: of the training patients.
    """
    same = {p.device: p for p in profiles if p.scale == scale and p.device != ALL}
    own = same.get(device)
    if not same or (own is not None and (scale == "absolute" or own.compared)):
        return []
    if own is not None and device:
        detail = f"training had {own.patients} patients of {device} to compare with a CT, {LEAST_PATIENTS} make a curve"
    else:
        known = "; ".join(
            sorted(name for name, p in same.items() if name and (scale == "absolute" or p.error_nepers is not None))
        )
        name = f"it is of {device}" if device else "nothing names it (the sheet's column device can)"
        detail = f"{name}, training had {known or 'none that is named'}"
    return [f"device unknown: {detail}"]


def profile_text(profile: DeviceProfile) -> str:
    """Scale, patients and errors of a profile in words, and whether a curve is used."""
    detail = f"{profile.scale} scale, {profile.patients} patients"
    if profile.error_nepers is None:
        return f"{detail}, no curve"
    as_it_is = profile.standardised_nepers
    beside = "" if as_it_is is None else f"; their standardised images are off by {as_it_is:.2f} nepers"
    if not profile.grey:
        return f"{detail}, no curve, which would be off by {profile.error_nepers:.2f} nepers{beside}"
    greys = "its own" if profile.own_greys else "standardised"
    return f"{detail}, curve over {greys} grey values with an error of {profile.error_nepers:.2f} nepers{beside}"


def as_dicts(profiles: Sequence[DeviceProfile]) -> list[dict[str, Any]]:
    """JSON-able form, numbers to five digits after the point; `DeviceProfile.from_dict` reads each."""
    return [
        {k: [round(x, 5) for x in v] if isinstance(v, tuple) else v for k, v in asdict(p).items()} for p in profiles
    ]


def _serving(scale: str, greys: Greys, profiles: Sequence[DeviceProfile]) -> DeviceProfile | None:
    if scale != "relative":
        return None
    own, of_all = (
        next((p for p in profiles if name and (p.device, p.scale) == (name, scale)), None)
        for name in (greys.device, ALL)
    )
    if own is not None and own.compared and not own.grey:
        return None
    return next((p for p in (own, of_all) if p is not None and p.serves(greys)), None)


def _profile(device: str, scale: str, parts: Sequence[Sequence[Greys]], own_greys: tuple[bool, ...]) -> DeviceProfile:
    """The profile of patients, of whom one part after the other is left out to choose what reads it."""
    found = [g for part in parts for g in part]
    if len(found) < LEAST_PATIENTS:
        return DeviceProfile(device, scale, len(found))
    possible = [own for own in own_greys if not own or all(g.standardisation is not None for g in found)]
    errors = {own: _left_out_error(parts, own) for own in possible}
    best = min(errors, key=lambda own: errors[own])
    as_it_is = _root_mean_square([np.array(g.grey) - g.attenuation for g in found])
    grey, attenuation = _curve(found, best) if errors[best] < _BETTER * as_it_is else ((), ())
    return DeviceProfile(device, scale, len(found), best, grey, attenuation, errors[best], as_it_is)


def _left_out_error(parts: Sequence[Sequence[Greys]], own: bool) -> float:
    """Root mean square error in nepers of each patient's knots by the curve of the other parts."""
    off = []
    for n, left_out in enumerate(parts):
        grey, attenuation = _curve([g for part in (*parts[:n], *parts[n + 1 :]) for g in part], own)
        off += [_read_off(_knots(g, own), np.array(grey), np.array(attenuation)) - g.attenuation for g in left_out]
    return _root_mean_square(off)


def _root_mean_square(off: Sequence[np.ndarray]) -> float:
    """Of the knots of patients who count alike."""
    return float(np.sqrt(np.mean([np.mean(one**2) for one in off])))


def _curve(greys: Sequence[Greys], own: bool) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Knots of the rising curve through the patients' curves: isotonic regression, then means of equal numbers."""
    grey = np.concatenate([_knots(g, own) for g in greys])
    attenuation = np.concatenate([g.attenuation for g in greys])
    order = np.argsort(grey, kind="stable")
    rising = optimize.isotonic_regression(attenuation[order]).x
    parts = np.array_split(np.arange(len(order)), min(_KNOTS, len(order)))
    knots = np.array([grey[order][part].mean() for part in parts])
    values = np.array([rising[part].mean() for part in parts])
    return tuple(float(v) for v in knots), tuple(float(v) for v in values)


def _knots(greys: Greys, own: bool) -> np.ndarray:
    grey = np.array(greys.grey)
    return _own(grey, greys) if own else grey


def _own(image: np.ndarray, greys: Greys) -> np.ndarray:
    assert greys.standardisation is not None
    gain, offset = greys.standardisation
    return (image - offset) / gain


def _read_off(values: np.ndarray, grey: np.ndarray, attenuation: np.ndarray) -> np.ndarray:
    """The curve at values; beyond its ends the line through the last `_END` knots goes on."""
    found = np.interp(values, grey, attenuation)
    for at, part, beyond in ((0, slice(0, _END), values < grey[0]), (-1, slice(-_END, None), values > grey[-1])):
        if np.ptp(grey[part]) > 0:
            slope = np.polyfit(grey[part] - grey[at], attenuation[part], 1)[0]
            found = np.where(beyond, attenuation[at] + slope * (values - grey[at]), found)
    return found
