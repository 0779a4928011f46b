"""Fits the confidence of registered poses to records of `run.py virtual` and `run.py wrong`.

    python benchmarks/registration/calibrate.py results/benchmarks/registration/records.jsonl

writes mskdex/registration/calibration.py and prints, by leave-one-patient-out, how well the probabilities hold.
"""

import argparse
import json
from pathlib import Path

import numpy as np
from scipy.optimize import minimize

from mskdex.registration.confidence import features

TARGET = Path(__file__).parents[2] / "mskdex" / "registration" / "calibration.py"
HEAD = '''"""Coefficients of the confidence, fitted by benchmarks/registration/calibrate.py to virtual patients."""

'''
PENALTY = 0.1
"""Ridge on standardised coefficients: wrong and right poses lie so far apart that the fit has no other end."""


def read(path: Path) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Features (n, d), whether mTRE < 2 mm (n,), and the patient (n,) of every pose that was found.

    Poses mostly outside the field are left out, for they are refused whatever their confidence.
    """
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    rows = [row for row in rows if row["scores"] and "exposed field" not in (row["reason"] or "")]
    right = [row.get("mtre_mm", np.inf) < 2.0 for row in rows]
    return np.stack([features(row["scores"]) for row in rows]), np.array(right), np.array([r["case"][:5] for r in rows])


def fit(values: np.ndarray, right: np.ndarray) -> tuple[np.ndarray, float]:
    """Ridge logistic regression: coefficients and intercept."""

    def loss(parameters: np.ndarray) -> float:
        logit = values @ parameters[:-1] + parameters[-1]
        return float(np.logaddexp(0, np.where(right, -logit, logit)).sum() + PENALTY * (parameters[:-1] ** 2).sum())

    found = minimize(loss, np.zeros(values.shape[1] + 1), method="L-BFGS-B").x
    return found[:-1], float(found[-1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("records", type=Path)
    arguments = parser.parse_args()
    raw, right, patient = read(arguments.records)
    mean, scale = raw.mean(axis=0), np.maximum(raw.std(axis=0), 1e-6)
    values = (raw - mean) / scale
    held_out = np.zeros(len(right))
    for one in np.unique(patient):
        coefficients, intercept = fit(values[patient != one], right[patient != one])
        held_out[patient == one] = 1 / (1 + np.exp(-(values[patient == one] @ coefficients + intercept)))
    print(f"{len(right)} poses of {len(np.unique(patient))} patients, {right.sum()} right")
    for low, high in ((0, 0.1), (0.1, 0.5), (0.5, 0.9), (0.9, 1.001)):
        inside = (held_out >= low) & (held_out < high)
        share = f"{right[inside].mean():.2f} right" if inside.any() else "none"
        print(f"held-out confidence {low:.1f} to {min(high, 1):.1f}: {inside.sum():4d} poses, {share}")
    print(f"Brier score {np.mean((held_out - right) ** 2):.3f}, of a constant {right.mean() * (1 - right.mean()):.3f}")
    coefficients, intercept = fit(values, right)
    lines = [
        f"{name} = ({', '.join(f'{v:.5g}' for v in row)})"
        for name, row in (("MEAN", mean), ("SCALE", scale), ("COEFFICIENTS", coefficients))
    ]
    TARGET.write_text(
        HEAD + "\n".join([*lines, f"INTERCEPT = {intercept:.5g}", f"POSES = {len(right)}"]) + "\n", encoding="utf-8"
    )


if __name__ == "__main__":
    main()
