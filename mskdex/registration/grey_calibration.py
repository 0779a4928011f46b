"""The CT calibrates the radiograph: its grey values against the attenuation that the CT puts behind each pixel."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from scipy import ndimage, optimize

from mskdex.drr.density import Density, render_density
from mskdex.geometry.camera import Camera
from mskdex.registration.bodies import Outline
from mskdex.registration.contrast import WATER_PER_MM
from mskdex.registration.fixed_image import FixedImage, near
from mskdex.registration.joint import joint_centre

PIXEL_MM = 4.0
"""Pixels on the detector that are compared: motion and skin blur finer ones."""

REFERENCE_NEPERS = 3.0
"""Attenuation of the CT at which fits are compared: about the middle of a hip."""

_BODY_HU = -300.0
AIR_NEPERS = 0.05
"""Attenuation of the CT below which a ray meets no body."""
_BONE_PER_HU, _SOFT_PER_HU = 1.3e-3, 1.0e-3
"""Attenuation relative to water per HU: calcium attenuates a radiograph's beam more than the CT's."""
_EDGE_NEPERS_PER_MM = 0.05
"""Edges of bone and skin steeper than this are left out: a shift of a few mm would count as grey value."""
_TYPICAL_NEPERS = 0.15
"""Deviation from the fit beyond which a pixel counts as an outlier, as where posture differs."""
_MOTION_MM = 12.0
"""Margin on the detector around bones that move against the pelvis."""
LEAST_PIXELS = 200
_KNOTS = 12
_MOST_BEND = 100.0
_MIDDLE = (0.2, 0.8)


@dataclass(frozen=True)
class GreyFit:
    """A radiograph's grey values beside the CT's attenuation.

    Attributes:
        slope: of the radiograph's grey values per neper of the CT, of a robust line.
        offset: of the line at no attenuation, in the radiograph's scale.
        at_reference: the line at `REFERENCE_NEPERS`.
        residual: median absolute deviation from the rising curve, in units of the line's slope: nepers of the CT.
        bend: slope of the rising curve in the upper half of attenuations over that in the lower half; below 1 where
            thick parts lose contrast, near 0 where the detector saturates.
        pixels: number of pixels compared.
        attenuation: knots of the curve, nepers of the CT, (`_KNOTS`,).
        grey: the rising curve at the knots, in the radiograph's scale.
    """

    slope: float
    offset: float
    at_reference: float
    residual: float
    bend: float
    pixels: int
    attenuation: tuple[float, ...]
    grey: tuple[float, ...]

    def as_dict(self) -> dict[str, Any]:
        """JSON-able form."""
        return {k: [round(x, 5) for x in v] if isinstance(v, tuple) else round(v, 5) for k, v in asdict(self).items()}


def patient_attenuation(hu: np.ndarray) -> np.ndarray:
    """Attenuation of a CT's largest body relative to water, (z, y, x) float32; table and air are 0.

    Args:
        hu: HU, (z, y, x).
    """
    attenuation = np.zeros(hu.shape, np.float32)
    pieces, count = ndimage.label(_dilated(_eroded(hu > _BODY_HU)))
    if count == 0:
        return attenuation
    body = _dilated(pieces == 1 + int(np.argmax(np.bincount(pieces.ravel())[1:])))
    inside = hu[body].astype(np.float32)
    relative = 1.0 + np.where(inside > 0, _BONE_PER_HU, _SOFT_PER_HU) * inside
    attenuation[body] = np.maximum(relative, 0.0)
    return attenuation


def _eroded(mask: np.ndarray) -> np.ndarray:
    """`ndimage.binary_erosion` of a volume, in less time: shifted volumes are compared whole."""
    result = mask.copy()
    for axis in range(mask.ndim):
        here, there = np.moveaxis(result, axis, 0), np.moveaxis(mask, axis, 0)
        here[1:] &= there[:-1]
        here[:-1] &= there[1:]
        here[[0, -1]] = False
    return result


def _dilated(mask: np.ndarray) -> np.ndarray:
    """`ndimage.binary_dilation` of a volume, likewise."""
    result = mask.copy()
    for axis in range(mask.ndim):
        here, there = np.moveaxis(result, axis, 0), np.moveaxis(mask, axis, 0)
        here[1:] |= there[:-1]
        here[:-1] |= there[1:]
    return result


def compared_pixels(ct_nepers: np.ndarray, view: FixedImage, covered: np.ndarray, moving: np.ndarray) -> np.ndarray:
    """Pixels where the CT at the pelvis' pose says what the radiograph must show, bool (H, W).

    They lie in the exposed field; the CT covers the whole ray through the body; the body is there; no edge of bone or
    skin is near; and nothing that moves against the pelvis projects there.

    Args:
        ct_nepers: attenuation of the CT, (H, W).
        view: the radiograph on the same grid.
        covered: of `covered_rays`, bool (H, W).
        moving: pixels of bones that move against the pelvis, and of all that lies beyond them, bool (H, W).
    """
    smooth = ndimage.gaussian_filter(ct_nepers, 1.0)
    steep = ndimage.gaussian_gradient_magnitude(smooth, 1.0) / view.camera.pixel_mm > _EDGE_NEPERS_PER_MM
    result: np.ndarray = view.field & covered & (ct_nepers > AIR_NEPERS) & ~steep & ~moving
    return result


def moving_pixels(
    bodies: Mapping[str, Outline], fixed: str, camera: Camera, pose: np.ndarray, *, thighs: bool = True
) -> np.ndarray:
    """Pixels of what moves against a body between CT and radiograph, bool (H, W).

    These are the other bodies, and all rows below the fixed body's lowest point; with `thighs`, also all rows below its
    joints with bodies beneath it: below the hips, the folds of the thighs and the perineum move with the femurs.

    Args:
        bodies: by name.
        fixed: the body that is registered at `pose`.
        camera: of the pixels.
        pose: camera_from_ct.
        thighs: whether rows below the joints count.
    """
    own = bodies[fixed]
    lowest = _rows(own.surface_mm, camera, pose).max()
    joints = [
        _rows(joint_centre(body.surface_mm, own.surface_mm)[None], camera, pose).max()
        for body in bodies.values()
        if thighs
        and body is not own
        and _rows(body.centre_mm[None], camera, pose) > _rows(own.centre_mm[None], camera, pose)
    ]
    moving = np.zeros(camera.shape, dtype=bool)
    moving[max(int(min([lowest, *joints])), 0) :] = True
    for body in bodies.values():
        if body is not own:
            pixel = np.round(camera.project(body.surface_mm @ pose[:3, :3].T + pose[:3, 3])).astype(int)
            inside = np.all((pixel >= 0) & (pixel < camera.shape), axis=1)
            shadow = np.zeros_like(moving)
            shadow[tuple(pixel[inside].T)] = True
            moving |= near(shadow, _MOTION_MM / camera.pixel_mm)
    return moving


def _rows(points_mm: np.ndarray, camera: Camera, pose: np.ndarray) -> np.ndarray:
    rows: np.ndarray = np.round(camera.project(points_mm @ pose[:3, :3].T + pose[:3, 3])[:, 0])
    return rows


def covered_rays(attenuation: np.ndarray, world_from_voxel: np.ndarray, camera: Camera, pose: np.ndarray) -> np.ndarray:
    """Pixels whose ray passes through the CT's body without leaving the CT through a side where it cuts the body.

    Args:
        attenuation: (z, y, x), 0 outside the body.
        world_from_voxel: 4×4.
        camera: of the pixels.
        pose: camera_from_ct.

    Returns:
        bool (H, W).
    """
    beyond = np.zeros_like(attenuation)
    for axis in range(3):
        for end in (0, -1):
            face: list[Any] = [slice(None)] * 3
            face[axis] = end
            cut = attenuation[tuple(face)] > 0
            if cut.any():
                beyond[tuple(face)] = np.where(ndimage.binary_fill_holes(cut), 1.0, beyond[tuple(face)])
    if not beyond.any():
        return np.ones(camera.shape, dtype=bool)
    crossed = render_density(Density.of(beyond, world_from_voxel), camera, pose, step_mm=_step(world_from_voxel))
    covered: np.ndarray = ~near(crossed > 0, 1.5)
    return covered


def ct_nepers(attenuation: np.ndarray, world_from_voxel: np.ndarray, camera: Camera, pose: np.ndarray) -> np.ndarray:
    """Attenuation of the CT along each pixel's ray in nepers, as of water at 60 keV, (H, W)."""
    density = Density.of(attenuation, world_from_voxel)
    image = render_density(density, camera, pose, step_mm=_step(world_from_voxel))
    return np.asarray(WATER_PER_MM * image)


