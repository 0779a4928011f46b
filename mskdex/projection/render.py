"""One function that renders a labelled CT into object-wise images that conserve every object's total."""

import functools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mskdex.errors import MskdexError
from mskdex.imaging.quantities import HU_MAX, HU_MIN
from mskdex.projection.camera import Camera
from mskdex.projection.geometry import checked_affine, checked_pose, make_rays
from mskdex.projection.grid import BLOCK, classify_cells, count_outside, distance_of_blocks, occupied_blocks, survey
from mskdex.projection.jit import spread
from mskdex.projection.march import LANES, march


@dataclass(frozen=True)
class Rendering:
    """Object-wise images.

    Attributes:
        images: (Q, N, H, W) float32; in cm³ × density per pixel (cm³, g), or mm × density of a plain line integral.
        outside: (N,) fraction of each object's volume that projects outside the detector; NaN where the object
            has no voxels (its images are zero).
    """

    images: np.ndarray
    outside: np.ndarray


def render(
    ct: np.ndarray,
    labels: np.ndarray | None,
    world_from_voxel: np.ndarray,
    label_ids: Sequence[int],
    camera: Camera,
    camera_from_ct: np.ndarray,
    tables: np.ndarray,
    *,
    step_mm: float = 1.0,
    mass: bool = True,
    device: str = "auto",
) -> Rendering:
    """Renders every object and quantity in one pass.

    Each voxel's quantity is looked up by its HU and given to its label's object before the trilinear
    interpolation, so objects add up to the whole and, with `mass`, the sum over an object's pixels is the
    sum over its voxels times their volume.

    Args:
        ct: (z, y, x) int16 HU within HU_MIN … HU_MAX.
        labels: (z, y, x) uint8; None takes the whole CT as one object of label 0.
        world_from_voxel: 4×4, voxel (i, j, k, 1) to RAS mm.
        label_ids: label of each of the N objects, 0 … 254.
        camera: camera of the images.
        camera_from_ct: (4, 4), or (N, 4, 4) for a pose per object.
        tables: (Q, HU_MAX - HU_MIN + 1), density per HU, see `quantities.density_table`.
        step_mm: distance between samples in depth.
        mass: weight by (z/SDD)², so that sums are conserved; False is the plain line integral in mm.
        device: "auto", "cpu" or "cuda".

    Raises:
        MskdexError: arrays that do not match, HU out of range, a pose that is not rigid or not finite, a
            singular affine, a source inside or beyond an object's box.
    """
    if labels is None:
        labels = np.zeros(ct.shape, np.uint8)
    if device not in ("auto", "cpu"):
        msg = f"rendering on {device} is not available in this installation; use auto or cpu"
        raise MskdexError(msg)
    scene = Scene.of(ct, labels, world_from_voxel)
    poses = np.asarray(camera_from_ct, dtype=np.float64)
    poses = np.broadcast_to(poses, (len(label_ids), *poses.shape[-2:]))
    images = np.zeros((len(tables), len(label_ids), *camera.shape), np.float32)
    outside = np.full(len(label_ids), np.nan)
    groups: dict[bytes, list[int]] = {}
    for index, pose in enumerate(poses):
        groups.setdefault(pose.tobytes(), []).append(index)
    for members in groups.values():
        ids = [label_ids[i] for i in members]
        pose = checked_pose(poses[members[0]])
        images[:, members] = scene.march(ids, camera, pose, tables, step_mm, mass)
        outside[members] = scene.outside(ids, camera, pose)
    return Rendering(images, outside)


