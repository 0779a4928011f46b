"""What the pipeline made of a world's patients, against the truth that it never saw.

    snakemake --cores 2 --directory build/second_world --config cohort="{sheet: SHEET}" --until stack
    python benchmarks/second_world/evaluate.py build/second_world/results --world results/second_world

Prints the CT's sums as imported against the noise-free truth, the registered poses against the true ones by department,
the stated confidence against reality, and what the calibration flags. `--world results/virtual` does the same for the
first world's patients. With `--predictions TABLE`, the predictions.csv of `mskdex predict` on the same radiographs, it
also prints the agreement of predicted sums with the truth.
"""

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from mskdex.config import Config
from mskdex.evaluation.agreement import Pairs, statistics
from mskdex.imaging.radiograph import read_radiograph
from mskdex.io.artifacts import read_json, read_parquet
from mskdex.io.volume import read_labelled
from mskdex.pipeline.settings import anatomy_stage
from mskdex.registration.bodies import find_bodies
from mskdex.registration.pose_error import pose_error
from mskdex.virtual.departments import DEPARTMENTS

QUANTITIES = {"volume_cm3": "volume_cm3", "lean_mass_g": "mass_g"}
"""Column of the pipeline's tables, and name in the second world's truth."""

RIGHT_MM, RIGHT_DEG = 2.0, 1.0

Truths = dict[str, dict[str, Any]]


def main() -> None:
    """Prints the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("results", type=Path)
    parser.add_argument("--world", type=Path, required=True, help="folder of the patients' files and truths")
    parser.add_argument("--predictions", type=Path)
    options = parser.parse_args()
    truths, patients = read_truths(options.world), options.results / "patients"
    imported = {n: t for n, t in sorted(truths.items()) if (patients / n / "quantities.parquet").is_file()}
    print(f"{len(imported)} of {len(truths)} patients imported\n\nsums of the CT as imported, error in % of the truth")
    print(sums_table(patients, imported).round(2).to_string())
    poses = pose_table(patients, {n: t for n, t in imported.items() if (patients / n / "pose.json").is_file()})
    print(f"\nposes against the true ones; right is mTRE below {RIGHT_MM:g} mm and rotation below {RIGHT_DEG:g}°")
    print(error_table(poses, ["kind", "department", "body"]).round(2).to_string())
    print(error_table(poses, ["body"]).round(2).to_string())
    print(f"\nstated probability that mTRE is below {RIGHT_MM:g} mm, by tenths, and how often it is")
    print(confidence_table(poses).round(3).to_string())
    print("\ncalibration")
    print(calibration_table(patients, imported).to_string())
    if options.predictions:
        print("\npredicted sums against the truth")
        print(prediction_table(pd.read_csv(options.predictions), imported).round(3).to_string())


def read_truths(world: Path) -> Truths:
    """Truth of every patient of a world, by patient, in the second world's form: quantities, camera_from_ct, kind."""
    truths = {p.parent.name: json.loads(p.read_text(encoding="utf-8")) for p in world.glob("[!.]*/truth.json")}
    for truth in truths.values():
        if "bodies" in truth:  # of the first world
            truth["camera_from_ct"], truth["kind"] = truth["bodies"], DEPARTMENTS[truth["department"]].kind
            truth["quantities"] = {
                n: {"volume_cm3": sums["volume_cm3"], "mass_g": sums["lean_mass_g"]}
                for n, sums in truth["quantities"].items()
            }
    return truths


def sums_table(patients: Path, truths: Truths) -> pd.DataFrame:
    """By object and quantity: patients, mean and SD of the relative error of the imported sums, in per cent."""
    rows = []
    for name, truth in truths.items():
        for row in read_parquet(patients / name / "quantities.parquet").to_dict("records"):
            sums = truth["quantities"].get(row["object"])
            if sums is not None and row["present"] and not row["truncated"]:
                for column, key in QUANTITIES.items():
                    error = 100.0 * (row[column] / sums[key] - 1.0)
                    rows.append({"object": _bare(row["object"]), "quantity": column, "error": error})
    return pd.DataFrame(rows).groupby(["quantity", "object"])["error"].agg(["count", "mean", "std"])


