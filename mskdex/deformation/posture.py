"""The same person in another posture: bones move rigidly, soft tissue follows and keeps its volume."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy.ndimage import distance_transform_edt

from mskdex.config.virtual import PostureSettings
from mskdex.deformation.coarse_grid import Grid, sample
from mskdex.deformation.flow import LEAST_MOBILITY, MOBILITY, displacement
from mskdex.deformation.shape import Shape, cell_means, fine_labels
from mskdex.deformation.template import Tissue

_PELVIS = ("pelvis", "sacrum", "coccyx", "lumbar_spine", "cup")
BODIES = ("pelvis", "femur_left", "femur_right")
_CELL_MM = 8.0
_SOFTENING_MM = 5.0
_CORRECTIONS = 3


@dataclass(frozen=True)
class Posture:
    """Where everything is in another posture.

    Attributes:
        shape: the person.
        poses: by body, 4×4: posed point from the person's reference point.
        grid: grid of `shift`, in the posed frame.
        shift: float32 (z, y, x, 3) in mm: the soft tissue at x comes from the reference point x + shift(x).
    """

    shape: Shape
    poses: dict[str, np.ndarray]
    grid: Grid
    shift: np.ndarray

    @cached_property
    def to_template(self) -> np.ndarray:
        """Shift from posed points of soft tissue straight to the scaled template, float32 (z, y, x, 3)."""
        reference = self.grid.points() + self.shift
        return (self.shift + sample(self.shape.shift, self.shape.grid, reference)).astype(np.float32)

    @cached_property
    def labels(self) -> np.ndarray:
        """Nearest labels of the posed soft tissue on twice as fine a grid as `grid`, uint8."""
        return fine_labels(self.shape.template, self.to_template, self.grid, self.shape.scale)


def body_of(name: str) -> str | None:
    """The rigid body of a label, of bone or of metal; None for soft tissue."""
    bare = name.removesuffix("_left").removesuffix("_right")
    if bare in ("femur", "stem"):
        return f"femur_{name.rpartition('_')[2]}"
    return "pelvis" if bare in _PELVIS or bare.startswith("vertebra") else None


def draw_poses(
    settings: PostureSettings, heads_mm: dict[str, np.ndarray], draw: np.random.Generator
) -> dict[str, np.ndarray]:
    """Random poses of the three bodies: the pelvis about the middle of the hips, each femur about its head.

    Args:
        settings: spreads of the angles.
        heads_mm: centres of the femoral heads by side, in the reference posture.
        draw: source of randomness.
    """
    limited = np.clip(draw.normal(size=9), -2.0, 2.0)
    tilt = limited[:3] * (settings.pelvic_tilt_sd_deg, settings.pelvic_turn_sd_deg, settings.pelvic_turn_sd_deg)
    pelvis = rotation_about((heads_mm["left"] + heads_mm["right"]) / 2.0, tilt)
    poses = {"pelvis": pelvis}
    spread = (settings.hip_flexion_sd_deg, settings.hip_abduction_sd_deg, settings.hip_rotation_sd_deg)
    for index, side in enumerate(("left", "right")):
        hip = rotation_about(heads_mm[side], limited[3 + 3 * index : 6 + 3 * index] * spread)
        moved = np.eye(4)
        moved[:3, 3] = (pelvis @ np.r_[heads_mm[side], 1.0])[:3] - heads_mm[side]
        poses[f"femur_{side}"] = moved @ hip
    return poses


def rotation_about(centre_mm: np.ndarray, angles_deg: np.ndarray) -> np.ndarray:
    """4×4 rotation about a point: about x, then y, then z (RAS)."""
    a, b, c = np.deg2rad(angles_deg)
    about_x = np.array([[1, 0, 0], [0, np.cos(a), -np.sin(a)], [0, np.sin(a), np.cos(a)]])
    about_y = np.array([[np.cos(b), 0, np.sin(b)], [0, 1, 0], [-np.sin(b), 0, np.cos(b)]])
    about_z = np.array([[np.cos(c), -np.sin(c), 0], [np.sin(c), np.cos(c), 0], [0, 0, 1]])
    pose = np.eye(4)
    pose[:3, :3] = about_z @ about_y @ about_x
    pose[:3, 3] = centre_mm - pose[:3, :3] @ centre_mm
    return pose


def take_posture(shape: Shape, poses: dict[str, np.ndarray]) -> Posture:
    """Moves the person's bones to `poses`; soft tissue follows the nearest bones, then regains its volume.

    The skin and muscle first move by the bones' inverse poses, weighted by the distance to each. That squeezes
    some parts and stretches others; the flow of `flow.displacement` undoes exactly that, cell by cell.
    """
    grid = Grid.around(_low(shape), _high(shape), _CELL_MM)
    points = grid.points()
    posture = Posture(shape, poses, grid, _follow_bones(shape, poses, points) - points)
    pressure = np.zeros(grid.shape)
    for _ in range(_CORRECTIONS):
        mobility, bone = soft_mobility(posture.labels, shape.template.tissues)
        soft = _cell_share(posture.labels, shape.template.tissues != Tissue.AIR)
        rate = np.log(np.clip(_volume_ratio(posture), 0.5, 2.0)) * soft * (bone < 0.5)
        move = displacement(rate, mobility, _CELL_MM, pressure)
        posture = Posture(shape, poses, grid, sample(posture.shift, grid, points - move) - move)
    return posture


def soft_mobility(labels: np.ndarray, tissues: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mobility and share of bone of each cell of FINE³ labels."""
    (mobility,) = cell_means(labels, np.array([[MOBILITY[t] for t in tissues]]))
    bone = _cell_share(labels, tissues == Tissue.BONE)
    return np.maximum(mobility * (bone < 0.5), LEAST_MOBILITY), bone


def _low(shape: Shape) -> np.ndarray:
    return shape.grid.origin_mm - shape.grid.cell_mm / 2.0


def _high(shape: Shape) -> np.ndarray:
    return _low(shape) + shape.grid.cell_mm * np.array(shape.grid.shape[::-1])


def _follow_bones(shape: Shape, poses: dict[str, np.ndarray], points: np.ndarray) -> np.ndarray:
    total, weights = np.zeros_like(points), np.zeros((*points.shape[:-1], 1), np.float32)
    for body, pose in poses.items():
        mine = np.array([body_of(n) == body for n in shape.template.names])
        bone = _cell_share(shape.labels, mine) > 0.1
        distance = distance_transform_edt(~bone, sampling=shape.grid.cell_mm).astype(np.float32)
        inverse = np.linalg.inv(pose)
        back = (points @ inverse[:3, :3].T + inverse[:3, 3]).astype(np.float32)
        weight = 1.0 / (sample(distance[..., None], shape.grid, back) + _SOFTENING_MM) ** 3
        total += weight * back
        weights += weight
    return total / weights


def _volume_ratio(posture: Posture) -> np.ndarray:
    """Volume in the reference over volume in the posture, per cell: the determinant of the map back."""
    rows = [np.gradient(posture.shift[..., d], posture.grid.cell_mm) for d in range(3)]
    (xz, xy, xx), (yz, yy, yx), (zz, zy, zx) = rows
    xx, yy, zz = xx + 1.0, yy + 1.0, zz + 1.0
    return xx * (yy * zz - yz * zy) - xy * (yx * zz - yz * zx) + xz * (yx * zy - yy * zx)


def _cell_share(labels: np.ndarray, of: np.ndarray) -> np.ndarray:
    return cell_means(labels, of[None])[0]