@dataclass(frozen=True)
class Scene:
    """A labelled CT that was checked once: boxes and voxel counts of its labels.

    Attributes:
        boxes: (256, 6) low z, y, x and high z, y, x of each label. counts: (256,) voxels of each label.
    """

    ct: np.ndarray
    labels: np.ndarray
    world_from_voxel: np.ndarray
    boxes: np.ndarray
    counts: np.ndarray

    @classmethod
    def of(cls, ct: np.ndarray, labels: np.ndarray, world_from_voxel: np.ndarray) -> "Scene":
        """Checks a labelled CT.

        Raises:
            MskdexError: see `render`.
        """
        affine = checked_affine(world_from_voxel)
        if ct.ndim != 3 or ct.shape != labels.shape:
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

    def box(self, ids: Sequence[int]) -> np.ndarray | None:
        """Box (2, 3) of the labels' voxels, low and high (exclusive) z, y, x; None where they have none."""
        present = [i for i in ids if self.counts[i]]
        if not present:
            return None
        return np.stack([self.boxes[present, :3].min(axis=0), self.boxes[present, 3:].max(axis=0)])

    def _corners(self, box: np.ndarray, pose: np.ndarray) -> np.ndarray:
        low, high = box[0] - 1.0, box[1].astype(np.float64)
        grid = np.stack(np.meshgrid(*zip(low, high, strict=True), indexing="ij"), axis=-1).reshape(-1, 3)[:, ::-1]
        matrix = pose @ self.world_from_voxel
        return grid @ matrix[:3, :3].T + matrix[:3, 3]

    def march(
        self, ids: Sequence[int], camera: Camera, pose: np.ndarray, tables: np.ndarray, step_mm: float, mass: bool
    ) -> np.ndarray:
        """Images (Q, N, H, W) of the labels at one pose."""
        images = np.zeros((len(tables), len(ids), *camera.shape), np.float32)
        box = self.box(ids)
        if box is None:
            return images
        nearest = self._corners(box, pose)[:, 2].min()
        if camera.beam == "cone" and nearest <= 0:
            msg = (
                f"the X-ray source lies inside the objects or beside them (nearest depth {nearest:.0f} mm); "
                "check camera_from_ct and the distance from source to patient"
            )
            raise MskdexError(msg)
        lookup = np.full(256, -2, np.int16)
        lookup[255] = -1
        lookup[list(ids)] = np.arange(len(ids))
        cells = np.empty([n + 3 for n in self.ct.shape], np.uint8)
        low, high = box[0], np.minimum(box[1] + 3, cells.shape)
        spread(lambda a, b: classify_cells(self.labels, cells, low, high, a, b), cells.shape[0])
        blocks = np.empty([-(-n // BLOCK) for n in cells.shape], np.uint8)
        spread(lambda a, b: occupied_blocks(cells, lookup, blocks, low, high, a, b), blocks.shape[0], 1)
        distance_of_blocks(blocks)
        rays = make_rays(camera, self.world_from_voxel, pose, step_mm, mass)
        limits = np.stack([box[0] + 1.0, box[1] + 2.0])[:, ::-1].copy()
        for start in range(0, len(tables), LANES):
            part = tables[start : start + LANES]
            table = np.zeros((tables.shape[1], LANES), np.float32)
            table[:, : len(part)] = part.T
            chosen = images[start : start + len(part)]

            def rows(a: int, b: int, table: np.ndarray = table, chosen: np.ndarray = chosen) -> None:
                sums = np.zeros((len(ids), LANES), np.float32)
                march(
                    self.ct, self.labels, cells, blocks, lookup, table, limits,
                    rays.coefficients, rays.slope, rays.weight, step_mm, 1, chosen, sums, a, b,
                )  # fmt: skip

            spread(rows, camera.shape[0])
        return images

    def outside(self, ids: Sequence[int], camera: Camera, pose: np.ndarray) -> np.ndarray:
        """Fraction (N,) of each label's voxels whose centre projects outside the detector; NaN without voxels."""
        fractions = np.full(len(ids), np.nan)
        matrix = (pose @ self.world_from_voxel)[:3]
        low, high = _detector_limits(camera)
        for index, label in enumerate(ids):
            if not self.counts[label]:
                continue
            fractions[index] = 0.0
            box = self.boxes[label]
            if not _inside(camera, self._corners(box.reshape(2, 3), pose)).all():
                constants = (self.labels, label, box, matrix, camera.beam == "cone", low, high)
                parts = spread(functools.partial(count_outside, *constants), len(self.labels))
                fractions[index] = sum(parts) / self.counts[label]
        return fractions


def _detector_limits(camera: Camera) -> tuple[np.ndarray, np.ndarray]:
    """Lowest and highest x and y on the detector: per mm of depth for a cone beam, in mm for a parallel one."""
    row, column = camera.principal_point_px
    rows, columns = camera.shape
    scale = camera.pixel_mm / (camera.sdd_mm if camera.beam == "cone" else 1.0)
    low = np.array([-0.5 - column, -0.5 - row]) * scale
    return low, np.array([columns - 0.5 - column, rows - 0.5 - row]) * scale


def _inside(camera: Camera, points_mm: np.ndarray) -> np.ndarray:
    low, high = _detector_limits(camera)
    depth = points_mm[:, 2:] if camera.beam == "cone" else 1.0
    return np.all((points_mm[:, :2] >= low * depth) & (points_mm[:, :2] <= high * depth), axis=-1)


def _survey(ct: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray, tuple[int, int]]:
    def slab(start: int, stop: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        boxes, counts, limits = np.zeros((256, 6), np.int64), np.zeros(256, np.int64), np.zeros(2, np.int64)
        survey(ct, labels, start, stop, boxes, counts, limits)
        boxes[counts == 0] = [2**31, 2**31, 2**31, 0, 0, 0]
        return boxes, counts, limits

    boxes, counts, limits = (np.stack(part) for part in zip(*spread(slab, ct.shape[0], 32), strict=True))
    merged = np.concatenate([boxes[..., :3].min(axis=0), boxes[..., 3:].max(axis=0)], axis=1)
    return merged, counts.sum(axis=0), (int(limits[:, 0].min()), int(limits[:, 1].max()))
