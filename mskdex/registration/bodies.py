"""Rigid bodies of a CT, as the registration sees them: the attenuation that bone adds to soft tissue."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from mskdex.config.objects import Channel

SOFT_TISSUE_HU = 50.0
"""Muscle's HU (Gu et al. 2023: 35 to 56 in the hip): what would be in the bone's place."""

_RIM_MM = 3.0
_CROP_MM = 12.0
_SMOOTHING_MM = 5.0
_TARGETS = 400
_FLAT_SHARE = 0.5
"""A cut end's cross-section is about that two slices further in, a rounded end's at most a third of it."""


@dataclass(frozen=True)
class Outline:
    """Where a rigid body of one CT lies.

    Attributes:
        name: with its side, e.g. femur_left.
        objects: names of the channels that move with it.
        centre_mm: centroid, RAS, (3,): the pivot of every motion.
        surface_mm: centres of its surface voxels, RAS, (N, 3).
        cut_mm: centres of its voxels where it is cut, RAS, (M, 3); empty when it is whole.
        extent_mm: its longest extent in the CT.
        volume_cm3: its volume in the CT.
    """

    name: str
    objects: tuple[str, ...]
    centre_mm: np.ndarray
    surface_mm: np.ndarray
    cut_mm: np.ndarray
    extent_mm: float
    volume_cm3: float

    @property
    def targets_mm(self) -> np.ndarray:
        """Points spread over its surface for the error metrics, RAS, (≤ 400, 3)."""
        places = np.linspace(0, len(self.surface_mm) - 1, min(_TARGETS, len(self.surface_mm))).astype(int)
        return self.surface_mm[places]

    @property
    def truncated(self) -> bool:
        """Whether the CT or the label file cuts it."""
        return len(self.cut_mm) > 0


@dataclass(frozen=True)
class RigidBody(Outline):
    """A rigid body of one CT, ready to be projected.

    Attributes:
        excess: attenuation above that of the soft tissue it displaces, relative to water; (z, y, x) float32,
            cropped to the body, 0 on the border.
        world_from_voxel: 4×4 of the crop.
    """

    excess: np.ndarray
    world_from_voxel: np.ndarray


def find_bodies(
    ct: np.ndarray,
    labels: np.ndarray,
    world_from_voxel: np.ndarray,
    channels: Sequence[Channel],
    cut: Collection[int] = (),
) -> dict[str, RigidBody]:
    """The rigid bodies that a segmentation holds.

    Args:
        ct: HU, (z, y, x).
        labels: `Channel.label` of every voxel, (z, y, x).
        world_from_voxel: 4×4, RAS mm.
        channels: the cohort's objects; those without a body are passed over.
        cut: labels that the import found truncated, whatever the volume shows: the label file may cover a part of
            the CT (`mskdex.imaging.label_extent.recorded_cuts`).

    Returns:
        bodies by name, in the order of `channels`; a body without any voxel is left out.
    """
    bones = [c.label for c in channels if c.body is not None]
    found = {}
    for name, (group, box) in _places(labels, world_from_voxel, channels).items():
        outline = _outline(name, group, box, labels, world_from_voxel, cut)
        mask = np.isin(labels[box], [c.label for c in group])
        excess = _excess(ct[box], mask, np.isin(labels[box], bones) & ~mask, _spacing(world_from_voxel))
        offset = np.eye(4)
        offset[:3, 3] = [b.start - 1 for b in box[::-1]]
        found[name] = RigidBody(
            **vars(outline), excess=np.pad(excess, 1).astype(np.float32), world_from_voxel=world_from_voxel @ offset
        )
    return found


def find_outlines(
    labels: np.ndarray, world_from_voxel: np.ndarray, channels: Sequence[Channel], cut: Collection[int] = ()
) -> dict[str, Outline]:
    """Where the rigid bodies of a segmentation lie, without what they add to a radiograph; as `find_bodies`."""
    return {
        name: _outline(name, group, box, labels, world_from_voxel, cut)
        for name, (group, box) in _places(labels, world_from_voxel, channels).items()
    }


def _places(
    labels: np.ndarray, affine: np.ndarray, channels: Sequence[Channel]
) -> dict[str, tuple[list[Channel], tuple[slice, ...]]]:
    """By body the channels that are there, and the part of the volume that holds them with a margin."""
    boxes = {label: box for label, box in enumerate(ndimage.find_objects(labels), 1) if box}
    members: dict[str, list[Channel]] = {}
    for channel in channels:
        if channel.body is not None and channel.label in boxes:
            members.setdefault(channel.body, []).append(channel)
    order = dict.fromkeys(channel.body for channel in channels)
    return {
        name: (members[name], _crop([boxes[c.label] for c in members[name]], labels.shape, _spacing(affine)))
        for name in order
        if name is not None and name in members
    }


def _outline(
    name: str,
    group: Sequence[Channel],
    box: tuple[slice, ...],
    labels: np.ndarray,
    affine: np.ndarray,
    cut: Collection[int],
) -> Outline:
    mask, start = np.isin(labels[box], [c.label for c in group]), [b.start for b in box]
    voxels = np.argwhere(mask) + start
    points = _world(voxels, affine)
    on_border = np.any((voxels == 0) | (voxels == np.array(labels.shape) - 1), axis=1)
    # The margin lies between the mask and the box's faces, but where these are the volume's.
    inner = ndimage.binary_erosion(mask, border_value=1)
    surface = _world(np.argwhere(mask & ~inner) + start, affine)
    cut_labels = [c.label for c in group if c.label in set(cut)]
    ends = _flat_ends(np.isin(labels, cut_labels)) if cut_labels else np.empty((0, 3), np.int64)
    return Outline(
        name=name,
        objects=tuple(c.name for c in group),
        centre_mm=points.mean(axis=0),
        surface_mm=surface,
        cut_mm=np.concatenate([points[on_border], _world(ends, affine)]),
        extent_mm=_extent(surface),
        volume_cm3=len(voxels) * float(np.prod(_spacing(affine))) / 1000.0,
    )


def _spacing(affine: np.ndarray) -> np.ndarray:
    spacing: np.ndarray = np.linalg.norm(affine[:3, :3], axis=0)[::-1]
    return spacing


def _flat_ends(mask: np.ndarray) -> np.ndarray:
    """Voxels (N, 3) of the ends of a mask, not on the volume's border, that are flat as only a cut makes them."""
    found = [np.empty((0, 3), np.int64)]
    for axis in range(3):
        area = mask.sum(axis=tuple(a for a in range(3) if a != axis))
        inside = np.flatnonzero(area)
        for end, deeper in ((inside[0], inside[0] + 2), (inside[-1], inside[-1] - 2)):
            within = area[deeper] if inside[0] <= deeper <= inside[-1] else 0
            if 0 < end < len(area) - 1 and area[end] > _FLAT_SHARE * within:
                plane = np.argwhere(np.take(mask, end, axis))
                found.append(np.insert(plane, axis, end, axis=1))
    return np.concatenate(found)


