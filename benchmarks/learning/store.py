"""Size and decoding speed of stored stacks, with virtual objects as sparse as real ones.

Use: python benchmarks/learning/store.py [--side 512] [--objects 18] [--patient results/patients/V0001]
"""

import argparse
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from scipy import ndimage

from mskdex.config.objects import channels, default_objects
from mskdex.geometry.camera import Camera
from mskdex.io.arrays import Crops, read_crops
from mskdex.io.stack import Stack, read_stack, write_stack
from mskdex.quantities import QUANTITIES
from mskdex.training.batches import dense


def textured(side: int, count: int, share: float, seed: int = 0) -> np.ndarray:
    """(3, count, side, side): ellipses that cover `share` of the image, with the grain of rendered tissue."""
    rng = np.random.default_rng(seed)
    images = np.zeros((len(QUANTITIES), count, side, side), np.float32)
    v, u = np.mgrid[:side, :side] / side
    for n in range(count):
        a = np.sqrt(share / np.pi) * rng.uniform(0.6, 1.6)
        b = share / np.pi / a
        r = 1 - ((u - rng.uniform(0.25, 0.75)) / a) ** 2 - ((v - rng.uniform(0.25, 0.75)) / b) ** 2
        thickness = np.sqrt(np.clip(r, 0, None))
        for q in range(len(QUANTITIES)):
            grain = ndimage.gaussian_filter(rng.normal(size=(side, side)), 1.5)
            images[q, n] = 0.1 * thickness * (1 + 0.1 * grain)
    return images


def sample(side: int, count: int) -> Stack:
    """A made-up patient with `count` objects and five aligned bones."""
    chosen = (channels(default_objects(), frozenset({"femur"})) * 2)[:count]
    camera = Camera(1000.0, 430.0 / side, (side, side), ((side - 1) / 2, (side - 1) / 2))
    rng = np.random.default_rng(1)
    return Stack(
        patient="B001",
        channels=chosen,
        camera=camera,
        radiograph=rng.normal(3, 0.1, (side, side)).astype(np.float32),
        field=np.ones((side, side), bool),
        drr=Crops.of(textured(side, count, 0.06)),
        aligned=Crops.of(textured(side, 5, 0.08, seed=2)),
        aligned_objects=tuple(c.name for c in chosen[:5]),
        truth=np.ones((len(QUANTITIES), count)),
        known=np.ones(count, bool),
        visible=np.ones(count),
        source_to_isocentre_mm=850.0,
    )


def median_seconds(call, repeats: int = 15) -> tuple[float, float]:
    """CPU seconds of a call: median and interquartile range."""
    call()
    times = []
    for _ in range(repeats):
        began = time.process_time()
        call()
        times.append(time.process_time() - began)
    low, middle, high = statistics.quantiles(times, n=4)
    return middle, high - low


def in_place(crops: Crops) -> torch.Tensor:
    """All images of a stack, dense."""
    return dense(crops, np.ones(len(crops.boxes)), torch.from_numpy(crops.values))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--side", type=int, default=512)
    parser.add_argument("--objects", type=int, default=18)
    parser.add_argument("--patient", type=Path, help="folder with a stack.safetensors to measure instead")
    options = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "stack.safetensors"
        if options.patient:
            path = options.patient / "stack.safetensors"
        else:
            write_stack(path, sample(options.side, options.objects))
        stack = read_stack(path)
        print(f"{path.stat().st_size / 1e6:.2f} MB, {len(stack.objects)} objects at {stack.camera.shape}")
        for what, call in (
            ("decoded to crops, as they travel to a GPU", lambda: read_crops(path)),
            ("decoded and put in place, float32", lambda: in_place(read_stack(path).drr)),
        ):
            seconds, spread = median_seconds(call)
            print(f"{what}: {1 / seconds:.0f} samples per CPU-second ({1e3 * seconds:.1f} ± {1e3 * spread:.1f} ms)")


if __name__ == "__main__":
    main()
