"""What an import wrote, and whether two grids are the same."""

from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Numbers:
    """What an import wrote.

    Attributes:
        ct: HU (z, y, x).
        affine: 4×4 RAS.
        labels: ids (z, y, x).
        image: attenuation.
        field: exposed pixels.
        camera: camera.json.
        warnings: of import.json.
    """

    ct: np.ndarray
    affine: np.ndarray
    labels: np.ndarray
    image: np.ndarray
    field: np.ndarray
    camera: dict[str, Any]
    warnings: tuple[str, ...]


def grid_differs(
    ct: np.ndarray, affine: np.ndarray, other_ct: np.ndarray, other_affine: np.ndarray, place: float
) -> str:
    """What differs between two grids, in words; `place` is how many of the smallest voxel's sides a corner may move."""
    if ct.shape != other_ct.shape:
        return f"shape {ct.shape} instead of {other_ct.shape}"
    ends = np.array(ct.shape[::-1]) - 1
    corners = np.array([[i, j, k, 1] for i in (0, ends[0]) for j in (0, ends[1]) for k in (0, ends[2])])
    size = float(np.linalg.norm(other_affine[:3, :3], axis=0).min())
    off = float(np.linalg.norm(corners @ (affine - other_affine).T, axis=1).max())
    return f"place by up to {off:.3g} mm" if not off <= place * size else ""
