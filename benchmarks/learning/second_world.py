"""How models that were trained on one cohort do on another that no fold trained on, beside the baselines.

Predicts the second results' patients with every trained fold's model of the first and averages the folds; the baselines
are fitted on the same training patients. `fused` joins the proposed experiment with demographics by weights fitted on
the first cohort's held-out patients. Prints the measures of `curve.py`, ICC(2,1), the calibration slope,
and differences of PCC with 95 % intervals of a bootstrap over patients. Then the same after recalibration, as `mskdex
recalibrate` does it: by the device profiles and factors of some drawn patients, on all others; means and SDs of some
draws. With --epochs the proposed models are also trained on with those patients and the pairs from their CTs, as
`start_from` does it.

*PCC at the first spread* is what the PCC would be if the second cohort's muscles differed between people as the first
cohort's do: r·u / √(1 + r²(u² − 1)), u the ratio of the standard deviations (Thorndike 1949, case 2).

Use: python benchmarks/learning/second_world.py results second_results [--proposed mskdex_simulated] [--thumbnail 16]
         [--epochs 10] [--pairs 10] [--draws 10]
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from curve import predictions
from measures import Cohort, line, measures, residual

from mskdex.config.learning import ExperimentSettings
from mskdex.evaluation.agreement import Pairs, resamples, statistics
from mskdex.evaluation.baselines import DEMOGRAPHICS, DEMOGRAPHICS_THUMBNAIL, THUMBNAIL, Fold, predict_baselines
from mskdex.evaluation.stacking import FUSED, fuse_new
from mskdex.evaluation.thumbnails import Thumbnails
from mskdex.models.device_profiles import fit_profiles, stack_by_profile
from mskdex.models.model import ModelCard, read_model
from mskdex.models.recalibration import site_profiles, sum_factors
from mskdex.pipeline.stages.train import describe, open_store, prepare
from mskdex.training.distributed import join_group
from mskdex.training.loop import set_up_torch
from mskdex.training.trainer import Trainer

QUANTITIES = ("volume_cm3", "lean_mass_g")
BASELINES = (DEMOGRAPHICS, THUMBNAIL, DEMOGRAPHICS_THUMBNAIL)
PAIRS, DRAWS = 10, 10
TRAINED = "trained on"


def of_each_model(experiment: Path, other: Cohort, pairs: Sequence[int] = ()) -> np.ndarray:
    """Of every trained fold's model, (models, patients, 2, muscles).

    Args:
        experiment: folder with the folds.
        other: the patients.
        pairs: places of those whose CTs tell how the site's devices show attenuation.
    """
    stacks = list(other.store)
    site = fit_profiles((stacks[i].scale, stacks[i].greys) for i in pairs) if len(pairs) else ()
    found = []
    for path in sorted(experiment.glob("fold*/model.safetensors")):
        model = read_model(path, torch.device("cpu"), made_here=True)
        profiles = site_profiles(model.card.device_profiles, site)
        sums = []
        for stack in (stack_by_profile(s, profiles) for s in stacks):
            drr = model.decompose(stack.radiograph, stack.camera, stack.source_to_isocentre_mm, stack.relative)
            sums.append(drr.sum(axis=(-2, -1), dtype=np.float64)[1:, other.muscles])
        found.append(np.stack(sums))
    return np.stack(found)


def of_models(results: Path, experiment: str, other: Cohort, pairs: Sequence[int] = ()) -> np.ndarray:
    """Mean over the trained folds' models, (patients, 2, muscles)."""
    found: np.ndarray = of_each_model(results / "experiments" / experiment, other, pairs).mean(axis=0)
    return found


def by_pairs(other: Cohort, sums: np.ndarray, pairs: Sequence[int]) -> np.ndarray:
    """Sums (patients, 2, muscles) times the factors that the patients `pairs` give."""
    channels = [other.store[other.store.patients[0]].channels[i] for i in other.muscles]
    padded, truth = (np.concatenate([x[pairs, :1], x[pairs]], axis=1) for x in (sums, other.truth))
    found: np.ndarray = sums * sum_factors(padded, truth, channels)[1:]
    return found


