"""What processed radiographs cost: the same bodies as every department shows them, to a trained model and to a ridge.

    python benchmarks/learning/departments.py run RESULTS --config CONFIG --experiment mskdex --fold 0 --out FOLDER
    python benchmarks/learning/departments.py table RESULTS --out FOLDER

RESULTS is a run of virtual patients, CONFIG what it was made with. The fold's test patients are X-rayed once more, in
the same posture, by every department: as raw values (arvik, belmora), by those whose curve is learned from the training
patients (corvia, dunmere), and by one that no training patient has (estrand). Each file is written, imported, and
predicted as a new radiograph, with the curves and without. `table` prints the agreement with the truth of the network
and of a ridge regression on thumbnails, which is fitted to the absolute radiographs of the training patients alone. A
patient who is in FOLDER is not made again.
"""

import argparse
import json
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from mskdex.api.prediction import _on_grid, load_model, predict_batch
from mskdex.api.radiographs import read_radiograph
from mskdex.config import Config
from mskdex.config.reading import read_config_file
from mskdex.evaluation.deployed import Deployed
from mskdex.evaluation.ridge import Rows, predict_ridge
from mskdex.evaluation.thumbnails import thumbnail
from mskdex.imaging.radiograph_import import Imported
from mskdex.io.artifacts import read_json, read_parquet
from mskdex.io.greys import greys_of
from mskdex.io.stack import read_stack
from mskdex.io.volume import read_labelled
from mskdex.models.device_profiles import DeviceProfile, fit_profiles
from mskdex.models.model import Model
from mskdex.pipeline.stages.calibrate import _pose, compare, judged
from mskdex.registration.bodies import find_bodies
from mskdex.registration.fixed_image import View
from mskdex.registration.grey_calibration import PIXEL_MM
from mskdex.virtual.departments import DEPARTMENTS as VENDORS
from mskdex.virtual.patient import retaken
from mskdex.virtual.population import Person, person
from mskdex.virtual.radiograph_file import write_radiograph

RAW = "arvik"
SHOWN = (RAW, "belmora", "corvia", "dunmere", "estrand")
COLUMNS = {"volume": "volume_cm3", "lean_mass": "lean_mass_g"}
READINGS = ("by profile", "as standardised")
PIXELS = 16


def profiles_of(results: Path, patients: Sequence[str]) -> tuple[DeviceProfile, ...]:
    """Device profiles of a run's patients, each compared with the CT at its registered pose."""
    samples = []
    for name in patients:
        folder, sound = results / "patients" / name, Config().calibration
        pose = _pose(read_json(folder / "pose.json")["bodies"])
        truth = json.loads((results / "virtual" / name / "truth.json").read_text(encoding="utf-8"))
        seen = _read(results / "virtual" / name / "radiograph.dcm", truth["department"], truth["camera"]["sdd_mm"])
        if pose is None or seen.scale != "relative":
            continue
        ct, labels = read_labelled(folder / "ct.nii.gz", folder / "labels.nii.gz")
        bodies = find_bodies(ct.array, labels, ct.world_from_voxel, Config().channels)
        view = View(seen.image, seen.field, seen.camera).at(PIXEL_MM)
        found = judged(compare(ct.array, ct.world_from_voxel, bodies, view, pose), seen.scale, sound)
        if found["reason"] is None:
            line = {"device": seen.facts["device_profile"], "standardisation": seen.facts["standardisation"]}
            samples.append((seen.scale, greys_of(found | line)))
    return fit_profiles(samples)


def radiographs(one: Person, settings: Any, folder: Path) -> Iterator[tuple[str, Imported]]:
    """The person as every department shows it, imported."""
    examinations = [(one, settings.model_copy(update={"departments": {name: 1.0}})) for name in SHOWN]
    for name, image in zip(SHOWN, retaken(one, examinations), strict=True):
        path = folder / f"{name}.dcm"
        write_radiograph(path, image.grey, image.taken, image.department)
        yield name, _read(path, name, image.taken.camera.sdd_mm)


def _read(path: Path, department: str, sdd_mm: float) -> Imported:
    """Imports a radiograph; where the department's files have no source distance, the sheet gives it."""
    missing = "DistanceSourceToDetector" in VENDORS[department].lacks
    return read_radiograph(path, sdd_mm=sdd_mm if missing else None)


def predictions(models: dict[str, Model], one: Person, settings: Any) -> Iterator[dict[str, Any]]:
    """A row for each department and reading: thumbnail, flags, and the sums by channel and quantity."""
    with tempfile.TemporaryDirectory() as folder:
        for name, seen in radiographs(one, settings, Path(folder)):
            for reading, model in models.items():
                found = predict_batch(model, [seen], Deployed())[0]
                on_grid, _ = _on_grid(model, seen)
                yield {
                    "patient": one.patient_id,
                    "department": name,
                    "reading": reading,
                    "relative": on_grid.relative,
                    "flags": found.flags,
                    "thumbnail": np.round(thumbnail(on_grid.image, PIXELS), 4).ravel().tolist(),
                    "sums": {"volume": found.volumes_cm3, "lean_mass": found.masses_g},
                }