def pose_table(patients: Path, truths: Truths) -> pd.DataFrame:
    """A row for each patient and body: department, whether it was registered, the confidence and the errors."""
    channels = anatomy_stage(Config()).channels
    rows = []
    for name, truth in truths.items():
        volume, labels = read_labelled(patients / name / "ct.nii.gz", patients / name / "labels.nii.gz")
        bodies = find_bodies(volume.array, labels, volume.world_from_voxel, channels)
        camera = read_radiograph(patients / name).camera
        for body, entry in read_json(patients / name / "pose.json")["bodies"].items():
            row = {"patient": name, "body": _bare(body), "confidence": entry.get("confidence_image")}
            row |= {"kind": truth["kind"], "department": truth["department"], "accepted": entry["accepted"]}
            if entry["accepted"]:
                true, pose = (np.array(p) for p in (truth["camera_from_ct"][body], entry["camera_from_ct"]))
                row |= pose_error(pose, true, bodies[body].targets_mm, camera).as_dict()
            rows.append(row)
    return pd.DataFrame(rows)


def error_table(poses: pd.DataFrame, by: list[str]) -> pd.DataFrame:
    """By group: bodies, how many were accepted, and of these the share that is right, and the errors."""
    accepted = poses[poses["accepted"]]
    right = accepted.assign(
        within_mm=100.0 * (accepted["mtre_mm"] < RIGHT_MM), within_deg=100.0 * (accepted["rotation_deg"] < RIGHT_DEG)
    ).groupby(by)
    return (
        poses.groupby(by)
        .agg(n=("accepted", "size"), accepted=("accepted", "sum"))
        .join(
            right.agg(
                within_2_mm_percent=("within_mm", "mean"),
                within_1_deg_percent=("within_deg", "mean"),
                mpd_mm=("mpd_mm", "median"),
                mtre_mm=("mtre_mm", "median"),
                mtre_p95_mm=("mtre_mm", _p95),
                rotation_deg=("rotation_deg", "median"),
                rotation_p95_deg=("rotation_deg", _p95),
            )
        )
    )


def confidence_table(poses: pd.DataFrame) -> pd.DataFrame:
    """By tenths of the stated probability, of the poses that were accepted: how many, its mean, and the share right."""
    accepted = poses[poses["accepted"]]
    tenth = np.minimum((accepted["confidence"] * 10).astype(int), 9) / 10
    right = accepted.assign(right=accepted["mtre_mm"] < RIGHT_MM).groupby(tenth.rename("from"))
    return right.agg(n=("right", "size"), stated=("confidence", "mean"), right=("right", "mean"))


def calibration_table(patients: Path, truths: Truths) -> pd.DataFrame:
    """By department: radiographs, how many are flagged, and the ranges of the fits."""
    rows = []
    for name, truth in truths.items():
        if (path := patients / name / "calibration.json").is_file():
            found = read_json(path)
            fit = {k: (found["fit"] or {}).get(k) for k in ("slope", "at_reference", "bend")}
            flagged = bool(found["flags"])
            rows.append({"kind": truth["kind"], "department": truth["department"], "flagged": flagged, **fit})
    groups = pd.DataFrame(rows).groupby(["kind", "department"])
    return groups.agg(
        n=("flagged", "size"),
        flagged=("flagged", "sum"),
        slope=("slope", _range),
        at_3_nepers=("at_reference", _range),
        bend=("bend", _range),
    )


def prediction_table(predictions: pd.DataFrame, truths: Truths) -> pd.DataFrame:
    """By object and quantity: patients, PCC, ICC(2,1), bias in per cent of the mean and calibration slope."""
    rows = []
    for (item, quantity), group in predictions.groupby(["object", "quantity"]):
        key = QUANTITIES.get({"volume": "volume_cm3", "lean_mass": "lean_mass_g"}.get(quantity, quantity))
        sums = {n: t["quantities"].get(item, {}).get(key) for n, t in truths.items()}
        pairs_of = zip(group["patient"], group["predicted"], strict=True)
        known = [(p, sums[n]) for n, p in pairs_of if sums.get(n) is not None]
        if len(known) > 2:
            predicted, truth = np.array(known).T[:, :, None]
            pairs = Pairs(
                truth=truth, predicted=predicted, known=np.ones_like(truth, bool), groups=np.zeros(len(truth))
            )
            found = {k: float(v[0, 0]) for k, v in statistics(pairs, np.ones((1, len(known)))).items()}
            bias = 100.0 * found["bias"] / truth.mean()
            rows.append(
                {
                    "object": item,
                    "quantity": quantity,
                    "n": len(known),
                    "bias_percent": bias,
                    **{k: found[k] for k in ("pcc", "icc21", "slope")},
                }
            )
    return pd.DataFrame(rows).set_index(["object", "quantity"])


def _p95(values: pd.Series) -> float:
    return float(values.quantile(0.95))


def _range(values: pd.Series) -> str:
    return f"{values.min():.2f} to {values.max():.2f}"


def _bare(name: str) -> str:
    return name.removesuffix("_left").removesuffix("_right")


if __name__ == "__main__":
    main()
