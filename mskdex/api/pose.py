"""Where a CT stands before a camera."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mskdex.drr.rays import checked_pose
from mskdex.errors import MskdexError
from mskdex.geometry import pose as rigid
from mskdex.geometry.camera import nominal_pose


@dataclass(frozen=True, eq=False)
class Pose:
    """A rigid pose of a CT in the camera's frame.

    Attributes:
        camera_from_ct: 4×4 float64, from RAS millimetres to the frame of `Camera` (source at the origin, +z along the
            principal axis).
    """

    camera_from_ct: np.ndarray

    def __post_init__(self) -> None:
        object.__setattr__(self, "camera_from_ct", checked_pose(self.camera_from_ct))

    @classmethod
    def nominal(cls, isocentre_mm: Sequence[float], source_to_isocentre_mm: float, view: str = "AP") -> "Pose":
        """An upright AP or PA view.

        Args:
            isocentre_mm: the RAS point on the principal axis.
            source_to_isocentre_mm: its distance from the source.
            view: "AP" (source in front) or "PA" (source behind).

        Raises:
            MskdexError: another view.
        """
        if view not in ("AP", "PA"):
            msg = f"view is {view!r}; allowed are AP and PA"
            raise MskdexError(msg)
        return cls(nominal_pose(np.asarray(isocentre_mm, dtype=np.float64), source_to_isocentre_mm, view))

    def moved(
        self,
        rotation_deg: Sequence[float] = (0.0, 0.0, 0.0),
        shift_mm: Sequence[float] = (0.0, 0.0, 0.0),
        about_mm: Sequence[float] | None = None,
    ) -> "Pose":
        """The pose after the CT was turned and then shifted.

        Args:
            rotation_deg: rotation vector along the camera's axes x, y, z, in degrees.
            shift_mm: along the same axes.
            about_mm: RAS point that the rotation leaves in place; None is the source.
        """
        twist = np.concatenate([np.radians(rotation_deg), np.asarray(shift_mm, dtype=np.float64)])
        centre = None if about_mm is None else np.asarray(about_mm, dtype=np.float64)
        return Pose(rigid.moved(self.camera_from_ct, twist, centre))
