"""The second world's CT: HU of every voxel with fat streaks, correlated noise, thick slices, and labels with errors."""

from dataclasses import dataclass

import numpy as np
from people import Person
from scipy import ndimage
from template import Template
from warp import Lattice

AIR_HU = -1000.0
_CORTEX_MM = (3.2, 2.0)
"""Thickness of cortical bone: femora, then the rest."""


@dataclass(frozen=True)
class Scanner:
    """How one CT is made.

    Attributes:
        spacing_mm: voxel size (x, y, z).
        noise_hu: standard deviation.
        kernel_mm: blur in the plane, Gaussian SD; noise is blurred alike, then high-passed, as a sharp filter does.
        bias_hu: of all tissue but air: calibration of the tube.
        label_error_mm: SD of a smooth shift of the labels' boundaries.
    """

    spacing_mm: np.ndarray
    noise_hu: float
    kernel_mm: float
    bias_hu: float
    label_error_mm: float


def draw_scanner(draw: np.random.Generator) -> Scanner:
    """A scanner and protocol."""
    spacing = np.array([2.0, 2.0, float(draw.choice([2.0, 2.5, 3.0]))])
    return Scanner(
        spacing, float(draw.uniform(8.0, 22.0)), float(draw.uniform(0.5, 1.3)), float(draw.normal(0.0, 2.0)), 0.6
    )


def slices_mm(low_mm: float, high_mm: float, spacing_mm: float, lattice: Lattice) -> np.ndarray:
    """Positions of a CT's slices, (n,): from the plane of the body's lattice next to `low_mm` to below `high_mm`.

    Slices of the lattice's own spacing are its planes, so that they must lie on them.
    """
    origin, step = lattice.origin_mm[2], lattice.spacing_mm[2]
    return np.arange(origin + np.rint((low_mm - origin) / step) * step, high_mm, spacing_mm)


def hu_of(
    labels: np.ndarray, template: Template, person: Person, spacing_mm: np.ndarray, draw: np.random.Generator
) -> np.ndarray:
    """Noise-free HU, float32 (z, y, x).

    Fat within muscle is a fraction of each voxel that varies along streaks; the voxels' fractions have the muscle's
    mean. Bone is a cortical shell around trabecular bone.
    """
    hu = np.full(labels.shape, AIR_HU, np.float32)
    hu[labels == template.id_of("fat")] = person.fat_hu
    hu[labels == template.id_of("skin")] = 10.0
    organ = labels == template.id_of("organ")
    texture = _noise(labels.shape, 9.0 / spacing_mm, draw)
    hu[organ] = 28.0 + 14.0 * texture[organ]
    hu[organ & (texture > 2.1)] = -850.0
    streaks = _noise(labels.shape, np.array([2.0, 2.0, 7.0]) / spacing_mm, draw)
    for label in template.muscles:
        mask = labels == label
        mean = person.fat_fraction[template.names[label]]
        spread = np.exp(0.9 * streaks[mask])
        fraction = np.clip(mean * spread / max(spread.mean(), 1e-6), 0.0, 1.0) if mask.any() else 0.0
        hu[mask] = person.lean_hu * (1.0 - fraction) + person.fat_hu * fraction
    for label in template.bones:
        mask = labels == label
        if mask.any():
            hu[mask] = _bone(mask, template.names[label], person, spacing_mm, texture)
    return hu


def _bone(mask: np.ndarray, name: str, person: Person, spacing_mm: np.ndarray, texture: np.ndarray) -> np.ndarray:
    box = ndimage.find_objects(mask.astype(np.uint8))[0]
    grown = tuple(slice(max(s.start - 2, 0), s.stop + 2) for s in box)
    # The shaft goes on beyond the scan: its cut is no surface.
    part = np.pad(mask[grown], ((1, 1), (0, 0), (0, 0)), mode="edge")
    depth = ndimage.distance_transform_edt(part, sampling=spacing_mm[::-1])[1:-1][mask[grown]]
    cortex = _CORTEX_MM[0] if name.startswith("femur") else _CORTEX_MM[1]
    shell = 1.0 / (1.0 + np.exp((depth - cortex) / 0.7))
    trabecular = person.trabecular_hu + 35.0 * texture[mask]
    return trabecular + shell * (person.cortical_hu - trabecular)


def scanned(hu: np.ndarray, scanner: Scanner, draw: np.random.Generator) -> np.ndarray:
    """The CT as stored: int16 HU (z, y, x), blurred, noisy, with a round field of view."""
    sigma = np.array([0.35, scanner.kernel_mm / scanner.spacing_mm[1], scanner.kernel_mm / scanner.spacing_mm[0]])
    image = ndimage.gaussian_filter(np.where(hu > -900.0, hu + scanner.bias_hu, hu), sigma)
    white = draw.normal(size=hu.shape).astype(np.float32)
    fine = ndimage.gaussian_filter(white, (0.3, 0.6, 0.6)) - 0.7 * ndimage.gaussian_filter(white, (0.3, 1.6, 1.6))
    image += scanner.noise_hu * fine / fine.std()
    _, rows, columns = hu.shape
    y, x = np.mgrid[:rows, :columns]
    radius = max(rows, columns) / 2.0
    outside = (y - (rows - 1) / 2.0) ** 2 + (x - (columns - 1) / 2.0) ** 2 > radius**2
    image[:, outside] = -1024.0
    return np.clip(np.rint(image), -1024, 3071).astype(np.int16)


def as_segmented(labels: np.ndarray, template: Template, scanner: Scanner, draw: np.random.Generator) -> np.ndarray:
    """Labels as a segmentation would have them: boundaries shifted smoothly; only muscles and bones; uint8."""
    shift = [
        scanner.label_error_mm / s * _noise(labels.shape, 6.0 / scanner.spacing_mm, draw)
        for s in scanner.spacing_mm[::-1]
    ]
    index = np.indices(labels.shape, dtype=np.float32)
    for d in range(3):
        index[d] += shift[d]
    moved = ndimage.map_coordinates(labels, index, order=0, mode="nearest")
    named = np.isin(moved, [*template.muscles, *template.bones])
    return np.where(named, moved, 0).astype(np.uint8)


def _noise(shape: tuple[int, ...], sigma_xyz: np.ndarray, draw: np.random.Generator) -> np.ndarray:
    """Smooth noise of unit variance."""
    sigma = np.broadcast_to(np.asarray(sigma_xyz, float), 3)[::-1]
    field = ndimage.gaussian_filter(draw.normal(size=shape).astype(np.float32), sigma, mode="wrap", truncate=3.0)
    return field / max(float(field.std()), 1e-6)
