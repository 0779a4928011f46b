"""A patient's own labelled CT as a body that can be deformed: what each voxel is, which bones move together."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from mskdex.compute.affine import moved
from mskdex.compute.kernels import kernel
from mskdex.config.objects import Channel
from mskdex.deformation.coarse_grid import Grid, trilinear
from mskdex.deformation.shape import FINE
from mskdex.deformation.template import Tissue
from mskdex.errors import MskdexError
from mskdex.quantities import HU_MIN, density_table

_UNLABELLED = (Tissue.AIR, Tissue.FAT, Tissue.ORGAN, Tissue.BONE)
_FAT_FROM_HU, _ORGAN_FROM_HU, _BONE_FROM_HU = -250, -30, 200
"""HU from which a voxel without a label counts as fat, as other soft tissue, as bone."""

GAP_HU = 0.0
"""What fills a voxel that a bone has left and nothing else has come to: between fat and muscle, as joint fluid."""

AIR_HU = -1000.0


@dataclass(frozen=True)
class LabelledCt:
    """A CT, its labels, and what moves with what.

    Attributes:
        hu: int16 (z, y, x). labels: uint8 (z, y, x), `Channel.label`, 0 elsewhere.
        world_from_voxel: 4×4, voxel (i, j, k, 1) to RAS mm; oblique and uneven voxels are allowed.
        channels: the objects; labels run from 1 to their number.
    """

    hu: np.ndarray
    labels: np.ndarray
    world_from_voxel: np.ndarray
    channels: tuple[Channel, ...]

    def __post_init__(self) -> None:
        if self.hu.dtype != np.int16 or self.labels.dtype != np.uint8 or self.hu.shape != self.labels.shape:
            msg = (
                f"CT {self.hu.dtype} {self.hu.shape} and labels {self.labels.dtype} {self.labels.shape} must be int16 "
                "and uint8 and of one shape; import the patient again"
            )
            raise MskdexError(msg)
        if min(self.hu.shape, default=0) < 2:
            msg = f"a CT of {self.hu.shape} voxels has no extent to deform; at least two along each axis are needed"
            raise MskdexError(msg)
        if (highest := int(self.labels.max())) > self.count or self.count > 250:
            msg = f"labels go up to {highest}, the objects are {self.count} (at most 250); import the patient again"
            raise MskdexError(msg)

    @property
    def count(self) -> int:
        """The highest label of the objects."""
        return max((c.label for c in self.channels), default=0)

    @cached_property
    def tissues(self) -> np.ndarray:
        """`Tissue` of each code: 0 … `count` are labels, then follow the unlabelled tissues."""
        found = np.full(self.count + 1, Tissue.AIR)
        for c in self.channels:
            found[c.label] = Tissue.MUSCLE if c.kind == "muscle" else Tissue.BONE
        return np.array([*found, *_UNLABELLED])

    @property
    def fat(self) -> int:
        """The code of fat without a label."""
        return self.count + 1 + _UNLABELLED.index(Tissue.FAT)

    @cached_property
    def bodies(self) -> tuple[str, ...]:
        """Rigid bodies of which the CT holds a bone, in the objects' order."""
        present = np.flatnonzero(self._voxels)
        return tuple(dict.fromkeys(c.body for c in self.channels if c.body and c.label in present))

    def of_body(self, body: str) -> np.ndarray:
        """Which codes belong to a rigid body, bool."""
        mine = np.zeros(len(self.tissues), bool)
        mine[[c.label for c in self.channels if c.body == body]] = True
        return mine

    @cached_property
    def amounts(self) -> np.ndarray:
        """Volume in cm³ and lean mass in g of each label, float64 (2, count + 1), over the CT's voxels."""
        return amounts(self.hu, self.labels, self.count, self.voxel_cm3)

    @property
    def voxel_cm3(self) -> float:
        """Volume of a voxel."""
        return float(abs(np.linalg.det(self.world_from_voxel[:3, :3]))) / 1000.0

    @cached_property
    def box_mm(self) -> tuple[np.ndarray, np.ndarray]:
        """Box (low, high) of the centres of its corner voxels, RAS mm."""
        ends = [(0, n - 1) for n in self.hu.shape[::-1]]
        corners = np.stack(np.meshgrid(*ends, indexing="ij"), axis=-1).reshape(-1, 3)
        points = corners @ self.world_from_voxel[:3, :3].T + self.world_from_voxel[:3, 3]
        return points.min(axis=0), points.max(axis=0)

    @cached_property
    def _voxels(self) -> np.ndarray:
        return np.bincount(self.labels.ravel(), minlength=self.count + 1)

    def filled(
        self,
        from_index: np.ndarray,
        shape: tuple[int, ...],
        soft: tuple[Grid, np.ndarray],
        poses: dict[str, np.ndarray],
    ) -> tuple[np.ndarray, ...]:
        """Labels, HU, codes and what lies beyond the CT, of each voxel of a posed grid.

        A voxel takes its label and HU from one voxel of the CT, so that the distribution of HU within a muscle stays as
        it was: smoothing would change lean mass, whose conversion from HU is not linear. Bone takes the nearest voxel,
        soft tissue one of the eight around its source, as often as linear interpolation weighs it: the nearest alone
        would let whole slices come and go where the grids lie alike.

        Args:
            from_index: 4×4, the grid's index (i, j, k, 1) to posed mm.
            shape: of the grid, (z, y, x).
            soft: grid in the posed frame and shift on it, float32 (z, y, x, 3): soft tissue at x comes from the CT's
                x + shift(x).
            poses: by body, 4×4, posed from CT; where two bodies meet, the first one has the voxel.

        Returns:
            labels uint8, hu int16, codes uint8, beyond uint8 (1 where the CT has ended and goes on as at its edge).
        """
        to_voxel = np.linalg.inv(self.world_from_voxel)
        of_codes = np.full(len(self.tissues), -1, np.int64)
        for number, body in enumerate(poses):
            of_codes[self.of_body(body)] = number
        inverse = np.array([to_voxel @ np.linalg.inv(pose) @ from_index for pose in poses.values()]).reshape(-1, 4, 4)
        boxes = np.array([self._boxes[body] for body in poses], dtype=np.float64).reshape(-1, 6)
        grid, shift = soft
        place = np.r_[grid.origin_mm, 1.0 / grid.cell_mm]
        labels, codes, beyond = np.zeros((3, *shape), np.uint8)
        hu = np.zeros(shape, np.int16)
        _fill(
            np.ascontiguousarray(from_index, dtype=np.float64),
            np.ascontiguousarray(shift, dtype=np.float32),
            place,
            to_voxel,
            inverse,
            boxes,
            of_codes,
            np.ascontiguousarray(self.hu),
            np.ascontiguousarray(self.labels),
            labels,
            hu,
            codes,
            beyond,
        )
        return labels, hu, codes, beyond

    def codes_on(self, grid: Grid, soft: tuple[Grid, np.ndarray], poses: dict[str, np.ndarray]) -> np.ndarray:
        """Codes on FINE times as fine a grid as `grid`, uint8; the other arguments as of `filled`."""
        from_index = grid.world_from_voxel @ np.diag([1 / FINE] * 3 + [1.0])
        from_index[:3, 3] -= grid.cell_mm * (FINE - 1) / (2 * FINE)
        return self.filled(from_index, tuple(n * FINE for n in grid.shape), soft, poses)[2]

    @cached_property
    def _boxes(self) -> dict[str, np.ndarray]:
        return {body: self._box_of(body) for body in self.bodies}

    def _box_of(self, body: str) -> np.ndarray:
        """Low and high index (x, y, z) of a body's bones, half a voxel wider."""
        mask = self.of_body(body)[self.labels]
        ends = [np.flatnonzero(mask.any(axis=tuple({0, 1, 2} - {2 - d})))[[0, -1]] for d in range(3)]
        return np.r_[[e[0] - 0.5 for e in ends], [e[1] + 0.5 for e in ends]]


