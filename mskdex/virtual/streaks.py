"""Metal streaks: what a filtered back-projection makes of rays that metal hardens and starves."""

import numpy as np

from mskdex.compute.kernels import kernel
from mskdex.exposure.exposing import MATERIALS, Beam
from mskdex.exposure.spectrum import DENSITY_G_CM3, mass_attenuation_cm2_g

_ANGLES = 180
_VOLTAGE_KV, _FILTRATION_AL_MM = 90.0, 10.0
"""The hardest beam of the tabulated spectra; a CT's is harder, and its streaks are a little weaker."""

_PHOTONS = 1e6
"""Photons per ray without a patient."""


def streaks(hu: np.ndarray, metal: np.ndarray, cell_mm: float, draw: np.random.Generator) -> np.ndarray:
    """What metal adds to a CT outside itself, float32 (z, y, x) in HU.

    Parallel rays through each slice with metal are measured with a polychromatic beam and few photons. What they tell
    of the metal is not proportional to its length; the difference, back-projected, is the streaks: dark along the
    lines through much metal, bright beside them, noise where hardly a photon passes.

    Args:
        hu: (z, y, x). metal: where it is, bool (z, y, x). cell_mm: size of its voxels.
        draw: source of the noise.
    """
    beam = Beam.of(_VOLTAGE_KV, _FILTRATION_AL_MM)
    water_per_mm = float(beam.spectrum @ mass_attenuation_cm2_g("water")) / 10.0
    angles = np.pi * np.arange(_ANGLES) / _ANGLES
    turns = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    added = np.zeros(hu.shape, np.float32)
    bins = int(np.hypot(*hu.shape[1:])) + 3
    for k in np.flatnonzero(metal.any(axis=(1, 2))):
        tissue = np.where(metal[k], 0.0, np.maximum(1.0 + hu[k] / 1000.0, 0.0))
        paths = np.zeros((2, _ANGLES, bins))
        _project(tissue * cell_mm / 10.0, metal[k] * (cell_mm / 10.0), turns, paths)
        error = _filtered(_error(paths, beam, draw), cell_mm)
        _back_project(error, turns, added[k])
        added[k] *= 1000.0 / water_per_mm * np.pi / _ANGLES
    added[metal] = 0.0
    return added


def _error(paths: np.ndarray, beam: Beam, draw: np.random.Generator) -> np.ndarray:
    """Measured less proportional attenuation of the rays through metal; `paths` (2, …) in cm of tissue and metal."""
    error = np.zeros(paths.shape[1:])
    through = paths[1] > 0.0
    tissue, metal = paths[:, through]
    grams = np.zeros((len(MATERIALS), 2, tissue.size))
    grams[MATERIALS.index("muscle")] = tissue
    grams[MATERIALS.index("titanium"), 1] = metal * DENSITY_G_CM3["titanium"]
    bare, passed = beam.transmission(grams)
    counts = np.maximum(draw.poisson(passed * _PHOTONS), 1.0)
    by_metal = -np.log(counts / _PHOTONS) + np.log(bare)
    error[through] = by_metal - (by_metal @ metal) / (metal @ metal) * metal
    return error


def _filtered(lines: np.ndarray, cell_mm: float) -> np.ndarray:
    """The ramp filter of parallel projections (angles, bins). Source: Kak and Slaney 1988, eq. 61."""
    size = 2 ** int(np.ceil(np.log2(2 * lines.shape[1])))
    place = np.minimum(np.arange(size), size - np.arange(size))
    kernel = np.where(place % 2 == 1, -1.0 / (np.pi * np.maximum(place, 1) * cell_mm) ** 2, 0.0)
    kernel[0] = 0.25 / cell_mm**2
    spectrum = np.fft.rfft(lines, size, axis=1) * np.fft.rfft(kernel) * cell_mm
    return np.ascontiguousarray(np.fft.irfft(spectrum, size, axis=1)[:, : lines.shape[1]])


@kernel
def _project(tissue, metal, turns, paths):
    """Adds to `paths` (2, angles, bins) the sums of tissue and metal along lines, tissue only where there is metal."""
    ny, nx = metal.shape
    bins = paths.shape[2]
    for a in range(turns.shape[0]):
        cosine, sine = turns[a, 0], turns[a, 1]
        for y in range(ny):
            for x in range(nx):
                if metal[y, x] > 0.0:
                    at = (x - 0.5 * (nx - 1)) * cosine + (y - 0.5 * (ny - 1)) * sine + 0.5 * (bins - 1)
                    n = int(at)
                    paths[1, a, n] += metal[y, x] * (n + 1 - at)
                    paths[1, a, n + 1] += metal[y, x] * (at - n)
        for n in range(bins):
            if paths[1, a, n] > 0.0:
                s = n - 0.5 * (bins - 1)
                for m in range(bins):
                    t = m - 0.5 * (bins - 1)
                    x = int(np.rint(s * cosine - t * sine + 0.5 * (nx - 1)))
                    y = int(np.rint(s * sine + t * cosine + 0.5 * (ny - 1)))
                    if 0 <= x < nx and 0 <= y < ny:
                        paths[0, a, n] += tissue[y, x]


@kernel
def _back_project(lines, turns, image):
    """Adds to `image` (y, x) the lines (angles, bins) through each pixel."""
    ny, nx = image.shape
    for a in range(turns.shape[0]):
        cosine, sine, line = turns[a, 0], turns[a, 1], lines[a]
        for y in range(ny):
            start = (y - 0.5 * (ny - 1)) * sine - 0.5 * (nx - 1) * cosine + 0.5 * (line.size - 1)
            for x in range(nx):
                at = start + x * cosine
                n = int(at)
                image[y, x] += line[n] + (at - n) * (line[n + 1] - line[n])
