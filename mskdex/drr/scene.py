"""A labelled CT made ready for rendering: checked, and where each label lies in it."""

import functools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float64, Int16, Int64, Real, UInt8

from mskdex.compute.parallel import in_chunks
from mskdex.drr.rays import checked_affine, checked_depth
from mskdex.drr.skipping import count_outside, survey
from mskdex.errors import MskdexError
from mskdex.geometry.camera import Camera
from mskdex.quantities import HU_MAX, HU_MIN


@dataclass(frozen=True, eq=False)
class Scene:
    """A labelled CT that was checked once; its arrays must not change after that.

    Attributes:
        ct: (z, y, x) int16 HU. labels: (z, y, x) uint8. Both C-contiguous.
        world_from_voxel: 4×4 float64.
        boxes: (256, 6) low z, y, x and high (exclusive) z, y, x of each label. counts: (256,) its voxels.
    """

    ct: Int16[np.ndarray, "z y x"]
    labels: UInt8[np.ndarray, "z y x"]
    world_from_voxel: Float64[np.ndarray, "4 4"]
    boxes: Int64[np.ndarray, "256 6"]
    counts: Int64[np.ndarray, "256"]

    @classmethod
    def of(cls, ct: np.ndarray, labels: np.ndarray | None, world_from_voxel: np.ndarray) -> "Scene":
        """Checks a labelled CT; without labels the whole CT is label 0.

        Raises:
            MskdexError: arrays of different shape or another type, HU out of range, a singular affine.
        """
        affine = checked_affine(world_from_voxel)
        labels = np.zeros(ct.shape, np.uint8) if labels is None else labels
        if ct.ndim != 3 or ct.shape != labels.shape or ct.size == 0:
            msg = f"CT {ct.shape} and labels {labels.shape} must be 3-D and of one shape; import the patient again"
            raise MskdexError(msg)
        if ct.dtype != np.int16 or labels.dtype != np.uint8:
            msg = f"CT must be int16 and labels uint8, got {ct.dtype} and {labels.dtype}; import the patient again"
            raise MskdexError(msg)
        ct, labels = np.ascontiguousarray(ct), np.ascontiguousarray(labels)
        boxes, counts, (lowest, highest) = _survey(ct, labels)
        if lowest < HU_MIN or highest > HU_MAX:
            msg = f"CT holds {lowest} … {highest} HU, outside {HU_MIN} … {HU_MAX}; clip it to that range at import"
            raise MskdexError(msg)
        return cls(ct, labels, affine, boxes, counts)

    def box(self, ids: Sequence[int]) -> Int64[np.ndarray, "2 3"] | None:
        """Box (2, 3) of the labels' voxels, low and high (exclusive) z, y, x; None where they have none."""
        present = [i for i in ids if self.counts[i]]
        if not present:
            return None
        return np.stack([self.boxes[present, :3].min(axis=0), self.boxes[present, 3:].max(axis=0)])

    def corners_mm(self, box: Real[np.ndarray, "2 3"], pose: Real[np.ndarray, "4 4"]) -> Float64[np.ndarray, "8 3"]:
        """Camera-frame corners (8, 3) of a box (2, 3) with the voxel around it that interpolation reaches."""
        ends = np.stack([box[0] - 1.0, box[1]]).T
        voxels = np.stack(np.meshgrid(*ends, indexing="ij"), axis=-1).reshape(-1, 3)[:, ::-1]
        matrix = pose @ self.world_from_voxel
        corners: np.ndarray = voxels @ matrix[:3, :3].T + matrix[:3, 3]
        return corners

    def depths_mm(
        self, box: Real[np.ndarray, "2 3"], camera: Camera, pose: Real[np.ndarray, "4 4"]
    ) -> tuple[float, float]:
        """Nearest and farthest depth of a box.

        Raises:
            MskdexError: the source of a cone beam lies inside the box or beyond it.
        """
        z = self.corners_mm(box, pose)[:, 2]
        checked_depth(camera, float(z.min()))
        return float(z.min()), float(z.max())

    def outside(self, ids: Sequence[int], camera: Camera, pose: Real[np.ndarray, "4 4"]) -> Float64[np.ndarray, "n"]:
        """Fraction (N,) of each label's voxels whose centre projects outside the detector; NaN without voxels."""
        fractions = np.full(len(ids), np.nan)
        matrix = (pose @ self.world_from_voxel)[:3]
        low, high = _detector_limits(camera)
        for index, label in enumerate(ids):
            if not self.counts[label]:
                continue
            fractions[index] = 0.0
            box = self.boxes[label]
            if not _inside(camera, self.corners_mm(box.reshape(2, 3), pose)).all():
                constants = (self.labels, label, box, matrix, camera.beam == "cone", low, high)
                parts = in_chunks(functools.partial(count_outside, *constants), len(self.labels))
                fractions[index] = sum(parts) / self.counts[label]
        return fractions


def _detector_limits(camera: Camera) -> tuple[Float64[np.ndarray, "2"], Float64[np.ndarray, "2"]]:
    """Lowest and highest x and y on the detector: per mm of depth for a cone beam, in mm for a parallel one."""
    row, column = camera.principal_point_px
    rows, columns = camera.shape
    scale = camera.pixel_mm / (camera.sdd_mm if camera.beam == "cone" else 1.0)
    low = np.array([-0.5 - column, -0.5 - row]) * scale
    return low, np.array([columns - 0.5 - column, rows - 0.5 - row]) * scale


def _inside(camera: Camera, points_mm: Float64[np.ndarray, "n 3"]) -> Bool[np.ndarray, "n"]:
    low, high = _detector_limits(camera)
    depth = points_mm[:, 2:] if camera.beam == "cone" else 1.0
    inside: np.ndarray = np.all((points_mm[:, :2] >= low * depth) & (points_mm[:, :2] <= high * depth), axis=-1)
    return inside


def _survey(
    ct: Int16[np.ndarray, "z y x"], labels: UInt8[np.ndarray, "z y x"]
) -> tuple[Int64[np.ndarray, "256 6"], Int64[np.ndarray, "256"], tuple[int, int]]:
    def slab(start: int, stop: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        boxes, counts, limits = np.zeros((256, 6), np.int64), np.zeros(256, np.int64), np.zeros(2, np.int64)
        survey(ct, labels, start, stop, boxes, counts, limits)
        boxes[counts == 0] = [2**31, 2**31, 2**31, 0, 0, 0]
        return boxes, counts, limits

    boxes, counts, limits = (np.stack(part) for part in zip(*in_chunks(slab, ct.shape[0], 32), strict=True))
    merged = np.concatenate([boxes[..., :3].min(axis=0), boxes[..., 3:].max(axis=0)], axis=1)
    return merged, counts.sum(axis=0), (int(limits[:, 0].min()), int(limits[:, 1].max()))
