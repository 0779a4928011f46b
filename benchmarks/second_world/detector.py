"""Departments: scatter, noise and blur of a detector, and what each one's software makes of the grey values."""

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

SCATTER_WIDTHS_MM, SCATTER_WEIGHTS = (18.0, 70.0), (0.35, 0.65)
_SCATTER_AMPLITUDE = 0.75
"""Scattered over primary radiation per neper, without a grid: three times it behind 20 cm of tissue (4 nepers),
as in textbooks of radiological physics (Bushberg et al., The Essential Physics of Medical Imaging)."""


@dataclass(frozen=True)
class Department:
    """One made-up radiology department.

    Attributes:
        name: as in its files.
        kind: linear, log or processed.
        tube_voltage_kv, aluminium_mm, copper_mm: its beam.
        sdd_mm: usual distance from source to detector.
        grid: transmission of primary over that of scattered radiation.
        photons_mm2: at the detector without a patient.
        blur_mm: Gaussian SD of detector and focal spot.
        told: which tags of the camera its files carry.
        file: dcm or png.
    """

    name: str
    kind: str
    tube_voltage_kv: float
    aluminium_mm: float
    copper_mm: float
    sdd_mm: float
    grid: float
    photons_mm2: float
    blur_mm: float
    told: tuple[str, ...]
    file: str = "dcm"


DEPARTMENTS = (
    Department("Nordhaus", "linear", 81.0, 2.8, 0.0, 1150.0, 7.0, 1.6e5, 0.2, ("sdd", "pixel", "kv")),
    Department("Westbridge CR", "log", 75.0, 3.2, 0.0, 1000.0, 5.0, 0.9e5, 0.35, ("sdd", "pixel", "kv")),
    Department("Isar DX", "processed", 77.0, 3.0, 0.1, 1100.0, 8.0, 2.2e5, 0.15, ("sdd", "pixel")),
    Department("Kita PNG", "processed", 70.0, 2.5, 0.0, 1050.0, 6.0, 1.2e5, 0.3, (), "png"),
)


def detected(primary: np.ndarray, pixel_mm: float, department: Department, draw: np.random.Generator) -> np.ndarray:
    """Exposure of the detector, 1 in the open beam, float64 (rows, columns).

    Scatter is the primary radiation times its own attenuation, spread by two Gaussians (the form of Sun and Star-Lack
    2010), over what the grid lets through.
    """
    safe = np.clip(primary, 1e-5, 1.0)
    source = _SCATTER_AMPLITUDE * safe * -np.log(safe)
    scatter = sum(
        w * ndimage.gaussian_filter(source, s / pixel_mm, mode="constant", truncate=3.0)
        for s, w in zip(SCATTER_WIDTHS_MM, SCATTER_WEIGHTS, strict=True)
    )
    exposure = ndimage.gaussian_filter(primary + scatter / department.grid, department.blur_mm / pixel_mm)
    count = department.photons_mm2 * pixel_mm**2
    return np.maximum(draw.poisson(np.maximum(exposure, 0.0) * count), 1) / count


def linear_grey(exposure: np.ndarray) -> np.ndarray:
    """Grey values proportional to exposure, 14 bits, falling with attenuation."""
    return np.clip(np.rint(exposure * 12500.0), 0, 16383).astype(np.uint16)


def log_grey(exposure: np.ndarray) -> np.ndarray:
    """Thousandths of the optical density -log10(exposure), plus 200, 12 bits, rising with attenuation."""
    return np.clip(np.rint(-np.log10(exposure) * 1000.0 + 200.0), 0, 4095).astype(np.uint16)


def processed_grey(exposure: np.ndarray, bits: int, draw: np.random.Generator) -> np.ndarray:
    """For presentation: detail enhanced on three scales, ranged by the image itself, and a Gompertz tone curve."""
    log = -np.log(exposure)
    fine, result = log, np.zeros_like(log)
    for sigma, gain in ((2.0, float(draw.uniform(1.2, 1.7))), (8.0, float(draw.uniform(1.0, 1.4))), (32.0, 1.0)):
        coarse = ndimage.gaussian_filter(fine, sigma)
        detail = fine - coarse
        result += gain * np.sign(detail) * np.abs(detail) ** 0.9
        fine = coarse
    result += 0.85 * fine
    low, high = np.quantile(result[log > 0.7], [0.02, 0.995]) if (log > 0.7).any() else (0.0, 1.0)
    unit = (result - low) / max(high - low, 1e-6)
    curve = np.exp(-2.2 * np.exp(-float(draw.uniform(3.0, 4.2)) * unit))
    most = 2**bits - 1
    return np.clip(np.rint(most * curve), 0, most).astype(np.uint16 if bits > 8 else np.uint8)
