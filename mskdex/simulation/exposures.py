"""How a simulated radiograph is taken: the cohort's physics, drawn from ranges."""

from dataclasses import asdict, dataclass

import numpy as np

from mskdex.config.simulation import SimulationSettings
from mskdex.config.virtual import ExposureSettings
from mskdex.exposure.exposing import Beam, expose, primary
from mskdex.geometry.camera import Camera
from mskdex.imaging.grey_scale import GreyScale
from mskdex.imaging.intensity import log_attenuation
from mskdex.imaging.relative import standardisation

_LINEAR = GreyScale("linear", "exposure", 0.0, 1.0, None, {})
_DETECTOR_PIXEL_MM = 1.7
"""Pixels on which exposure, scatter and blur are computed; finer ones would only interpolate voxels of 3 mm."""


@dataclass(frozen=True)
class Exposure:
    """Physics of one radiograph; units as of `ExposureSettings`."""

    tube_voltage_kv: float
    grid_selectivity: float
    blur_mm: float
    photons_per_mm2: float

    def as_dict(self) -> dict[str, float]:
        """JSON-able, rounded."""
        return {name: round(value, 3) for name, value in asdict(self).items()}


def draw_exposure(settings: SimulationSettings, draw: np.random.Generator) -> Exposure:
    """Draws each quantity from its range, uniformly; photons uniformly in their logarithm."""
    s, (voltage, grid, blur, photons) = settings, draw.random(size=4)
    return Exposure(
        s.tube_voltage_min_kv + voltage * (s.tube_voltage_max_kv - s.tube_voltage_min_kv),
        s.grid_selectivity_min + grid * (s.grid_selectivity_max - s.grid_selectivity_min),
        s.blur_min_mm + blur * (s.blur_max_mm - s.blur_min_mm),
        s.photons_min_per_mm2 * (s.photons_max_per_mm2 / s.photons_min_per_mm2) ** photons,
    )


def detector(grid: Camera) -> Camera:
    """The detector that exposes for an image grid: its pixels are whole parts of the grid's, of 1.7 mm or less."""
    parts = max(1, int(np.ceil(grid.pixel_mm / _DETECTOR_PIXEL_MM)))
    return grid.resized((grid.shape[0] * parts, grid.shape[1] * parts), grid.pixel_mm / parts)


def take_radiograph(
    ct: tuple[np.ndarray, np.ndarray],
    camera: Camera,
    camera_from_posed: np.ndarray,
    field: np.ndarray,
    exposure: Exposure,
    settings: SimulationSettings,
    draw: np.random.Generator,
    scale: str,
) -> np.ndarray:
    """Log attenuation of a posed CT, as the import makes it of a real radiograph, float32 (H, W).

    Args:
        ct: int16 HU (z, y, x), and its world_from_voxel.
        camera: the detector.
        camera_from_posed: 4×4.
        field: exposed pixels, bool (H, W).
        exposure: physics of this radiograph.
        settings: filtration.
        draw: source of the noise.
        scale: of the patient's own radiograph, absolute (nepers) or relative (standardised by soft tissue and bone).

    Raises:
        MskdexError: the body does not lie in the field.
    """
    hu, affine = ct
    beam = Beam.of(exposure.tube_voltage_kv, settings.filtration_al_mm)
    physics = ExposureSettings(
        grid_selectivity=exposure.grid_selectivity,
        blur_mm=exposure.blur_mm,
        photons_per_mm2=exposure.photons_per_mm2,
    )
    middle = affine[:3, :3] @ ((np.array(hu.shape[::-1]) - 1) / 2.0) + affine[:3, 3]
    depth = float((camera_from_posed @ np.r_[middle, 1.0])[2])
    transmission = primary(hu, affine, camera, camera_from_posed, beam)
    energy = expose(transmission, camera, camera.sdd_mm / depth, physics, draw)
    image, _ = log_attenuation(energy.astype(np.float64), field, _LINEAR, None)
    if scale == "relative":
        gain, offset = standardisation(image, field)
        image = (gain * image + offset).astype(np.float32)
    return image
