"""Whether structures lie to each other as in every patient."""

from collections.abc import Sequence

import numpy as np

from mskdex.config.objects import Channel
from mskdex.errors import MskdexError
from mskdex.io.volume import Volume

_ORDER = ((2, "above", "femur", "pelvis"), (1, "in front of", "sacrum", "pelvis"))
"""Along each axis which object lies where of which, in every patient: the first has the smaller coordinate."""

_DOUBT_MM = 5.0
"""Middles of what a narrow field leaves of two structures may lie this much the other way."""


def check_places(labels: Volume, channels: Sequence[Channel]) -> list[str]:
    """Finds a patient who is mirrored: RAS axes grow to the right, to the front and to the top.

    Args:
        labels: uint8 Channel.label in RAS order.
        channels: the config's.

    Returns:
        A warning: femurs above the pelvis, or the sacrum before it or not between the hip bones.

    Raises:
        MskdexError: left and right are swapped.
    """
    middle = _middles(labels, channels)
    left = [name.removesuffix("_left") for name in middle if name.endswith("_left")]
    swapped = [o for o in left if _beyond(middle, f"{o}_left", f"{o}_right", 0)]
    if swapped:
        msg = (
            f"left and right of {', '.join(swapped)} are swapped: the left one lies on the patient's right; "
            "the ids are "
            f"swapped (label_sources is [left, right]) or the file was mirrored"
        )
        raise MskdexError(msg)
    notes = []
    for axis, where, low, high in _ORDER:
        ones, others = _of_object(middle, low), _of_object(middle, high)
        notes += [f"{a} lies {where} {b}" for a in ones for b in others if _beyond(middle, a, b, axis)][:1]
    for one, other in (("pelvis_left", "sacrum"), ("sacrum", "pelvis_right")):
        if _beyond(middle, one, other, 0):
            notes.append("sacrum does not lie between the hip bones")
    if not notes:
        return []
    return [
        f"{' and '.join(notes)}, as in no patient: CT and labels are flipped, or the ids mean other structures; "
        "correct the orientation in the headers, or label_sources"
    ]


def _of_object(middle: dict[str, np.ndarray], name: str) -> list[str]:
    return [n for n in middle if n in (name, f"{name}_left", f"{name}_right")]


def _beyond(middle: dict[str, np.ndarray], one: str, other: str, axis: int) -> bool:
    """Whether the first of two structures lies farther along an axis, by more than its share of doubt."""
    doubt = 0.0 if axis == 0 else _DOUBT_MM
    return one in middle and other in middle and middle[one][axis] > middle[other][axis] + doubt


def _middles(labels: Volume, channels: Sequence[Channel]) -> dict[str, np.ndarray]:
    """Centres of the channels that are present, in mm along the axes (x, y, z) of the grid.

    Of thick stacks some dozens of slices are enough for the middle of a structure.
    """
    sums = np.zeros((4, 256))
    step = 1 + len(labels.array) // 64
    for k in range(0, len(labels.array), step):
        place = np.flatnonzero(labels.array[k])
        if place.size:
            found = labels.array[k].ravel()[place]
            y, x = np.divmod(place, labels.array.shape[2])
            count = np.bincount(found, minlength=256)
            sums += (np.bincount(found, x, 256), np.bincount(found, y, 256), k * count, count)
    spacing = np.array(labels.spacing_mm)
    return {c.name: sums[:3, c.label] / sums[3, c.label] * spacing for c in channels if sums[3, c.label]}
