"""Stages: decompose the radiographs of a fold's test patients, and predict patients whom no fold trains on."""

import logging
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from mskdex.cohort.folds import NO_FOLD
from mskdex.compute.device import choose_device, place
from mskdex.errors import MskdexError
from mskdex.io.arrays import write_arrays
from mskdex.io.artifacts import manifest, read_parquet, write_parquet
from mskdex.io.stack import Stack, read_stack, require_same
from mskdex.models.device_profiles import stack_by_profile
from mskdex.models.model import Model, read_model
from mskdex.quantities import COLUMNS, QUANTITIES
from mskdex.training.loop import set_up_torch

log = logging.getLogger("mskdex")


def predict_fold(model: Path, patients_root: Path, folds: Path, fold: int, out: Path) -> None:
    """Writes `out`/predictions.parquet and `out`/decompositions/{patient}.safetensors for the fold's patients.

    It computes on the device that the experiment's settings name.

    Args:
        model: model.safetensors, trained without this fold.
        patients_root: folder of imported patients.
        folds: folds.parquet.
        fold: the fold to predict; patients whose radiograph and CT do not belong together are passed over.
        out: folder of the experiment's fold.

    Raises:
        MskdexError: nobody is left, a patient of the fold was trained on, or a stack does not fit the model.
    """
    started = time.time()
    patients = _patients_of(folds, fold)
    loaded = _loaded(model)
    _check_apart(loaded, model, patients, fold)
    rows: list[dict[str, Any]] = []
    for stack, drr in _decomposed(loaded, model, patients_root, patients):
        meta = {
            "objects": loaded.card.objects,
            "camera": stack.camera.as_dict(),
            "manifest": manifest("predict", started),
        }
        path = Path(out) / "decompositions" / f"{stack.patient}.safetensors"
        write_arrays(path, {"drr": drr}, meta, crop=("drr",))
        rows += prediction_rows(loaded, stack, drr.sum(axis=(-2, -1), dtype=np.float64))
    if not rows:
        msg = f"of no patient of fold {fold} do radiograph and CT belong together; see results/cohort/excluded.csv"
        raise MskdexError(msg)
    write_parquet(Path(out) / "predictions.parquet", pd.DataFrame(rows))


def predict_external(model: Path, patients_root: Path, folds: Path, out: Path) -> None:
    """Writes external.parquet: predictions of the patients whom no fold trains on, by the model of one fold.

    Args:
        model: model.safetensors of an experiment's fold.
        patients_root: folder of imported patients.
        folds: folds.parquet.
        out: the table to write.

    Raises:
        MskdexError: nobody is left, a patient was trained on, or a stack does not fit the model.
    """
    patients = _patients_of(folds, NO_FOLD)
    loaded = _loaded(model)
    if seen := sorted(set(patients) & loaded.card.seen):
        msg = f"{model} has seen {', '.join(seen)}, who are to be evaluated only; train this fold anew"
        raise MskdexError(msg)
    rows = [
        row
        for stack, drr in _decomposed(loaded, model, patients_root, patients)
        for row in prediction_rows(loaded, stack, drr.sum(axis=(-2, -1), dtype=np.float64))
    ]
    if not rows:
        msg = "of no external patient do radiograph and CT belong together; see results/cohort/excluded.csv"
        raise MskdexError(msg)
    write_parquet(Path(out), pd.DataFrame(rows).assign(fold=NO_FOLD))


def _patients_of(folds: Path, fold: int) -> list[str]:
    table = read_parquet(folds)
    return sorted(table.loc[table["fold"] == fold, "patient_id"].astype(str))


def _loaded(model: Path) -> Model:
    loaded = read_model(model, torch.device("cpu"), made_here=True)
    device = choose_device(loaded.card.experiment.optimisation.device)
    set_up_torch(device)
    place(loaded.generator, device)
    return loaded


def _decomposed(
    model: Model, path: Path, patients_root: Path, patients: Sequence[str]
) -> Iterator[tuple[Stack, np.ndarray]]:
    """Stack and DRRs of every patient whose radiograph and CT belong together."""
    for patient in patients:
        stack = read_stack(Path(patients_root) / patient / "stack.safetensors", patient)
        if stack.refused:
            log.warning("patient %s is not tested on: %s", patient, stack.refused)
            continue
        check_fits(model, stack, path)
        seen = stack_by_profile(stack, model.card.device_profiles)
        yield stack, model.decompose(seen.radiograph, seen.camera, seen.source_to_isocentre_mm, seen.relative)


def prediction_rows(model: Model, stack: Stack, sums: np.ndarray) -> list[dict[str, Any]]:
    """One row per object and quantity; where the CT does not hold the object whole the truth is NaN.

    Args:
        model: who predicts.
        stack: of whom.
        sums: (3, N), of the de-normalised DRRs, in the order of the model's channels.
    """
    places = [stack.objects.index(name) for name in model.card.objects]
    return [
        {
            "experiment": model.card.name,
            "fold": model.card.fold,
            "patient_id": stack.patient,
            "object": channel.object,
            "side": channel.side,
            "channel": channel.name,
            "quantity": COLUMNS[quantity],
            "predicted": float(sums[q, n]),
            "truth": float(stack.truth[q, place]) if stack.known[place] else float("nan"),
            "truncated": not bool(stack.known[place]),
            "visible": float(stack.visible[place]),
        }
        for n, (channel, place) in enumerate(zip(model.card.channels, places, strict=True))
        for q, quantity in enumerate(QUANTITIES)
    ]


def _check_apart(model: Model, path: Path, patients: list[str], fold: int) -> None:
    seen = sorted(set(patients) & model.card.seen)
    if seen or model.card.fold != fold:
        msg = (
            f"{path} was trained without fold {model.card.fold} and must not be tested on fold {fold}"
            + (f": it has seen {', '.join(seen)}" if seen else "")
            + "; train this fold's own model"
        )
        raise MskdexError(msg)


def check_fits(model: Model, stack: Stack, path: Path) -> None:
    """A patient's stack has the model's objects and image size.

    Raises:
        MskdexError: tells what differs.
    """
    require_same(model.card.objects, stack.objects, str(path), f"the stack of patient {stack.patient}")
    if stack.camera.shape != model.card.grid.shape:
        msg = f"patient {stack.patient}: the stack is {stack.camera.shape}, {path} expects {model.card.grid.shape}"
        raise MskdexError(msg)
