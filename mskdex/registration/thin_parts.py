"""A radiograph's grey values from bare air to the thickest part, beside the attenuation that the CT puts there."""

from dataclasses import dataclass

import numpy as np
from scipy import ndimage, optimize

from mskdex.drr.density import Density, render_density
from mskdex.geometry.camera import Camera
from mskdex.registration.fixed_image import FixedImage
from mskdex.registration.grey_calibration import AIR_NEPERS, GreyFit

_SKIN_MM = 12.0
"""Margin on the detector around the body within which a pixel may not be bare air: motion, and the skin's own edge."""
_WITHIN_MM = 50.0
"""Path of a ray within the CT from which on the CT tells what is there."""
_COARSE_VOXELS = 32
_THIN_KNOTS = 5
_LEAST_PIXELS = 20
"""Pixels of 4 mm that make a knot."""


@dataclass(frozen=True)
class ThinParts:
    """Knots that continue the curve of a `GreyFit` from its lowest one down to air; none where too little is seen.

    Attributes:
        attenuation: nepers of the CT, rising; the first is 0 where the radiograph shows bare air.
        grey: never falling, in the radiograph's scale.
    """

    attenuation: tuple[float, ...]
    grey: tuple[float, ...]


def air_pixels(ct_nepers: np.ndarray, view: FixedImage, moving: np.ndarray, within_ct_mm: np.ndarray) -> np.ndarray:
    """Pixels that show bare air, bool (H, W): their rays pass through the CT, and the body is not near.

    Where a ray misses the CT there may be more of the body, or an arm.

    Args:
        ct_nepers: attenuation of the CT, (H, W).
        view: the radiograph on the same grid.
        moving: of `grey_calibration.moving_pixels`.
        within_ct_mm: of `paths_within`, (H, W).
    """
    away = ndimage.distance_transform_edt(ct_nepers < AIR_NEPERS) * view.camera.pixel_mm > _SKIN_MM
    result: np.ndarray = view.field & ~moving & (within_ct_mm > _WITHIN_MM) & away
    return result


def paths_within(
    shape: tuple[int, ...], world_from_voxel: np.ndarray, camera: Camera, camera_from_ct: np.ndarray
) -> np.ndarray:
    """Length of each pixel's ray within a CT, mm, (H, W).

    Args:
        shape: (z, y, x) of the CT.
        world_from_voxel: 4×4 of the CT.
        camera: of the pixels.
        camera_from_ct: 4×4.
    """
    coarse = np.minimum(shape, _COARSE_VOXELS)
    times = (np.array(shape) / coarse)[::-1]
    larger = np.diag([*times, 1.0])
    larger[:3, 3] = (times - 1.0) / 2.0
    box = Density.of(np.ones(coarse, np.float32), world_from_voxel @ larger)
    step = float(np.linalg.norm(box.world_from_voxel[:3, :3], axis=0).min()) / 2
    return np.asarray(render_density(box, camera, camera_from_ct, step_mm=step))


def thin_parts(fit: GreyFit, ct_nepers: np.ndarray, image: np.ndarray, body: np.ndarray, air: np.ndarray) -> ThinParts:
    """Grey values of air and of the edge of the body, where it is thinner than all that is compared pixel by pixel.

    At the edge a shift takes about as many pixels to one side as to the other, so that medians are right there.

    Args:
        fit: of the pixels that are compared.
        ct_nepers: attenuation of the CT, (H, W).
        image: the radiograph's grey values, (H, W).
        body: pixels of the covered body in which nothing moves, steep edges among them, bool (H, W).
        air: of `air_pixels`.
    """
    thin = body & (ct_nepers < fit.attenuation[0])
    nepers, grey = ct_nepers[thin].astype(np.float64), image[thin].astype(np.float64)
    order = np.argsort(nepers, kind="stable")
    parts = np.array_split(order, _THIN_KNOTS) if len(order) >= _THIN_KNOTS * _LEAST_PIXELS else []
    knots = [(float(np.median(nepers[part])), float(np.median(grey[part]))) for part in parts]
    if air.sum() >= _LEAST_PIXELS:
        knots.insert(0, (0.0, float(np.median(image[air]))))
    if not knots:
        return ThinParts((), ())
    rising = optimize.isotonic_regression([value for _, value in knots]).x
    return ThinParts(tuple(a for a, _ in knots), tuple(min(float(v), fit.grey[0]) for v in rising))
