"""Fits the confidences of registered poses to records of `run.py virtual`, `run.py perturbed` and `run.py wrong`.

    python benchmarks/registration/calibrate.py results/benchmarks/registration/records.jsonl

writes mskdex/registration/calibration.py and prints, by leave-one-patient-out, how well the probabilities hold: that a
pose is right on the image, and that it is right in space too where the camera is as it was given. With --as-stated
nothing is fitted: it prints how well what the registration states holds on records that nothing was fitted to, such as
those of `run.py hard` on the second world.
"""

import argparse
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy.optimize import minimize
from scipy.stats import binomtest

from mskdex.registration.calibration import IMAGE, MEAN, SCALE, SPACE
from mskdex.registration.confidence import RIGHT_MPD_MM, RIGHT_MTRE_MM, features

TARGET = Path(__file__).parents[2] / "mskdex" / "registration" / "calibration.py"
HEAD = '''"""Coefficients of the confidences, fitted by benchmarks/registration/calibrate.py to virtual patients."""

'''
PENALTY = 0.1
"""Ridge on standardised coefficients: wrong and right poses lie so far apart that the fit has no other end."""

SIGNS = (1, 1, -1, -1, 1, 1)
"""Which way each feature may speak for a pose: runs that disagree, or a pose that is uncertain, never do."""

KNOWN_MM = 2.0
"""Error of a camera's numbers up to which poses tell what mTRE is given the camera."""


@dataclass(frozen=True)
class Poses:
    """Poses that were found: features (n, d), whether each is right (n,), and its patient (n,)."""

    values: np.ndarray
    right: np.ndarray
    patient: np.ndarray


def read(path: Path, *, given: bool = False) -> dict[str, Poses]:
    """Poses for the image and, of cameras that are right, for space.

    Poses mostly outside the field are left out, for they are refused whatever their confidence.

    Args:
        path: the records.
        given: leave out all that are refused whatever their confidence.
    """
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    rows = [row for row in rows if row["scores"] and "exposed field" not in (row["reason"] or "")]
    rows = [row for row in rows if "mpd_mm" in row or not given]
    known = [row for row in rows if max(map(abs, row.get("camera_off_mm", [0.0]))) < KNOWN_MM]
    return {"IMAGE": _poses(rows, space=False), "SPACE": _poses(known, space=True)}


def _poses(rows: list[dict[str, Any]], *, space: bool) -> Poses:
    right = [row.get("mpd_mm", np.inf) < RIGHT_MPD_MM and (not space or row["mtre_mm"] < RIGHT_MTRE_MM) for row in rows]
    values = np.stack([features(row["scores"]) for row in rows])
    return Poses(values, np.array(right), np.array([r["case"].split()[0] for r in rows]))


def fit(values: np.ndarray, right: np.ndarray) -> tuple[np.ndarray, float]:
    """Ridge logistic regression, each coefficient 0 or of its feature's sign: coefficients and intercept."""

    def loss(parameters: np.ndarray) -> float:
        logit = values @ parameters[:-1] + parameters[-1]
        return float(np.logaddexp(0, np.where(right, -logit, logit)).sum() + PENALTY * (parameters[:-1] ** 2).sum())

    bounds = [(0.0, None) if sign > 0 else (None, 0.0) for sign in SIGNS]
    found = minimize(loss, np.zeros(values.shape[1] + 1), method="L-BFGS-B", bounds=[*bounds, (None, None)]).x
    return found[:-1], float(found[-1])


def held_out(values: np.ndarray, poses: Poses) -> np.ndarray:
    """Probability of each pose by a fit without its patient, (n,)."""
    found = np.zeros(len(poses.right))
    for one in np.unique(poses.patient):
        own = poses.patient == one
        coefficients, intercept = fit(values[~own], poses.right[~own])
        found[own] = 1 / (1 + np.exp(-(values[own] @ coefficients + intercept)))
    return found


def stated(values: np.ndarray, coefficients: tuple[float, ...]) -> np.ndarray:
    """Probability of each pose by the coefficients that the registration uses, (n,)."""
    logit = (values - np.array(MEAN)) / np.array(SCALE) @ np.array(coefficients[:-1]) + coefficients[-1]
    return np.asarray(1 / (1 + np.exp(-logit)))


def report(about: str, poses: Poses, stated: np.ndarray) -> None:
    """Prints in tenths what was stated and what came true, of held-out patients."""
    right = poses.right
    print(f"\n{about}: {len(right)} poses of {len(np.unique(poses.patient))} patients, {right.sum()} right")
    for tenth in range(10):
        inside = np.minimum((stated * 10).astype(int), 9) == tenth
        if inside.any():
            low, high = binomtest(int(right[inside].sum()), int(inside.sum())).proportion_ci(method="exact")
            shares = f"stated {stated[inside].mean():.2f}, right {right[inside].mean():.2f} ({low:.2f} to {high:.2f})"
            print(f"{tenth / 10:.1f} to {tenth / 10 + 0.1:.1f}: {inside.sum():4d} poses, {shares}")
    accepted = stated >= 0.5
    print(f"{accepted.sum()} at 0.5 and above, {(~right & accepted).sum()} of them wrong")
    print(f"Brier score {np.mean((stated - right) ** 2):.3f}, of a constant {right.mean() * (1 - right.mean()):.3f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("records", type=Path)
    parser.add_argument("--as-stated", action="store_true", help="judge the coefficients that are in use; fit none")
    parser.add_argument("--dry", action="store_true", help="print only")
    arguments = parser.parse_args()
    found = read(arguments.records, given=arguments.as_stated)
    if arguments.as_stated:
        for about, coefficients in (("IMAGE", IMAGE), ("SPACE", SPACE)):
            report(about, found[about], stated(found[about].values, coefficients))
        return
    mean, scale = found["IMAGE"].values.mean(axis=0), np.maximum(found["IMAGE"].values.std(axis=0), 1e-6)
    rows = {"MEAN": mean, "SCALE": scale}
    for about, poses in found.items():
        values = (poses.values - mean) / scale
        report(about, poses, held_out(values, poses))
        coefficients, intercept = fit(values, poses.right)
        rows[about] = np.array([*coefficients, intercept])
    lines = [f"{name} = ({', '.join(f'{v:.5g}' for v in row)})" for name, row in rows.items()]
    if not arguments.dry:
        TARGET.write_text(HEAD + "\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