def of_baselines(results: Path, own: Cohort, second: Path, other: Cohort, pixels: int) -> dict[str, np.ndarray]:
    """Mean over the folds that were trained, by baseline."""
    known, asked = list(own.store.patients), list(other.store.patients)
    objects = own.store[known[0]].objects
    columns = pd.MultiIndex.from_product([QUANTITIES, [objects[i] for i in own.muscles]]).swaplevel()
    truth = pd.DataFrame(own.truth.reshape(len(known), -1), index=known, columns=columns)
    sheets = [pd.read_parquet(r / "cohort/patients.parquet").set_index("patient_id") for r in (results, second)]
    seen = [Thumbnails.read(r / "patients", p, objects, pixels) for r, p in ((results, known), (second, asked))]
    thumbnails = Thumbnails(
        (*seen[0].patients, *seen[1].patients),
        np.concatenate([s.images for s in seen]),
        np.concatenate([s.scales for s in seen]),
    )
    folds = sorted(
        {int(p.parent.name.removeprefix("fold")) for p in results.glob("experiments/*/fold*/model.safetensors")}
    )
    total: dict[str, list[np.ndarray]] = {}
    for number in folds:
        train = [p for p, f in zip(known, own.folds, strict=True) if f != number]
        parts = np.array([f for f in own.folds if f != number])
        rows = predict_baselines(truth, pd.concat(sheets), thumbnails, Fold(train, asked, parts))
        for method, of in rows.groupby("method", sort=False):
            table = of.pivot_table("predicted", "patient_id", ["channel", "quantity"], dropna=False)
            total.setdefault(str(method), []).append(table.loc[asked, columns].to_numpy().reshape(len(asked), 2, -1))
    return {method: np.mean(values, axis=0) for method, values in total.items()}


