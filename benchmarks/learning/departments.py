"""What processed radiographs cost: the same bodies as every department shows them, to a trained model.

    python benchmarks/learning/departments.py MODEL --seed 1818 --patients 30 --out FOLDER

MODEL is a model.safetensors of virtual patients of another seed. New persons are X-rayed by every department in the
same posture: as raw values (arvik), by those whose radiographs the training had (corvia, dunmere), and by one that no
training patient has (estrand). Each file is imported and predicted as a new radiograph. The raw image is predicted once
more as if offset and gain were lost, its own quantiles of soft tissue and bone being taken to fixed values: no tone
curve, no enhancement, so that nothing but the scale is lost. Prints agreement with the truth, and with what the model
makes of the raw radiographs, with 95 % intervals of a bootstrap over persons. Persons who are in FOLDER are not made
again. With --results, the results folder of the model's training, the same of estimates joined with demographics
(`fused`): the regression on them is of the training patients, the weights are of the other persons of the same
department.
"""

import argparse
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from mskdex.api.prediction import load_model, predict_batch
from mskdex.api.radiographs import read_radiograph
from mskdex.config.virtual import VirtualSettings
from mskdex.evaluation.baselines import Design, regress
from mskdex.evaluation.model_calibration import ModelCalibration
from mskdex.evaluation.stacking import stack as stacked
from mskdex.imaging.radiograph_import import ImportedRadiograph
from mskdex.imaging.relative import standardisation
from mskdex.io.stack import read_stack
from mskdex.models.model import Model
from mskdex.quantities import QUANTITIES
from mskdex.virtual.departments import DEPARTMENTS as VENDORS
from mskdex.virtual.patient import make_patient, retaken
from mskdex.virtual.population import Person, person
from mskdex.virtual.radiograph_file import write_radiograph

RAW = "arvik"
TAKEN = (RAW, "corvia", "dunmere", "estrand")
SCALELESS = "raw, scale taken away"
SHOWN = (*TAKEN, SCALELESS)
COLUMNS = {"volume": "volume_cm3", "lean_mass": "lean_mass_g"}
BONES = ("pelvis", "femur", "sacrum")
RESAMPLES = 300


def make(one: Person, settings: VirtualSettings, folder: Path) -> None:
    """Writes the person's radiographs of all departments, and what is true."""
    if (folder / "truth.json").exists():
        return
    folder.mkdir(parents=True, exist_ok=True)
    truth: dict[str, Any] = {"quantities": make_patient(one, settings).truth["quantities"], "sdd_mm": {}}
    examinations = [(one, settings.model_copy(update={"departments": {name: 1.0}})) for name in TAKEN]
    for name, image in zip(TAKEN, retaken(one, examinations), strict=True):
        write_radiograph(folder / f"{name}.dcm", image.grey, image.taken, image.department)
        truth["sdd_mm"][name] = image.taken.camera.sdd_mm
    (folder / "truth.json").write_text(json.dumps(truth), encoding="utf-8")


def predictions(model: Model, folder: Path, one: Person) -> Iterator[dict]:
    """A row for each department, quantity and muscle; a source distance that files lack is told as by the sheet."""
    truth = json.loads((folder / "truth.json").read_text(encoding="utf-8"))
    seen = {}
    for name in TAKEN:
        missing = "DistanceSourceToDetector" in VENDORS[name].lacks
        seen[name] = read_radiograph(folder / f"{name}.dcm", sdd_mm=truth["sdd_mm"][name] if missing else None)
    seen[SCALELESS] = without_scale(seen[RAW])
    for name, image in seen.items():
        found = predict_batch(as_it_is(model) if name == SCALELESS else model, [image], ModelCalibration())[0]
        unknown = any(flag.startswith("device unknown") for flag in found.flags)
        for quantity, sums in (("volume", found.volumes_cm3), ("lean_mass", found.masses_g)):
            for channel, value in sums.items():
                if not channel.startswith(BONES):
                    true = truth["quantities"][channel][COLUMNS[quantity]]
                    facts = {"person": folder.name, "department": name, "unknown": unknown, "quantity": quantity}
                    known = {c: getattr(one, c) for c in ("sex", "age", "height_cm", "weight_kg")}
                    yield facts | known | {"channel": channel, "predicted": value, "truth": true}


def without_scale(raw: ImportedRadiograph) -> ImportedRadiograph:
    """A raw radiograph as one of relative scale."""
    gain, offset = standardisation(raw.image, raw.field)
    facts = raw.facts | {"scale": "relative", "standardisation": [gain, offset]}
    return replace(raw, image=(gain * raw.image + offset).astype(np.float32), facts=facts)


