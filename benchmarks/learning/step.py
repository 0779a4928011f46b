"""One optimisation step against a straightforward CycleGAN loop with the same networks and losses.

The straightforward loop follows the plan of pytorch-CycleGAN-and-pix2pix: four passes of the generators, one pass
of a discriminator per loss term, Sobel filters as grouped convolutions, the default AdamW, float32.
Both run in turn in one process, so that a busy machine slows both.

Use: python benchmarks/learning/step.py [--side 128] [--backbone hrnet_tiny] [--batch 2] [--objects 18] [--device cpu]
"""

import argparse
import statistics
import time

import numpy as np
import torch
from torch.nn import functional
from torch.utils.flop_counter import FlopCounterMode

from mskdex.compute.device import choose_device
from mskdex.config.learning import ExperimentSettings
from mskdex.config.objects import Channel, channels, default_objects
from mskdex.models.normalisation import Normalisation
from mskdex.training.batches import Batch
from mskdex.training.distributed import ProcessGroup
from mskdex.training.loop import set_up_torch
from mskdex.training.trainer import Trainer, make_networks

SOBEL = torch.tensor([[-1.0, 0.0, 1.0], [-2.0, 0.0, 2.0], [-1.0, 0.0, 1.0]])


def plain_gc(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """Gradient correlation with grouped convolutions, (B, C)."""
    kernels = torch.stack([SOBEL, SOBEL.T])[:, None].repeat(a.shape[1], 1, 1, 1).to(a.device)
    responses = [functional.conv2d(x, kernels, groups=x.shape[1]).unflatten(1, (-1, 2)).flatten(3) for x in (a, b)]
    ga, gb = (r - r.mean(-1, keepdim=True) for r in responses)
    return ((ga * gb).sum(-1) / torch.sqrt((ga**2).sum(-1) * (gb**2).sum(-1) + 1e-8)).mean(-1)


class PlainLoop:
    """The straightforward step."""

    def __init__(
        self, settings: ExperimentSettings, normalisation: Normalisation, objects: tuple[Channel, ...], device
    ):
        self.n = make_networks(settings, normalisation, objects, device)
        self.scale = torch.as_tensor(normalisation.drr, dtype=torch.float32, device=device)
        self.bones, self.losses = [i for i, c in enumerate(objects) if c.bone_loss], settings.losses
        o = settings.optimisation
        self.optimisers = [
            torch.optim.AdamW([p for m in group for p in m.parameters()], lr=o.learning_rate)
            for group in (self.n.generators, self.n.discriminators)
        ]

    def gan(self, scores, target: float) -> torch.Tensor:
        return sum(functional.mse_loss(s, torch.full_like(s, target)) for s in scores) / len(scores)

    def step(self, batch: Batch) -> float:
        n, s = self.n, self.losses
        fake = n.decompose(batch.radiograph)
        returned = n.compose(fake)
        fake_radiograph = n.compose(batch.drr)
        returned_drr = n.decompose(fake_radiograph)
        for discriminator in n.discriminators:
            discriminator.requires_grad_(False)
        loss = s.lambda_gan * (
            self.gan(n.discriminator_drr(fake), 1.0) + self.gan(n.discriminator_radiograph(fake_radiograph), 1.0)
        )
        loss = loss + s.lambda_cyc * functional.l1_loss(returned, batch.radiograph)
        loss = loss + s.lambda_cyc * functional.l1_loss(returned_drr, batch.drr)
        weighted, volume, mass = fake.unflatten(1, (3, -1)).unbind(1)
        total = (weighted * self.scale[0][:, None, None]).sum(1, keepdim=True)
        loss = loss + s.lambda_gca * (1 - plain_gc(total, batch.radiograph)).mean()
        for image in (volume, mass):
            loss = loss + (1 - plain_gc(weighted.detach(), image)).mean()
        sums = fake.sum((-2, -1)).unflatten(1, (3, -1))
        pixels = fake.shape[-2] * fake.shape[-1]
        loss = loss + s.lambda_is * (sums - batch.target / self.scale).abs().mean(-1).sum(1).mean() / pixels
        for q, image in enumerate((weighted, volume, mass)):
            bones = image[:, self.bones]
            loss = loss + s.lambda_l1 * (bones - batch.aligned[:, q]).abs().mean()
            loss = loss + (1 - plain_gc(bones, batch.aligned[:, q])).mean()
        self.optimisers[0].zero_grad()
        loss.backward()
        self.optimisers[0].step()
        for discriminator in n.discriminators:
            discriminator.requires_grad_(True)
        self.optimisers[1].zero_grad()
        for discriminator, real, made in (
            (n.discriminator_drr, batch.drr, fake),
            (n.discriminator_radiograph, batch.radiograph, fake_radiograph),
        ):
            half = 0.5 * (self.gan(discriminator(real), 1.0) + self.gan(discriminator(made.detach()), 0.0))
            half.backward()
        self.optimisers[1].step()
        return loss.item()


def made_up_batch(batch: int, objects: int, bones: int, side: int, device: torch.device) -> Batch:
    generator = torch.Generator().manual_seed(0)

    def random(*shape: int) -> torch.Tensor:
        return torch.rand(*shape, generator=generator).to(device)

    return Batch(
        patients=tuple(f"A{i}" for i in range(batch)),
        partners=tuple(f"B{i}" for i in range(batch)),
        radiograph=random(batch, 1, side, side),
        field=torch.ones(batch, 1, side, side, device=device),
        water=random(batch, 1, side, side),
        relative=torch.zeros(batch, dtype=torch.bool, device=device),
        drr=random(batch, 3 * objects, side, side),
        partner_water=random(batch, 1, side, side),
        partner_relative=torch.zeros(batch, dtype=torch.bool, device=device),
        aligned=random(batch, 3, bones, side, side),
        available=torch.ones(batch, bones, dtype=torch.bool, device=device),
        target=100 * random(batch, 3, objects),
        known=torch.ones(batch, objects, dtype=torch.bool, device=device),
    )


def gigaflops(call) -> float:
    """Floating-point operations of a call in 10⁹, those of convolutions and matrix products."""
    with FlopCounterMode(display=False) as counter:
        call()
    return counter.get_total_flops() / 1e9


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--side", type=int, default=128)
    parser.add_argument("--batch", type=int, default=2)
    parser.add_argument("--objects", type=int, default=18)
    parser.add_argument("--backbone", default="hrnet_tiny")
    parser.add_argument("--ndf", type=int, default=64)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--compile", action="store_true")
    options = parser.parse_args()
    device = choose_device(options.device)
    set_up_torch(device)
    settings = ExperimentSettings.model_validate(
        {
            "network": {"backbone": options.backbone, "ndf": options.ndf, "head": "plain"},
            "optimisation": {"history_images": 0, "compile": options.compile},
        }
    )
    shape = (3, options.objects)
    level = np.full((*shape, options.side, options.side), 0.1, np.float32)
    normalisation = Normalisation(
        1.0, np.ones(shape), level, np.full(level.shape[-2:], 3.0, np.float32), 1.0, None, (0.0, 1.0)
    )
    objects = (channels(default_objects(), frozenset({"femur"})) * 2)[: options.objects]
    bones = sum(c.bone_loss for c in objects)
    batch = made_up_batch(options.batch, options.objects, bones, options.side, device)
    trainer = Trainer(settings, normalisation, objects, device, ProcessGroup())
    plain = PlainLoop(settings, normalisation, objects, device)
    steps = {"MSKdeX": lambda: trainer.train_batch(batch, 1000), "straightforward": lambda: plain.step(batch)}
    work = {name: gigaflops(call) for name, call in steps.items()}
    ours, theirs = [], []
    for repeat in range(options.repeats + 2):
        for call, times in zip(steps.values(), (ours, theirs), strict=True):
            wall, cpu = time.perf_counter(), time.process_time()
            call()
            if device.type == "cuda":
                torch.cuda.synchronize()
            spent = time.perf_counter() - wall if device.type == "cuda" else time.process_time() - cpu
            if repeat >= 2:
                times.append(spent)
    ratios = [b / a for a, b in zip(ours, theirs, strict=True)]
    unit = "s" if device.type == "cuda" else "CPU-s"
    print(f"{options.backbone}, {options.side}², batch {options.batch}, {options.objects} objects, {device}")
    for name, times in (("MSKdeX", ours), ("straightforward", theirs)):
        low, middle, high = statistics.quantiles(times, n=4)
        print(f"  {name}: {middle:.3f} {unit} a step (quartiles {low:.3f} to {high:.3f}), {work[name]:.0f} GFLOP")
    low, middle, high = statistics.quantiles(ratios, n=4)
    if device.type == "cpu":
        square = torch.rand(2000, 2000)
        square @ square
        start = time.process_time()
        square @ square
        print(f"  a 2000² matrix product: {2 * 2000**3 / 1e9 / (time.process_time() - start):.0f} GFLOP a CPU-s")
    print(f"  ratio of neighbouring steps: {middle:.2f} (quartiles {low:.2f} to {high:.2f})")
    if device.type == "cuda":
        print(f"  peak memory {torch.cuda.max_memory_allocated() / 2**30:.1f} GiB, both loops together")


if __name__ == "__main__":
    main()
