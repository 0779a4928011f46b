"""Accuracy, failures and time of the registration on cases with known poses, as a table.

    python benchmarks/registration/run.py virtual --patients 50
    python benchmarks/registration/run.py perturbed --patients 50
    python benchmarks/registration/run.py hard --imported PATIENTS --truth FOLDER
    python benchmarks/registration/run.py wrong --patients 10
    python benchmarks/registration/run.py real
    python benchmarks/registration/run.py capture
    python benchmarks/registration/run.py table

Every run appends records to --records; `table` prints what they hold, and `calibrate.py` fits the confidence to them.
"""

import argparse
import json
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from perturbed import hard, perturbed
from registration_cases import (
    DEFAULT_SEED,
    LINEAR,
    Case,
    another_parts,
    error_on_image,
    half_femurs,
    imported,
    real_cases,
    virtual,
    wrong_inputs,
)

from mskdex.config.registration import BodySettings, RegistrationSettings, default_bodies
from mskdex.geometry.rigid import moved
from mskdex.registration.pose_error import pose_error
from mskdex.registration.registering import register_bodies

SIZES = {
    "small": [5, 5, 5, 10, 10, 10],
    "medium": [10, 10, 10, 20, 20, 40],
    "large": [20, 20, 20, 50, 50, 50],
}
"""Half-ranges of random starts: degrees about three axes, mm across, down and in depth."""


def records(case: Case, kind: str, settings: RegistrationSettings) -> Iterator[dict[str, Any]]:
    """Registers a case; one record per body. Errors are told of refused poses too, for the calibration."""
    started = time.process_time()
    trusting = settings.model_copy(update={"min_confidence": 0.0})
    found = register_bodies(case.patient, trusting, 1.0)
    seconds = time.process_time() - started
    for name, result in found.items():
        record = {
            "kind": kind,
            "case": case.name,
            "body": name,
            "confidence": result.confidence,
            "reason": result.reason,
        }
        record |= {"seconds": result.seconds, "patient_seconds": seconds, "scores": result.scores}
        if result.pose is not None:
            targets, camera, true = case.patient.bodies[name].targets_mm, case.patient.view.camera, case.true_camera
            record |= pose_error(result.pose, case.truth[name], targets, camera).as_dict()
            record["mpd_mm"] = error_on_image(targets, (result.pose, camera), (case.truth[name], true))
            record["camera_off_mm"] = [
                camera.sdd_mm - true.sdd_mm,
                *((np.array(camera.principal_point_px) - true.principal_point_px) * true.pixel_mm).tolist(),
            ]
        yield record


def patient(number: int, arguments: argparse.Namespace) -> Case:
    """A virtual patient of the departments that are asked for."""
    return virtual(number, arguments.root, arguments.voxel_mm, tuple(sorted(arguments.departments)), arguments.seed)


def run_virtual(arguments: argparse.Namespace) -> Iterator[dict[str, Any]]:
    for number in range(arguments.first, arguments.first + arguments.patients):
        yield from records(patient(number, arguments), "virtual", RegistrationSettings())


