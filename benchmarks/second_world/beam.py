"""The second world's X-rays: Kramers' spectrum with the tungsten lines, xraylib's attenuation, ITK-RTK's projector.

xraylib's cross sections (Schoonjans et al. 2011) are another evaluation than the first world's NIST tables, the
spectrum is Kramers' law (1923) with self-filtration and not spekpy's, and rays are integrated by Joseph's method
(RTK, Rit et al. 2014).
"""

from dataclasses import dataclass

import itk
import numpy as np
import xraylib
from itk import RTK
from warp import Lattice

ENERGIES_KEV = np.arange(16.0, 121.0, 2.0)
_ANODE_DEPTH_UM = 5.0
_K_LINES_KEV = {59.32: 1.0, 57.98: 0.58, 67.24: 0.34, 69.07: 0.09}
"""Tungsten's K lines and their relative intensities."""

COMPOUNDS = ("Adipose Tissue (ICRP)", "Muscle, Skeletal", "Bone, Cortical (ICRP)")
DENSITIES_G_CM3 = (0.92, 1.04, 1.85)
_FAT_HU, _MUSCLE_HU, _CORTICAL_HU = -104.0, 60.0, 1450.0


@dataclass(frozen=True)
class View:
    """A radiograph's geometry, in LPS mm of the posed body.

    Attributes:
        source, centre: of the focal spot, and where the principal axis meets the detector.
        right, down: directions of rows' and columns' increase.
        shape: (rows, columns). pixel_mm: their size.
        principal_px: (row, column) of `centre`.
    """

    source: np.ndarray
    centre: np.ndarray
    right: np.ndarray
    down: np.ndarray
    shape: tuple[int, int]
    pixel_mm: float
    principal_px: tuple[float, float]


def spectrum(tube_voltage_kv: float, aluminium_mm: float, copper_mm: float) -> np.ndarray:
    """Energy fluence at `ENERGIES_KEV` that a caesium iodide detector of 0.5 mm absorbs, sum 1."""
    photons = np.maximum(tube_voltage_kv / ENERGIES_KEV - 1.0, 0.0)
    if tube_voltage_kv > 69.5:
        excess = (tube_voltage_kv / 69.5 - 1.0) ** 1.67
        for line, share in _K_LINES_KEV.items():
            photons[np.argmin(np.abs(ENERGIES_KEV - line))] += 5.0 * share * excess
    mu = np.array([xraylib.CS_Total(74, e) * 19.3 for e in ENERGIES_KEV])
    photons = photons * np.exp(-mu * _ANODE_DEPTH_UM * 1e-4 / np.sin(np.deg2rad(12.0)))
    photons *= np.exp(-np.array([xraylib.CS_Total(13, e) for e in ENERGIES_KEV]) * 2.699 * aluminium_mm / 10.0)
    photons *= np.exp(-np.array([xraylib.CS_Total(29, e) for e in ENERGIES_KEV]) * 8.96 * copper_mm / 10.0)
    absorbed = 1.0 - np.exp(-np.array([xraylib.CS_Total_CP("CsI", e) for e in ENERGIES_KEV]) * 4.51 * 0.8 * 0.05)
    fluence = photons * ENERGIES_KEV * absorbed
    return fluence / fluence.sum()


def materials(hu: np.ndarray) -> list[np.ndarray]:
    """Volume fractions of fat, muscle and cortical bone of every voxel, float32; the rest is air."""
    lean = np.clip((hu - _FAT_HU) / (_MUSCLE_HU - _FAT_HU), 0.0, 1.0)
    bone = np.clip((hu - _MUSCLE_HU) / (_CORTICAL_HU - _MUSCLE_HU), 0.0, 2.0)
    air = np.clip((hu + 1000.0) / (_FAT_HU + 1000.0), 0.0, 1.0)
    return [
        (air * (1.0 - lean)).astype(np.float32),
        (lean * np.maximum(1.0 - bone, 0.0)).astype(np.float32),
        bone.astype(np.float32),
    ]


def lengths_mm(volumes: list[np.ndarray], lattice: Lattice, view: View) -> np.ndarray:
    """Line integrals of volumes (z, y, x) along every pixel's ray, float32 (n, rows, columns), by RTK's Joseph."""
    image = itk.Image[itk.F, 3]
    point, vector = itk.Point[itk.D, 3], itk.Vector[itk.D, 3]
    geometry = RTK.ThreeDCircularProjectionGeometry.New()
    geometry.AddProjection(
        point(view.source.tolist()),
        point(view.centre.tolist()),
        vector(view.right.tolist()),
        vector(view.down.tolist()),
    )
    out = []
    for values in volumes:
        volume = itk.image_from_array(np.ascontiguousarray(values, dtype=np.float32))
        volume.SetSpacing(lattice.spacing_mm.tolist())
        volume.SetOrigin(lattice.origin_mm.tolist())
        empty = itk.image_from_array(np.zeros((1, *view.shape), np.float32))
        empty.SetSpacing([view.pixel_mm, view.pixel_mm, 1.0])
        empty.SetOrigin([-view.principal_px[1] * view.pixel_mm, -view.principal_px[0] * view.pixel_mm, 0.0])
        joseph = RTK.JosephForwardProjectionImageFilter[image, image].New()
        joseph.SetInput(0, empty)
        joseph.SetInput(1, volume)
        joseph.SetGeometry(geometry)
        joseph.Update()
        out.append(np.array(itk.array_from_image(joseph.GetOutput())[0]))
    return np.stack(out)


def transmission(lengths: np.ndarray, fluence: np.ndarray) -> np.ndarray:
    """Fraction of the energy that passes, float64 (rows, columns): lengths in mm of `COMPOUNDS`."""
    total = np.zeros(lengths.shape[1:])
    for energy, weight in zip(ENERGIES_KEV, fluence, strict=True):
        if weight > 1e-6:
            mu = [
                xraylib.CS_Total_CP(c, float(energy)) * d / 10.0
                for c, d in zip(COMPOUNDS, DENSITIES_G_CM3, strict=True)
            ]
            total += weight * np.exp(-np.tensordot(mu, lengths, axes=1))
    return total
