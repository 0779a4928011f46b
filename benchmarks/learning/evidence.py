"""Mean Pearson correlation over the muscles, per experiment and fold that was trained, and of all folds together.

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
    """A row per experiment and fold, and one of all its folds together: mean muscle PCC, patients, training seconds."""
    rows = []
    for experiment in sorted((results / "experiments").iterdir()):
        folds = sorted(experiment.glob("fold*/predictions.parquet"))
        for files in [[file] for file in folds] + ([folds] if len(folds) > 1 else []):
            name = files[0].parent.name.removeprefix("fold") if len(files) == 1 else "all"
            rows.append({"experiment": experiment.name, "fold": name, **row(files)})
    return pd.DataFrame(rows)


def row(files: list[Path]) -> dict:
    """What the predictions of some folds of one experiment show together."""
    found = pd.concat([pd.read_parquet(file) for file in files]).dropna(subset=["truth"])
    muscles = found[~found["object"].isin(BONES)]
    # Both sides of a muscle are averaged within the patient first, as the paper's tables have one row a muscle.
    both = muscles.groupby(["patient_id", "object", "quantity"])[["predicted", "truth"]].mean().reset_index()
    shown: dict = {"patients": found["patient_id"].nunique()}
    for quantity in ("lean_mass_g", "volume_cm3"):
        of = both[both["quantity"] == quantity].groupby("object")[["predicted", "truth"]]
        shown[quantity] = of.apply(lambda g: g["predicted"].corr(g["truth"])).mean()
    manifests = [json.loads(f.with_name("train.json").read_text(encoding="utf-8"))["manifest"] for f in files]
    shown["training_s"] = sum(m["training_seconds"] for m in manifests)
    shown["seeds"] = sorted({m["seed"] for m in manifests})
    return shown


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
