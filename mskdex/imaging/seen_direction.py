"""Whether grey values rise with exposure or with attenuation, by what the pixels show."""

from dataclasses import dataclass

import numpy as np

_COARSE = 128
"""Pixels along the longer side at which is looked."""
_MARGIN = 0.18
"""Share of the width, on either side, where air lies beside a patient."""
_LEAST_AIR, _AIR_RATIO = 0.03, 3.0
_TAPER = 0.1
_EVEN, _EVEN_SHARE = 0.1, 0.3
_STRAIGHT = 1.5
_STEP, _STEP_SHARE, _BLADE = 0.1, 0.85, 0.2
_SURE_ORDER = 0.75
"""Share of pairs of a pixel in the middle and one beside it of which the former attenuates more."""


@dataclass(frozen=True)
class SeenDirection:
    """What the pixels show.

    Attributes:
        rises_with: exposure, attenuation, or None where the pixels do not show it.
        sure: whether air beside the patient shows it, not only that the middle differs from the sides.
    """

    rises_with: str | None
    sure: bool = False


def seen_direction(values: np.ndarray, field: np.ndarray) -> SeenDirection:
    """Looks for the beam beside the patient, which ends in a skin line; else compares middle and sides.

    A patient's outline is round: where air ends, grey values taper off. A collimator's blade is a straight step, so
    what it shades counts for nothing. Only the order of grey values is used, so any tone curve is allowed.

    Args:
        values: grey values (H, W).
        field: pixels that are part of the image, bool (H, W).
    """
    rows, columns = np.flatnonzero(field.any(axis=1)), np.flatnonzero(field.any(axis=0))
    if rows.size < 16 or columns.size < 16:
        return SeenDirection(None)
    box = np.s_[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    step = max(1, max(rows.size, columns.size) // _COARSE)
    image = np.where(field, values, np.median(values[field]))[box][::step, ::step].astype(np.float64)
    image = _without_blades(image)
    h, w = image.shape
    if min(h, w) < 16:
        return SeenDirection(None)
    middle = image[h // 5 : h - h // 5, 3 * w // 10 : w - 3 * w // 10]
    low, high = np.quantile(middle, [0.02, 0.98])
    slack = 0.02 * max(high - low, 1e-9)
    bright = _air_share(image - high - slack)
    dark = _air_share(low - slack - image)
    if max(bright, dark) >= _LEAST_AIR and max(bright, dark) > _AIR_RATIO * min(bright, dark):
        return SeenDirection("exposure" if bright > dark else "attenuation", sure=True)
    return _by_order(image, middle)


def _without_blades(image: np.ndarray) -> np.ndarray:
    """Cuts off what a straight step separates from the rest: a line along which nearly all values change together.

    Near its ends such a line runs through the shade of the two blades across it, so only its middle is looked at.
    """
    ranks = np.searchsorted(np.sort(image, axis=None), image) / image.size
    first, last = [0, 0], list(image.shape)
    for axis in (0, 1):
        lines = np.moveaxis(ranks, axis, 0)
        n = len(lines)
        end = int(_BLADE * lines.shape[1])
        change = (lines[3:] - lines[:-3])[:, end : lines.shape[1] - end]
        step = np.maximum((change > _STEP).mean(axis=1), (change < -_STEP).mean(axis=1)) > _STEP_SHARE
        at = np.flatnonzero(step)
        near, far = at[at < _BLADE * n], at[at > (1 - _BLADE) * n - 3]
        first[axis] = int(near.max()) + 3 if near.size else 0
        last[axis] = int(far.min()) + 1 if far.size else n
    return image[first[0] : last[0], first[1] : last[1]]


def _air_share(beyond: np.ndarray) -> float:
    """Share of the margins that is air, if `beyond` > 0 is what lies beyond the middle's values on the air's side.

    Air reaches the border, is even, and tapers off towards the patient.
    """
    return sum(_run_share(lines) for lines in (beyond, beyond[:, ::-1])) / 2


def _run_share(lines: np.ndarray) -> float:
    lines = lines[:, : lines.shape[1] // 2]
    lengths = np.logical_and.accumulate(lines > 0, axis=1).sum(axis=1)
    lines = lines[:, : max(2, int(2 * _MARGIN * lines.shape[1]))]
    run = np.logical_and.accumulate(lines > 0, axis=1)
    if not run.any() or np.ptp(np.quantile(lengths, [0.1, 0.9])) <= _STRAIGHT:
        return 0.0
    inside = lines[run]
    plateau = float(np.quantile(inside, 0.9))
    even = np.mean(inside > (1 - _EVEN) * plateau)
    return float(run.mean()) if even > _EVEN_SHARE and np.mean(inside < 0.9 * plateau) > _TAPER else 0.0


def _by_order(image: np.ndarray, middle: np.ndarray) -> SeenDirection:
    h, w = image.shape
    rows = slice(h // 5, h - h // 5)
    beside = np.concatenate([image[rows, w // 20 : w // 6].ravel(), image[rows, w - w // 6 : w - w // 20].ravel()])
    order = float(np.searchsorted(np.sort(beside), middle.ravel()).mean() / beside.size)
    if order > _SURE_ORDER:
        return SeenDirection("attenuation")
    return SeenDirection("exposure" if order < 1 - _SURE_ORDER else None)
