"""What is known of the muscles without a network, fold by fold of a finished `results`, in the measures of `curve.py`.

The baselines are the evaluation's: a regression on sex, age, height and weight; ridge regression on a thumbnail of the
radiograph; and both.

Use: python benchmarks/learning/baselines.py results [--thumbnail 16] [--fold 0]
"""

import argparse
from pathlib import Path

import numpy as np
import pandas as pd
from measures import Cohort, line, measures

from mskdex.evaluation.baselines import Fold, predict_baselines
from mskdex.evaluation.thumbnails import Thumbnails

QUANTITIES = ("volume_cm3", "lean_mass_g")


def predicted(cohort: Cohort, results: Path, pixels: int, fold: int) -> dict[str, np.ndarray]:
    """Each baseline's (test patients, 2, muscles), in the order of the cohort."""
    patients = list(cohort.store.patients)
    channels = [cohort.store[patients[0]].objects[i] for i in cohort.muscles]
    columns = pd.MultiIndex.from_product([QUANTITIES, channels]).swaplevel()
    truth = pd.DataFrame(cohort.truth.reshape(len(patients), -1), index=patients, columns=columns)
    sheet = pd.read_parquet(results / "cohort/patients.parquet").set_index("patient_id")
    thumbnails = Thumbnails.read(results / "patients", patients, cohort.store[patients[0]].objects, pixels)
    folds = pd.Series(cohort.folds, index=patients)
    found = predict_baselines(truth, sheet, thumbnails, Fold.of(fold, folds, pd.Series(patients, index=patients)))
    test = folds.index[folds == fold]
    return {
        str(method): rows.pivot_table("predicted", "patient_id", ["channel", "quantity"], dropna=False)
        .loc[test, columns]
        .to_numpy()
        .reshape(len(test), 2, -1)
        for method, rows in found.groupby("method", sort=False)
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("results", type=Path)
    parser.add_argument("--thumbnail", type=int, default=16)
    parser.add_argument("--fold", type=int, action="append")
    options = parser.parse_args()
    cohort = Cohort(options.results)
    for fold in options.fold or np.unique(cohort.folds):
        test = np.flatnonzero(cohort.folds == fold)
        print(f"fold {fold}: {(cohort.folds != fold).sum()} training patients, {len(test)} others")
        for name, sums in predicted(cohort, options.results, options.thumbnail, fold).items():
            if name != "training_mean":
                print(f"  {name:28s}  {line(measures(cohort, test, sums))}")


if __name__ == "__main__":
    main()
