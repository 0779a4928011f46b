"""Phantoms of the renderer's tests."""

from dataclasses import dataclass

import numpy as np

from mskdex.geometry.camera import nominal_pose
from mskdex.geometry.pose import moved
from mskdex.quantities import HU_MIN, density_table

TABLES = density_table()


@dataclass(frozen=True)
class Phantom:
    """A labelled CT on an oblique, anisotropic grid; label 7 touches the volume's border."""

    ct: np.ndarray
    labels: np.ndarray
    world_from_voxel: np.ndarray
    ids: tuple[int, ...] = (5, 3, 7, 9)

    @property
    def centre_mm(self) -> np.ndarray:
        middle = (np.array(self.ct.shape[::-1]) - 1) / 2
        return self.world_from_voxel[:3, :3] @ middle + self.world_from_voxel[:3, 3]

    def totals(self) -> np.ndarray:
        """Sum over voxels × volume, (3 quantities, objects)."""
        volume = abs(np.linalg.det(self.world_from_voxel[:3, :3])) / 1000
        values = TABLES[:, self.ct.astype(int) - HU_MIN].astype(np.float64) * volume
        return np.stack([values[:, self.labels == i].sum(axis=1) for i in self.ids], axis=1)


def ball(shape: tuple[int, int, int], centre: tuple[float, float, float], radius: float) -> np.ndarray:
    return sum((g - c) ** 2 for g, c in zip(np.indices(shape), centre, strict=True)) < radius**2  # type: ignore[return-value]


def labelled_balls() -> Phantom:
    shape = (44, 36, 40)
    labels = np.zeros(shape, np.uint8)
    labels[ball(shape, (20, 18, 14), 9)] = 3
    labels[ball(shape, (22, 17, 25), 8)] = 5
    labels[ball(shape, (42, 20, 20), 7)] = 7
    ct = np.random.default_rng(5).integers(-120, 900, shape).astype(np.int16)
    affine = np.array([[2.0, 0.1, 0.0, -40.0], [-0.1, 1.5, 0.2, 12.0], [0.0, -0.15, 2.5, -60.0], [0, 0, 0, 1.0]])
    return Phantom(ct, labels, affine)


def random_poses(centre_mm: np.ndarray, count: int, seed: int, depth_mm: float = 820.0) -> list[np.ndarray]:
    """Poses up to 30° and 40 mm around an AP view."""
    rng = np.random.default_rng(seed)
    nominal = nominal_pose(centre_mm, depth_mm)
    turns, shifts = rng.uniform(-0.5, 0.5, (count, 3)), rng.uniform(-1, 1, (count, 3)) * [10, 10, 40]
    return [moved(nominal, np.concatenate(twist), centre_mm) for twist in zip(turns, shifts, strict=True)]