def of_fused(
    results: Path, own: Cohort, other: Cohort, proposed: str, estimates: dict[str, np.ndarray]
) -> dict[str, np.ndarray]:
    """The proposed experiment's sums joined with demographics, (patients, 2, muscles)."""
    held_out = pd.read_parquet(results / "evaluation/points.parquet")
    channels = [own.store[own.store.patients[0]].objects[i] for i in own.muscles]
    held_out = held_out[held_out["quantity"].isin(QUANTITIES) & held_out["channel"].isin(channels)]
    structure = held_out.drop_duplicates("channel").set_index("channel")["structure"]
    columns = pd.MultiIndex.from_product([QUANTITIES, channels]).swaplevel()
    truth = pd.DataFrame(own.truth.reshape(len(own.truth), -1), index=list(own.store.patients), columns=columns)
    asked = list(other.store.patients)

    def rows(method: str) -> pd.DataFrame:
        table = pd.MultiIndex.from_product([asked, QUANTITIES, channels], names=["patient_id", "quantity", "channel"])
        frame = pd.DataFrame({"predicted": estimates[method].ravel(), "truth": other.truth.ravel()}, index=table)
        frame = frame.reset_index()
        return frame.assign(method=method, structure=frame["channel"].map(structure), visible=1.0, left_out=None)

    both = pd.concat([rows(proposed), rows(DEMOGRAPHICS)], ignore_index=True)
    table = fuse_new(held_out, both, proposed, truth).pivot_table(
        "predicted", "patient_id", ["channel", "quantity"], dropna=False
    )
    return {FUSED: table.loc[asked, columns].to_numpy().reshape(len(asked), 2, -1)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("results", type=Path)
    parser.add_argument("second", type=Path)
    parser.add_argument("--proposed", default="mskdex_simulated")
    parser.add_argument("--thumbnail", type=int, default=16)
    parser.add_argument("--epochs", type=int, default=0)
    parser.add_argument("--pairs", type=int, default=PAIRS)
    parser.add_argument("--draws", type=int, default=DRAWS)
    options = parser.parse_args()
    own, other = Cohort(options.results), Cohort(options.second)
    for name, cohort in (("second", other), ("first", own)):
        mass = cohort.truth[:, 1]
        left = residual(mass, cohort.demographics)
        spread, beyond = ((x.std(axis=0) / mass.mean(axis=0)).mean() for x in (mass, left))
        print(f"{len(mass)} patients of the {name} cohort: SD of lean mass over its mean {spread:.3f}", end=", ")
        print(f"{beyond:.3f} with demographics held fixed")
    methods = {
        p.name: of_models(options.results, p.name, other) for p in sorted((options.results / "experiments").iterdir())
    }
    methods |= of_baselines(options.results, own, options.second, other, options.thumbnail)
    methods |= of_fused(options.results, own, other, options.proposed, methods)
    wider = own.truth[:, 1].std(axis=0) / own.truth[:, 1].mean(axis=0)
    report(other, methods, options.proposed, wider)
    generator = np.random.default_rng(0)
    draws: dict[str, list[dict[str, float]]] = {}
    for _ in range(options.draws):
        pairs = np.sort(generator.choice(len(other.folds), options.pairs, replace=False))
        sums = methods | {options.proposed: of_models(options.results, options.proposed, other, pairs)}
        again = {name: by_pairs(other, sums[name], pairs) for name in (options.proposed, *BASELINES)}
        again |= of_fused(options.results, own, other, options.proposed, again)
        if options.epochs:
            each = trained_on(options, other, pairs)
            further = again | {options.proposed: by_pairs(other, each.mean(axis=0), pairs)}
            again |= {f"{TRAINED}, model {n}": by_pairs(other, sums, pairs) for n, sums in enumerate(each)}
            again |= {TRAINED: further[options.proposed]}
            again |= {f"{TRAINED}, {FUSED}": of_fused(options.results, own, other, options.proposed, further)[FUSED]}
        for name, values in again.items():
            chosen = np.setdiff1d(np.arange(len(other.folds)), pairs)
            draws.setdefault(name, []).append(
                measures(other, chosen, values[chosen]) | agreement(other, chosen, values, wider)
            )
    print(f"recalibrated on {options.pairs} drawn patients, judged on the others; mean and SD of {options.draws} draws")
    for name, found in draws.items():
        table = pd.DataFrame(found)
        print(f"  {name:28s}  " + "  ".join(f"{c} {table[c].mean():.3f} ± {table[c].std():.3f}" for c in table))


def trained_on(options: argparse.Namespace, other: Cohort, pairs: Sequence[int]) -> np.ndarray:
    """As `of_each_model`, each model trained on with the patients `pairs`, at half its learning rate."""
    device = torch.device("cpu")
    found = []
    for path in sorted((options.results / "experiments" / options.proposed).glob("fold*/model.safetensors")):
        learned = read_model(path, device, made_here=True).card.experiment
        o = learned.optimisation
        changes = {"epochs": options.epochs, "restart_epochs": options.epochs, "learning_rate": o.learning_rate / 2}
        experiment = learned.model_copy(
            update={"start_from": str(path), "optimisation": o.model_copy(update=changes)}, deep=True
        )
        trainer, card = learn(options.second, [other.store.patients[i] for i in pairs], experiment, TRAINED, 0)
        found.append(predictions(trainer, card, other, np.arange(len(other.folds))))
    return np.stack(found)


def learn(
    results: Path, patients: Sequence[str], experiment: ExperimentSettings, name: str, fold: int
) -> tuple[Trainer, ModelCard]:
    """A training to its end on the CPU, in this process."""
    device = torch.device("cpu")
    set_up_torch(device)
    store = open_store(results / "patients", patients, experiment)
    card = describe(store, experiment, name, fold)
    trainer, loader = prepare(card, store, device, join_group())
    while trainer.progress.epoch < experiment.optimisation.epochs:
        for batch in loader.epoch(trainer.progress.epoch):
            trainer.train_batch(batch, len(loader))
            trainer.progress.place += 1
        trainer.finish_epoch(len(loader))
    return trainer, card


def agreement(other: Cohort, chosen: np.ndarray, sums: np.ndarray, wider: np.ndarray) -> dict[str, float]:
    """ICC(2,1), calibration slope and PCC at the first spread of lean mass, means over the muscles.

    `wider`: (muscles,), standard deviation over mean in the first cohort.
    """
    truth, predicted = other.truth[chosen, 1], sums[chosen, 1]
    pairs = Pairs(truth, predicted, np.ones(truth.shape, bool), np.zeros(len(truth), int))
    of = statistics(pairs, np.ones((1, len(truth))))
    r, u = of["pcc"][0], wider / (truth.std(axis=0) / truth.mean(axis=0))
    at_first = float((r * u / np.sqrt(1.0 + r**2 * (u**2 - 1.0))).mean())
    return {"ICC": float(of["icc21"].mean()), "slope": float(of["slope"].mean()), "PCC at the first spread": at_first}


def report(other: Cohort, methods: dict[str, np.ndarray], proposed: str, wider: np.ndarray) -> None:
    """Prints a line per method, and differences of PCC."""
    everyone = np.arange(len(other.folds))
    counts = np.vstack([np.ones(len(everyone)), resamples(len(everyone), 2000, 0)])
    pcc = {}
    for name, sums in methods.items():
        pairs = Pairs(other.truth[:, 1], sums[:, 1], np.ones(sums[:, 1].shape, bool), np.zeros(len(sums), int))
        pcc[name] = statistics(pairs, counts)["pcc"].mean(axis=1)
        print(
            f"  {name:28s}  {line(measures(other, everyone, sums) | agreement(other, everyone, sums, wider))}",
            flush=True,
        )
    for name in (proposed, FUSED):
        for comparator in BASELINES:
            difference = pcc[name] - pcc[comparator]
            low, high = np.nanpercentile(difference[1:], [2.5, 97.5])
            print(f"  PCC {name} - {comparator}: {difference[0]:+.3f} ({low:+.3f} to {high:+.3f})")


if __name__ == "__main__":
    main()