def run(given: argparse.Namespace) -> None:
    """Appends what the file of the fold does not have."""
    trained = given.results / "experiments" / given.experiment / f"fold{given.fold}"
    model, settings = load_model(trained / "model.safetensors"), read_config_file(given.config).virtual
    profiles = profiles_of(given.results, model.card.patients[: given.profiled])
    print(*((p.device, p.patients, p.own_greys, p.error_nepers) for p in profiles), sep="\n", flush=True)
    models = {
        "by profile": replace(model, card=replace(model.card, device_profiles=profiles)),
        "as standardised": replace(model, card=replace(model.card, device_profiles=())),
    }
    tested = sorted(set(read_parquet(trained / "predictions.parquet")["patient_id"]) - set(model.card.patients))
    path = given.out / f"{given.experiment}-{given.fold}.jsonl"
    given.out.mkdir(parents=True, exist_ok=True)
    done = {row["patient"] for row in _rows(path)} if path.exists() else set()
    for name in tested[: given.count]:
        if name not in done:
            rows = [json.dumps(row) + "\n" for row in predictions(models, person(settings, int(name[1:])), settings)]
            with path.open("a", encoding="utf-8") as out:
                out.writelines(rows)


def table(given: argparse.Namespace) -> None:
    """Prints agreement by department and reading, of the network and of the ridge."""
    tables = []
    for path in sorted(given.out.glob("*.jsonl")):
        experiment, _, fold = path.stem.rpartition("-")
        model = load_model(given.results / "experiments" / experiment / f"fold{fold}" / "model.safetensors")
        rows = _rows(path)
        tables += [agreement(given.results, rows, method, fold) for method in (None, Ridge(given.results, model))]
    found = pd.concat(tables)
    columns = ["pcc", "bias_percent", "against_raw_percent", "flagged", "absolute"]
    print(found.groupby(["method", "quantity", "department", "reading"])[columns].mean().round(3).to_string())


class Ridge:
    """Ridge regression on thumbnails of the absolute radiographs that a model was trained on."""

    def __init__(self, results: Path, model: Model) -> None:
        self.names = [f"{c.object}_{c.side}" for c in model.card.channels if c.kind == "muscle"]
        stacks = [read_stack(results / "patients" / n / "stack.safetensors", n) for n in model.card.patients]
        kept = [(n, s) for n, s in zip(model.card.patients, stacks, strict=True) if s.scale == "absolute"]
        pixels = np.stack([thumbnail(s.radiograph, PIXELS).ravel() for _, s in kept])
        self.mean, self.keys = pixels.mean(axis=0), [(q, n) for q in COLUMNS for n in self.names]
        self.truth = np.array([[_truths(results, n)[key] for key in self.keys] for n, _ in kept])
        self.rows = Rows(pixels - self.mean, np.ones((len(kept), 1)))

    def __call__(self, rows: Sequence[dict[str, Any]]) -> list[dict[tuple[str, str], float]]:
        """Sums by (quantity, channel) of each row."""
        asked = Rows(np.array([row["thumbnail"] for row in rows]) - self.mean, np.ones((len(rows), 1)))
        parts = np.arange(len(self.truth)) % 4
        found = predict_ridge(self.rows, self.truth, parts, np.ones(len(parts), bool), asked)
        return [dict(zip(self.keys, values, strict=True)) for values in found]


def agreement(results: Path, rows: list[dict[str, Any]], method: Ridge | None, fold: str) -> pd.DataFrame:
    """By department, reading, quantity and muscle: PCC, bias, and bias against the raw image, in per cent."""
    sums = method(rows) if method else [{(q, n): v for q in COLUMNS for n, v in r["sums"][q].items()} for r in rows]
    long = []
    for row, found in zip(rows, sums, strict=True):
        truths = _truths(results, row["patient"])
        for (quantity, name), value in found.items():
            if (quantity, name) in truths:
                facts = {k: row[k] for k in ("patient", "department", "reading", "relative")}
                facts |= {"flagged": bool(row["flags"]), "quantity": quantity, "muscle": name.rpartition("_")[0]}
                long.append(facts | {"predicted": value, "truth": truths[quantity, name]})
    table, made = pd.DataFrame(long), []
    for (quantity, muscle), both in table.groupby(["quantity", "muscle"]):
        raw = both[(both["department"] == RAW) & (both["reading"] == READINGS[0])]["predicted"].mean()
        for (department, reading), part in both.groupby(["department", "reading"]):
            made.append(
                {
                    "method": "ridge" if method else "network",
                    "fold": fold,
                    "quantity": quantity,
                    "muscle": muscle,
                    "department": department,
                    "reading": reading,
                    "pcc": np.corrcoef(part["truth"], part["predicted"])[0, 1],
                    "bias_percent": 100.0 * (part["predicted"].mean() / part["truth"].mean() - 1.0),
                    "against_raw_percent": 100.0 * (part["predicted"].mean() / raw - 1.0),
                    "flagged": part["flagged"].mean(),
                    "absolute": 1.0 - part["relative"].mean(),
                }
            )
    return pd.DataFrame(made)


def _truths(results: Path, name: str) -> dict[tuple[str, str], float]:
    """True sums of a patient's muscles, by quantity and channel."""
    quantities = json.loads((results / "virtual" / name / "truth.json").read_text(encoding="utf-8"))["quantities"]
    bones = ("pelvis", "femur", "sacrum")
    return {
        (q, n): float(sums[column])
        for n, sums in quantities.items()
        if not n.startswith(bones)
        for q, column in COLUMNS.items()
    }


def _rows(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True)
    for name, do in (("run", run), ("table", table)):
        one = commands.add_parser(name)
        one.add_argument("results", type=Path)
        one.add_argument("--out", type=Path, required=True)
        one.set_defaults(do=do)
        if name == "run":
            one.add_argument("--config", type=Path, required=True)
            one.add_argument("--experiment", default="mskdex")
            one.add_argument("--fold", type=int, default=0)
            one.add_argument("--count", type=int, default=None, help="test patients")
            one.add_argument("--profiled", type=int, default=None, help="training patients of the device profiles")
    given = parser.parse_args()
    given.do(given)


if __name__ == "__main__":
    main()
