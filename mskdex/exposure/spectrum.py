"""The tube's spectrum and what tissues do to each energy."""

import numpy as np

from mskdex.io.package_data import read_table

DENSITY_G_CM3 = {"water": 1.0, "muscle": 1.05, "adipose": 0.95, "bone": 1.92, "aluminium": 2.699, "titanium": 4.506}
"""Of the substances of `attenuation.csv`: ICRU Report 44 and NIST."""

ENERGIES_KEV = np.arange(15.5, 90.0, 1.0)


def mass_attenuation_cm2_g(substance: str, energies_kev: np.ndarray = ENERGIES_KEV) -> np.ndarray:
    """µ/ρ in cm²/g, interpolated in logarithms between the table's 10 to 100 keV.

    Source: Hubbell and Seltzer, NIST SRD 126.
    """
    table = read_table("mskdex.exposure", "attenuation.csv")
    return np.exp(np.interp(np.log(energies_kev), np.log(table["energy_kev"]), np.log(table[substance])))


def tungsten_spectrum(tube_voltage_kv: float, filtration_al_mm: float) -> np.ndarray:
    """Energy fluence per keV at `ENERGIES_KEV` that an energy-integrating detector sees without a patient, sum 1.

    Args:
        tube_voltage_kv: 60 to 90 kV; between the tabulated voltages, linear in the scaled spectra.
        filtration_al_mm: aluminium in the beam.

    Source: spekpy 2.5 (Poludniowski et al. 2021), tungsten, 12°; aluminium from NIST SRD 126.
    """
    table = read_table("mskdex.exposure", "spectra.csv")
    columns = [c for c in table if c.startswith("fluence_")]
    voltages = np.array([int(c[8:-2]) for c in columns])
    upper = int(np.clip(np.searchsorted(voltages, tube_voltage_kv), 1, len(voltages) - 1))
    share = (tube_voltage_kv - voltages[upper - 1]) / (voltages[upper] - voltages[upper - 1])
    # Bremsstrahlung scales with energy over voltage, so each neighbour is read at the energy scaled to its voltage.
    fluence = np.zeros(len(ENERGIES_KEV))
    for index, part in ((upper - 1, 1.0 - share), (upper, share)):
        scaled = ENERGIES_KEV * voltages[index] / tube_voltage_kv
        fluence += part * np.interp(scaled, table["energy_kev"], table[columns[index]], right=0.0)
    filtered = np.exp(-mass_attenuation_cm2_g("aluminium") * DENSITY_G_CM3["aluminium"] * filtration_al_mm / 10.0)
    energy = fluence * filtered * ENERGIES_KEV
    return energy / energy.sum()
