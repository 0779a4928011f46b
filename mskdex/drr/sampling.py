"""How rays are sampled: one set of choices for every kernel."""

from dataclasses import dataclass
from typing import Literal

Method = Literal["march", "walk"]


@dataclass(frozen=True)
class Sampling:
    """How rays are sampled.

    Attributes:
        step_mm: distance between the march's samples in depth; samples stand at whole multiples of it, wherever
            the volume lies, so that an image is a smooth function of the pose.
        conserve_sums: whether samples carry the volume they stand for, so that sums are conserved.
        method: "march" (trilinear) or "walk" (exact lengths through voxels, Siddon).
        oversampling: rays per pixel edge.
    """

    step_mm: float = 1.0
    conserve_sums: bool = True
    method: Method = "march"
    oversampling: int = 1
