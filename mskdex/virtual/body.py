"""A person's body on a voxel grid, in the reference posture or another."""

from dataclasses import dataclass

import numpy as np

from mskdex.deformation.coarse_grid import Grid
from mskdex.deformation.posture import BODIES, Posture, body_of
from mskdex.deformation.shape import FINE, Shape
from mskdex.deformation.template import Tissue
from mskdex.quantities import density_table
from mskdex.virtual.tissue import Composition
from mskdex.virtual.voxels import BODILY, FIRST_BODY, fill

_BOX_MARGIN_MM = 12.0
_BEYOND_MM = 60.0


@dataclass(frozen=True)
class BodyModel:
    """Labels and HU on a grid.

    Attributes:
        grid: the voxels, in the frame that was asked for.
        labels: uint8 (z, y, x), ids of the template.
        hu: float32 (z, y, x), without noise.
        volumes_cm3: per label, partial voxels counted in part.
        masses_g: lean mass per label of bone and muscle, likewise.
    """

    grid: Grid
    labels: np.ndarray
    hu: np.ndarray
    volumes_cm3: np.ndarray
    masses_g: np.ndarray


def lying_body(shape: Shape, tissues: Composition, grid: Grid, person_from_grid: np.ndarray) -> BodyModel:
    """The body in the reference posture.

    Args:
        shape: the person.
        tissues: the person's tissues.
        grid: voxels, in a frame of their own.
        person_from_grid: 4×4 from that frame to the person's.
    """
    soft = (shape.shift, _place(shape.grid))
    return _filled(shape, tissues, grid, person_from_grid, _bodily(shape.labels), soft, [], with_hu=True)


def posed_body(tissues: Composition, posture: Posture, grid: Grid, *, with_hu: bool = True) -> BodyModel:
    """The body in another posture, on a grid of the posed frame; bones lie exactly where their poses put them.

    Args:
        tissues: the person's tissues.
        posture: the posture.
        grid: voxels, in the posed frame.
        with_hu: False counts volumes alone, in half the time: HU and masses are then nothing.
    """
    cells = _bodily(posture.labels)
    for number, (body, pose) in enumerate(posture.poses.items()):
        _mark_bones(cells, FIRST_BODY << number, posture, body, pose)
    soft = (posture.to_template, _place(posture.grid))
    inverse = [np.linalg.inv(pose) for pose in posture.poses.values()]
    return _filled(posture.shape, tissues, grid, np.eye(4), _widened(cells), soft, inverse, with_hu=with_hu)


