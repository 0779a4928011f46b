"""Command `model ensemble`: the models of an experiment's folds as one model, the mean of their DRRs."""

import time
from pathlib import Path

import pandas as pd
import torch

from mskdex.errors import MskdexError
from mskdex.io.artifacts import manifest, read_parquet, write_parquet
from mskdex.models.ensemble import ensemble_of
from mskdex.models.model import read_model, write_model

MODEL, PREDICTIONS = "model.safetensors", "predictions.parquet"


def ensemble(experiment: Path, out: Path) -> list[int]:
    """Writes `out`/model.safetensors, and `out`/predictions.parquet with each held-out patient by the fold's own model.

    Args:
        experiment: results/experiments/NAME, with the trained folds.
        out: folder to write to.

    Returns:
        The folds that it is the mean of.

    Raises:
        MskdexError: fewer than two trained folds, or folds of different configs.
    """
    started, out = time.time(), Path(out)
    folders = sorted(path.parent for path in Path(experiment).glob(f"fold*/{MODEL}"))
    if not folders:
        msg = f"{experiment} has no trained fold (fold0/{MODEL}); give results/experiments/NAME"
        raise MskdexError(msg)
    joint = ensemble_of([read_model(folder / MODEL, torch.device("cpu")) for folder in folders])
    if all((folder / PREDICTIONS).is_file() for folder in folders):
        write_parquet(out / PREDICTIONS, pd.concat([read_parquet(f / PREDICTIONS) for f in folders], ignore_index=True))
    folds = [member.fold for member in joint.card.members]
    facts = manifest("ensemble", started, folds=folds)
    write_model(out / MODEL, joint.generator, joint.card, facts, joint.likeness)
    return folds
