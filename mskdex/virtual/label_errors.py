"""Errors that segmentations of CTs have: boundaries that wander, leaks into a neighbour, pieces that are lost."""

from dataclasses import dataclass

import numpy as np
from scipy.ndimage import gaussian_filter, map_coordinates

from mskdex.config.virtual import VirtualSettings
from mskdex.deformation.template import Template, Tissue

_WAVE_MM = 6.0
"""Correlation length of a boundary's error."""

_LEAK_MM, _LOST_SHARE = (8.0, 18.0), (0.05, 0.2)
"""Radii of leaks, and share of the muscle's length, from an end, that is lost."""


@dataclass(frozen=True)
class LabelError:
    """One error.

    Attributes:
        kind: leak or lost.
        structure: which label has too much or too little.
        other: at whose cost, or to which label the lost piece went.
        volume_cm3: that changed its label.
    """

    kind: str
    structure: str
    other: str
    volume_cm3: float


def with_label_errors(
    labels: np.ndarray, voxel_mm: float, template: Template, settings: VirtualSettings, draw: np.random.Generator
) -> tuple[np.ndarray, list[LabelError]]:
    """A label map as a segmentation would draw it, and its leaks and losses.

    Args:
        labels: uint8 (z, y, x), ids of the template.
        voxel_mm: voxel size.
        template: names and tissues.
        settings: size and frequency of the errors; boundaries go by whole voxels, so errors far below one do not show.
        draw: source of them.
    """
    result, errors = labels, []
    if settings.label_error_boundary_mm > 0:
        result = _wandering(result, settings.label_error_boundary_mm / voxel_mm, _WAVE_MM / voxel_mm, draw)
    muscles = [int(i) for i in np.flatnonzero(template.tissues == Tissue.MUSCLE)]
    for fraction, change in (
        (settings.label_error_leak_fraction, _leak),
        (settings.label_error_lost_fraction, _lose),
    ):
        for label in muscles:
            own = np.random.default_rng(draw.integers(2**63))
            if own.random() < fraction:
                result = result.copy() if result is labels else result
                if (error := change(result, label, voxel_mm, template, own)) is not None:
                    errors.append(error)
    return result, errors


def _wandering(labels: np.ndarray, size: float, wave: float, draw: np.random.Generator) -> np.ndarray:
    """Nearest labels at places displaced by a smooth random field of SD `size`, in voxels."""
    places = np.indices(labels.shape, dtype=np.float32)
    for axis in range(3):
        field = gaussian_filter(draw.standard_normal(labels.shape, dtype=np.float32), wave, truncate=2.5)
        places[axis] += field * (size / field.std())
    return map_coordinates(labels, places, order=0, mode="nearest")


def _ball(labels: np.ndarray, centre: np.ndarray, radius: float) -> tuple[tuple[slice, ...], np.ndarray]:
    low = np.maximum(np.floor(centre - radius).astype(int), 0)
    high = np.minimum(np.ceil(centre + radius).astype(int) + 1, labels.shape)
    box = tuple(slice(int(a), int(b)) for a, b in zip(low, high, strict=True))
    axes = np.meshgrid(*[np.arange(b.start, b.stop) for b in box], indexing="ij")
    return box, sum((x - c) ** 2 for x, c in zip(axes, centre, strict=True)) <= radius**2


def _leak(
    labels: np.ndarray, label: int, voxel_mm: float, template: Template, draw: np.random.Generator
) -> LabelError | None:
    """The muscle takes a ball of a neighbouring muscle's voxels."""
    muscles = np.flatnonzero(template.tissues == Tissue.MUSCLE)
    mine = labels == label
    touching = np.zeros(labels.shape, bool)
    for axis in range(3):
        for step in (-1, 1):
            touching |= np.roll(mine, step, axis)
    border = np.argwhere(touching & np.isin(labels, muscles[muscles != label]))
    if not len(border):
        return None
    centre = border[draw.integers(len(border))]
    other = int(labels[tuple(centre)])
    box, ball = _ball(labels, centre.astype(float), draw.uniform(*_LEAK_MM) / voxel_mm)
    taken = ball & (labels[box] == other)
    labels[box][taken] = label
    volume = float(taken.sum()) * voxel_mm**3 / 1000.0
    return LabelError("leak", template.names[label], template.names[other], round(volume, 3))


def _lose(
    labels: np.ndarray, label: int, voxel_mm: float, template: Template, draw: np.random.Generator
) -> LabelError | None:
    """An end of the muscle is taken for fat."""
    slices = np.flatnonzero((labels == label).any(axis=(1, 2)))
    if len(slices) < 3:
        return None
    count = max(1, round(draw.uniform(*_LOST_SHARE) * len(slices)))
    gone = slices[-count:] if draw.random() < 0.5 else slices[:count]
    part = labels[gone[0] : gone[-1] + 1]
    lost = part == label
    part[lost] = template.label("fat")
    volume = float(lost.sum()) * voxel_mm**3 / 1000.0
    return LabelError("lost", template.names[label], "fat", round(volume, 3))
