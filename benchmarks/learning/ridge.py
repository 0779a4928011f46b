"""What a linear model reads from the radiographs of a finished `results`, beside which a network has to stand.

Ridge regression from a thumbnail of each radiograph to the log of each muscle's volume and lean mass, fold by fold, on
the training patients and their mirror images; the penalty is chosen by four-fold cross-validation within the training
patients. Both sides of a muscle are averaged before the PCC is taken, as in `evidence.py`.

Use: python benchmarks/learning/ridge.py results [--thumbnail 16]
"""

import argparse
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch.nn import functional

from mskdex.training.augmentation import side_swap
from mskdex.training.data import StackStore

BONES = ("pelvis", "sacrum", "femur")
PENALTIES = (0.003, 0.01, 0.03, 0.1, 0.3)


def fit(images: np.ndarray, targets: np.ndarray, asked: np.ndarray, penalty: float) -> np.ndarray:
    """Ridge regression in its dual form, inputs centred and scaled together; (n, P), (n, Q), (m, P) to (m, Q)."""
    mean, level = images.mean(axis=0), targets.mean(axis=0)
    scale = (images - mean).std() * np.sqrt(images.shape[1])
    known, new = (images - mean) / scale, (asked - mean) / scale
    weights = np.linalg.solve(known @ known.T + penalty * np.eye(len(known)), targets - level)
    return new @ known.T @ weights + level


def correlations(predicted: np.ndarray, truth: np.ndarray, names: list[str]) -> np.ndarray:
    """Mean PCC of volume and of lean mass over the muscles; both inputs (n, 2·muscles), columns named by muscle."""
    found = []
    for quantity in range(2):
        columns = slice(quantity * len(names), (quantity + 1) * len(names))
        p, t = (pd.DataFrame(x[:, columns].T).groupby(names).mean() for x in (predicted, truth))
        found.append(np.mean([np.corrcoef(p.loc[name], t.loc[name])[0, 1] for name in p.index]))
    return np.array(found)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("results", type=Path)
    parser.add_argument("--thumbnail", type=int, default=16)
    options = parser.parse_args()
    table = pd.read_parquet(options.results / "cohort/folds.parquet").sort_values("patient_id")
    store = StackStore({p: options.results / "patients" / p / "stack.safetensors" for p in table["patient_id"]}, 8e9)
    folds, first = table["fold"].to_numpy(), store[store.patients[0]]
    swap = side_swap(first.channels)
    muscles = [i for i, name in enumerate(first.objects) if not name.startswith(BONES)]
    images = torch.as_tensor(np.stack([s.radiograph for s in store]))[:, None]
    small = functional.adaptive_avg_pool2d(images, options.thumbnail)[:, 0]
    plain, mirrored = (x.flatten(1).double().numpy() for x in (small, small.flip(-1)))
    if cut := [s.patient for s in store if not s.known[muscles].all()]:
        parser.error(f"the CTs of {', '.join(cut)} do not hold every muscle whole; exclude these patients")
    sums = np.stack([s.truth * s.visible for s in store])[:, 1:]
    truth = sums[:, :, muscles].reshape(len(sums), -1)
    other = sums[:, :, swap][:, :, muscles].reshape(len(sums), -1)
    names = [first.channels[i].object for i in muscles]

    def score(train: np.ndarray, test: np.ndarray, penalty: float) -> np.ndarray:
        inputs, targets = np.concatenate([plain[train], mirrored[train]]), np.concatenate([truth[train], other[train]])
        return correlations(np.exp(fit(inputs, np.log(targets), plain[test], penalty)), truth[test], names)

    rows = []
    for fold in np.unique(folds):
        train, test = np.flatnonzero(folds != fold), np.flatnonzero(folds == fold)
        parts = np.arange(len(train)) % 4
        inner = [np.mean([score(train[parts != i], train[parts == i], p) for i in range(4)]) for p in PENALTIES]
        penalty = PENALTIES[int(np.argmax(inner))]
        rows.append(score(train, test, penalty))
        print(
            f"fold {fold}: lean mass {rows[-1][1]:.2f}, volume {rows[-1][0]:.2f} (penalty {penalty}, n = {len(test)})"
        )
    volume, mass = np.mean(rows, axis=0)
    print(f"mean: lean mass {mass:.2f}, volume {volume:.2f}")


if __name__ == "__main__":
    main()
