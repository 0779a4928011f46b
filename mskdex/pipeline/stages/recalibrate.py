"""Command `recalibrate`: a trained model for another site, from radiographs of that site that have a CT."""

import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from mskdex.errors import MskdexError
from mskdex.io.artifacts import manifest, read_parquet, write_parquet
from mskdex.io.stack import Stack, read_stack
from mskdex.models.device_profiles import DeviceProfile, fit_profiles, stack_by_profile
from mskdex.models.model import Model, read_model, write_model
from mskdex.models.recalibration import recalibrated, site_profiles, sum_factors
from mskdex.pipeline.stages.predict import check_fits, prediction_rows

LEAST_PATIENTS = 10
"""Pairs that a factor is the mean of at least: the mass of a muscle differs by a third, so its mean by a tenth."""


def recalibrate(model: Path, results: Path, out: Path) -> str:
    """Writes `out`/model.safetensors and `out`/predictions.parquet; the network's weights stay as they are.

    The site's devices get profiles from its CTs, and each structure a factor that makes its mean right. Both are
    judged on patients that they were not made of: predictions.parquet has the prediction of each patient by the
    profiles and factors of the others, from which `mskdex predict` makes its intervals.

    Args:
        model: model.safetensors of an experiment's fold.
        results: results folder of the site's cohort, as far as the stacks.
        out: folder to write to.

    Returns:
        For people: bias and error of each structure's lean mass and volume, before and after.

    Raises:
        MskdexError: fewer than ten patients are whole, a patient was trained on, or a stack does not fit the model.
    """
    started, out = time.time(), Path(out)
    loaded = read_model(Path(model), torch.device("cpu"))
    stacks = _site_stacks(loaded, Path(model), Path(results))
    before = np.stack([_sums(loaded, stack, loaded.card.device_profiles) for stack in stacks])
    predicted = np.stack(
        [_sums(loaded, stack, _profiles(loaded, [s for s in stacks if s is not stack])) for stack in stacks]
    )
    truth = np.stack([_truth(loaded, stack) for stack in stacks])
    left_out = np.empty_like(predicted)
    for n in range(len(stacks)):
        others = np.arange(len(stacks)) != n
        left_out[n] = predicted[n] * sum_factors(predicted[others], truth[others], loaded.card.channels)
    factors = sum_factors(predicted, truth, loaded.card.channels)
    names = [stack.patient for stack in stacks]
    site = recalibrated(loaded, factors, _profiles(loaded, stacks), names)
    rows = [row for stack, sums in zip(stacks, left_out, strict=True) for row in prediction_rows(loaded, stack, sums)]
    write_parquet(out / "predictions.parquet", pd.DataFrame(rows))
    facts = manifest("recalibrate", started, patients=len(stacks))
    write_model(out / "model.safetensors", site.generator, site.card, facts, site.likeness)
    return _table(loaded, before, left_out, truth, factors)


def _site_stacks(model: Model, path: Path, results: Path) -> list[Stack]:
    """Stacks of the cohort's patients whose radiograph and CT belong together."""
    patients = sorted(read_parquet(results / "cohort" / "patients.parquet")["patient_id"].astype(str))
    if seen := sorted(set(patients) & model.card.seen):
        msg = f"{path} has seen {', '.join(seen)}; recalibrate it on other patients, or take another fold's model"
        raise MskdexError(msg)
    files = [(patient, results / "patients" / patient / "stack.safetensors") for patient in patients]
    stacks = [read_stack(file, patient) for patient, file in files if file.is_file()]
    stacks = [stack for stack in stacks if not stack.refused and stack.counted.any()]
    if len(stacks) < LEAST_PATIENTS:
        msg = (
            f"{results} has {len(stacks)} patients whose radiograph and CT belong together, of {len(patients)}; "
            f"recalibration needs {LEAST_PATIENTS}. Run snakemake --until stack cohort, and see "
            f"{results / 'cohort' / 'excluded.csv'}"
        )
        raise MskdexError(msg)
    for stack in stacks:
        check_fits(model, stack, path)
    return stacks


def _profiles(model: Model, stacks: Sequence[Stack]) -> tuple[DeviceProfile, ...]:
    return site_profiles(model.card.device_profiles, fit_profiles((s.scale, s.greys) for s in stacks))


def _sums(model: Model, stack: Stack, profiles: Sequence[DeviceProfile]) -> np.ndarray:
    """Predicted sums (3, N) of a patient."""
    seen = stack_by_profile(stack, profiles)
    drr = model.decompose(seen.radiograph, seen.camera, seen.source_to_isocentre_mm, seen.relative)
    sums: np.ndarray = drr.sum(axis=(-2, -1), dtype=np.float64)
    return sums


def _truth(model: Model, stack: Stack) -> np.ndarray:
    """What the radiograph shows of the CT's sums (3, N) in the order of the model's channels; NaN where not known."""
    places = [stack.objects.index(name) for name in model.card.objects]
    shown: np.ndarray = np.where(stack.counted, stack.truth * stack.visible, np.nan)[:, places]
    return shown


def _table(model: Model, before: np.ndarray, after: np.ndarray, truth: np.ndarray, factors: np.ndarray) -> str:
    """A line per structure: factor, and bias and root mean square error over the mean, of both sides."""
    structures = np.array([channel.object for channel in model.card.channels])
    rows = []
    for quantity, name in ((2, "lean mass"), (1, "volume")):
        for structure in dict.fromkeys(structures):
            of = structures == structure
            true = truth[:, quantity, of]
            if not np.isfinite(true).any():
                continue
            row = {"structure": structure, "quantity": name, "factor": f"{factors[quantity, of][0]:.2f}"}
            for when, predicted in (("before", before), ("after", after)):
                off = predicted[:, quantity, of] - true
                row[f"bias {when}"] = f"{100 * np.nanmean(off) / np.nanmean(true):+.0f} %"
                row[f"error {when}"] = f"{100 * np.sqrt(np.nanmean(off**2)) / np.nanmean(true):.0f} %"
            rows.append(row)
    return f"{len(truth)} patients, each by the others\n{pd.DataFrame(rows).to_string(index=False)}"
