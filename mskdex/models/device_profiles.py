"""Device profiles: from the CTs of the training pairs, the curve that takes a device's processed images to nepers.

A device with a fixed tone curve gives absolute attenuation back; one that sets brightness and contrast by the image
does not, and its images stay on a relative scale, with their tone curve straightened.
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

_KNOTS = 12
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
        error_nepers: root mean square error on training patients that the curve was not made of; None without one.
    """

    device: str
    scale: str
    patients: int
    own_greys: bool = False
    grey: tuple[float, ...] = ()
    attenuation: tuple[float, ...] = ()
    error_nepers: float | None = None

    @property
    def exact(self) -> bool:
        """Whether its curve gives absolute attenuation."""
        return self.error_nepers is not None and self.error_nepers <= MOST_ERROR_NEPERS

    def read_off(self, image: np.ndarray, greys: Greys) -> np.ndarray:
        """Log attenuation of an image of relative scale by the curve, in nepers, float32, not below 0.

        Args:
            image: standardised grey values, any shape.
            greys: of the image; its standardisation is needed where the curve is over the file's own grey values.
        """
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
    whichever predicts patients that are left out with the smaller error.

    Args:
        samples: scale and grey values of each training patient's radiograph, of no other patients.
    """
    of_device: dict[tuple[str, str], list[Greys]] = {}
    for scale, greys in samples:
        of_device.setdefault((greys.device, scale), []).append(greys)
    compared = {key: [g for g in found if g.grey] for key, found in sorted(of_device.items())}
    profiles = [
        _profile(device, scale, found, own_greys=(False, True))
        if scale == "relative" and device
        else DeviceProfile(device, scale, len(found))
        for (device, scale), found in compared.items()
    ]
    relative = [g for (_, scale), found in compared.items() if scale == "relative" for g in found]
    return (*profiles, _profile(ALL, "relative", relative, own_greys=(False,)))


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

    A relative image is of a known device where that has a curve of its own; an absolute one where training had images
    of that device on an absolute scale, or where neither it nor one of them names a device.

    Args:
        scale: absolute or relative, as it was imported.
        device: of the radiograph, "" where nothing names it.
        profiles: of the training patients.
    """
    same = {p.device: p for p in profiles if p.scale == scale and p.device != ALL}
    own = same.get(device)
    if not same or (own is not None and (scale == "absolute" or own.grey)):
        return []
    if own is not None and device:
        told = f"training had {own.patients} patients of {device} to compare with a CT, {LEAST_PATIENTS} make a curve"
    else:
        known = "; ".join(sorted(name for name, p in same.items() if name and (scale == "absolute" or p.grey)))
        name = f"it is of {device}" if device else "nothing names it (the sheet's column device can)"
        told = f"{name}, training had {known or 'none that is named'}"
    return [f"device unknown: {told}"]


def as_dicts(profiles: Sequence[DeviceProfile]) -> list[dict[str, Any]]:
    """JSON-able form, numbers to five digits after the point; `DeviceProfile.from_dict` reads each."""
    return [
        {k: [round(x, 5) for x in v] if isinstance(v, tuple) else v for k, v in asdict(p).items()} for p in profiles
    ]


def _serving(scale: str, greys: Greys, profiles: Sequence[DeviceProfile]) -> DeviceProfile | None:
    if scale != "relative":
        return None
    order = [p for name in (greys.device, ALL) for p in profiles if name and p.device == name and p.scale == scale]
    return next((p for p in order if p.serves(greys)), None)


def _profile(device: str, scale: str, found: Sequence[Greys], own_greys: tuple[bool, ...]) -> DeviceProfile:
    if len(found) < LEAST_PATIENTS:
        return DeviceProfile(device, scale, len(found))
    possible = [own for own in own_greys if not own or all(g.standardisation is not None for g in found)]
    errors = {own: _left_out_error(found, own) for own in possible}
    best = min(errors, key=lambda own: errors[own])
    grey, attenuation = _curve(found, best)
    return DeviceProfile(device, scale, len(found), best, grey, attenuation, errors[best])


def _left_out_error(found: Sequence[Greys], own: bool) -> float:
    """Root mean square error in nepers of each patient's knots by the curve of the others."""
    squares = []
    for n, left_out in enumerate(found):
        grey, attenuation = _curve([*found[:n], *found[n + 1 :]], own)
        error = _read_off(_knots(left_out, own), np.array(grey), np.array(attenuation)) - left_out.attenuation
        squares.append(float(np.mean(error**2)))
    return float(np.sqrt(np.mean(squares)))


def _curve(found: Sequence[Greys], own: bool) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Knots of the rising curve through the patients' curves: isotonic regression, then means of equal numbers."""
    grey = np.concatenate([_knots(g, own) for g in found])
    attenuation = np.concatenate([g.attenuation for g in found])
    order = np.argsort(grey, kind="stable")
    rising = optimize.isotonic_regression(attenuation[order]).x
    parts = np.array_split(np.arange(len(order)), _KNOTS)
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
