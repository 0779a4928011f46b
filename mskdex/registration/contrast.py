"""Bone as the detector shows it: scattered radiation and beam hardening lower the contrast of thick bone."""

import numpy as np

WATER_PER_MM = 0.02
"""Attenuation of water in 1/mm at 60 keV, about the mean energy of a radiograph (NIST XCOM: 0.0206)."""


def bone_attenuation(excess_mm: np.ndarray, scatter_to_primary: float) -> np.ndarray:
    """Log attenuation that bone adds to the soft tissue, in mm of water where the bone is thin.

    With p = exp(-µ·excess) of the primary beam left and r of scattered radiation per primary behind soft
    tissue, the detector takes p + r: -ln((p + r)/(1 + r))·(1 + r)/µ.

    Args:
        excess_mm: line integrals of excess attenuation relative to water.
        scatter_to_primary: r, which also stands for the hardening of the beam.
    """
    if scatter_to_primary == 0:
        return excess_mm
    left = np.exp(-WATER_PER_MM * excess_mm)
    gain = (1.0 + scatter_to_primary) / WATER_PER_MM
    result: np.ndarray = -np.log((left + scatter_to_primary) / (1.0 + scatter_to_primary)) * gain
    return result.astype(excess_mm.dtype)


def attenuation_slope(excess_mm: np.ndarray, scatter_to_primary: float) -> np.ndarray:
    """Derivative of `bone_attenuation` by the line integral: 1 where there is no bone, less behind thick bone."""
    left = np.exp(-WATER_PER_MM * excess_mm)
    result: np.ndarray = left * (1.0 + scatter_to_primary) / (left + scatter_to_primary)
    return result.astype(excess_mm.dtype)
