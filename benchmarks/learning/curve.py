"""How the sums of patients that were not learned from follow the steps of a training.

Trains on the first patients of the cohort of a finished `results` and prints, six times on the way, the mean muscle PCC
of lean mass and of volume on the training patients and on all others.

Use: python benchmarks/learning/curve.py results --train 48 --epochs 63 [--sums-only] [--lambda-is 10000]
         [--no-augmentation] [--zoom 0.1] [--shear-deg 3] [--learning-rate 0.001]
"""

import argparse
import time
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from mskdex.config.learning import AugmentationSettings, ExperimentSettings, LossSettings, default_experiments
from mskdex.pipeline.stages.train import describe, prepare
from mskdex.training.data import Loader, StackStore
from mskdex.training.distributed import join_group
from mskdex.training.loop import set_up_torch
from mskdex.training.trainer import Trainer

BONES = ("pelvis", "sacrum", "femur")


def settings(options: argparse.Namespace) -> ExperimentSettings:
    default = default_experiments()["mskdex"]
    losses = LossSettings(lambda_is=options.lambda_is)
    if options.sums_only:
        losses = LossSettings(lambda_gan=0, lambda_cyc=0, lambda_gc=0, lambda_bone=0, lambda_is=options.lambda_is)
    augmentation = default.optimisation.augmentation or AugmentationSettings()
    changes = {
        "epochs": options.epochs,
        "restart_epochs": options.epochs,
        "learning_rate": options.learning_rate,
        "augmentation": None
        if options.no_augmentation
        else augmentation.model_copy(update={"zoom_fraction": options.zoom, "shear_deg": options.shear_deg}),
    }
    return default.model_copy(
        update={"losses": losses, "optimisation": default.optimisation.model_copy(update=changes)}
    )


def correlations(trainer: Trainer, loader: Loader, store: StackStore) -> tuple[float, float]:
    """Mean over the muscles of the PCC of lean mass and of volume, each side an object of its own."""
    predicted, truth = [], []
    with torch.no_grad():
        for stack in store:
            image = stack.radiograph / loader.normalisation.radiograph
            drr = trainer.final(torch.as_tensor(image, dtype=torch.float32, device=trainer.device)[None, None])
            predicted.append(trainer.objective.sums(drr)[0].cpu().numpy())
            truth.append(stack.truth * stack.visible)
    p, t = np.stack(predicted), np.stack(truth)
    muscles = [i for i, name in enumerate(store[store.patients[0]].objects) if not name.startswith(BONES)]
    volume, mass = (np.mean([np.corrcoef(p[:, q, i], t[:, q, i])[0, 1] for i in muscles]) for q in (1, 2))
    return float(mass), float(volume)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("results", type=Path)
    parser.add_argument("--train", type=int, required=True)
    parser.add_argument("--epochs", type=int, required=True)
    parser.add_argument("--sums-only", action="store_true")
    parser.add_argument("--no-augmentation", action="store_true")
    parser.add_argument("--zoom", type=float, default=0.1)
    parser.add_argument("--shear-deg", type=float, default=3.0)
    parser.add_argument("--lambda-is", type=float, default=10000.0)
    parser.add_argument("--learning-rate", type=float, default=1e-3)
    options = parser.parse_args()
    device = torch.device("cpu")
    set_up_torch(device)
    patients = sorted(pd.read_parquet(options.results / "cohort/folds.parquet")["patient_id"])
    stacks = {name: options.results / "patients" / name / "stack.safetensors" for name in patients}
    learned = StackStore(dict(list(stacks.items())[: options.train]), 8e9)
    others = StackStore(dict(list(stacks.items())[options.train :]), 8e9)
    trainer, loader = prepare(describe(learned, settings(options), "curve", 0), learned, device, join_group())
    print(f"{len(learned.patients)} training and {len(others.patients)} other patients; PCC of lean mass, of volume")
    start = time.process_time()
    for epoch in range(options.epochs):
        for batch in loader.epoch(epoch):
            trainer.train_batch(batch, len(loader))
            trainer.progress.place += 1
        trainer.progress.epoch, trainer.progress.place = epoch + 1, 0
        if (epoch + 1) % max(1, options.epochs // 6) == 0:
            found = [*correlations(trainer, loader, learned), *correlations(trainer, loader, others)]
            steps, seconds = (epoch + 1) * len(loader), time.process_time() - start
            numbers = "  ".join(f"{value:.3f}" for value in found)
            print(f"{steps:6d} steps  {seconds:6.0f} CPU-s  {numbers}", flush=True)


if __name__ == "__main__":
    main()