def _bodily(labels: np.ndarray) -> np.ndarray:
    """BODILY for cells, each of FINE³ labels, that hold anything but air, and for their neighbours; uint8."""
    z, y, x = (n // FINE for n in labels.shape)
    bodily = (labels > 0).reshape(z, FINE, y, FINE, x, FINE).any(axis=(1, 3, 5))
    return _widened(np.where(bodily, BODILY, 0).astype(np.uint8))


def _mark_bones(cells: np.ndarray, bit: int, posture: Posture, body: str, pose: np.ndarray) -> None:
    """Sets a bit of the cells that a body's posed bones touch."""
    shape, grid = posture.shape, posture.grid
    step, origin = _fine(shape.grid)
    mine = np.array([body_of(n) == body for n in shape.template.names])[shape.labels]
    # A shaft that goes on beyond the reference grid does so in every posture.
    beyond = round(_BEYOND_MM / step)
    k, j, i = np.nonzero(np.pad(mine, ((beyond, beyond), (0, 0), (0, 0)), mode="edge"))
    points = origin + step * np.stack([i, j, k - beyond], axis=-1)
    index = np.rint((points @ pose[:3, :3].T + pose[:3, 3] - grid.origin_mm) / grid.cell_mm).astype(int)
    inside = ((index >= -1) & (index <= np.array(grid.shape[::-1]))).all(axis=1)
    a, b, c = np.clip(index[inside], 0, np.array(grid.shape[::-1]) - 1).T
    cells[c, b, a] |= bit


def _widened(cells: np.ndarray) -> np.ndarray:
    """The bits of each cell and of its 26 neighbours."""
    for axis in range(3):
        middle = np.moveaxis(cells, axis, 0)
        wide = middle.copy()
        wide[1:] |= middle[:-1]
        wide[:-1] |= middle[1:]
        cells = np.moveaxis(wide, 0, axis)
    return np.ascontiguousarray(cells)


def _place(grid: Grid) -> np.ndarray:
    return np.r_[grid.origin_mm, 1.0 / grid.cell_mm]


def _fine(grid: Grid) -> tuple[float, np.ndarray]:
    """Spacing and first centre of FINE times as fine a grid."""
    return grid.cell_mm / FINE, grid.origin_mm - grid.cell_mm * (FINE - 1) / (2 * FINE)


def _filled(
    shape: Shape,
    tissues: Composition,
    grid: Grid,
    to_person: np.ndarray,
    cells: np.ndarray,
    soft: tuple[np.ndarray, np.ndarray],
    inverse_poses: list[np.ndarray],
    *,
    with_hu: bool,
) -> BodyModel:
    template = shape.template
    labels, hu = np.zeros(grid.shape, np.uint8), np.full(grid.shape, tissues.hu[0], np.float32)
    volumes, masses = np.zeros((2, len(template.names)))
    (lean_density,) = density_table(("lean_mass",))
    to_index = template.index_from(shape.scale)
    bodies = [body_of(n) for n in template.names]
    properties = np.column_stack([tissues.hu, tissues.threshold, tissues.cortex_mm, tissues.axis]).astype(float)
    soft_bone = template.names.index("cartilage") if "cartilage" in template.names else template.names.index("fat")
    fill(
        to_person @ grid.world_from_voxel,
        cells,
        soft[1],
        *soft,
        shape.shift,
        _place(shape.grid),
        np.array(inverse_poses).reshape(-1, 4, 4),
        template.labels,
        template.depth_mm,
        np.vstack([to_index, np.full(3, template.voxel_mm)]),
        np.array([BODIES.index(b) if b else -1 for b in bodies]),
        tissues.tissue,
        properties,
        tissues.noise,
        float(tissues.cortex_hu),
        soft_bone,
        lean_density,
        int(with_hu),
        labels,
        hu,
        volumes,
        masses,
        np.zeros(8, np.int64),
        np.zeros(8),
        np.zeros((soft[0].shape[2], 3), np.float32),
    )
    voxel_cm3 = grid.cell_mm**3 / 1000.0
    return BodyModel(grid, labels, hu, volumes * voxel_cm3, masses * voxel_cm3)


def label_box(shape: Shape, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Box (low, high) in mm of the labels of which `labels` is True, in the reference posture."""
    return box_of(labels[shape.labels], shape.grid)


def posed_box(posture: Posture) -> tuple[np.ndarray, np.ndarray]:
    """Box (low, high) in mm of the posed body, with a margin at its sides."""
    low, high = box_of(posture.labels > 0, posture.grid)
    return low - _BOX_MARGIN_MM, high + _BOX_MARGIN_MM


def box_of(where: np.ndarray, grid: Grid) -> tuple[np.ndarray, np.ndarray]:
    """Box (low, high) in mm of what is True on twice as fine a grid as `grid`."""
    step, origin = _fine(grid)
    ends = [np.flatnonzero(where.any(axis=tuple({0, 1, 2} - {2 - d})))[[0, -1]] for d in range(3)]
    return origin + step * np.array([e[0] for e in ends]), origin + step * np.array([e[1] for e in ends])


def bone_box(shape: Shape) -> tuple[np.ndarray, np.ndarray]:
    """Box (low, high) of the person's bones in the reference posture, in mm."""
    return label_box(shape, shape.template.tissues == Tissue.BONE)
