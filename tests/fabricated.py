"""A results folder made up for the tests of evaluation and report, through the artifacts' own writers."""

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd

from mskdex.config import Config
from mskdex.config.objects import Channel
from mskdex.geometry.camera import Camera
from mskdex.io.arrays import Crops, write_arrays
from mskdex.io.artifacts import write_json, write_parquet
from mskdex.io.stack import Stack, write_stack
from mskdex.quantities import COLUMNS, QUANTITIES

SIZE = 32
ERRORS = {"mskdex": 0.05, "conventional": 0.30}


@dataclass(frozen=True)
class Fabrication:
    """What to make up."""

    patients: int = 16
    folds: int = 4
    trained: tuple[int, ...] = (0,)
    experiments: dict[str, float] = field(default_factory=lambda: dict(ERRORS))
    truncated: tuple[str, ...] = ("femur",)
    demographics: bool = True
    seed: int = 0
    size: int = SIZE
    external: int = 0


def fabricate(root: Path, what: Fabrication = Fabrication()) -> Path:
    """Writes cohort, patients and experiments under `root` and returns it."""
    generator = np.random.default_rng(what.seed)
    channels = Config().channels
    names = [f"P{i:03d}" for i in range(what.patients)]
    numbers = np.arange(what.patients) % what.folds
    names += [f"X{i:03d}" for i in range(what.external)]  # whom no fold trains on
    folds = pd.DataFrame({"patient_id": names, "fold": [*numbers, *[-1] * what.external]})
    people = _people(names, generator, what.demographics)
    write_parquet(root / "cohort" / "patients.parquet", people)
    write_parquet(root / "cohort" / "folds.parquet", folds)
    write_json(root / "cohort" / "objects.json", [c.model_dump() for c in channels])
    excluded = {"patient_id": ["P900"], "reason": ["hip prosthesis on the left"]}
    write_parquet(root / "cohort" / "excluded.parquet", pd.DataFrame(excluded))
    quality = {"patient_id": ["P000", "P001"], "flags": [0, 2], "reasons": ["", "sacrum volume is small"]}
    write_parquet(root / "cohort" / "quality.parquet", pd.DataFrame(quality))
    truth = {}
    for row in people.itertuples(index=False):
        weight = 60.0 if np.isnan(row.weight_kg) else row.weight_kg
        truth[row.patient_id] = _truth(channels, float(weight), generator)
        _patient(root / "patients" / row.patient_id, row.patient_id, channels, truth[row.patient_id], what, generator)
    for name, error in what.experiments.items():
        for fold in what.trained:
            _fold(
                root / "experiments" / name / f"fold{fold}", name, fold, folds, channels, truth, error, what, generator
            )
    return root


def _people(names: list[str], generator: np.random.Generator, demographics: bool) -> pd.DataFrame:
    count = len(names)
    table = pd.DataFrame(
        {
            "patient_id": names,
            "sex": ["F" if g < 0.8 else "M" for g in generator.random(count)],
            "age": generator.normal(62, 10, count).round(),
            "height_cm": generator.normal(157, 8, count).round(1),
            "weight_kg": generator.normal(57, 11, count).round(1),
            "label_source": "totalsegmentator",
        }
    )
    if not demographics:
        table["sex"] = None
        table[["age", "height_cm", "weight_kg"]] = np.nan
    return table


def _truth(channels: tuple[Channel, ...], weight_kg: float, generator: np.random.Generator) -> np.ndarray:
    """(3, N) weighted volume, volume, lean mass."""
    volume = np.array([200 + 8 * weight_kg * (1 + 0.3 * generator.standard_normal()) for _ in channels])
    volume *= np.linspace(1.0, 0.2, len(channels))
    return np.stack([1.04 * volume, volume, 0.9 * volume * generator.uniform(0.9, 1.0, len(channels))])


def _blobs(channels: tuple[Channel, ...], sums: np.ndarray, size: int, shift: float = 0.0) -> np.ndarray:
    """(3, N, H, W) smooth blobs, sparse, whose sums are `sums` (3, N)."""
    rows, columns = np.mgrid[:size, :size] / size
    images = []
    for i, channel in enumerate(channels):
        x = {"left": 0.68, "right": 0.32, "midline": 0.5}[channel.side] + shift
        y = 0.25 + 0.5 * i / len(channels)
        image = np.exp(-((columns - x) ** 2 + (rows - y) ** 2) / 0.01)
        image[image < 0.05] = 0.0
        images.append(image / image.sum())
    return np.asarray(np.stack(images)[None] * sums[..., None, None])


