"""HU to physical quantity, per voxel: volume, weighted volume and lean mass."""

import numpy as np

QUANTITIES = ("weighted_volume", "volume", "lean_mass")
"""Order of the quantities in every array and channel stack: WVDRR, VDRR, MDRR."""

COLUMNS = {"weighted_volume": "weighted_volume_cm3", "volume": "volume_cm3", "lean_mass": "lean_mass_g"}
"""Name of each quantity's column, with its unit, in the tables."""

HU_MIN, HU_MAX = -1024, 3071
"""Range of HU kept at import; a 12-bit CT's. Values outside are clipped to it."""

FAT_HU = -100.0
"""HU of pure fat."""


def lean_fraction(hu: np.ndarray) -> np.ndarray:
    """Fraction of lean tissue in a voxel, dimensionless.

    Linear between pure fat at -30 HU and pure lean at +30 HU.

    Source: thresholds of Aubrey et al. 2014, linear mixing as in MSKdeX (Gu et al. 2023).
    """
    return np.clip((np.asarray(hu, dtype=np.float64) + 30.0) / 60.0, 0.0, 1.0)


def mass_density_g_cm3(hu: np.ndarray) -> np.ndarray:
    """Mass density of tissue in g/cm³.

    The published curve falls by 3.9 % at 100 HU; the boundary belongs to the upper branch.

    Source: Schneider, Bortfeld, Schlegel 2000, stoichiometric calibration.
    """
    hu = np.asarray(hu, dtype=np.float64)
    branches = [
        (hu < -98, 0.00121 + 0.001029700665188 * (hu + 1000.0)),
        (hu < 14, 1.018 + 0.893e-3 * hu),
        (hu < 23, np.full_like(hu, 1.03)),
        (hu < 100, 1.003 + 1.169e-3 * hu),
    ]
    density = np.select([b for b, _ in branches], [v for _, v in branches], 1.017 + 0.592e-3 * hu)
    return np.maximum(density, 0.0)


def lean_mass_density_g_cm3(hu: np.ndarray) -> np.ndarray:
    """Lean mass density f(HU)·ρ(HU) in g/cm³; for bones the same curve gives the paper's bone mass.

    Source: MSKdeX (Gu et al. 2023), from Aubrey 2014 and Schneider 2000.
    """
    return lean_fraction(hu) * mass_density_g_cm3(hu)


def relative_attenuation(hu: np.ndarray) -> np.ndarray:
    """Attenuation relative to water, max(1 + HU/1000, 0): the density of weighted volume."""
    return np.maximum(1.0 + np.asarray(hu, dtype=np.float64) / 1000.0, 0.0)


_DENSITY = {
    "weighted_volume": relative_attenuation,
    "volume": lambda hu: np.ones_like(np.asarray(hu, dtype=np.float64)),
    "lean_mass": lean_mass_density_g_cm3,
}


def density(quantity: str, hu: np.ndarray) -> np.ndarray:
    """Density of a quantity per cm³ of voxel: cm³/cm³ for the volumes, g/cm³ for lean mass.

    Args:
        quantity: one of `QUANTITIES`.
        hu: HU, any shape.

    Returns:
        float64 of the shape of `hu`, never negative.
    """
    return _DENSITY[quantity](hu)


def density_table(quantities: tuple[str, ...] = QUANTITIES) -> np.ndarray:
    """Lookup tables of `density` for every integer HU.

    Returns:
        float32, shape (len(quantities), HU_MAX - HU_MIN + 1); column `hu - HU_MIN` holds HU `hu`.
    """
    hu = np.arange(HU_MIN, HU_MAX + 1)
    return np.stack([density(q, hu) for q in quantities]).astype(np.float32)
