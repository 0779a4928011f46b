"""True images of a virtual radiograph: what each structure adds in its posture, and the exact attenuation."""

from dataclasses import dataclass, replace

import numpy as np

from mskdex.anatomy import STRUCTURES
from mskdex.deformation.template import Template
from mskdex.drr.render import render
from mskdex.geometry.camera import Camera
from mskdex.quantities import density_table
from mskdex.virtual.body import BodyModel

_DRR_PIXELS, _ATTENUATION_MM = 128, 1.6
"""Longest edge of the DRRs in pixels, and least pixel size of the attenuation."""


@dataclass(frozen=True)
class TrueImages:
    """Images that no stage of the pipeline reads.

    Attributes:
        objects: names of the structures, with sides.
        drr: float32 (3, objects, H, W), in the order of `QUANTITIES`: cm³, cm³ and g a pixel, of the body as it stands.
        drr_camera: of these.
        attenuation: float32 (h, w), nepers of the primary beam without scatter, blur, noise, collimator and marker.
        attenuation_camera: of it.
    """

    objects: tuple[str, ...]
    drr: np.ndarray
    drr_camera: Camera
    attenuation: np.ndarray
    attenuation_camera: Camera


def true_images(
    body: BodyModel, hu: np.ndarray, template: Template, camera: Camera, pose: np.ndarray, transmission: np.ndarray
) -> TrueImages:
    """Renders the standing body's structures, and averages the exact attenuation.

    Args:
        body: in the radiograph's posture. hu: int16, its HU.
        template: names of its labels.
        camera: of the radiograph. pose: camera_from_world of the body, 4×4.
        transmission: of the primary beam, (H, W) of the camera.
    """
    sided = [n for s in STRUCTURES for n in ((f"{s.name}_left", f"{s.name}_right") if s.paired else (s.name,))]
    names = tuple(n for n in sided if n in template.names)
    pixel = max(camera.shape) * camera.pixel_mm / _DRR_PIXELS
    small = camera.resized((_edge(camera, 0, pixel), _edge(camera, 1, pixel)), pixel)
    ids = [template.label(n) for n in names]
    images = render(hu, body.labels, body.grid.world_from_voxel, ids, small, pose, density_table()).images
    attenuation, coarse = _averaged(-np.log(np.maximum(transmission, 1e-8)), camera)
    return TrueImages(names, images, small, attenuation, coarse)


def _edge(camera: Camera, axis: int, pixel_mm: float) -> int:
    return max(1, int(np.ceil(camera.shape[axis] * camera.pixel_mm / pixel_mm - 1e-6)))


def _averaged(image: np.ndarray, camera: Camera) -> tuple[np.ndarray, Camera]:
    """Means over blocks of pixels, and their camera; rows and columns that fill no block are left out."""
    block = max(1, int(np.ceil(_ATTENUATION_MM / camera.pixel_mm - 1e-6)))
    rows, columns = (n // block for n in image.shape)
    whole = image[: rows * block, : columns * block].reshape(rows, block, columns, block)
    point = tuple((p - (block - 1) / 2) / block for p in camera.principal_point_px)
    coarse = replace(
        camera, pixel_mm=camera.pixel_mm * block, shape=(rows, columns), principal_point_px=(point[0], point[1])
    )
    return whole.mean(axis=(1, 3)).astype(np.float32), coarse
