"""Voxels of a label map as whole ids, which of them occur, and their translation to the project's labels."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from mskdex.errors import MskdexError

MOST_FRACTION = 0.05
"""Ids may be off a whole number by this much, where every voxel of an id has the same value.

A label map that was saved as scaled integers is: with ids up to 6222 and 65,535 steps, by half a step of 0.095.
"""
_EXACT = {np.dtype(np.float32): 2**24, np.dtype(np.float64): 2**53}
_LARGEST_ID = 2**53 - 1
_TABLE = 1 << 16


def as_ids(array: np.ndarray, path: Path) -> tuple[np.ndarray, str | None]:
    """The voxels as integers.

    Args:
        array: of any type, (z, y, x) or (z, y, x, layer).
        path: for messages.

    Returns:
        uint8, uint16 or int64, and a sentence where values had to be rounded.

    Raises:
        MskdexError: fractions, values that are no number, negative values, or ids too large for their type.
    """
    low, high = array.min(), array.max()
    if not (np.isfinite(low) and np.isfinite(high)):
        msg = f"{path} holds voxels that are no number (NaN or infinite), not label ids; export the label map itself"
        raise MskdexError(msg)
    most = _EXACT.get(array.dtype, _LARGEST_ID)
    if np.rint(low) < 0 or high > most:
        msg = f"{path} holds values from {low} to {high}; label ids of this type are 0 to {most} (is it the CT?)"
        raise MskdexError(msg)
    note = _rounding(array, path) if np.issubdtype(array.dtype, np.floating) else None
    if array.dtype == np.uint8:
        return array, None
    out = np.empty(array.shape, np.uint16 if high < _TABLE - 1 else np.int64)
    for plane, into in zip(array, out, strict=True):
        into[...] = np.rint(plane) if note else plane
    return out, note


def ids_in(ids: np.ndarray) -> set[int]:
    """The ids that occur, 0 left out.

    Args:
        ids: of `as_ids`.
    """
    seen = np.zeros(_TABLE, bool)
    found: set[int] = set()
    for plane in ids:
        used = plane[plane.reshape(len(plane), -1).any(axis=1)]
        if not used.size:
            continue
        if ids.dtype == np.int64:
            found.update(np.unique(used).tolist())
        else:
            counts = np.bincount(used.ravel())
            seen[: counts.size] |= counts > 0
    return (found | set(np.flatnonzero(seen).tolist())) - {0}


def translated(ids: np.ndarray, label_of: Mapping[int, int]) -> np.ndarray:
    """Every id's label, 0 for the others; slice by slice, contiguous.

    Bytes go through a table of bytes, which is several times faster than one of numbers.

    Args:
        ids: of `as_ids`, (z, y, x).
        label_of: labels from 1 to 255 by id.

    Returns:
        uint8 (z, y, x).
    """
    out = np.zeros(ids.shape, np.uint8)
    keys = np.array(sorted(label_of), np.int64)
    labels = np.array([label_of[int(k)] for k in keys], np.uint8)
    if not keys.size:
        return out
    table = np.zeros(_TABLE, np.uint8)
    small = keys < _TABLE
    table[keys[small]] = labels[small]
    for plane, into in zip(ids, out, strict=True):
        if not plane.any():
            continue
        if ids.dtype == np.uint8:
            into[...] = np.frombuffer(plane.tobytes().translate(table[:256].tobytes()), np.uint8).reshape(plane.shape)
        elif ids.dtype == np.uint16:
            into[...] = table[plane]
        else:
            at = np.minimum(np.searchsorted(keys, plane), keys.size - 1)
            into[...] = np.where(keys[at] == plane, labels[at], 0)
    return out


def _rounding(array: np.ndarray, path: Path) -> str | None:
    """A sentence on the rounding that makes the values whole; None where they are."""
    off = max(float(np.abs(plane - np.rint(plane)).max()) for plane in array)
    if off == 0:
        return None
    value_of: dict[float, float] = {}
    for plane in array if off <= MOST_FRACTION else ():
        for value in np.unique(plane).tolist():
            if value_of.setdefault(round(value), value) != value:
                off = 1.0
    if off > MOST_FRACTION:
        msg = (
            f"{path} holds fractions, not label ids (interpolated, a probability map, or scaled?); export the label "
            "map itself, as integers"
        )
        raise MskdexError(msg)
    farthest = max(value_of.values(), key=lambda v: abs(v - round(v)))
    return (
        f"label ids had fractions, as {farthest:.6g}, at most {off:.2g} off; they were rounded to whole ids (up to "
        f"{MOST_FRACTION:g} is allowed)"
    )
