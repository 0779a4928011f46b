"""CPU time until held-out patients' mean muscle PCC of lean mass reaches a value: this project's recipe, the paper's.

Trains both on the patients outside one fold of a finished `results` (with simulated.safetensors), looks often, and
prints both curves and the time of the first look from which on the PCC stays at or above the value.

Use: python benchmarks/learning/time_to_accuracy.py results [--fold 0] [--target 0.8] [--ours mskdex_simulated]
         [--our-epochs 6] [--paper-epochs 26] [--looks 12]

The paper's recipe is the experiment `mskdex` of `evidence.yaml`: its losses, its head, the same backbone, the same
patients.
"""

import argparse
from pathlib import Path

import yaml
from curve import Point, follow
from measures import Cohort

from mskdex.config.learning import ExperimentSettings

EVIDENCE = Path(__file__).with_name("evidence.yaml")


def reached(curve: list[Point], target: float) -> float | None:
    """CPU-seconds at the first look from which on the PCC stays at or above the target; None where it does not."""
    above = [p.held_out["mass"] >= target for p in curve]
    return next((p.cpu_s for i, p in enumerate(curve) if all(above[i:])), None)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("results", type=Path)
    parser.add_argument("--fold", type=int, default=0)
    parser.add_argument("--target", type=float, default=0.8)
    parser.add_argument("--ours", default="mskdex_simulated")
    parser.add_argument("--our-epochs", type=int, default=6)
    parser.add_argument("--paper-epochs", type=int, default=26)
    parser.add_argument("--looks", type=int, default=12)
    options = parser.parse_args()
    experiments = yaml.safe_load(EVIDENCE.read_text(encoding="utf-8"))["experiments"]
    cohort, times = Cohort(options.results), {}
    for name, epochs in ((options.ours, options.our_epochs), ("mskdex", options.paper_epochs)):
        content = experiments[name]
        content["optimisation"] |= {"epochs": epochs, "restart_epochs": epochs}
        curve = []
        for point in follow(cohort, options.results, ExperimentSettings(**content), options.fold, options.looks):
            curve.append(point)
            print(f"{name}: {point.steps} steps, {point.cpu_s:.0f} CPU-s, PCC {point.held_out['mass']:.3f}", flush=True)
        times[name] = reached(curve, options.target)
    for name, found in times.items():
        print(f"{name} reaches {options.target:g}", "never" if found is None else f"after {found:.0f} CPU-s")


if __name__ == "__main__":
    main()
