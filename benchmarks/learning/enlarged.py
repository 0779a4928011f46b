"""Whether decompositions on a finer grid are nearer to the truth: predicted DRRs enlarged twice, beside the true ones.

Of an experiment's held-out virtual patients, on the grid of their true images; means over structures and patients of
lean mass. "linear" is bilinear interpolation, "sums kept" what `mskdex.imaging.enlarge` draws, "radiograph followed"
the same of each object's share of the attenuation, times the radiograph on the finer grid. "truth" is the true DRR on
the prediction's grid, enlarged so too: what the coarser grid costs by itself. The last two rows are on the prediction's
own grid. "mirrored" is the mean of a radiograph's decomposition and its mirror image's.

Use: python benchmarks/learning/enlarged.py results --experiment mskdex_simulated [--fold 0] [--patients 20]
"""

import argparse
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from scipy import ndimage

from mskdex.evaluation.decompositions import intensity_ranges
from mskdex.evaluation.images import gradient_correlation
from mskdex.evaluation.maps import TRUTH_IMAGES, PosedDrrs, measures, on_grid
from mskdex.imaging.area_average import average_onto
from mskdex.imaging.enlarge import enlarged
from mskdex.imaging.radiograph import read_radiograph
from mskdex.io.artifacts import read_parquet
from mskdex.io.stack import Stack, read_stack
from mskdex.models.device_profiles import by_profile, stack_by_profile
from mskdex.models.model import Model, read_model
from mskdex.quantities import COLUMNS, QUANTITIES

FACTOR = 2
MASS = QUANTITIES.index("lean_mass")
SHOWN = ["relative_l1", "psnr_db", "ssim", "dice", "gc"]


def radiograph_on(patient_dir: Path, stack: Stack, model: Model) -> np.ndarray:
    """The radiograph as the network takes it, on the finer grid."""
    own, fine = read_radiograph(patient_dir), finer(stack)
    image, _ = average_onto(own.image, own.field, own.camera, fine)
    return by_profile(image, stack.scale, stack.greys, model.card.device_profiles)[0]


def finer(stack: Stack):
    """The camera of the finer grid."""
    rows, columns = stack.camera.shape
    return stack.camera.resized((rows * FACTOR, columns * FACTOR), stack.camera.pixel_mm / FACTOR)


def following(drr: np.ndarray, radiograph: np.ndarray) -> np.ndarray:
    """DRRs (N, H, W) on the grid of a finer radiograph: shares of attenuation enlarged, each pixel's sum kept."""
    attenuation = np.maximum(radiograph.astype(np.float64), 1e-3)
    rows, columns = drr.shape[-2:]

    def sums(images: np.ndarray) -> np.ndarray:
        return images.reshape(*images.shape[:-2], rows, FACTOR, columns, FACTOR).sum(axis=(-3, -1))

    found = linear(drr / sums(attenuation)) * FACTOR**2 * attenuation
    held = sums(found)
    factor = np.divide(drr, held, out=np.zeros_like(held), where=held > 0.0)
    return found * factor.repeat(FACTOR, axis=-2).repeat(FACTOR, axis=-1)


def linear(images: np.ndarray) -> np.ndarray:
    """Bilinear interpolation, (N, H, W)."""
    zoom = (1, FACTOR, FACTOR)
    return ndimage.zoom(images, zoom, order=1, mode="nearest", grid_mode=True) / FACTOR**2


def decompositions(model: Model, stack: Stack) -> tuple[np.ndarray, np.ndarray]:
    """Lean mass (N, H, W) of the radiograph, and the mean with its mirror image's."""
    seen = stack_by_profile(stack, model.card.device_profiles)
    rest = (seen.camera, seen.source_to_isocentre_mm, seen.relative)
    own = model.decompose(seen.radiograph, *rest)[MASS].astype(np.float64)
    names = [n.replace("_left", "_?").replace("_right", "_left").replace("_?", "_right") for n in model.card.objects]
    swapped = [model.card.objects.index(n) for n in names]
    mirror = model.decompose(seen.radiograph[:, ::-1].copy(), *rest)[MASS][swapped, :, ::-1]
    return own, (own + mirror) / 2.0


def rows_of(model: Model, results: Path, patient: str, ranges: dict) -> Iterator[dict]:
    """The measures of every method, object by object."""
    stack = read_stack(results / "patients" / patient / "stack.safetensors", patient)
    if stack.refused:
        return
    posed = PosedDrrs.read(results / "virtual" / patient / TRUTH_IMAGES)
    own, mirrored = decompositions(model, stack)
    coarse = np.zeros_like(own)
    for n, channel in enumerate(model.card.channels):
        if channel.name in posed.drr:
            coarse[n] = on_grid(posed.drr[channel.name][MASS], posed.camera, stack.camera)
    fine = finer(stack)
    grid = fine if fine.pixel_mm >= posed.camera.pixel_mm else posed.camera
    found = {
        "pixels repeated": own.repeat(FACTOR, axis=1).repeat(FACTOR, axis=2) / FACTOR**2,
        "linear": linear(own),
        "sums kept": enlarged(own, FACTOR),
        "radiograph followed": following(own, radiograph_on(results / "patients" / patient, stack, model)),
        "sums kept, mirrored": enlarged(mirrored, FACTOR),
        "truth, sums kept": enlarged(coarse, FACTOR),
    }
    for n, channel in enumerate(model.card.channels):
        if channel.name not in posed.drr:
            continue
        data_range = ranges[channel.object][COLUMNS["lean_mass"]]
        truth = on_grid(posed.drr[channel.name][MASS], posed.camera, grid)
        area = (grid.pixel_mm / stack.camera.pixel_mm) ** 2
        images = {m: (on_grid(d[n], fine, grid), truth, data_range * area) for m, d in found.items()}
        images["own grid"] = (own[n], coarse[n], data_range)
        images["own grid, mirrored"] = (mirrored[n], coarse[n], data_range)
        for method, (image, true, scale) in images.items():
            told = measures(image, true, scale) | {"gc": gradient_correlation(image, true)}
            yield {"patient": patient, "method": method, "kind": channel.kind, **told}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("results", type=Path)
    parser.add_argument("--experiment", required=True)
    parser.add_argument("--fold", type=int, default=0)
    parser.add_argument("--patients", type=int, help="the first so many of the fold; all by default")
    options = parser.parse_args()
    path = options.results / "experiments" / options.experiment / f"fold{options.fold}" / "model.safetensors"
    model = read_model(path, torch.device("cpu"), made_here=True)
    folds = read_parquet(options.results / "cohort" / "folds.parquet")
    chosen = sorted(folds.loc[folds["fold"] == options.fold, "patient_id"])[: options.patients]
    ranges = intensity_ranges(options.results / "patients", model.card.patients, model.card.objects)
    table = pd.DataFrame([row for p in chosen for row in rows_of(model, options.results, p, ranges)])
    print(f"{table['patient'].nunique()} patients")
    print(table.groupby(["kind", "method"], sort=False)[SHOWN].mean().round(3).to_string())
    each = table.pivot_table("relative_l1", ["kind", "patient"], "method")
    fewer = each.lt(each["linear"], axis=0).groupby("kind").sum()
    print("patients whose relative L1 is less than by linear interpolation")
    print(fewer[["pixels repeated", "sums kept", "radiograph followed", "sums kept, mirrored"]].to_string())


if __name__ == "__main__":
    main()
