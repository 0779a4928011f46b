"""The radiograph's physics: polychromatic attenuation, scatter, blur, noise."""

from dataclasses import dataclass

import numpy as np
from scipy.ndimage import affine_transform, gaussian_filter, zoom

from mskdex.compute.kernels import kernel
from mskdex.config.virtual import ExposureSettings
from mskdex.drr.render import render
from mskdex.exposure.spectrum import DENSITY_G_CM3, mass_attenuation_cm2_g, tungsten_spectrum
from mskdex.geometry.camera import Camera
from mskdex.quantities import FAT_HU, HU_MAX, HU_MIN

LEAN_HU = 57.0
"""Of muscle without fat, of the density that the tables have."""

MATERIALS = ("adipose", "muscle", "bone", "titanium")
_BONE_HU = 1615.0
"""HU of pure cortical bone: µ of 1.92 g/cm³ over that of water at 70 keV, the mean energy of a CT."""

_METAL_HU = 3000
_SCATTER_AMPLITUDE, _SCATTER_WIDTH_MM = 0.65, 25.0
_STEP_VOXELS, _PIXEL_VOXELS = 1.0, 0.85
"""Steps and pixels (on the detector) of the projection in voxels: finer ones would only interpolate the voxels."""


@dataclass(frozen=True)
class Beam:
    """The X-ray beam.

    Attributes:
        tube_voltage_kv: peak voltage.
        spectrum: of `tungsten_spectrum`.
        attenuation: float64 (materials, energies), µ/ρ in cm²/g.
    """

    tube_voltage_kv: float
    spectrum: np.ndarray
    attenuation: np.ndarray

    @classmethod
    def of(cls, tube_voltage_kv: float, filtration_al_mm: float) -> "Beam":
        """A tungsten tube's beam through aluminium."""
        attenuation = np.stack([mass_attenuation_cm2_g(m) for m in MATERIALS])
        return cls(tube_voltage_kv, tungsten_spectrum(tube_voltage_kv, filtration_al_mm), attenuation)

    def transmission(self, grams_cm2: np.ndarray) -> np.ndarray:
        """Fraction of the energy fluence that passes: Beer-Lambert at each energy.

        Args:
            grams_cm2: (materials, …), mass of each material along the ray, g/cm².
        """
        flat = np.ascontiguousarray(grams_cm2.reshape(len(grams_cm2), -1), dtype=np.float64)
        keep = self.spectrum > 1e-7
        passed = np.empty(flat.shape[1])
        _transmission(flat, self.spectrum[keep], np.ascontiguousarray(self.attenuation[:, keep]), passed)
        return passed.reshape(grams_cm2.shape[1:])


def material_tables() -> np.ndarray:
    """Density in g/cm³ of each of `MATERIALS` by HU, float32 (4, HU_MAX - HU_MIN + 1).

    Below fat, thinned fat (air and fat); between fat and lean muscle and between muscle and cortical bone, mixtures
    by volume, linear in HU; from 3000 HU on, metal.
    """
    hu = np.arange(HU_MIN, HU_MAX + 1, dtype=np.float64)
    lean = np.clip((hu - FAT_HU) / (LEAN_HU - FAT_HU), 0.0, 1.0)
    bone = np.maximum((hu - LEAN_HU) / (_BONE_HU - LEAN_HU), 0.0)
    fat = np.clip((hu + 1000.0) / (FAT_HU + 1000.0), 0.0, 1.0) * (1.0 - lean)
    shares = np.stack([fat, lean * np.maximum(1.0 - bone, 0.0), bone, np.zeros_like(hu)])
    shares[:, hu >= _METAL_HU] = [[0.0], [0.0], [0.0], [1.0]]
    return (shares * [[DENSITY_G_CM3[m]] for m in MATERIALS]).astype(np.float32)


