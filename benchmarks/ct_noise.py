"""What CT noise does to the lean mass of muscles, with and without smoothing to a common level.

Run: python benchmarks/ct_noise.py [--patient V0001] [--voxel-mm 2] [--noise-hu 0 6 12 20 30] [--wanted-hu 10 12 15]

One virtual patient, scanned with each level of noise and nothing else changed. Prints, for each level, the noise that
is measured in the muscles and the mean over the muscles of the error of lean mass relative to the scan without noise.
"""

import argparse

import numpy as np

from mskdex.config.virtual import VirtualSettings
from mskdex.imaging.ct_noise import muscle_noise_hu, smooth_muscles, smoothing_mm
from mskdex.quantities import lean_mass_density_g_cm3
from mskdex.virtual.patient import make_patient
from mskdex.virtual.population import person_of


def masses(ct: np.ndarray, labels: np.ndarray, muscles: list[int]) -> np.ndarray:
    """Lean mass of each muscle, in units of g per voxel of 1 cm³."""
    density = lean_mass_density_g_cm3(ct)
    return np.array([density[labels == label].sum() for label in muscles])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--patient", default="V0001")
    parser.add_argument("--voxel-mm", type=float, default=2.0)
    parser.add_argument("--noise-hu", type=float, nargs="+", default=[0.0, 6.0, 12.0, 20.0, 30.0])
    parser.add_argument("--wanted-hu", type=float, nargs="+", default=[10.0, 12.0, 15.0])
    options = parser.parse_args()
    truth: np.ndarray | None = None
    for noise in options.noise_hu:
        settings = VirtualSettings(
            voxel_mm=options.voxel_mm, ct_noise_hu=noise, ct_noise_spread=0.0, ct_sharp_fraction=0.0
        )
        patient = make_patient(person_of(settings, options.patient), settings)
        spacing = tuple(float(s) for s in np.linalg.norm(patient.world_from_voxel[:3, :3], axis=0))
        muscles = [i for i, name in enumerate(patient.names) if name.rpartition("_")[0] in MUSCLES]
        found = masses(patient.ct, patient.labels, muscles)
        truth = found if truth is None else truth
        measured = muscle_noise_hu(patient.ct, patient.labels, muscles) or 0.0
        line = f"noise {noise:4.0f} HU: measured {measured:5.1f}; lean mass {100 * (found / truth - 1).mean():+.2f} %"
        for wanted in options.wanted_hu:
            sigma = smoothing_mm(measured, wanted, spacing)
            smooth = smooth_muscles(patient.ct, patient.labels, muscles, sigma, spacing) if sigma else patient.ct
            error = masses(smooth, patient.labels, muscles) / truth - 1
            line += f"; smoothed to {wanted:g} HU (SD {sigma:.2f} mm) {100 * error.mean():+.2f} %"
        print(line, flush=True)


MUSCLES = ("gluteus_maximus", "gluteus_medius", "gluteus_minimus", "iliacus", "obturator_externus", "pectineus")

if __name__ == "__main__":
    main()
