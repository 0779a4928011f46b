"""How the sums of patients that were not learned from follow the steps of a training.

Trains on the patients outside one fold of a finished `results` and prints on the way, for the fold's patients, what
`measures.py` tells.

Use: python benchmarks/learning/curve.py results --epochs 12 [--fold 0] [--head composition|plain] [--no-gan]
         [--sums-only] [--pairs none|simulated|mixed] [--set KEY=VALUE …]

--set changes any key of the experiment, e.g. --set optimisation.seed=1 --set network.backbone=hrnet_w18.
"""

import argparse
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import yaml
from measures import Cohort, line, measures

from mskdex.compute.device import choose_device
from mskdex.config.learning import ExperimentSettings, LossSettings, default_experiments
from mskdex.models.device_profiles import stack_by_profile
from mskdex.models.model import Model, ModelCard
from mskdex.pipeline.stages.train import describe, open_store, prepare
from mskdex.training.distributed import join_group
from mskdex.training.loop import set_up_torch
from mskdex.training.trainer import Trainer


@dataclass(frozen=True)
class Point:
    """Where a training stands.

    Attributes:
        steps: of the optimiser.
        cpu_s: spent on training, evaluation not counted.
        held_out, training: measures of the patients that were held out, and of those learned from.
        losses: means over the last epoch.
    """

    steps: int
    cpu_s: float
    held_out: dict[str, float]
    training: dict[str, float]
    losses: dict[str, float]


def follow(cohort: Cohort, results: Path, chosen: ExperimentSettings, fold: int, looks: int) -> Iterator[Point]:
    """Trains on the patients outside a fold and looks at its own so many times."""
    device = choose_device(chosen.optimisation.device)
    set_up_torch(device)
    train, test = (np.flatnonzero(x) for x in (cohort.folds != fold, cohort.folds == fold))
    learned = open_store(results / "patients", np.array(cohort.store.patients)[train], chosen)
    card = describe(learned, chosen, "curve", fold)
    trainer, loader = prepare(card, learned, device, join_group())
    start, spent, epochs = time.process_time(), 0.0, chosen.optimisation.epochs
    for epoch in range(epochs):
        totals: dict[str, float] = {}
        for batch in loader.epoch(epoch):
            for name, value in trainer.train_batch(batch, len(loader)).items():
                totals[name] = totals.get(name, 0.0) + value / len(loader)
            trainer.progress.place += 1
        trainer.progress.epoch, trainer.progress.place = epoch + 1, 0
        if (epoch + 1) % max(1, epochs // looks) == 0 or epoch + 1 == epochs:
            spent += time.process_time() - start
            seen = [measures(cohort, who, predictions(trainer, card, cohort, who)) for who in (test, train)]
            yield Point((epoch + 1) * len(loader), spent, *seen, totals)
            start = time.process_time()


def predictions(trainer: Trainer, card: ModelCard, cohort: Cohort, chosen: np.ndarray) -> np.ndarray:
    """Volume and lean mass of the muscles of the chosen patients, (chosen, 2, muscles)."""
    model = Model(card, trainer.final)  # type: ignore[arg-type]
    found = []
    for who in chosen:
        stack = stack_by_profile(cohort.store[cohort.store.patients[who]], card.device_profiles)
        drr = model.decompose(stack.radiograph, stack.camera, stack.source_to_isocentre_mm, stack.relative)
        found.append(drr.sum(axis=(-2, -1), dtype=np.float64)[1:, cohort.muscles])
    return np.stack(found)


def settings(options: argparse.Namespace) -> ExperimentSettings:
    """The default experiment as the options change it."""
    default = next(iter(default_experiments().values()))
    o = default.optimisation.model_copy(update={"epochs": options.epochs, "restart_epochs": options.epochs})
    losses = LossSettings()
    if options.no_gan or options.sums_only:
        losses = losses.model_copy(update={"lambda_gan": 0.0, "lambda_cyc": 0.0})
    if options.sums_only:
        losses = losses.model_copy(update={"lambda_gc": 0.0, "lambda_bone": 0.0})
    network = default.network.model_copy(update={"head": options.head})
    content = ExperimentSettings(losses=losses, network=network, optimisation=o, pairs=options.pairs).model_dump()
    return ExperimentSettings.model_validate(changed(content, options.set))


def changed(content: dict, changes: list[str]) -> dict:
    """Settings with KEY=VALUE changes; keys with dots, values as in YAML."""
    for text in changes:
        key, _, value = text.partition("=")
        *sections, name = key.split(".")
        place = content
        for section in sections:
            place = place[section]
        place[name] = yaml.safe_load(value)
    return content


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("results", type=Path)
    parser.add_argument("--epochs", type=int, required=True)
    parser.add_argument("--fold", type=int, default=0)
    parser.add_argument("--head", choices=("composition", "plain"), default="composition")
    parser.add_argument("--no-gan", action="store_true")
    parser.add_argument("--sums-only", action="store_true")
    parser.add_argument("--pairs", choices=("none", "simulated", "mixed"), default="none")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("--looks", type=int, default=6)
    options = parser.parse_args()
    cohort = Cohort(options.results)
    print(f"fold {options.fold}: {(cohort.folds == options.fold).sum()} of {len(cohort.folds)} patients", flush=True)
    point = None
    for point in follow(cohort, options.results, settings(options), options.fold, options.looks):
        shown = "  ".join(f"{n} {point.losses[n]:.3g}" for n in ("intensity_sum", "bone") if n in point.losses)
        print(f"{point.steps:6d} steps  {point.cpu_s:6.0f} CPU-s  {line(point.held_out)}  ({shown})", flush=True)
    if point:
        print("the training patients:", line(point.training))


if __name__ == "__main__":
    main()
