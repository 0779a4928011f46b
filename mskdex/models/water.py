"""A radiograph's attenuation as a volume of water: what the tissues along each ray have to share."""

import numpy as np

from mskdex.geometry.camera import Camera

WATER_PER_MM = 0.0192
"""Linear attenuation coefficient of water at 70 keV, 1/mm.

Source: NIST XCOM (mass attenuation coefficient 0.192 cm²/g).
"""


def volume_per_mm(camera: Camera, source_to_isocentre_mm: float) -> np.ndarray:
    """Volume that 1 mm of path through the patient stands for at each pixel, cm³, float64 (H, W).

    A volume element of a cone beam is (z/SDD)² dA dz. Here z is the depth of the isocentre throughout, and dz is the
    path times the cosine of the ray's angle with the principal axis.

    Args:
        camera: camera of the grid (H, W).
        source_to_isocentre_mm: depth of the patient's middle.
    """
    area_mm2 = camera.pixel_mm**2
    if camera.beam == "parallel":
        return np.full(camera.shape, area_mm2 / 1000.0)
    y, x = camera.pixel_centres_mm()
    cosine = camera.sdd_mm / np.sqrt(camera.sdd_mm**2 + x**2 + y**2)
    return cosine * area_mm2 * (source_to_isocentre_mm / camera.sdd_mm) ** 2 / 1000.0


def water_per_neper(camera: Camera, source_to_isocentre_mm: float) -> np.ndarray:
    """Volume of water that attenuates by one neper at each pixel, cm³, float32 (H, W); arguments as above."""
    return (volume_per_mm(camera, source_to_isocentre_mm) / WATER_PER_MM).astype(np.float32)


def water_volume(image: np.ndarray, camera: Camera, source_to_isocentre_mm: float) -> np.ndarray:
    """Volume of water that attenuates as each pixel does, cm³ per pixel, float32 (H, W); never negative.

    Args:
        image: (H, W) log attenuation; of an image of relative scale the result is proportional to a volume.
        camera, source_to_isocentre_mm: as above.
    """
    return np.maximum(image, 0.0).astype(np.float32) * water_per_neper(camera, source_to_isocentre_mm)
