"""The figures of networks and baselines that learned from more and more patients, beside each other."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from groups import Group, true_sums
from measures import Patients, measures, pearson

from mskdex.evaluation.agreement import Pairs, resamples, statistics
from mskdex.training.stack_store import StackStore

NETWORK, FUSED = "network", "fused"
RESAMPLES = 2000
SHOWN = ("pcc", "low", "high", "women", "men", "partial", "left-right", "icc21", "bias", "slope", "error")


def row(test: Group, sums: np.ndarray, counts: np.ndarray, truth: np.ndarray) -> dict[str, float]:
    """Means over muscles and sides, lean mass."""
    of = Patients(truth, test.patients.demographics, test.patients.names, test.patients.sides)
    pairs = Pairs(truth[:, 1], sums[:, 1], np.ones(sums[:, 1].shape, bool), np.zeros(len(sums), int))
    found = {name: values.mean(axis=1) for name, values in statistics(pairs, counts).items()}
    low, high = np.nanpercentile(found["pcc"][1:], [2.5, 97.5])
    women = (test.sheet["sex"] == "F").to_numpy()
    within = {n: pearson(sums[w, 1], truth[w, 1]).mean() for n, w in (("women", women), ("men", ~women))}
    agree = {"pcc": found["pcc"][0], "low": low, "high": high, "icc21": found["icc21"][0], "slope": found["slope"][0]}
    return measures(of, np.arange(len(sums)), sums) | within | agree


def imported_truth(test: Group, evidence: Path) -> np.ndarray:
    """Sums of the test patients by their imported CTs, (patients, 2, muscles), of a finished run of `evidence.yaml`."""
    stacks = {p: evidence / "patients" / p / "stack.safetensors" for p in test.store.patients}
    return np.stack([true_sums(stack) for stack in StackStore(stacks, 0.0)])


def compared(truth: np.ndarray, exact: np.ndarray) -> str:
    """Lean mass of one truth against that of CTs without noise, both (patients, 2, muscles): means over the muscles."""
    ratio = 100.0 * (truth[:, 1] / exact[:, 1] - 1.0)
    pcc = pearson(truth[:, 1], exact[:, 1]).mean()
    return f"Against that without noise {ratio.mean():+.1f} %, SD {ratio.std(axis=0).mean():.1f} %, PCC {pcc:.3f}"


def tell(test: Group, truth: np.ndarray, found: Mapping[int, Mapping[str, np.ndarray]]) -> None:
    """Prints each method by number of training patients, what more patients gain the network, and differences.

    Args:
        test: the patients. truth: their sums, (patients, 2, muscles).
        found: sums of each method by number of training patients.
    """
    counts = np.vstack([np.ones(len(truth)), resamples(len(truth), RESAMPLES, 0)])
    print("| patients | method |", " | ".join(SHOWN), "|")
    for number, of in found.items():
        for method, sums in of.items():
            values = row(test, sums, counts, truth)
            print(f"| {number} | {method} |", " | ".join(f"{values[k]:.3f}" for k in SHOWN), "|")
    most = max(found)
    best, women = found[most][NETWORK], (test.sheet["sex"] == "F").to_numpy()
    others = {f"network of {n}": of[NETWORK] for n, of in found.items() if n != most}
    others |= {f"{m} of {most}": sums for m, sums in found[most].items() if m != NETWORK}
    for name, sums in others.items():
        parts = []
        for who in (np.ones(len(truth), bool), women):
            draws = _pccs(best, truth, counts * who) - _pccs(sums, truth, counts * who)
            low, high = np.nanpercentile(draws[1:], [2.5, 97.5])
            parts.append(f"{draws[0]:+.3f} ({low:+.3f} to {high:+.3f})")
        print(f"PCC, network of {most} - {name}: {parts[0]}; women {parts[1]}")
    for scale in ("absolute", "relative"):
        who = np.array([s.scale == scale for s in test.store])
        print(f"{who.sum()} radiographs of {scale} scale: PCC {_pccs(best, truth, counts[:1] * who)[0]:.3f}")


def _pccs(sums: np.ndarray, truth: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Mean over the muscles of lean mass's PCC under every weighting of the patients."""
    pairs = Pairs(truth[:, 1], sums[:, 1], np.ones(truth[:, 1].shape, bool), np.zeros(len(truth), int))
    return np.asarray(statistics(pairs, counts)["pcc"].mean(axis=1))
