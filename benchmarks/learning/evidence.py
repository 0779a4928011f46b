"""Mean Pearson correlation over the muscles, per experiment, of every fold that was trained.

Use: python benchmarks/learning/evidence.py results [--out docs/benchmarks/learning.json]
"""

import argparse
import datetime
import json
import platform
from pathlib import Path

import pandas as pd

BONES = ("pelvis", "sacrum", "femur")


def table(results: Path) -> pd.DataFrame:
    """Rows: experiment; columns: mean muscle PCC of lean mass and of volume, patients, CPU seconds of training."""
    rows = []
    for experiment in sorted((results / "experiments").iterdir()):
        folds = sorted(experiment.glob("fold*/predictions.parquet"))
        if not folds:
            continue
        found = pd.concat([pd.read_parquet(f) for f in folds]).dropna(subset=["truth"])
        muscles = found[~found["object"].isin(BONES)]
        # Both sides of a muscle are averaged within the patient first, as the paper's tables have one row a muscle.
        both = muscles.groupby(["patient_id", "object", "quantity"])[["predicted", "truth"]].mean().reset_index()
        row = {"experiment": experiment.name, "folds": len(folds), "patients": found["patient_id"].nunique()}
        for quantity in ("lean_mass_g", "volume_cm3"):
            of = both[both["quantity"] == quantity].groupby("object")
            row[quantity] = of.apply(lambda g: g["predicted"].corr(g["truth"]), include_groups=False).mean()
        manifests = [json.loads(f.with_name("train.json").read_text(encoding="utf-8"))["manifest"] for f in folds]
        row["training_s"] = sum(m["training_seconds"] for m in manifests)
        row["seeds"] = sorted({m["seed"] for m in manifests})
        rows.append(row)
    return pd.DataFrame(rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("results", type=Path)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    found = table(options.results)
    print(found.round(3).to_string(index=False))
    if options.out:
        facts = {"date": datetime.date.today().isoformat(), "machine": platform.machine()}
        options.out.parent.mkdir(parents=True, exist_ok=True)
        options.out.write_text(
            json.dumps(facts | {"experiments": found.to_dict("records")}, indent=1) + "\n", encoding="utf-8"
        )


if __name__ == "__main__":
    main()
