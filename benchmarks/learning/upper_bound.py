"""How far it still is: the composition network and its baselines trained on more and more virtual patients.

    python benchmarks/learning/upper_bound.py build/upper_bound [--patients 150 600 2000 4000] [--evidence RESULTS]

Makes the patients of `many_patients.py`, trains on the first N of them, looks at tuning patients of another seed on the
way and keeps the weights of the best look, then predicts the evidence's own patients, of whom nothing was trained or
chosen on. What is in the folder is not made or trained again.
"""

import argparse
import copy
import time
from pathlib import Path

import numpy as np
import pandas as pd
import torch
import yaml
from bound_tables import FUSED, NETWORK, compared, imported_truth, tell
from groups import Group, first, group
from many_patients import Maker, make_all
from measures import measures, muscles_of

from mskdex.config import Config, load_config
from mskdex.config.learning import ExperimentSettings
from mskdex.evaluation.baselines import INNER_PARTS, Design, Fold, predict_baselines
from mskdex.evaluation.thumbnails import Thumbnails, thumbnail
from mskdex.models.model import GridRadiograph, Model, read_model, write_model
from mskdex.pipeline.stages.train import describe, prepare
from mskdex.training.distributed import join_group
from mskdex.training.loop import set_up_torch
from mskdex.training.stack_store import StackStore

REPOSITORY = Path(__file__).parents[2]
TRAINING_SEED, TUNING_SEED, TUNING_PATIENTS = 5001, 5002, 192
CELL_MM, VOXEL_MM, PIXEL_MM = 12.0, 6.0, 1.6
"""Of the patients that are trained on: cells of the growth, voxels of the standing body, pixels of the radiograph."""
BATCH, LOOKS = 8, 8
QUANTITIES = ("volume_cm3", "lean_mass_g")


def experiment(samples: int, patients: int) -> ExperimentSettings:
    """The evidence's experiment `simulated`, which learns from pixels and sums, for so many samples in all."""
    path = Path(__file__).with_name("evidence.yaml")
    content = yaml.safe_load(path.read_text(encoding="utf-8"))["experiments"]["simulated"]
    epochs = max(1, round(samples / patients))
    content["network"] |= {"discriminator_scales": 1}  # none is trained, but two would ask for larger images
    content["optimisation"] |= {"epochs": epochs, "restart_epochs": epochs, "batch_size": BATCH}
    return ExperimentSettings(**content)


def train(own: Group, tuning: Group, chosen: ExperimentSettings, path: Path) -> None:
    """Trains and writes the model of the look at which the tuning patients' PCC was best, with every look beside it."""
    device = torch.device("cpu")
    set_up_torch(device)
    card = describe(own.store, chosen, path.stem, 0)
    trainer, loader = prepare(card, own.store, device, join_group())
    model = Model(card, trainer.final)  # type: ignore[arg-type]
    looks: list[dict[str, float]] = []
    best, weights, began, spent, steps = -1.0, model.generator.state_dict(), time.process_time(), 0.0, 0
    total = chosen.optimisation.epochs * len(loader)
    for epoch in range(chosen.optimisation.epochs):
        for batch in loader.epoch(epoch):
            trainer.train_batch(batch, len(loader))
            trainer.progress.place += 1
            steps += 1
            if steps * LOOKS // total > len(looks):
                spent += time.process_time() - began
                sums = predicted(model, tuning.store)
                found = measures(tuning.patients, np.arange(len(sums)), sums)
                looks.append(
                    {"steps": steps, "cpu_s": round(spent)} | {k: round(float(v), 4) for k, v in found.items()}
                )
                print("  ", looks[-1], flush=True)
                if found["mass"] > best:
                    best, weights = float(found["mass"]), copy.deepcopy(model.generator.state_dict())
                began = time.process_time()
        trainer.progress.epoch, trainer.progress.place = epoch + 1, 0
    model.generator.load_state_dict(weights)
    write_model(path, model.generator, card, {"looks": looks})


def predicted(model: Model, store: StackStore) -> np.ndarray:
    """(patients, 2, muscles), volume and lean mass."""
    seen = [GridRadiograph(s.radiograph, s.camera, s.source_to_isocentre_mm, s.relative) for s in store]
    parts = [model.decompose_batch(seen[i : i + 32]) for i in range(0, len(seen), 32)]
    sums = np.concatenate([p.sum(axis=(-2, -1), dtype=np.float64) for p in parts])
    return sums[:, 1:][:, :, muscles_of(model.card.channels)]


def fused(tuning: Group, sums: np.ndarray, test: Group, estimate: np.ndarray) -> np.ndarray:
    """The network's sums of the test patients joined with demographics, by weights of the tuning patients."""
    known = Design.fit(tuning.sheet)
    designs = known.matrix(tuning.sheet), known.matrix(test.sheet)
    result = np.empty_like(estimate)
    for q, m in np.ndindex(estimate.shape[1:]):
        weights = np.linalg.lstsq(np.column_stack([designs[0], sums[:, q, m]]), tuning.patients.truth[:, q, m])[0]
        result[:, q, m] = np.column_stack([designs[1], estimate[:, q, m]]) @ weights
    return result