def run_perturbed(arguments: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """Each patient once with camera, tone curve, labels and CT that may each be off."""
    for number in range(arguments.first, arguments.first + arguments.patients):
        draw = np.random.default_rng((arguments.seed, number))
        yield from records(perturbed(patient(number, arguments), draw), "perturbed", RegistrationSettings())


def run_hard(arguments: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """Imported patients, each several times with much that is off, and a short search."""
    short = RegistrationSettings(attempts=1, restarts=4, finalists=1, screening_generations=4, generations=12)
    folders = sorted(p.parent for p in arguments.imported.glob("*/camera.json"))
    for number, folder in list(enumerate(folders))[arguments.first - 1 :][: arguments.patients]:
        case = imported(folder, arguments.truth)
        if json.loads((arguments.truth / folder.name / "truth.json").read_text("utf-8"))["department"] == "corvia":
            continue  # its crops hide where the central ray is
        for draw in np.random.default_rng((arguments.seed, number)).spawn(arguments.times):
            yield from records(hard(case, draw), "hard", short)


def run_wrong(arguments: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """Femurs are tried however little of them the CT holds, for the calibration."""
    bodies = tuple(body.model_copy(update={"min_extent_mm": 0.0}) for body in default_bodies())
    for number in range(arguments.first, arguments.first + arguments.patients):
        case, other = (
            patient(number, arguments),
            patient(number + 1, arguments),
        )
        settings = RegistrationSettings(attempts=1, bodies=bodies)
        inputs = wrong_inputs(case, other) | another_parts(case) | {"half femurs": half_femurs(case)}
        for name, wrong in inputs.items():
            yield from records(wrong, f"wrong: {name}", settings)


def run_real(arguments: argparse.Namespace) -> Iterator[dict[str, Any]]:
    for size in arguments.sizes:
        for case, units in real_cases(arguments.data / "real_ct", arguments.starts):
            yield from records(
                _started(case, units, size), f"real: {size}", RegistrationSettings(scatter_to_primary=0.0)
            )


def run_capture(arguments: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """The pelvis of virtual patients from starts ever further away, one search each."""
    settings = RegistrationSettings(attempts=1, bodies=(BodySettings(name="pelvis"),))
    for number in range(arguments.first, arguments.first + arguments.patients):
        case = patient(number, arguments)
        units = np.random.default_rng(number).uniform(-1, 1, 6)
        for size in (1.0, 2.0, 3.0, 4.0, 6.0):
            pelvis = case.patient.bodies["pelvis"]
            start = moved(case.truth["pelvis"], pelvis.centre_mm, units * size * np.array(SIZES["small"]))
            yield from records(
                replace(case, patient=replace(case.patient, nominal=start)), f"capture: {size:g}", settings
            )


def _started(case: Case, units: np.ndarray, size: str) -> Case:
    pelvis = case.patient.bodies["pelvis"]
    start = moved(case.truth["pelvis"], pelvis.centre_mm, units * np.array(SIZES[size]))
    return replace(case, patient=replace(case.patient, nominal=start))


def table(path: Path) -> pd.DataFrame:
    """Medians, 95th percentiles, success (mTRE < 2 mm) and CPU seconds by kind and body."""
    rows = pd.DataFrame([json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()])
    rows["bone"] = rows.body.str.removesuffix("_left").str.removesuffix("_right")
    groups = rows.groupby(["kind", "bone"], sort=False)
    return pd.DataFrame([_summary(kind, bone, group) for (kind, bone), group in groups]).set_index(["kind", "bone"])


def _summary(kind: str, bone: str, group: pd.DataFrame) -> dict[str, Any]:
    from mskdex.registration.confidence import on_image

    tried = group[group.scores.map(bool)]
    trust = tried.scores.map(on_image)
    accepted = tried[(trust >= RegistrationSettings().min_confidence) & tried.reason.isna()]
    row: dict[str, Any] = {"kind": kind, "bone": bone, "n": len(group), "accepted": len(accepted)}
    found = tried[tried.reason.isna()]
    if len(found) and "mtre_mm" in found:
        for column in ("mtre_mm", "mpd_mm", "rotation_deg"):
            row |= {f"{column} median": found[column].median(), f"{column} p95": found[column].quantile(0.95)}
        row |= {"depth median": found.depth_mm.abs().median(), "success": (found.mtre_mm < 2).sum() / len(group)}
        row |= {"within 1 deg": (found.rotation_deg < 1).mean(), "gross accepted": int((accepted.mtre_mm > 10).sum())}
    return row | {"s median": tried.seconds.median(), "s p95": tried.seconds.quantile(0.95)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("virtual", "perturbed", "hard", "wrong", "real", "capture", "table"))
    parser.add_argument("--patients", type=int, default=50)
    parser.add_argument("--first", type=int, default=1)
    parser.add_argument("--voxel-mm", type=float, default=2.0, help="voxel size of the virtual CTs")
    parser.add_argument("--departments", nargs="+", default=LINEAR, help="of virtual.departments, each as likely")
    parser.add_argument("--seed", type=int, default=DEFAULT_SEED, help="of the virtual patients")
    parser.add_argument("--starts", type=int, default=20)
    parser.add_argument("--sizes", nargs="+", default=["large"], choices=tuple(SIZES))
    parser.add_argument("--root", type=Path, default=Path("results/benchmarks/registration/patients"))
    parser.add_argument("--imported", type=Path, help="folder of imported patients, for hard")
    parser.add_argument("--truth", type=Path, help="folder with truth.json of each of them")
    parser.add_argument("--times", type=int, default=2, help="hard cases of each patient")
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--records", type=Path, default=Path("results/benchmarks/registration/records.jsonl"))
    arguments = parser.parse_args()
    if arguments.what == "table":
        print(table(arguments.records).round(2).to_string())
        return
    arguments.records.parent.mkdir(parents=True, exist_ok=True)
    runs = {
        "virtual": run_virtual,
        "perturbed": run_perturbed,
        "hard": run_hard,
        "wrong": run_wrong,
        "real": run_real,
        "capture": run_capture,
    }
    with arguments.records.open("a", encoding="utf-8") as handle:
        for record in runs[arguments.what](arguments):
            handle.write(json.dumps(record) + "\n")
            handle.flush()


if __name__ == "__main__":
    main()