def _world(zyx: np.ndarray, affine: np.ndarray) -> np.ndarray:
    return zyx[:, ::-1] @ affine[:3, :3].T + affine[:3, 3]


def _crop(boxes: Sequence[tuple[slice, ...]], shape: tuple[int, ...], spacing: np.ndarray) -> tuple[slice, ...]:
    margin = np.ceil(_CROP_MM / spacing).astype(int)
    spans = [(min(s.start for s in along), max(s.stop for s in along)) for along in zip(*boxes, strict=True)]
    return tuple(slice(max(a - m, 0), min(b + m, n)) for (a, b), m, n in zip(spans, margin, shape, strict=True))


def _extent(surface_mm: np.ndarray) -> float:
    centred = surface_mm - surface_mm.mean(axis=0)
    axis = np.linalg.eigh(centred.T @ centred)[1][:, -1]
    return float(np.ptp(centred @ axis))


def _excess(ct: np.ndarray, mask: np.ndarray, others: np.ndarray, spacing: np.ndarray) -> np.ndarray:
    """Attenuation relative to water that would be missing were the bone soft tissue.

    The rim outside the mask keeps what it has above the soft tissue around it: the bone's share of the voxels
    on the edge, without which the bone would look too small and be placed too near to the source.
    """
    hu = ct.astype(np.float32)
    grown = ndimage.distance_transform_edt(~mask, sampling=spacing) <= max(_RIM_MM, 1.5 * float(spacing.min()))
    soft = (~grown & ~others & (hu > -200) & (hu < 150)).astype(np.float32)
    sigma = _SMOOTHING_MM / spacing
    weight = ndimage.gaussian_filter(soft, sigma, truncate=3) + 1e-4
    around = (ndimage.gaussian_filter(soft * hu, sigma, truncate=3) + 1e-4 * SOFT_TISSUE_HU) / weight
    rim = grown & ~mask & ~others
    excess = np.where(rim, np.maximum(hu - around, 0.0), 0.0)
    return np.where(mask, hu - SOFT_TISSUE_HU, excess) / 1000.0
