"""What predictions of muscles are judged by, beside what is known without a radiograph."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from mskdex.cohort.folds import NO_FOLD
from mskdex.config.objects import Channel
from mskdex.training.stack_store import StackStore


@dataclass
class Patients:
    """Some patients' muscles, and what is known of the patients without an image.

    Attributes:
        truth: (patients, 2, muscles), volume and lean mass.
        demographics: (patients, 4), centred and scaled: sex, age, height, weight.
        names, sides: structure and side of each muscle.
    """

    truth: np.ndarray
    demographics: np.ndarray
    names: list[str]
    sides: list[str]

    def differences(self, sums: np.ndarray) -> np.ndarray:
        """(n, 2, muscles) to (n, 2, structures): left minus right."""
        places = {(n, s): i for i, (n, s) in enumerate(zip(self.names, self.sides, strict=True))}
        pairs = [(places[n, "left"], places[n, "right"]) for n in dict.fromkeys(self.names)]
        return np.stack([sums[:, :, a] - sums[:, :, b] for a, b in pairs], axis=2)


def scaled_demographics(sheet: pd.DataFrame) -> np.ndarray:
    """(patients, 4), centred and scaled: sex, age, height, weight."""
    sex = (sheet["sex"] == "F").to_numpy(float)
    known = np.column_stack([sex, *(sheet[c].to_numpy(float) for c in ("age", "height_cm", "weight_kg"))])
    return np.asarray((known - known.mean(axis=0)) / known.std(axis=0))


def muscles_of(channels: Sequence[Channel]) -> list[int]:
    """Places of the muscles among the channels."""
    return [i for i, channel in enumerate(channels) if channel.kind == "muscle"]


class Cohort(Patients):
    """The patients of a finished `results`, and their muscles' true sums.

    Attributes:
        store: the stacks.
        folds: (patients,), `NO_FOLD` of a cohort that is for evaluation only.
        muscles: places of the muscles among the channels.
    """

    def __init__(self, results: Path):
        sheet = pd.read_parquet(results / "cohort/patients.parquet").set_index("patient_id").sort_index()
        numbers = pd.Series(NO_FOLD, index=sheet.index)
        if (path := results / "cohort/folds.parquet").is_file():  # there is none where all are evaluate_only
            numbers = pd.read_parquet(path).set_index("patient_id")["fold"].sort_index()
            numbers = numbers[numbers != NO_FOLD]
        stacks = {p: results / "patients" / p / "stack.safetensors" for p in numbers.index}
        self.store = StackStore({p: path for p, path in stacks.items() if path.is_file()}, 8e9)
        first = self.store[self.store.patients[0]]
        self.muscles = muscles_of(first.channels)
        whole = [s.patient for s in self.store if s.known[self.muscles].all() and not s.refused]
        if out := sorted(set(self.store.patients) - set(whole)):
            print(
                f"left out, of whom the CT does not hold every muscle or the radiograph does not fit: {', '.join(out)}"
            )
        self.store = StackStore({p: self.store.paths[p] for p in whole}, 8e9)
        patients = list(self.store.patients)
        self.folds = numbers.loc[patients].to_numpy()
        truth = np.stack([s.truth * s.visible for s in self.store])[:, 1:][:, :, self.muscles]
        chosen = [first.channels[i] for i in self.muscles]
        known = scaled_demographics(sheet.loc[patients])
        super().__init__(truth, known, [c.object for c in chosen], [str(c.side) for c in chosen])


def pearson(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Correlation along the first axis; 0 where one does not vary."""
    a, b = a - a.mean(axis=0), b - b.mean(axis=0)
    size = np.sqrt((a**2).sum(axis=0) * (b**2).sum(axis=0))
    return np.divide((a * b).sum(axis=0), size, out=np.zeros_like(size), where=size > 0)


def residual(values: np.ndarray, known: np.ndarray) -> np.ndarray:
    """What a linear regression on `known` (n, k) leaves of (n, …)."""
    design = np.column_stack([np.ones(len(known)), known])
    flat = values.reshape(len(values), -1)
    return (flat - design @ np.linalg.lstsq(design, flat, rcond=None)[0]).reshape(values.shape)


def measures(cohort: Patients, chosen: np.ndarray, predicted: np.ndarray) -> dict[str, float]:
    """Means over the muscles of correlations on the chosen patients, as the evaluation defines them.

    Args:
        cohort: with the truth.
        chosen: places of the patients.
        predicted: (chosen, 2, muscles), volume and lean mass.

    Returns:
        PCC of lean mass and of volume, the mean over muscles and sides; of lean mass alone: partial PCC with
        demographics held fixed, PCC of left minus right, relative bias, and the root mean square error over the mean,
        which does not depend on how different the patients are.
    """
    truth = cohort.truth[chosen]
    volume, mass = pearson(predicted, truth).mean(axis=1)
    known = cohort.demographics[chosen]
    partial = pearson(residual(predicted[:, 1], known), residual(truth[:, 1], known)).mean()
    left_right = pearson(cohort.differences(predicted)[:, 1], cohort.differences(truth)[:, 1]).mean()
    mean = truth[:, 1].mean(axis=0)
    bias = (predicted[:, 1].mean(axis=0) / mean - 1).mean()
    error = (np.sqrt(((predicted - truth)[:, 1] ** 2).mean(axis=0)) / mean).mean()
    found = {"mass": mass, "volume": volume, "partial": partial, "left-right": left_right, "bias": bias}
    return found | {"error": error}


def line(found: dict[str, float]) -> str:
    """The measures in one line."""
    return "  ".join(f"{name} {value:6.3f}" for name, value in found.items())
