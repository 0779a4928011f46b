"""A person's body on a voxel grid, in the reference posture or another."""

from dataclasses import dataclass

import numpy as np
from numba import njit

from mskdex.virtual.grid import Grid, trilinear
from mskdex.virtual.posture import Posture, body_of
from mskdex.virtual.shape import Shape
from mskdex.virtual.template import Tissue
from mskdex.virtual.tissue import Composition, tissues


@dataclass(frozen=True)
class Body:
    """Labels and HU on a grid.

    Attributes:
        grid: the voxels, in the frame that was asked for.
        labels: uint8 (z, y, x), ids of the template.
        hu: float32 (z, y, x), without noise.
        volumes_cm3: per label, partial voxels counted in part.
    """

    grid: Grid
    labels: np.ndarray
    hu: np.ndarray
    volumes_cm3: np.ndarray


def lying(shape: Shape, made_of: Composition, grid: Grid, person_from_grid: np.ndarray) -> Body:
    """The body in the reference posture.

    Args:
        shape: the person.
        made_of: the person's tissues.
        grid: voxels, in a frame of their own.
        person_from_grid: 4×4 from that frame to the person's.
    """
    points = _moved(grid.points(), person_from_grid)
    labels, hu, volumes = tissues(shape.to_template(points), shape.template, made_of)
    return Body(grid, labels, hu, volumes * grid.cell_mm**3 / 1000.0)


def posed(shape: Shape, made_of: Composition, posture: Posture, grid: Grid) -> Body:
    """The body in another posture, on a grid of the posed frame."""
    points = grid.points()
    rigid = np.zeros(grid.shape, np.uint8)
    template_points = shape.to_template(posture.to_reference(points))
    for body, pose in posture.poses.items():
        _place_bones(shape, body, np.linalg.inv(pose), points, template_points, rigid)
    labels, hu, volumes = tissues(template_points, shape.template, made_of, rigid)
    return Body(grid, labels, hu, volumes * grid.cell_mm**3 / 1000.0)


def _place_bones(
    shape: Shape, body: str, inverse: np.ndarray, points: np.ndarray, template_points: np.ndarray, rigid: np.ndarray
) -> None:
    """Where a body's bones lie by its pose, the template points become those of the pose, exactly."""
    template = shape.template
    mine = np.array([body_of(n) == body for n in template.names])
    claim(
        points.reshape(-1, 3), inverse, shape.shift, shape.grid.origin_mm, shape.grid.cell_mm, 1.0 / shape.scale,
        template.labels, template.depth_mm, template.origin_mm, template.voxel_mm, mine,
        template_points.reshape(-1, 3), rigid.ravel(),
    )  # fmt: skip


@njit(cache=True)
def claim(points, inverse, shift, shift_origin, cell, inverse_scale, labels, depths, origin, voxel, mine, out, rigid):
    """Overwrites `out` with the template points of the rigid pose wherever a corner there is the body's bone.

    Where two bodies meet, in the joint, the one whose bone is deeper keeps the point.
    """
    nz, ny, nx = labels.shape
    move = np.empty(3, np.float32)
    back, where = np.empty(3), np.empty(3)
    for n in range(len(points)):
        for d in range(3):
            back[d] = inverse[d, 0] * points[n, 0] + inverse[d, 1] * points[n, 1] + inverse[d, 2] * points[n, 2]
            back[d] += inverse[d, 3]
            where[d] = (back[d] - shift_origin[d]) / cell
        trilinear(shift, where[0], where[1], where[2], move)
        for d in range(3):
            back[d] = (back[d] + move[d]) * inverse_scale[d]
            where[d] = (back[d] - origin[d]) / voxel
        where[2] = min(max(where[2], 0.0), nz - 1.001)
        if where[0] < 0 or where[1] < 0 or where[0] >= nx - 1 or where[1] >= ny - 1:
            continue
        i, j, k = int(where[0]), int(where[1]), int(where[2])
        corners, deep = 0, 0.0
        for c in range(8):
            if mine[labels[k + (c >> 2), j + ((c >> 1) & 1), i + (c & 1)]]:
                corners += 1
                deep += depths[k + (c >> 2), j + ((c >> 1) & 1), i + (c & 1)]
        strength = min(250, 1 + corners + int(deep))
        if corners > 0 and strength > rigid[n]:
            rigid[n] = strength
            out[n, 0], out[n, 1], out[n, 2] = back[0], back[1], back[2]


def _moved(points: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    return (points @ matrix[:3, :3].T.astype(np.float32) + matrix[:3, 3].astype(np.float32)).astype(np.float32)


def bone_box(shape: Shape) -> tuple[np.ndarray, np.ndarray]:
    """Box (low, high) of the person's bones in the reference posture, in mm."""
    from mskdex.virtual.shape import fine_labels

    labels = fine_labels(shape.template, shape.shift, shape.grid, shape.scale)
    where = np.argwhere((shape.template.tissues == Tissue.BONE)[labels])
    step = shape.grid.cell_mm / 2.0
    origin = shape.grid.origin_mm - shape.grid.cell_mm / 4.0
    return where.min(0)[::-1] * step + origin, where.max(0)[::-1] * step + origin