def primary(
    hu: np.ndarray,
    world_from_voxel: np.ndarray,
    camera: Camera,
    pose: np.ndarray,
    beam: Beam,
    pixel_voxels: float = _PIXEL_VOXELS,
) -> np.ndarray:
    """Transmission of the primary beam, float64 (H, W).

    Args:
        hu: int16 (z, y, x), the body without noise.
        world_from_voxel: 4×4.
        camera: the detector.
        pose: camera_from_world, 4×4.
        beam: spectrum and attenuation.
        pixel_voxels: largest spacing of the lines on the detector, in voxels; pixels between them are interpolated.
    """
    voxel_mm = float(np.linalg.norm(world_from_voxel[:3, 0]))
    factor = max(1, int(pixel_voxels * voxel_mm / camera.pixel_mm))
    shape = tuple(-(-n // factor) for n in camera.shape)
    coarse = camera.resized((shape[0], shape[1]), factor * camera.pixel_mm)
    paths = render(
        hu,
        None,
        world_from_voxel,
        [0],
        coarse,
        pose,
        material_tables(),
        step_mm=_STEP_VOXELS * voxel_mm,
        conserve_sums=False,
    )
    transmission = beam.transmission(paths.images[:, 0] / 10.0)
    return _refined(transmission, camera.shape, factor)


def _refined(transmission: np.ndarray, shape: tuple[int, int], factor: int) -> np.ndarray:
    """Interpolates the log of a transmission to pixels `factor` times as small, both grids on one centre."""
    if factor == 1:
        return transmission
    offset = [(m - 1) / 2 - (n - 1) / 2 / factor for m, n in zip(transmission.shape, shape, strict=True)]
    fine = affine_transform(np.log(transmission), [1 / factor] * 2, offset, shape, order=3, mode="nearest")
    return np.exp(np.minimum(fine, 0.0))


def scatter(transmission: np.ndarray, pixel_mm: float, grid_selectivity: float) -> np.ndarray:
    """Scattered radiation behind the antiscatter grid, in units of the open beam, (H, W).

    What is scattered along a ray is p·ln(1/p) of its transmission p, and reaches the detector through a wide
    Gaussian kernel. Without a grid the amplitude gives a scatter-to-primary ratio of about 3 behind a pelvis.

    Source: Ohnesorge, Flohr, Klingenbeck-Regn, Eur Radiol 1999 (the convolution model).
    """
    potential = transmission * -np.log(np.clip(transmission, 1e-6, 1.0))
    coarse = max(1, round(8.0 / pixel_mm))
    rows, columns = (n // coarse for n in transmission.shape)
    small = potential[: rows * coarse, : columns * coarse].reshape(rows, coarse, columns, coarse).mean(axis=(1, 3))
    spread = gaussian_filter(small, _SCATTER_WIDTH_MM / (coarse * pixel_mm), mode="nearest", truncate=3.0)
    factors = [n / m for n, m in zip(transmission.shape, spread.shape, strict=True)]
    return zoom(spread, factors, order=1) * (_SCATTER_AMPLITUDE / grid_selectivity)


def expose(
    transmission: np.ndarray,
    camera: Camera,
    magnification: float,
    settings: ExposureSettings,
    draw: np.random.Generator,
) -> np.ndarray:
    """Energy that each detector pixel takes, 1 in the open beam, with scatter, blur and noise, float32 (H, W).

    Args:
        transmission: of the primary beam.
        camera: the detector.
        magnification: of the middle of the patient; sets the penumbra of the focal spot.
        settings: blur, grid and dose.
        draw: source of the noise.
    """
    signal = transmission + scatter(transmission, camera.pixel_mm, settings.grid_selectivity)
    penumbra = settings.focal_spot_mm * (magnification - 1.0) / np.sqrt(12.0)
    signal = gaussian_filter(signal, np.hypot(settings.blur_mm, penumbra) / camera.pixel_mm, mode="nearest")
    photons = settings.photons_per_mm2 * camera.pixel_mm**2
    return (draw.poisson(signal * photons) / photons).astype(np.float32)


@kernel
def _transmission(grams, spectrum, attenuation, out):
    for n in range(grams.shape[1]):
        total = 0.0
        for e in range(len(spectrum)):
            exponent = 0.0
            for m in range(len(grams)):
                exponent += attenuation[m, e] * grams[m, n]
            total += spectrum[e] * np.exp(-exponent)
        out[n] = total
