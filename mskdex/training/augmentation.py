"""Random changes of training samples: what is drawn, and the fixed transform that it stands for."""

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from mskdex.anatomy import Side
from mskdex.config.learning import AugmentationSettings
from mskdex.config.objects import Channel
from mskdex.imaging.relative import BONE_NEPERS, SOFT_NEPERS


@dataclass(frozen=True)
class Change:
    """One sample's change; the default is none.

    Attributes:
        flip: mirror left and right.
        angle_deg: rotation, positive turns image content clockwise.
        shear_deg: shear along rows.
        shift: (x, y) movement of the content as fractions of width and height.
        zoom: enlargement.
        contrast: factor on the radiograph.
        brightness: offset on the normalised radiograph.
        tone: bend of the tone curve of a radiograph of relative scale, see `bend_tone`.
    """

    flip: bool = False
    angle_deg: float = 0.0
    shear_deg: float = 0.0
    shift: tuple[float, float] = (0.0, 0.0)
    zoom: float = 1.0
    contrast: float = 1.0
    brightness: float = 0.0
    tone: float = 0.0

    @property
    def moves(self) -> bool:
        """Whether pixels move other than by the flip."""
        return (self.angle_deg, self.shear_deg, *self.shift, self.zoom) != (0.0, 0.0, 0.0, 0.0, 1.0)


def draw_change(settings: AugmentationSettings, rng: np.random.Generator) -> Change:
    """Draws a change, uniformly in each range."""
    u = rng.uniform(-1.0, 1.0, size=7)
    return Change(
        flip=bool(rng.uniform() < settings.flip_probability),
        angle_deg=settings.rotation_deg * u[0],
        shear_deg=settings.shear_deg * u[1],
        shift=(settings.shift_fraction * u[2], settings.shift_fraction * u[3]),
        zoom=1.0 + settings.zoom_fraction * u[4],
        contrast=1.0 + settings.contrast_fraction * u[5],
        brightness=settings.brightness_fraction * u[6],
        tone=settings.tone_fraction * float(rng.uniform(-1.0, 1.0)),
    )


def bend_tone(nepers: np.ndarray, tone: float) -> np.ndarray:
    """A radiograph of relative scale as another device's processing might have shown it, float32 of the same shape.

    The scale of such an image is fixed at soft tissue and at bone alone (`imaging.relative`), what lies between and
    beyond follows an unknown curve. The values s of soft tissue and b of bone stay, the slope is 1 - tone at s and
    1 + tone at b: x + tone · (x - s)(x - b) / (b - s), from one neper beside s and b on straight on.

    Args:
        nepers: standardised log attenuation.
        tone: within ±0.4, so that the curve rises everywhere.
    """
    low, high = SOFT_NEPERS - 1.0, BONE_NEPERS + 1.0
    inside = np.clip(nepers, low, high)
    width = BONE_NEPERS - SOFT_NEPERS
    bent = inside + tone * (inside - SOFT_NEPERS) * (inside - BONE_NEPERS) / width
    slope = 1.0 + tone * (2.0 * inside - SOFT_NEPERS - BONE_NEPERS) / width
    return np.asarray(bent + slope * (nepers - inside), dtype=np.float32)


def sampling_matrix(change: Change, rows: int, columns: int) -> np.ndarray:
    """2×3 matrix from output to input coordinates, both -1…1 across the image as in `affine_grid`."""
    angle, shear = math.radians(change.angle_deg), math.radians(change.shear_deg)
    rotation = np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    forward = change.zoom * rotation @ np.array([[1.0, math.tan(shear)], [0.0, 1.0]])
    # In pixels, not in fractions of the sides, so that a rotation stays one on an oblong image.
    to_pixels = np.diag([columns / 2.0, rows / 2.0])
    forward = np.linalg.inv(to_pixels) @ forward @ to_pixels
    inverse = np.linalg.inv(forward)
    return np.hstack([inverse, -inverse @ (2.0 * np.array(change.shift))[:, None]])


def warp(
    images: Float[Tensor, "c h w"],
    change: Change,
    outside: Literal["zeros", "border"] = "zeros",
    matrix: Float[Tensor, "2 3"] | None = None,
) -> Float[Tensor, "c h w"]:
    """Moves the pixels of a stack; what comes in from outside is 0, or as the border is. The flip comes first.

    Values are not scaled with the area: a zoomed image is that of a patient so much broader and taller at
    the same thickness, and the sums change with it. `kept` tells by how much.

    Args:
        images: the stack.
        change: how it moves.
        outside: what comes in.
        matrix: the change's `sampling_matrix` where it is on the images' device already.
    """
    if change.flip:
        images = images.flip(-1)
    if not change.moves:
        return images
    rows, columns = images.shape[-2:]
    if matrix is None:
        matrix = torch.as_tensor(sampling_matrix(change, rows, columns), dtype=images.dtype, device=images.device)
    grid = functional.affine_grid(matrix[None], [1, 1, rows, columns], align_corners=False)
    return functional.grid_sample(images[None], grid, mode="bilinear", padding_mode=outside, align_corners=False)[0]


def retained_fraction(before: Float[Tensor, "c h w"], after: Float[Tensor, "c h w"]) -> Float[Tensor, " c"]:
    """Factor by which each image's sum changed: mass that left the frame, and the zoom's area; 1 for an empty one."""
    old = before.sum(dim=(-2, -1))
    return torch.where(old > 0, after.sum(dim=(-2, -1)) / old.clamp_min(1e-12), torch.ones_like(old))


def side_swap(channels: tuple[Channel, ...]) -> list[int]:
    """For each object, the index of its mirror image: the same structure's other side, else itself."""
    places = {(c.object, c.side): i for i, c in enumerate(channels)}
    other: dict[Side, Side] = {"left": "right", "right": "left", "midline": "midline"}
    return [places.get((c.object, other[c.side]), i) for i, c in enumerate(channels)]
