"""How the sums of patients that were not learned from follow the steps of a training.

Trains on the patients outside one fold of a finished `results` and prints on the way, for the fold's patients, what
`measures.py` tells.

Use: python benchmarks/learning/curve.py results --epochs 12 [--fold 0] [--head composition|plain] [--no-gan]
         [--sums-only] [--pairs none|simulated|mixed] [--set KEY=VALUE …]

--set changes any key of the experiment, e.g. --set optimisation.seed=1 --set network.backbone=hrnet_w18.
"""

import argparse
import time
from pathlib import Path

import numpy as np
import torch
import yaml
from measures import Cohort, line, measures

from mskdex.config.learning import ExperimentSettings, LossSettings, default_experiments
from mskdex.models.model import Model, ModelCard
from mskdex.pipeline.stages.train import describe, open_store, prepare
from mskdex.training.distributed import join_group
from mskdex.training.loop import set_up_torch
from mskdex.training.trainer import Trainer


def settings(options: argparse.Namespace) -> ExperimentSettings:
    """The default experiment as the options change it."""
    default = default_experiments()["mskdex"]
    o = default.optimisation.model_copy(update={"epochs": options.epochs, "restart_epochs": options.epochs})
    losses = LossSettings()
    if options.no_gan or options.sums_only:
        losses = losses.model_copy(update={"lambda_gan": 0.0, "lambda_cyc": 0.0})
    if options.sums_only:
        losses = losses.model_copy(update={"lambda_gc": 0.0, "lambda_bone": 0.0})
    network = default.network.model_copy(update={"head": options.head})
    content = ExperimentSettings(losses=losses, network=network, optimisation=o, pairs=options.pairs).model_dump()
    for text in options.set:
        key, _, value = text.partition("=")
        *sections, name = key.split(".")
        place = content
        for section in sections:
            place = place[section]
        place[name] = yaml.safe_load(value)
    return ExperimentSettings.model_validate(content)


def predictions(trainer: Trainer, card: ModelCard, cohort: Cohort, chosen: np.ndarray) -> np.ndarray:
    """Volume and lean mass of the muscles of the chosen patients, (chosen, 2, muscles)."""
    model = Model(card, trainer.final)  # type: ignore[arg-type]
    found = []
    for stack in (cohort.store[cohort.store.patients[i]] for i in chosen):
        drr = model.decompose(stack.radiograph, stack.camera, stack.source_to_isocentre_mm, stack.relative)
        found.append(drr.sum(axis=(-2, -1), dtype=np.float64)[1:, cohort.muscles])
    return np.stack(found)


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
    options = parser.parse_args()
    device = torch.device("cpu")
    set_up_torch(device)
    cohort = Cohort(options.results)
    train, test = (np.flatnonzero(x) for x in (cohort.folds != options.fold, cohort.folds == options.fold))
    chosen = settings(options)
    learned = open_store(options.results / "patients", np.array(cohort.store.patients)[train], chosen)
    card = describe(learned, chosen, "curve", options.fold)
    trainer, loader = prepare(card, learned, device, join_group())
    print(f"{len(train)} training patients; the fold's {len(test)}:", flush=True)
    start, spent = time.process_time(), 0.0
    for epoch in range(options.epochs):
        totals: dict[str, float] = {}
        for batch in loader.epoch(epoch):
            for name, value in trainer.train_batch(batch, len(loader)).items():
                totals[name] = totals.get(name, 0.0) + value / len(loader)
            trainer.progress.place += 1
        trainer.progress.epoch, trainer.progress.place = epoch + 1, 0
        if (epoch + 1) % max(1, options.epochs // 6) == 0 or epoch + 1 == options.epochs:
            spent += time.process_time() - start
            found = line(measures(cohort, test, predictions(trainer, card, cohort, test)))
            shown = "  ".join(
                f"{name} {totals[name]:.3g}" for name in ("intensity_sum", "bone", "gc_alpha") if name in totals
            )
            print(f"{(epoch + 1) * len(loader):6d} steps  {spent:6.0f} CPU-s  {found}  ({shown})", flush=True)
            start = time.process_time()
    print("the training patients:", line(measures(cohort, train, predictions(trainer, card, cohort, train))))


if __name__ == "__main__":
    main()
