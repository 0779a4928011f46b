"""What a model loses by having been trained in another world: the same patients, by models of theirs and of the other.

*Home*: models that were trained on other patients of the same cohort, each patient by the fold that left it out.
*Away*: models that were trained on the other cohort. Both cohorts take either part. Models of the second cohort are
trained here, with the proposed experiment's settings and as many steps, four folds, and kept in a folder: they are a
yardstick for models of the first, and nothing else is made of them.

Prints PCC, ICC(2,1), slope and the rest of `measures.py`, of single models and of the away models' mean, before and
after recalibration by ten drawn patients (mean of ten draws, judged on the others), and the differences of PCC between
home and away with 95 % intervals of a bootstrap over patients.

Use: python benchmarks/learning/home_and_away.py results second_results models [--proposed NAME] [--train FOLD ...]
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from measures import Cohort, line, measures
from second_world import DRAWS, PAIRS, agreement, by_pairs, learn, of_each_model

from mskdex.config.learning import ExperimentSettings
from mskdex.evaluation.agreement import Pairs, resamples, statistics
from mskdex.models.model import read_model, write_model

FOLDS = 4


def train_at_home(
    results: Path, cohort: Cohort, patients: int, learned: ExperimentSettings, out: Path, folds: Sequence[int]
) -> None:
    """Trains the folds that are not there yet; `patients` is how many the learned experiment had."""
    names = np.array(cohort.store.patients)
    for fold in folds:
        path = out / f"fold{fold}" / "model.safetensors"
        if path.is_file():
            continue
        chosen = names[np.arange(len(names)) % FOLDS != fold]
        epochs = round(learned.optimisation.epochs * patients / len(chosen))
        optimisation = learned.optimisation.model_copy(update={"epochs": epochs, "restart_epochs": epochs})
        experiment = learned.model_copy(update={"optimisation": optimisation})
        trainer, card = learn(results, chosen, experiment, "home", fold)
        write_model(path, trainer.final, card, {})
        print(f"fold {fold}: {len(chosen)} patients, {epochs} epochs", flush=True)


def pcc(cohort: Cohort, sums: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Mean PCC of the muscles' lean mass in every resample, (resamples,)."""
    pairs = Pairs(cohort.truth[:, 1], sums[:, 1], np.ones(sums[:, 1].shape, bool), np.zeros(len(sums), int))
    found: np.ndarray = statistics(pairs, counts)["pcc"].mean(axis=1)
    return found


def interval(name: str, difference: np.ndarray) -> None:
    low, high = np.nanpercentile(difference[1:], [2.5, 97.5])
    print(f"  PCC {name}: {difference[0]:+.3f} ({low:+.3f} to {high:+.3f})")


def judge(cohort: Cohort, folds: np.ndarray, home: Path, away: Path, wider: np.ndarray) -> None:
    """Prints the tables of one cohort's patients; `wider` as of `agreement`."""
    everyone = np.arange(len(folds))

    def told(name: str, sums: np.ndarray, chosen: np.ndarray = everyone) -> dict[str, float]:
        found = measures(cohort, chosen, sums[chosen]) | agreement(cohort, chosen, sums, wider)
        if name:
            print(f"  {name:34s}  {line(found)}", flush=True)
        return found

    at_home = of_each_model(home, cohort)
    numbers = sorted(int(p.parent.name.removeprefix("fold")) for p in home.glob("fold*/model.safetensors"))
    left_out = at_home[[numbers.index(f) for f in folds], everyone]
    visiting = of_each_model(away, cohort)
    told("home, single models", left_out)
    for number, sums in enumerate(visiting):
        told(f"away, model {number}", sums)
    told("away, mean of the models", visiting.mean(axis=0))
    scales = np.array([stack.scale for stack in cohort.store])
    for scale in sorted(set(scales)):
        of_scale = np.flatnonzero(scales == scale)
        told(f"home, {len(of_scale)} of {scale} scale", left_out, of_scale)
        told(f"away, mean, {len(of_scale)} of {scale} scale", visiting.mean(axis=0), of_scale)
    counts = np.vstack([np.ones(len(everyone)), resamples(len(everyone), 2000, 0)])
    of_home = pcc(cohort, left_out, counts)
    interval("home - away, single models", of_home - np.mean([pcc(cohort, s, counts) for s in visiting], axis=0))
    interval("home - away, mean of the models", of_home - pcc(cohort, visiting.mean(axis=0), counts))
    generator, draws = np.random.default_rng(0), {}
    for _ in range(DRAWS):
        pairs = np.sort(generator.choice(len(everyone), PAIRS, replace=False))
        chosen = np.setdiff1d(everyone, pairs)
        sums = of_each_model(away, cohort, pairs)
        singles = [told("", by_pairs(cohort, s, pairs), chosen) for s in sums]
        rows = {
            "home, single models": told("", left_out, chosen),
            "away, single models": {k: float(np.mean([s[k] for s in singles])) for k in singles[0]},
            "away, mean of the models": told("", by_pairs(cohort, sums.mean(axis=0), pairs), chosen),
        }
        for name, row in rows.items():
            draws.setdefault(name, []).append(row)
    print(f"  away recalibrated on {PAIRS} drawn patients, all judged on the others; mean and SD of {DRAWS} draws")
    for name, found in draws.items():
        values = {k: np.array([row[k] for row in found]) for k in found[0]}
        print(f"  {name:34s}  " + "  ".join(f"{k} {v.mean():.3f} ± {v.std(ddof=1):.3f}" for k, v in values.items()))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("results", type=Path)
    parser.add_argument("second", type=Path)
    parser.add_argument("models", type=Path, help="folder for models of the second cohort")
    parser.add_argument("--proposed", default="mskdex_simulated_longer")
    parser.add_argument("--train", type=int, nargs="+", help="train these folds alone, and judge nothing")
    options = parser.parse_args()
    first, second = Cohort(options.results), Cohort(options.second)
    away = options.results / "experiments" / options.proposed
    card = read_model(min(away.glob("fold*/model.safetensors")), torch.device("cpu")).card
    chosen = range(FOLDS) if options.train is None else options.train
    train_at_home(options.second, second, len(card.patients), card.experiment, options.models, chosen)
    if options.train is not None:
        return
    wider = first.truth[:, 1].std(axis=0) / first.truth[:, 1].mean(axis=0)
    print(f"{len(second.folds)} patients of the second cohort")
    judge(second, np.arange(len(second.folds)) % FOLDS, options.models, away, wider)
    print(f"{len(first.folds)} patients of the first cohort")
    judge(first, np.asarray(first.folds), away, options.models, wider)


if __name__ == "__main__":
    main()