def fit_greys(attenuation: np.ndarray, grey: np.ndarray) -> GreyFit | None:
    """Robust line and rising curve of grey values over the CT's attenuation; None of too few or too equal pixels.

    The line minimises a Cauchy loss, which outliers hardly move; the curve is the isotonic regression of the pixels'
    medians in bins of equal numbers.

    Args:
        attenuation: nepers of the CT, (N,).
        grey: the radiograph's log attenuation, (N,).
    """
    if len(grey) < LEAST_PIXELS or np.ptp(np.quantile(attenuation, _MIDDLE)) < _TYPICAL_NEPERS:
        return None
    start = np.polyfit(attenuation, grey, 1)
    scale = _TYPICAL_NEPERS * max(abs(float(start[0])), 0.1)
    line = optimize.least_squares(
        lambda p: p[0] * attenuation + p[1] - grey, start, loss="cauchy", f_scale=scale, x_scale=[1.0, 1.0]
    )
    slope, offset = (float(v) for v in line.x)
    bins = np.array_split(np.argsort(attenuation, kind="stable"), _KNOTS)
    knots = np.array([np.median(attenuation[b]) for b in bins])
    curve = optimize.isotonic_regression(np.array([np.median(grey[b]) for b in bins])).x
    off = np.median(np.abs(grey - np.interp(attenuation, knots, curve)))
    half = _KNOTS // 2
    lower, upper = (np.polyfit(knots[part], curve[part], 1)[0] for part in (slice(0, half), slice(half, None)))
    return GreyFit(
        slope=slope,
        offset=offset,
        at_reference=offset + slope * REFERENCE_NEPERS,
        residual=float(off) / max(abs(slope), 1e-6),
        bend=min(float(upper) / max(float(lower), 1e-6), _MOST_BEND),
        pixels=len(grey),
        attenuation=tuple(float(v) for v in knots),
        grey=tuple(float(v) for v in curve),
    )


def _step(world_from_voxel: np.ndarray) -> float:
    return float(np.linalg.norm(world_from_voxel[:3, :3], axis=0).min()) / 2
