"""The same person in another posture: bones move rigidly, soft tissue follows and keeps its volume."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from mskdex.config.virtual import PostureSettings
from mskdex.deformation.coarse_grid import Grid, sample
from mskdex.deformation.following import distances_to, follow_bones, restore_volume
from mskdex.deformation.shape import Shape, cell_means, fine_labels

_PELVIS = ("pelvis", "sacrum", "coccyx", "lumbar_spine", "cup")
BODIES = ("pelvis", "femur_left", "femur_right")


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
    grid = Grid.around(_low(shape), _high(shape), shape.grid.cell_mm)
    points = grid.points()
    shares = {body: _share_of_body(shape, body) for body in poses}
    distances = distances_to(shares, shape.grid.cell_mm)
    shift = follow_bones(distances, shape.grid, poses, points) - points
    shift = restore_volume(shift, grid, lambda s: Posture(shape, poses, grid, s).labels, shape.template.tissues)
    return Posture(shape, poses, grid, shift)


def _low(shape: Shape) -> np.ndarray:
    return shape.grid.origin_mm - shape.grid.cell_mm / 2.0


def _high(shape: Shape) -> np.ndarray:
    return _low(shape) + shape.grid.cell_mm * np.array(shape.grid.shape[::-1])


def _share_of_body(shape: Shape, body: str) -> np.ndarray:
    mine = np.array([body_of(n) == body for n in shape.template.names])
    return cell_means(shape.labels, mine[None])[0]
