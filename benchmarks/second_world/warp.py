"""Deformation by scattered data: control points of bones, muscles and skin, and radial basis functions between them.

Nothing is conserved by construction: a muscle's volume is counted, and brought to what was drawn in `body.py`.
"""

from dataclasses import dataclass

import numpy as np
from scipy import ndimage
from scipy.interpolate import RBFInterpolator
from template import Template

_CELL_MM = 10.0
_SMOOTHING = 1.0
_OFF_BONE_MM = 5.0
_A_MUSCLE = 50
_STEPS = 64
SIDES = ("left", "right")


@dataclass(frozen=True)
class Lattice:
    """Voxels of an output: (z, y, x) shape, centre of the first voxel (x, y, z), voxel sizes (x, y, z) in mm."""

    shape: tuple[int, int, int]
    origin_mm: np.ndarray
    spacing_mm: np.ndarray

    def points(self) -> np.ndarray:
        """Voxel centres, float32 (z, y, x, 3)."""
        axes = [self.origin_mm[d] + self.spacing_mm[d] * np.arange(self.shape[2 - d]) for d in range(3)]
        z, y, x = np.meshgrid(axes[2], axes[1], axes[0], indexing="ij")
        return np.stack([x, y, z], axis=-1).astype(np.float32)

    @classmethod
    def around(cls, low: np.ndarray, high: np.ndarray, spacing_mm: np.ndarray) -> "Lattice":
        """The lattice that covers a box."""
        count = np.ceil((high - low) / spacing_mm).astype(int) + 1
        return cls((int(count[2]), int(count[1]), int(count[0])), np.asarray(low, float), np.asarray(spacing_mm, float))


def backward_shift(
    targets: np.ndarray, sources: np.ndarray, lattice: Lattice, smoothing: float = _SMOOTHING
) -> np.ndarray:
    """Shift from every voxel to where its tissue comes from, float32 (z, y, x, 3).

    Args:
        targets: (n, 3), control points where they end up.
        sources: (n, 3), where they come from.
        lattice: voxels of the result.
        smoothing: of the interpolant; control points that contradict each other are averaged.
    """
    high = lattice.origin_mm + lattice.spacing_mm * np.array(lattice.shape[::-1])
    coarse = Lattice.around(lattice.origin_mm, high, np.full(3, _CELL_MM))
    field = RBFInterpolator(targets, sources - targets, kernel="linear", smoothing=smoothing)
    flat = coarse.points().reshape(-1, 3).astype(float)
    shift = np.concatenate([field(part) for part in np.array_split(flat, 20)]).reshape(*coarse.shape, 3)
    index = [(np.arange(lattice.shape[d]) * lattice.spacing_mm[2 - d]) / _CELL_MM for d in range(3)]
    out = np.empty((*lattice.shape, 3), np.float32)
    grid = np.meshgrid(*index, indexing="ij")
    for d in range(3):
        out[..., d] = ndimage.map_coordinates(shift[..., d], grid, order=1, mode="nearest")
    return out


def look_up(values: np.ndarray, template: Template, points: np.ndarray, order: int) -> np.ndarray:
    """Values of the template's array at points (z, y, x, 3) in mm; beyond the lowest and highest slice it goes on."""
    index = [(points[..., 2 - d] - template.origin_mm[2 - d]) / template.voxel_mm for d in range(3)]
    index[0] = np.clip(index[0], 0, values.shape[0] - 1)
    return ndimage.map_coordinates(values, index, order=order, mode="constant", cval=0)


def muscle_points(template: Template, draw: np.random.Generator) -> np.ndarray:
    """Points of the surface of every muscle that lie off the bone, whose own points hold it there; (n, 3) mm."""
    found = []
    for label in template.muscles:
        box = template.boxes[label]
        mask = template.labels[box] == label
        surface = mask & ~ndimage.binary_erosion(mask) & (template.bone_distance_mm[box] > _OFF_BONE_MM)
        index = np.argwhere(surface)
        if len(index):
            index = index[draw.choice(len(index), min(_A_MUSCLE, len(index)), replace=False)]
            found.append(template.origin_mm + template.voxel_mm * (index + [s.start for s in box])[:, ::-1])
    return np.concatenate(found)


def layers_grown(template: Template, points: np.ndarray, factors: dict[int, float]) -> np.ndarray:
    """How far points move when every muscle between them and the nearest bone is so many times as thick.

    Muscles lie on bone in layers: what is outside a muscle that thins comes nearer to the bone by as much, so that
    neighbours never pull at the boundary that they share.

    Args:
        template: the labels.
        points: (n, 3) mm.
        factors: of thickness, by label; all other tissue keeps its own.

    Returns:
        (n, 3) mm, along the line from the nearest bone.
    """
    index = np.rint((points - template.origin_mm) / template.voxel_mm).astype(int)[:, ::-1]
    index = np.clip(index, 0, np.array(template.labels.shape) - 1)
    bone = template.origin_mm + template.voxel_mm * template.nearest_bone[:, *index.T].T[:, ::-1]
    line = points - bone
    steps = (np.arange(_STEPS) + 0.5) / _STEPS
    along = bone[:, None] + steps[:, None] * line[:, None]
    growth = np.zeros(256)
    for label, factor in factors.items():
        growth[label] = factor - 1.0
    mean = growth[look_up(template.labels, template, along, 0)].mean(axis=1)
    return mean[:, None] * line


def bone_points(template: Template, count: int, draw: np.random.Generator) -> dict[str, np.ndarray]:
    """Points of the surface of each rigid body: the pelvis with the sacrum, and each femur."""
    bodies = {"pelvis": ("pelvis_left", "pelvis_right", "sacrum"), "femur_left": ("femur_left",)}
    bodies["femur_right"] = ("femur_right",)
    found = {}
    for body, names in bodies.items():
        mask = np.isin(template.labels, [template.id_of(n) for n in names])
        found[body] = template.points_of(mask & ~ndimage.binary_erosion(mask), count, draw)
    return found


def skin_points(template: Template, count: int, draw: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Points of the skin and their outward direction in the axial plane."""
    body = template.labels > 0
    surface = body & ~ndimage.binary_erosion(body)
    surface[[0, -1]] = False
    points = template.points_of(surface, count, draw)
    index = [((points[:, 2 - d] - template.origin_mm[2 - d]) / template.voxel_mm) for d in range(3)]
    slopes = [ndimage.map_coordinates(slope, index, order=1) for slope in template.inward]
    outward = -np.stack([*slopes, np.zeros(len(points))], axis=1)
    return points, outward / np.maximum(np.linalg.norm(outward, axis=1, keepdims=True), 1e-6)
