"""The X-ray camera: a point source at the origin that looks along +z at a flat detector."""

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from jaxtyping import Float64, Real

from mskdex.errors import MskdexError


@dataclass(frozen=True)
class Camera:
    """A cone-beam camera.

    Frame: source at the origin, +z along the principal axis, detector plane at z = `sdd_mm`, +x along
    a row (towards the patient's left in an AP view), +y down the rows (caudal). Pixel (row, col) has its
    centre at ((col - principal_col)·pixel_mm, (row - principal_row)·pixel_mm, sdd_mm).

    Attributes:
        sdd_mm: distance from source to detector.
        pixel_mm: pixel size on the detector, square.
        shape: (rows, columns).
        principal_point_px: (row, column) where the principal axis meets the detector, pixel centres at integers.
        beam: "cone", or "parallel": all rays along +z, no magnification.
    """

    sdd_mm: float
    pixel_mm: float
    shape: tuple[int, int]
    principal_point_px: tuple[float, float]
    beam: Literal["cone", "parallel"] = "cone"

    def __post_init__(self) -> None:
        lengths = np.array([self.sdd_mm, self.pixel_mm, *self.principal_point_px], dtype=np.float64)
        if not (np.isfinite(lengths).all() and self.sdd_mm > 0 and self.pixel_mm > 0 and min(self.shape) > 0):
            msg = (
                f"camera: sdd_mm {self.sdd_mm}, pixel_mm {self.pixel_mm}, shape {self.shape} and principal point "
                f"{self.principal_point_px} must be finite and the first three positive; correct the camera"
            )
            raise MskdexError(msg)
        if self.beam not in ("cone", "parallel"):
            msg = f"camera: beam is {self.beam!r}; allowed are cone and parallel"
            raise MskdexError(msg)

    def pixel_centres_mm(self) -> tuple[Float64[np.ndarray, "rows 1"], Float64[np.ndarray, "1 columns"]]:
        """Position of the pixels on the detector: y (rows, 1) and x (1, columns), mm from the principal point."""
        row, column = self.principal_point_px
        y = (np.arange(self.shape[0], dtype=np.float64)[:, None] - row) * self.pixel_mm
        x = (np.arange(self.shape[1], dtype=np.float64)[None, :] - column) * self.pixel_mm
        return y, x

    def project(self, points_mm: Real[np.ndarray, "*n 3"]) -> Float64[np.ndarray, "*n 2"]:
        """Projects camera-frame points in mm to pixels as (row, column)."""
        points_mm = np.asarray(points_mm, dtype=np.float64)
        depth = points_mm[..., 2] if self.beam == "cone" else np.full(points_mm.shape[:-1], self.sdd_mm)
        scale = self.sdd_mm / (depth * self.pixel_mm)
        row = points_mm[..., 1] * scale + self.principal_point_px[0]
        column = points_mm[..., 0] * scale + self.principal_point_px[1]
        return np.stack([row, column], axis=-1)

    def resized(self, shape: tuple[int, int], pixel_mm: float) -> "Camera":
        """The same source and detector centre with another pixel grid: `shape` pixels of `pixel_mm`."""
        centre = [(p - (n - 1) / 2) * self.pixel_mm for p, n in zip(self.principal_point_px, self.shape, strict=True)]
        point = tuple(c / pixel_mm + (n - 1) / 2 for c, n in zip(centre, shape, strict=True))
        return Camera(self.sdd_mm, pixel_mm, shape, (point[0], point[1]), self.beam)

    def as_dict(self) -> dict[str, Any]:
        """JSON-able description; `from_dict` reads it."""
        return {
            "sdd_mm": self.sdd_mm,
            "pixel_mm": self.pixel_mm,
            "shape": list(self.shape),
            "principal_point_px": list(self.principal_point_px),
            "beam": self.beam,
        }

    @classmethod
    def from_dict(cls, content: dict[str, Any]) -> "Camera":
        """Reads `as_dict`; further keys are passed over.

        Raises:
            MskdexError: a key is missing or its value is not a camera's.
        """
        try:
            rows, columns = content["shape"]
            row, column = content["principal_point_px"]
            sdd_mm, pixel_mm = float(content["sdd_mm"]), float(content["pixel_mm"])
        except (KeyError, TypeError, ValueError) as error:
            msg = f"not a camera ({type(error).__name__}: {error}): {content}; import the radiograph again"
            raise MskdexError(msg) from error
        return cls(sdd_mm, pixel_mm, (rows, columns), (row, column), content.get("beam", "cone"))


AP_ROTATION = np.array([[-1.0, 0.0, 0.0], [0.0, 0.0, -1.0], [0.0, -1.0, 0.0]])
"""Rotation from RAS to the camera of an AP view: source in front, +x left, +y caudal, +z dorsal."""


def nominal_pose(
    isocentre_mm: Real[np.ndarray, "3"], source_to_isocentre_mm: float, view: str = "AP"
) -> Float64[np.ndarray, "4 4"]:
    """camera_from_ct (4×4, float64) of an upright AP or PA view centred on `isocentre_mm` (RAS).

    Args:
        isocentre_mm: the RAS point on the principal axis, (3,).
        source_to_isocentre_mm: its depth.
        view: "AP" (source in front, +x towards the left) or "PA" (source behind, +x towards the right).
    """
    rotation = AP_ROTATION.copy()
    if view == "PA":
        rotation = AP_ROTATION @ np.diag([-1.0, -1.0, 1.0])
    pose = np.eye(4)
    pose[:3, :3] = rotation
    pose[:3, 3] = [0.0, 0.0, source_to_isocentre_mm] - rotation @ np.asarray(isocentre_mm, dtype=np.float64)
    return pose
