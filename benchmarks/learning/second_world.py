"""How models that were trained on one cohort do on another that no fold trained on, beside the baselines.

Predicts the second results' patients with every trained fold's model of the first and averages the folds; the baselines
are fitted on the same training patients. `fused` joins the proposed experiment with demographics by weights fitted on
the first cohort's held-out patients. Prints the measures of `curve.py`, ICC(2,1), the calibration slope,
and differences of PCC with 95 % intervals of a bootstrap over patients.

Use: python benchmarks/learning/second_world.py results second_results [--proposed mskdex_simulated] [--thumbnail 16]
"""

import argparse
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from measures import Cohort, line, measures, residual

from mskdex.evaluation.agreement import Pairs, resamples, statistics
from mskdex.evaluation.baselines import DEMOGRAPHICS, DEMOGRAPHICS_THUMBNAIL, THUMBNAIL, Fold, predict_baselines
from mskdex.evaluation.stacking import FUSED, fuse_new
from mskdex.evaluation.thumbnails import Thumbnails
from mskdex.models.device_profiles import stack_by_profile
from mskdex.models.model import read_model

QUANTITIES = ("volume_cm3", "lean_mass_g")


def of_models(results: Path, experiment: str, other: Cohort) -> np.ndarray:
    """Mean over the trained folds' models, (patients, 2, muscles)."""
    found = []
    for path in sorted((results / "experiments" / experiment).glob("fold*/model.safetensors")):
        model = read_model(path, torch.device("cpu"), made_here=True)
        sums = []
        for stack in (stack_by_profile(s, model.card.device_profiles) for s in other.store):
            drr = model.decompose(stack.radiograph, stack.camera, stack.source_to_isocentre_mm, stack.relative)
            sums.append(drr.sum(axis=(-2, -1), dtype=np.float64)[1:, other.muscles])
        found.append(np.stack(sums))
    return np.mean(found, axis=0)


def of_baselines(results: Path, own: Cohort, second: Path, other: Cohort, pixels: int) -> dict[str, np.ndarray]:
    """Mean over the folds that were trained, by baseline."""
    known, asked = list(own.store.patients), list(other.store.patients)
    objects = own.store[known[0]].objects
    columns = pd.MultiIndex.from_product([QUANTITIES, [objects[i] for i in own.muscles]]).swaplevel()
    truth = pd.DataFrame(own.truth.reshape(len(known), -1), index=known, columns=columns)
    sheets = [pd.read_parquet(r / "cohort/patients.parquet").set_index("patient_id") for r in (results, second)]
    seen = [Thumbnails.read(r / "patients", p, objects, pixels) for r, p in ((results, known), (second, asked))]
    thumbnails = Thumbnails(
        (*seen[0].patients, *seen[1].patients),
        np.concatenate([s.images for s in seen]),
        np.concatenate([s.scales for s in seen]),
    )
    folds = sorted(
        {int(p.parent.name.removeprefix("fold")) for p in results.glob("experiments/*/fold*/model.safetensors")}
    )
    total: dict[str, list[np.ndarray]] = {}
    for number in folds:
        train = [p for p, f in zip(known, own.folds, strict=True) if f != number]
        parts = np.array([f for f in own.folds if f != number])
        rows = predict_baselines(truth, pd.concat(sheets), thumbnails, Fold(train, asked, parts))
        for method, of in rows.groupby("method", sort=False):
            table = of.pivot_table("predicted", "patient_id", ["channel", "quantity"], dropna=False)
            total.setdefault(str(method), []).append(table.loc[asked, columns].to_numpy().reshape(len(asked), 2, -1))
    return {method: np.mean(values, axis=0) for method, values in total.items()}


def of_fused(
    results: Path, own: Cohort, other: Cohort, proposed: str, estimates: dict[str, np.ndarray]
) -> dict[str, np.ndarray]:
    """The proposed experiment's sums joined with demographics, (patients, 2, muscles)."""
    held_out = pd.read_parquet(results / "evaluation/points.parquet")
    channels = [own.store[own.store.patients[0]].objects[i] for i in own.muscles]
    held_out = held_out[held_out["quantity"].isin(QUANTITIES) & held_out["channel"].isin(channels)]
    structure = held_out.drop_duplicates("channel").set_index("channel")["structure"]
    columns = pd.MultiIndex.from_product([QUANTITIES, channels]).swaplevel()
    truth = pd.DataFrame(own.truth.reshape(len(own.truth), -1), index=list(own.store.patients), columns=columns)
    asked = list(other.store.patients)

    def rows(method: str) -> pd.DataFrame:
        table = pd.MultiIndex.from_product([asked, QUANTITIES, channels], names=["patient_id", "quantity", "channel"])
        frame = pd.DataFrame({"predicted": estimates[method].ravel(), "truth": other.truth.ravel()}, index=table)
        frame = frame.reset_index()
        return frame.assign(method=method, structure=frame["channel"].map(structure), visible=1.0, left_out=None)

    both = pd.concat([rows(proposed), rows(DEMOGRAPHICS)], ignore_index=True)
    table = fuse_new(held_out, both, proposed, truth).pivot_table(
        "predicted", "patient_id", ["channel", "quantity"], dropna=False
    )
    return {FUSED: table.loc[asked, columns].to_numpy().reshape(len(asked), 2, -1)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("results", type=Path)
    parser.add_argument("second", type=Path)
    parser.add_argument("--proposed", default="mskdex_simulated")
    parser.add_argument("--thumbnail", type=int, default=16)
    options = parser.parse_args()
    own, other = Cohort(options.results), Cohort(options.second)
    for name, cohort in (("second", other), ("first", own)):
        mass = cohort.truth[:, 1]
        left = residual(mass, cohort.demographics)
        spread, beyond = ((x.std(axis=0) / mass.mean(axis=0)).mean() for x in (mass, left))
        print(f"{len(mass)} patients of the {name} cohort: SD of lean mass over its mean {spread:.3f}", end=", ")
        print(f"{beyond:.3f} with demographics held fixed")
    methods = {
        p.name: of_models(options.results, p.name, other) for p in sorted((options.results / "experiments").iterdir())
    }
    methods |= of_baselines(options.results, own, options.second, other, options.thumbnail)
    methods |= of_fused(options.results, own, other, options.proposed, methods)
    everyone = np.arange(len(other.folds))
    counts = np.vstack([np.ones(len(everyone)), resamples(len(everyone), 2000, 0)])
    pcc = {}
    for name, sums in methods.items():
        pairs = Pairs(other.truth[:, 1], sums[:, 1], np.ones(sums[:, 1].shape, bool), np.zeros(len(sums), int))
        of = {statistic: values.mean(axis=1) for statistic, values in statistics(pairs, counts).items()}
        pcc[name] = of["pcc"]
        agree = f"ICC {of['icc21'][0]:6.3f}  slope {of['slope'][0]:6.3f}"
        print(f"  {name:28s}  {line(measures(other, everyone, sums))}  {agree}", flush=True)
    for name in (options.proposed, FUSED):
        for comparator in (DEMOGRAPHICS, THUMBNAIL, DEMOGRAPHICS_THUMBNAIL):
            difference = pcc[name] - pcc[comparator]
            low, high = np.nanpercentile(difference[1:], [2.5, 97.5])
            print(f"  PCC {name} - {comparator}: {difference[0]:+.3f} ({low:+.3f} to {high:+.3f})")


if __name__ == "__main__":
    main()
