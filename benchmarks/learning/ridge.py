"""What is known of the muscles without the network, beside which it has to stand, fold by fold of a finished `results`.

* demographics: a linear regression of the log of each muscle's sum on sex, age, height and weight.
* thumbnail: ridge regression from a thumbnail of each radiograph, on the training patients and their mirror images; the
  penalty is chosen by four-fold cross-validation within the training patients.
* both: the two predictions stacked by least squares, fitted on training patients that were left out of them.

Use: python benchmarks/learning/ridge.py results [--thumbnail 16] [--fold 0]
"""

import argparse
from pathlib import Path

import numpy as np
import torch
from measures import Cohort, line, measures
from torch.nn import functional

from mskdex.training.augmentation import side_swap

PENALTIES = (0.01, 0.03, 0.1, 0.3, 1.0, 3.0)
INNER = 4


def ridge(images: np.ndarray, targets: np.ndarray, asked: np.ndarray, penalty: float) -> np.ndarray:
    """Ridge regression in its dual form, inputs centred and scaled together; (n, P), (n, Q), (m, P) to (m, Q)."""
    mean, level = images.mean(axis=0), targets.mean(axis=0)
    scale = (images - mean).std() * np.sqrt(images.shape[1])
    known, new = (images - mean) / scale, (asked - mean) / scale
    weights = np.linalg.solve(known @ known.T + penalty * np.eye(len(known)), targets - level)
    return new @ known.T @ weights + level


class Rivals:
    """The regressions; all predict logarithms, (patients asked, 2·muscles)."""

    def __init__(self, cohort: Cohort, side: int):
        self.cohort = cohort
        images = torch.as_tensor(np.stack([s.radiograph for s in cohort.store]))[:, None]
        small = functional.adaptive_avg_pool2d(images, side)[:, 0]
        self.plain, self.mirrored = (x.flatten(1).double().numpy() for x in (small, small.flip(-1)))
        swap = side_swap(cohort.store[cohort.store.patients[0]].channels)
        swapped = [cohort.muscles.index(swap[i]) for i in cohort.muscles]
        self.truth = np.log(cohort.truth).reshape(len(self.plain), -1)
        self.other = np.log(cohort.truth[:, :, swapped]).reshape(len(self.plain), -1)

    def thumbnail(self, train: np.ndarray, asked: np.ndarray, penalty: float) -> np.ndarray:
        inputs = np.concatenate([self.plain[train], self.mirrored[train]])
        return ridge(inputs, np.concatenate([self.truth[train], self.other[train]]), self.plain[asked], penalty)

    def demographics(self, train: np.ndarray, asked: np.ndarray) -> np.ndarray:
        design = np.column_stack([np.ones(len(self.plain)), self.cohort.demographics])
        return design[asked] @ np.linalg.lstsq(design[train], self.truth[train], rcond=None)[0]

    def penalty(self, train: np.ndarray) -> float:
        """The penalty with the least error on training patients that were left out."""
        errors = [((self.left_out(train, p) - self.truth[train]) ** 2).mean() for p in PENALTIES]
        return PENALTIES[int(np.argmin(errors))]

    def left_out(self, train: np.ndarray, penalty: float | None) -> np.ndarray:
        """Each training patient as predicted from the other parts: by the thumbnail, or by demographics (None)."""
        found, parts = np.empty_like(self.truth[train]), np.arange(len(train)) % INNER
        for part in range(INNER):
            fit, asked = train[parts != part], train[parts == part]
            one = self.demographics(fit, asked) if penalty is None else self.thumbnail(fit, asked, penalty)
            found[parts == part] = one
        return found

    def both(self, train: np.ndarray, asked: np.ndarray, penalty: float) -> np.ndarray:
        """Stacked, the weights fitted on predictions for patients that were left out."""
        inner = [self.left_out(train, penalty), self.left_out(train, None)]
        outer = [self.thumbnail(train, asked, penalty), self.demographics(train, asked)]
        found = np.empty_like(outer[0])
        for column in range(found.shape[1]):
            design, new = (np.column_stack([np.ones(len(x[0])), *(y[:, column] for y in x)]) for x in (inner, outer))
            found[:, column] = new @ np.linalg.lstsq(design, self.truth[train][:, column], rcond=None)[0]
        return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("results", type=Path)
    parser.add_argument("--thumbnail", type=int, default=16)
    parser.add_argument("--fold", type=int, action="append")
    options = parser.parse_args()
    cohort = Cohort(options.results)
    rivals = Rivals(cohort, options.thumbnail)
    for fold in options.fold or np.unique(cohort.folds):
        train, test = np.flatnonzero(cohort.folds != fold), np.flatnonzero(cohort.folds == fold)
        penalty = rivals.penalty(train)
        print(f"fold {fold}: {len(train)} training patients, {len(test)} others, penalty {penalty}")
        for name, found in (
            ("demographics", rivals.demographics(train, test)),
            ("thumbnail", rivals.thumbnail(train, test, penalty)),
            ("both", rivals.both(train, test, penalty)),
        ):
            predicted = np.exp(found).reshape(len(test), 2, -1)
            print(f"  {name:12s}  {line(measures(cohort, test, predicted))}")


if __name__ == "__main__":
    main()