def labelled_ct(
    hu: np.ndarray, labels: np.ndarray, world_from_voxel: np.ndarray, channels: Sequence[Channel]
) -> LabelledCt:
    """A `LabelledCt` of contiguous arrays; errors as there."""
    return LabelledCt(np.ascontiguousarray(hu), np.ascontiguousarray(labels), world_from_voxel, tuple(channels))


def amounts(hu: np.ndarray, labels: np.ndarray, count: int, voxel_cm3: float) -> np.ndarray:
    """Volume in cm³ and lean mass in g of each label 0 … `count`, float64 (2, count + 1), over voxels."""
    found = np.zeros((2, 256))
    (lean,) = density_table(("lean_mass",))
    _add_amounts(np.ascontiguousarray(hu), np.ascontiguousarray(labels), lean, found)
    return found[:, : count + 1] * voxel_cm3


@kernel
def _add_amounts(hu, labels, lean, out):
    for k in range(labels.shape[0]):
        for j in range(labels.shape[1]):
            for i in range(labels.shape[2]):
                out[0, labels[k, j, i]] += 1.0
                out[1, labels[k, j, i]] += lean[hu[k, j, i] - HU_MIN]


@kernel
def _between(i, j, k):
    """An evenly spread number between 0 and 1 for each voxel: multiples of the roots of x⁴ = x + 1 (Roberts 2018)."""
    value = 0.5 + 0.8191725134 * i + 0.6710436067 * j + 0.5497004779 * k
    return 1e-6 + (1.0 - 2e-6) * (value - np.floor(value))


