"""Soft tissue that follows rigid bones and regains its volume: what every deformed body shares."""

from collections.abc import Callable, Mapping

import numpy as np
from scipy.ndimage import distance_transform_edt

from mskdex.deformation.coarse_grid import Grid, sample
from mskdex.deformation.flow import LEAST_MOBILITY, MOBILITY, displacement
from mskdex.deformation.shape import cell_means
from mskdex.deformation.template import Tissue

_SOFTENING_MM = 5.0
_CORRECTIONS = 3
_IS_BONE = 0.1
"""Share of bone from which on a cell counts as bone when distances to it are measured."""


def distances_to(shares: Mapping[str, np.ndarray], cell_mm: float) -> dict[str, np.ndarray]:
    """Distance in mm of each cell to each rigid body, float32 (z, y, x), from the body's share of the cells."""
    return {
        body: distance_transform_edt(~(share > _IS_BONE), sampling=cell_mm).astype(np.float32)
        for body, share in shares.items()
    }


def follow_bones(
    distances: Mapping[str, np.ndarray], reference: Grid, poses: Mapping[str, np.ndarray], points: np.ndarray
) -> np.ndarray:
    """Reference points of posed points: the mean of the bodies' inverse poses, weighted by distance⁻³.

    Args:
        distances: to each body in the reference posture, float32 (z, y, x) on the grid `reference`.
        reference: that grid.
        poses: by body, 4×4, posed from reference.
        points: posed, float32 (…, 3), mm.
    """
    total, weights = np.zeros_like(points), np.zeros((*points.shape[:-1], 1), np.float32)
    for body, pose in poses.items():
        inverse = np.linalg.inv(pose)
        back = (points @ inverse[:3, :3].T + inverse[:3, 3]).astype(np.float32)
        weight = 1.0 / (sample(distances[body][..., None], reference, back) + _SOFTENING_MM) ** 3
        total += weight * back
        weights += weight
    return total / weights


def restore_volume(
    shift: np.ndarray, grid: Grid, labels_of: Callable[[np.ndarray], np.ndarray], tissues: np.ndarray
) -> np.ndarray:
    """Undoes, cell by cell, what a map of soft tissue squeezes and stretches.

    Args:
        shift: float32 (z, y, x, 3) in mm, to the reference from the posed point.
        grid: its grid, in the posed frame.
        labels_of: from a shift to the posed labels, uint8, FINE³ a cell.
        tissues: `Tissue` of each label.

    Returns:
        the corrected shift.
    """
    pressure = np.zeros(grid.shape)
    for _ in range(_CORRECTIONS):
        labels = labels_of(shift)
        mobility, bone = soft_mobility(labels, tissues)
        (soft,) = cell_means(labels, (tissues != Tissue.AIR)[None])
        rate = np.log(np.clip(volume_ratio(shift, grid.cell_mm), 0.5, 2.0)) * soft * (bone < 0.5)
        shift = displaced(shift, grid, displacement(rate, mobility, grid.cell_mm, pressure))
    return shift


def displaced(shift: np.ndarray, grid: Grid, move: np.ndarray) -> np.ndarray:
    """The shift after the posed tissue has moved by `move`, both float32 (z, y, x, 3) on `grid`."""
    return sample(shift, grid, grid.points() - move) - move


def soft_mobility(labels: np.ndarray, tissues: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mobility and share of bone of each cell of FINE³ labels."""
    mobility, bone = cell_means(labels, np.array([[MOBILITY[t] for t in tissues], tissues == Tissue.BONE]))
    return np.maximum(mobility * (bone < 0.5), LEAST_MOBILITY), bone


def volume_ratio(shift: np.ndarray, cell_mm: float) -> np.ndarray:
    """Volume in the reference over volume in the posture, per cell: the determinant of the map back."""
    rows = [np.gradient(shift[..., d], cell_mm) for d in range(3)]
    (xz, xy, xx), (yz, yy, yx), (zz, zy, zx) = rows
    xx, yy, zz = xx + 1.0, yy + 1.0, zz + 1.0
    return xx * (yy * zz - yz * zy) - xy * (yx * zz - yz * zx) + xz * (yx * zy - yy * zx)
