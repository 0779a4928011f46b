"""What the pipeline made of the second world's patients, against the truth that it never saw.

    snakemake --cores 2 --directory build/second_world --configfile sheet.yaml --until quantities register
    python benchmarks/second_world/judge.py build/second_world/results --world results/second_world

Prints the CT's sums as imported (labels with shifted boundaries, noise, slices) against the noise-free truth, and the
registered poses against the true ones, by kind of grey values. With `--predictions TABLE`, the predictions.csv of
`mskdex predict` on the same radiographs, also the agreement of predicted sums with the truth.
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
from mskdex.registration.metrics import pose_error

QUANTITIES = {"volume_cm3": "volume_cm3", "lean_mass_g": "mass_g"}
"""Column of the pipeline's tables, and name in the truth."""

SUCCESS_MM = 2.0

Truths = dict[str, dict[str, Any]]


def main() -> None:
    """Prints the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("results", type=Path)
    parser.add_argument("--world", type=Path, required=True)
    parser.add_argument("--predictions", type=Path)
    options = parser.parse_args()
    truths = {p.parent.name: json.loads(p.read_text(encoding="utf-8")) for p in options.world.glob("*/truth.json")}
    patients = options.results / "patients"
    imported = {n: t for n, t in sorted(truths.items()) if (patients / n / "quantities.parquet").is_file()}
    print(f"{len(imported)} of {len(truths)} patients imported\n\nsums of the CT as imported, against the truth")
    print(sums_table(patients, imported).round(3).to_string())
    registered = {n: t for n, t in imported.items() if (patients / n / "pose.json").is_file()}
    print("\nposes against the true ones; `accepted beyond 2 mm` are the ones that were trusted and are wrong in space")
    print(pose_table(patients, registered).round(2).to_string())
    if options.predictions:
        print("\npredicted sums against the truth")
        print(prediction_table(pd.read_csv(options.predictions), imported).round(3).to_string())


def sums_table(patients: Path, truths: Truths) -> pd.DataFrame:
    """By object and quantity: mean and SD of the relative error of the imported sums, in per cent."""
    rows = []
    for name, truth in truths.items():
        for row in read_parquet(patients / name / "quantities.parquet").to_dict("records"):
            sums = truth["quantities"].get(row["object"])
            if sums is not None and row["present"] and not row["truncated"]:
                for column, key in QUANTITIES.items():
                    error = 100.0 * (row[column] / sums[key] - 1.0)
                    rows.append({"object": _bare(row["object"]), "quantity": column, "error": error})
    return pd.DataFrame(rows).groupby(["object", "quantity"])["error"].agg(["count", "mean", "std"])


def pose_table(patients: Path, truths: Truths) -> pd.DataFrame:
    """By kind of grey values and body: how many were accepted, and medians of the errors of these."""
    channels = anatomy_stage(Config()).channels
    rows = []
    for name, truth in truths.items():
        volume, labels = read_labelled(patients / name / "ct.nii.gz", patients / name / "labels.nii.gz")
        bodies = find_bodies(volume.array, labels, volume.world_from_voxel, channels)
        camera = read_radiograph(patients / name).camera
        for body, entry in read_json(patients / name / "pose.json")["bodies"].items():
            row = {"kind": truth["kind"], "body": _bare(body), "accepted": entry["accepted"]}
            if entry["accepted"]:
                true = np.array(truth["camera_from_ct"][body])
                pose = np.array(entry["camera_from_ct"])
                row |= pose_error(pose, true, bodies[body].targets_mm, camera).as_dict()
            rows.append(row)
    table = pd.DataFrame(rows)
    table["beyond"] = (table["mtre_mm"] > SUCCESS_MM).where(table["accepted"])
    groups = table.groupby(["kind", "body"])
    errors = groups[["mtre_mm", "mpd_mm", "in_plane_mm", "rotation_deg"]].median()
    counts = groups.agg(n=("accepted", "size"), accepted=("accepted", "sum"), beyond_2_mm=("beyond", "sum"))
    return counts.join(errors)


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
            rows.append({"object": item, "quantity": quantity, "n": len(known), "bias_percent": bias,
                         **{k: found[k] for k in ("pcc", "icc21", "slope")}})  # fmt: skip
    return pd.DataFrame(rows).set_index(["object", "quantity"])


def _bare(name: str) -> str:
    return name.removesuffix("_left").removesuffix("_right")


if __name__ == "__main__":
    main()