@kernel
def _fill(
    from_index, shift, place, to_voxel, inverse, boxes, body_of, hu, labels, out_labels, out_hu, out_codes, beyond
):
    """See `LabelledCt.filled`; `inverse` (bodies, 4, 4) goes from the grid's index to that of the CT."""
    nz, ny, nx = labels.shape
    count = body_of.shape[0] - 4
    for k in range(out_labels.shape[0]):
        for j in range(out_labels.shape[1]):
            for i in range(out_labels.shape[2]):
                in_bone = False
                for b in range(inverse.shape[0]):
                    u, v, w = moved(inverse[b], float(i), float(j), float(k))
                    inside = boxes[b, 0] <= u < boxes[b, 3] and boxes[b, 1] <= v < boxes[b, 4]
                    # A shaft that the CT cuts goes on beyond its ends as in its last slice.
                    above = w >= boxes[b, 5] and boxes[b, 5] < nz - 0.75
                    below = w < boxes[b, 2] and boxes[b, 2] > -0.25
                    if in_bone or not inside or above or below:
                        continue
                    p, q = int(np.rint(u)), int(np.rint(v))
                    r = int(np.rint(w))
                    p, q = min(max(p, 0), nx - 1), min(max(q, 0), ny - 1)
                    s = min(max(r, 0), nz - 1)
                    if body_of[labels[s, q, p]] == b:
                        in_bone = True
                        out_labels[k, j, i] = out_codes[k, j, i] = labels[s, q, p]
                        out_hu[k, j, i] = hu[s, q, p]
                        beyond[k, j, i] = int(r != s)
                if in_bone:
                    continue
                x, y, z = moved(from_index, float(i), float(j), float(k))
                du, dv, dw = trilinear(
                    shift, (x - place[0]) * place[3], (y - place[1]) * place[3], (z - place[2]) * place[3]
                )
                u, v, w = moved(to_voxel, x + du, y + dv, z + dw)
                p, q = int(np.floor(u + _between(i, j, k))), int(np.floor(v + _between(j, k, i)))
                r = int(np.floor(w + _between(k, i, j)))
                a, b, c = min(max(p, 0), nx - 1), min(max(q, 0), ny - 1), min(max(r, 0), nz - 1)
                if body_of[labels[c, b, a]] >= 0:
                    p, q, r = int(np.rint(u)), int(np.rint(v)), int(np.rint(w))
                    a, b, c = min(max(p, 0), nx - 1), min(max(q, 0), ny - 1), min(max(r, 0), nz - 1)
                label, value = labels[c, b, a], hu[c, b, a]
                if body_of[label] >= 0:
                    label, value = 0, int(GAP_HU)
                code = int(label)
                if label == 0:
                    code = count + int(value >= _FAT_FROM_HU) + int(value >= _ORGAN_FROM_HU)
                    code += int(value >= _BONE_FROM_HU)
                out_labels[k, j, i], out_hu[k, j, i], out_codes[k, j, i] = label, value, code
                beyond[k, j, i] = int((p != a or q != b or r != c) and code != count)