def baselines(own: Group, test: Group, pixels: int) -> dict[str, np.ndarray]:
    """What the training patients tell without a network of each test patient, (patients, 2, muscles)."""
    both = [own, test]
    names = [str(p) for g in both for p in g.sheet.index]
    stacks = [s for g in both for s in g.store]
    scales = np.array([s.scale for s in stacks], dtype=object)
    images = np.stack([thumbnail(s.radiograph, pixels) for s in stacks])
    channels = [stacks[0].objects[i] for i in muscles_of(stacks[0].channels)]
    columns = pd.MultiIndex.from_product([QUANTITIES, channels]).swaplevel()
    train = [str(p) for p in own.sheet.index]
    truth = pd.DataFrame(own.patients.truth.reshape(len(train), -1), index=train, columns=columns)
    fold = Fold(train, [str(p) for p in test.sheet.index], np.arange(len(train)) % INNER_PARTS)
    rows = predict_baselines(truth, pd.concat([own.sheet, test.sheet]), Thumbnails(tuple(names), images, scales), fold)
    return {
        str(method): of.pivot_table("predicted", "patient_id", ["channel", "quantity"], dropna=False)
        .loc[fold.test, columns]
        .to_numpy()
        .reshape(len(fold.test), 2, -1)
        for method, of in rows.groupby("method", sort=False)
        if method != "training_mean"
    }


def trained(out: Path, own: Group, tuning: Group, samples: int) -> Model:
    """The network of these training patients; trained where the folder has none."""
    count = len(own.store.patients)
    path = out / f"network_{count}_{own.store.pixels}.safetensors"
    if not path.is_file():
        print(f"{count} patients, {samples} samples", flush=True)
        train(own, tuning, experiment(samples, count), path)
    return read_model(path, torch.device("cpu"), made_here=True)


def estimates(model: Model, own: Group, tuning: Group, test: Group, pixels: int) -> dict[str, np.ndarray]:
    """Every method's sums of the test patients, (patients, 2, muscles); `pixels` are a thumbnail's rows."""
    sums = predicted(model, test.store)
    joined = fused(tuning, predicted(model, tuning.store), test, sums)
    return {NETWORK: sums, FUSED: joined} | baselines(own, test, pixels)


def evidence_config() -> Config:
    """The default config with the evidence's changes."""
    content = yaml.safe_load((REPOSITORY / "config.yaml").read_text(encoding="utf-8"))
    changes = yaml.safe_load(Path(__file__).with_name("evidence.yaml").read_text(encoding="utf-8"))
    for section, values in changes.items():
        content[section] = values if section == "experiments" else {**content[section], **values}
    return load_config(content)


def groups_of(config: Config, out: Path, patients: int, pixels: int) -> dict[str, Group]:
    """Training and tuning patients; the evidence's as the pipeline makes them, and made like the training patients."""
    maker, test = Maker.of(config), config.virtual
    coarse = {"voxel_mm": VOXEL_MM, "radiograph_pixel_mm": PIXEL_MM}
    found = {}
    for name, seed, count, cell_mm in (
        ("tuning", TUNING_SEED, TUNING_PATIENTS, CELL_MM),
        ("test", test.seed, test.patients, None),
        ("test_standing", test.seed, test.patients, CELL_MM),
        ("train", TRAINING_SEED, patients, CELL_MM),
    ):
        settings = test.model_copy(update={"seed": seed, **(coarse if cell_mm else {})})
        found[name] = group(make_all(maker, settings, count, out / name, cell_mm), settings, pixels)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--patients", type=int, nargs="+", default=[150, 600, 2000, 4000])
    parser.add_argument("--samples", type=int, nargs="+", default=[16_000, 20_000, 32_000, 32_000])
    parser.add_argument("--pixels", type=int, default=32, help="rows and columns of the networks' images, at most 64")
    parser.add_argument("--thumbnail", type=int, default=16, help="rows and columns of what the ridge regression sees")
    parser.add_argument("--evidence", type=Path, help="results of evidence.yaml, for its truth")
    options = parser.parse_args()
    if len(options.patients) != len(options.samples):
        parser.error("--samples needs a number for each number of --patients")
    torch.set_num_threads(1)
    groups = groups_of(evidence_config(), options.out, max(options.patients), options.pixels)
    whole, standing, tuning = groups["test"], groups["test_standing"], groups["tuning"]
    of_whole, of_standing = {}, {}
    for count, samples in zip(options.patients, options.samples, strict=True):
        own = first(groups["train"], count)
        model = trained(options.out, own, tuning, samples)
        of_whole[count], of_standing[count] = (
            estimates(model, own, tuning, test, options.thumbnail) for test in (whole, standing)
        )
    print("\nTest patients as the pipeline makes them; truth: their CT without noise")
    tell(whole, whole.patients.truth, of_whole)
    if options.evidence is not None:
        imported = imported_truth(whole, options.evidence)
        print(f"\nThe same; truth: their CT as imported. {compared(imported, whole.patients.truth)}")
        tell(whole, imported, of_whole)
    print("\nThe same persons made as the training patients are; truth: the standing body.", end=" ")
    print(compared(standing.patients.truth, whole.patients.truth))
    tell(standing, standing.patients.truth, of_standing)


if __name__ == "__main__":
    main()