def as_it_is(model: Model) -> Model:
    """The model, reading no image by a device's curve."""
    return replace(model, card=replace(model.card, device_profiles=()))


def joined(rows: pd.DataFrame, model: Model, results: Path) -> np.ndarray:
    """Each prediction joined with demographics as the evaluation joins them, (rows,)."""
    people = pd.read_parquet(results / "cohort/patients.parquet").set_index("patient_id").loc[list(model.card.patients)]
    stacks = [read_stack(results / "patients" / p / "stack.safetensors", p) for p in people.index]
    design, found = Design.fit(people), pd.Series(np.nan, index=rows.index)
    for (_, quantity, channel), part in rows.groupby(["department", "quantity", "channel"]):
        place = stacks[0].objects.index(channel)
        truths = np.array([s.truth[QUANTITIES.index(quantity), place] if s.known[place] else np.nan for s in stacks])
        regressed = regress(design.matrix(people), truths, design.matrix(part))
        mean, spread = np.nanmean(truths), np.nanstd(truths, ddof=1)
        of = [(v - mean) / spread for v in (part["truth"].to_numpy(), regressed, part["predicted"].to_numpy())]
        found[part.index] = mean + spread * stacked(*of, part["person"].to_numpy())
    return found.to_numpy()


def agreement(cube: np.ndarray, truth: np.ndarray, raw: np.ndarray) -> tuple[float, float, float, float]:
    """PCC, its difference from the raw images', bias against these and against the truth in per cent; means of muscles.

    Args:
        cube: predictions, (persons, muscles). truth: the same. raw: predictions of the raw images.
    """
    pcc, before = (np.mean([np.corrcoef(a, b)[0, 1] for a, b in zip(v.T, truth.T, strict=True)]) for v in (cube, raw))
    against = [100.0 * np.mean(cube.mean(axis=0) / other.mean(axis=0) - 1.0) for other in (raw, truth)]
    return float(pcc), float(pcc - before), float(against[0]), float(against[1])


def table(rows: pd.DataFrame, estimate: str) -> None:
    """Prints a line for each quantity and department, of a column of predictions."""
    print(f"\n{estimate}")
    print("| quantity | department | PCC | − raw | against raw, % | against truth, % | device flagged |")
    print("|---|---|---|---|---|---|---|")
    count = rows["person"].nunique()
    order = np.random.default_rng(0).integers(0, count, (RESAMPLES, count))
    for quantity in COLUMNS:
        parts = {name: rows[(rows["quantity"] == quantity) & (rows["department"] == name)] for name in SHOWN}
        cubes = {name: _cube(part, estimate) for name, part in parts.items()}
        truth, raw = _cube(parts[RAW], "truth"), cubes[RAW]
        for name, cube in cubes.items():
            found = agreement(cube, truth, raw)
            drawn = np.array([agreement(cube[i], truth[i], raw[i]) for i in order])
            low, high = np.quantile(drawn, [0.025, 0.975], axis=0)
            cells = [
                f"{found[0]:.2f}",
                f"{found[1]:+.3f} ({low[1]:+.3f} to {high[1]:+.3f})",
                f"{found[2]:+.1f} ({low[2]:+.1f} to {high[2]:+.1f})",
                f"{found[3]:+.1f}",
                f"{100 * parts[name]['unknown'].mean():.0f} %",
            ]
            print(f"| {quantity} | {name} | {' | '.join(cells)} |")


def _cube(rows: pd.DataFrame, column: str) -> np.ndarray:
    """(persons, muscles)."""
    return rows.set_index(["person", "channel"])[column].sort_index().to_numpy().reshape(rows["person"].nunique(), -1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("--seed", type=int, default=1818)
    parser.add_argument("--patients", type=int, default=30)
    parser.add_argument("--voxel-mm", type=float, default=5.0)
    parser.add_argument("--out", type=Path, required=True, help="folder that keeps the radiographs")
    parser.add_argument("--results", type=Path, help="of the model's training, for estimates joined with demographics")
    given = parser.parse_args()
    settings = VirtualSettings(
        patients=max(given.patients, 2), seed=given.seed, voxel_mm=given.voxel_mm, radiograph_pixel_mm=0.8
    )
    model = load_model(given.model)
    for p in model.card.device_profiles:
        print(p.device, p.scale, p.patients, bool(p.grey), p.error_nepers, p.standardised_nepers)
    rows = []
    for number in range(1, given.patients + 1):
        one = person(settings, number)
        make(one, settings, given.out / one.patient_id)
        rows += predictions(model, given.out / one.patient_id, one)
    found = pd.DataFrame(rows)
    table(found, "predicted")
    if given.results:
        table(found.assign(fused=joined(found, model, given.results)), "fused")


if __name__ == "__main__":
    main()