def _patient(
    folder: Path,
    name: str,
    channels: tuple[Channel, ...],
    truth: np.ndarray,
    what: Fabrication,
    generator: np.random.Generator,
) -> None:
    warnings = ["the radiograph shows no unattenuated beam"] if name == "P001" else []
    write_json(folder / "import.json", {"warnings": warnings})
    truncated = np.array([c.object in what.truncated for c in channels])
    table = pd.DataFrame(
        {
            "object": [c.name for c in channels],
            **{COLUMNS[q]: truth[i] for i, q in enumerate(QUANTITIES)},
            "mean_hu": generator.normal(45, 5, len(channels)),
            "voxels": (truth[1] * 37).astype(int),
            "present": True,
            "truncated": truncated,
        }
    )
    write_parquet(folder / "quantities.parquet", table)
    accepted = {b: bool(generator.random() > 0.1) for b in ("pelvis", "femur_left", "femur_right")}
    write_json(
        folder / "pose.json", {"bodies": {b: _pose(b, a, channels) for b, a in accepted.items()}, "manifest": {}}
    )
    camera = Camera(1000.0, 430.0 / what.size, (what.size, what.size), ((what.size - 1) / 2,) * 2)
    bones = [i for i, c in enumerate(channels) if c.body and accepted[c.body]]
    drr = _blobs(channels, truth, what.size).astype(np.float32)
    aligned = _blobs(channels, truth, what.size, 0.03).astype(np.float32)[:, bones]
    stack = Stack(
        patient=name,
        channels=channels,
        camera=camera,
        radiograph=drr[0].sum(axis=0).astype(np.float32) / 50.0,
        field=np.ones((what.size, what.size), bool),
        drr=Crops.of(drr),
        aligned=Crops.of(aligned),
        aligned_objects=tuple(channels[i].name for i in bones),
        truth=truth,
        known=~truncated,
        visible=np.ones(len(channels)),
        source_to_isocentre_mm=800.0,
    )
    write_stack(folder / "stack.safetensors", stack)


def _pose(body: str, accepted: bool, channels: tuple[Channel, ...]) -> dict:
    eye = np.eye(4).tolist()
    return {
        "objects": [c.name for c in channels if c.body == body],
        "camera_from_ct": eye if accepted else None,
        "start": eye,
        "similarity": 0.81,
        "confidence": 0.97 if accepted else 0.2,
        "accepted": accepted,
        "reason": None if accepted else "confidence 0.20 is below 0.50",
        "sd_mm": [0.2, 0.3, 1.1],
        "sd_deg": [0.2, 0.1, 0.1],
        "seconds": 1.3,
    }


def _fold(
    folder: Path,
    experiment: str,
    fold: int,
    folds: pd.DataFrame,
    channels: tuple[Channel, ...],
    truth: dict[str, np.ndarray],
    error: float,
    what: Fabrication,
    generator: np.random.Generator,
) -> None:
    test = folds.loc[folds["fold"] == fold, "patient_id"].tolist()
    train = folds.loc[~folds["fold"].isin([fold, -1]), "patient_id"].tolist()
    outside = folds.loc[folds["fold"] == -1, "patient_id"].tolist()
    rows = []
    for name in [*test, *outside]:
        predicted = truth[name] * (1 + error * generator.standard_normal(truth[name].shape))
        if name in outside:
            rows += _rows(experiment, -1, name, channels, predicted, truth[name], what)
            continue
        images = _blobs(channels, predicted, what.size, 0.03)
        meta = {"patient": name, "objects": [c.name for c in channels]}
        write_arrays(folder / "decompositions" / f"{name}.safetensors", {"drr": images.astype(np.float16)}, meta)
        rows += _rows(experiment, fold, name, channels, predicted, truth[name], what)
    table = pd.DataFrame(rows)
    write_parquet(folder / "predictions.parquet", table[table["fold"] == fold].reset_index(drop=True))
    if outside:
        write_parquet(folder / "external.parquet", table[table["fold"] == -1].reset_index(drop=True))
    facts = {"stage": "train", "seconds": 62.0, "training_seconds": 60.0, "device": "cpu", "torch": "2.13.0", "seed": 0}
    content = {"experiment": experiment, "fold": fold, "patients": train, "manifest": facts}
    write_json(folder / "train.json", content)
    epochs = np.arange(1, 21)
    history = {"epoch": epochs, "learning_rate": 1e-4 / epochs, "generator": 5 * np.exp(-epochs / 8) + error}
    write_parquet(folder / "history.parquet", pd.DataFrame({**history, "intensity_sum": 1 / epochs}))


def _rows(
    experiment: str,
    fold: int,
    name: str,
    channels: tuple[Channel, ...],
    predicted: np.ndarray,
    truth: np.ndarray,
    what: Fabrication,
) -> list[dict]:
    return [
        {
            "experiment": experiment,
            "fold": fold,
            "patient_id": name,
            "object": c.object,
            "side": c.side,
            "channel": c.name,
            "quantity": COLUMNS[quantity],
            "predicted": predicted[q, i],
            "truth": truth[q, i],
            "truncated": c.object in what.truncated,
            "visible": 1.0,
        }
        for q, quantity in enumerate(QUANTITIES)
        for i, c in enumerate(channels)
    ]
