"""CPU time of a step of the generator alone, forward and back, with each of some backbones in turn.

Use: python benchmarks/learning/backbones.py [--side 32] [--batch 8] [--objects 18] hrnet_tiny:2 unet_small:1

A number behind the colon is the stem's stride.
"""

import argparse
import statistics
import time

import torch

from mskdex.config.learning import NetworkSettings
from mskdex.config.objects import channels, default_objects
from mskdex.models.generator import Generator, make_decomposer


def step(generator: Generator, optimiser: torch.optim.Optimizer, image: torch.Tensor) -> float:
    begin = time.process_time()
    optimiser.zero_grad()
    generator(image).square().mean().backward()
    optimiser.step()
    return time.process_time() - begin


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("backbones", nargs="+")
    parser.add_argument("--side", type=int, default=32)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--objects", type=int, default=18)
    parser.add_argument("--repeats", type=int, default=20)
    options = parser.parse_args()
    torch.set_num_threads(1)
    objects = (channels(default_objects(), frozenset({"femur"})) * 2)[: options.objects]
    image = torch.rand(options.batch, 1, options.side, options.side, generator=torch.Generator().manual_seed(0))
    steps = {}
    for name in options.backbones:
        backbone, stride = name.split(":")
        settings = NetworkSettings.model_validate({"backbone": backbone, "stem_stride": int(stride)})
        generator = make_decomposer(objects, (options.side, options.side), settings, seed=0)
        steps[name] = (generator, torch.optim.AdamW(generator.parameters()))
    times: dict[str, list[float]] = {name: [] for name in steps}
    for repeat in range(options.repeats + 2):
        for name, (generator, optimiser) in steps.items():
            spent = step(generator, optimiser, image)
            if repeat >= 2:
                times[name].append(spent)
    print(f"{options.side}², batch {options.batch}, {options.objects} objects, one thread")
    for name, (generator, _) in steps.items():
        low, middle, high = (1000 * t for t in statistics.quantiles(times[name], n=4))
        count = sum(p.numel() for p in generator.parameters()) / 1e6
        print(f"  {name}: {middle:.0f} CPU-ms (quartiles {low:.0f} to {high:.0f}), {count:.2f} million parameters")


if __name__ == "__main__":
    main()
