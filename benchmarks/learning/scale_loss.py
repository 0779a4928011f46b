"""What a radiograph loses with its scale alone: held-out raw radiographs as they are, and without offset and gain.

    python benchmarks/learning/scale_loss.py RESULTS --experiment mskdex_simulated_longer

RESULTS is of benchmarks/learning/evidence.yaml, whose models have learned from radiographs of absolute and of relative
scale alike. Of each held-out patient's raw radiograph offset and gain are taken away by its own quantiles
(`mskdex.imaging.relative`), nothing else: its tone curve is straight, without enhancement. This is the best that an
image can be whose console lays brightness and contrast over the image's own quantiles. Prints agreement with the CT of
the image alone and joined with demographics as the evaluation joins them (`fused`), with 95 % intervals of a bootstrap
over patients.
"""

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from measures import Cohort, pearson

from mskdex.cohort.folds import NO_FOLD
from mskdex.evaluation.baselines import regress
from mskdex.evaluation.stacking import stack as joined
from mskdex.imaging.relative import standardisation
from mskdex.io.stack import Stack
from mskdex.models.model import Model, read_model

KINDS = ("absolute", "without scale")
QUANTITIES = ("volume", "lean mass")
RESAMPLES = 1000


def without_scale(stack: Stack) -> Stack:
    """The sample with its radiograph standardised, as one of relative scale."""
    gain, offset = standardisation(stack.radiograph, stack.field)
    return replace(stack, radiograph=(gain * stack.radiograph + offset).astype(np.float32), scale="relative")


def sums(model: Model, cohort: Cohort, place: int, kind: str) -> np.ndarray:
    """Volume and lean mass of a patient's muscles, (2, muscles)."""
    seen = cohort.store[cohort.store.patients[place]]
    seen = without_scale(seen) if kind == KINDS[1] else seen
    drr = model.decompose(seen.radiograph, seen.camera, seen.source_to_isocentre_mm, seen.relative)
    found: np.ndarray = drr.sum(axis=(-2, -1), dtype=np.float64)[1:, cohort.muscles]
    return found


def fused(cohort: Cohort, places: np.ndarray, fold: int, predicted: np.ndarray) -> np.ndarray:
    """Predictions (patients, 2, muscles) joined with demographics, by weights from the fold's other patients."""
    design = np.column_stack([np.ones(len(cohort.folds)), cohort.demographics])
    train, result = cohort.folds != fold, np.empty_like(predicted)
    for q, muscle in np.ndindex(*predicted.shape[1:]):
        known, truth = cohort.truth[train, q, muscle], cohort.truth[places, q, muscle]
        mean, spread = known.mean(), known.std(ddof=1)
        of_demographics = regress(design[train], known, design[places])
        z = [(v - mean) / spread for v in (truth, of_demographics, predicted[:, q, muscle])]
        result[:, q, muscle] = mean + spread * joined(*z, places)
    return result


def line(name: str, truth: np.ndarray, predicted: dict[str, np.ndarray]) -> str:
    """A row of the table: PCC of both kinds, what the scale's loss costs, and bias; (patients, muscles) each."""
    absolute, scaleless = (predicted[kind] for kind in KINDS)
    order = np.random.default_rng(0).integers(0, len(truth), (RESAMPLES, len(truth)))
    losses = [pearson(scaleless[i], truth[i]).mean() - pearson(absolute[i], truth[i]).mean() for i in order]
    low, high = np.quantile(losses, [0.025, 0.975])
    pcc = [pearson(p, truth).mean() for p in (absolute, scaleless)]
    bias = [100 * np.mean(p.mean(axis=0) / truth.mean(axis=0) - 1) for p in (absolute, scaleless)]
    loss = f"{pcc[1] - pcc[0]:+.3f} ({low:+.3f} to {high:+.3f})"
    return f"| {name} | {pcc[0]:.3f} | {pcc[1]:.3f} | {loss} | {bias[0]:+.1f} | {bias[1]:+.1f} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("results", type=Path)
    parser.add_argument("--experiment", default="mskdex_simulated_longer")
    given = parser.parse_args()
    torch.set_num_threads(1)
    cohort = Cohort(given.results)
    absolute = np.array([not s.relative for s in cohort.store])
    alone: dict[str, list[np.ndarray]] = {kind: [] for kind in KINDS}
    both: dict[str, list[np.ndarray]] = {kind: [] for kind in KINDS}
    order = []
    for fold in sorted(set(cohort.folds) - {NO_FOLD}):
        path = given.results / "experiments" / given.experiment / f"fold{fold}" / "model.safetensors"
        model = read_model(path, torch.device("cpu"))
        places = np.flatnonzero(absolute & (cohort.folds == fold))
        order.append(places)
        for kind in KINDS:
            found = np.stack([sums(model, cohort, place, kind) for place in places])
            alone[kind].append(found)
            both[kind].append(fused(cohort, places, fold, found))
    truth = cohort.truth[np.concatenate(order)]
    print(f"{len(truth)} held-out patients with raw radiographs, {truth.shape[2]} muscles")
    print("| estimate | PCC, absolute | PCC, without scale | difference | bias, absolute, % | without scale, % |")
    print("|---|---|---|---|---|---|")
    for q, quantity in enumerate(QUANTITIES):
        for name, found in (("image", alone), ("fused", both)):
            cubes = {kind: np.concatenate(parts)[:, q] for kind, parts in found.items()}
            print(line(f"{quantity}, {name}", truth[:, q], cubes))


if __name__ == "__main__":
    main()
