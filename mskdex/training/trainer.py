"""One training: networks, optimisers and everything else that a checkpoint holds, and the step that changes it."""

import json
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from mskdex.compute.device import place
from mskdex.config.learning import ExperimentSettings
from mskdex.config.objects import Channel
from mskdex.errors import MskdexError
from mskdex.models.discriminators import SMALLEST_IMAGE, make_discriminator
from mskdex.models.generator import make_composer, make_decomposer
from mskdex.models.normalisation import Normalisation
from mskdex.training.batches import Batch
from mskdex.training.checkpoint import load_optimiser, optimiser_tensors
from mskdex.training.distributed import ProcessGroup
from mskdex.training.history_pool import HistoryPool
from mskdex.training.objective import Networks, Objective
from mskdex.training.record import LossRecord
from mskdex.training.schedule import set_learning_rate, sgdr, update_average

BATCHES_BETWEEN_READINGS = 50
"""Batches after which a GPU's losses are read."""


@dataclass
class Progress:
    """Where a training stands.

    Attributes:
        epoch: epochs finished.
        place: batches of the current epoch done.
        counted: those of them whose losses are in the totals.
        totals: sum over the current epoch's batches of each loss.
        history: one row per finished epoch.
        code: hash of the code that trained, and the epochs finished before it did; a row for each change.
        seconds: time trained, over all restarts.
    """

    epoch: int = 0
    place: int = 0
    counted: int = 0
    totals: dict[str, float] = field(default_factory=dict)
    history: list[dict[str, float]] = field(default_factory=list)
    seconds: float = 0.0
    code: list[list[Any]] = field(default_factory=list)

    def count(self, sums: dict[str, float]) -> None:
        """Adds losses of all batches up to this place that are not counted yet; nothing adds nothing."""
        for name, value in sums.items():
            self.totals[name] = self.totals.get(name, 0.0) + value
        if sums:
            self.counted = self.place


def make_networks(
    settings: ExperimentSettings, normalisation: Normalisation, channels: tuple[Channel, ...], device: torch.device
) -> Networks:
    """The four networks, weights from the settings' seed and levels from the training patients' means.

    Args:
        settings: the experiment as one fold runs it.
        normalisation: scales and mean images of the training patients; its images' size is the networks'.
        channels: the objects that are decomposed.
        device: where the networks are placed.

    Raises:
        MskdexError: the image is too small for the discriminators.
    """
    network, seed = settings.network, settings.optimisation.seed
    rows, columns = normalisation.mean_drr.shape[-2:]
    _check_size((rows, columns), settings)
    count = normalisation.drr.size
    decompose = make_decomposer(channels, (rows, columns), network, seed=4 * seed)
    decompose.head.start_at(normalisation)
    made = Networks(
        decompose=decompose,
        compose=make_composer(len(channels), network, seed=4 * seed + 1),
        discriminator_radiograph=make_discriminator(1, network.ndf, network.discriminator_scales, 4 * seed + 2),
        discriminator_drr=make_discriminator(count, network.ndf, network.discriminator_scales, 4 * seed + 3),
    )
    for module in made.named().values():
        place(module, device)
    return made


def _check_size(shape: tuple[int, int], settings: ExperimentSettings) -> None:
    network = settings.network
    # The coarsest of four branches needs 2×2 pixels, or its norm layers have nothing to normalise over.
    for_generator = 16 * network.stem_stride
    for_discriminators = SMALLEST_IMAGE * 2 ** (network.discriminator_scales - 1)
    if min(shape) < max(for_generator, for_discriminators):
        msg = (
            f"an image of {shape[0]}×{shape[1]} is too small: stem_stride {network.stem_stride} needs {for_generator}, "
            f"{network.discriminator_scales} discriminator scales need {for_discriminators}; enlarge image.rows and "
            "image.columns, or lower network.stem_stride or network.discriminator_scales"
        )
        raise MskdexError(msg)
    if settings.optimisation.coarse_epochs and any(side % 2 for side in shape):
        msg = (
            f"an image of {shape[0]}×{shape[1]} cannot be halved; make image.rows and image.columns even, or "
            "optimisation.coarse_epochs 0"
        )
        raise MskdexError(msg)


class Trainer:
    """The state of a training and its optimisation step."""

    def __init__(
        self,
        settings: ExperimentSettings,
        normalisation: Normalisation,
        channels: tuple[Channel, ...],
        device: torch.device,
        group: ProcessGroup,
    ):
        self.settings, self.device, self.group = settings, device, group
        self.networks = make_networks(settings, normalisation, channels, device)
        self.called = _compiled(self.networks) if settings.optimisation.compile else self.networks
        scale = torch.as_tensor(normalisation.drr, dtype=torch.float32, device=device)
        aligned = tuple(i for i, c in enumerate(channels) if c.bone_loss or settings.pairs != "none")
        self.objective = Objective(settings.losses, scale, aligned)
        o = settings.optimisation
        self.optimisers = {
            "generators": _adamw([p for m in self.networks.generators for p in m.parameters()], settings),
            "discriminators": _adamw([p for m in self.networks.discriminators for p in m.parameters()], settings),
        }
        self.pools = {
            "drr": HistoryPool(o.history_images, 2 * o.seed),
            "radiograph": HistoryPool(o.history_images, 2 * o.seed + 1),
        }
        self.average = None
        if o.ema_decay:
            self.average = make_networks(settings, normalisation, channels, device).decompose.requires_grad_(False)
        self.progress = Progress()
        self.record = LossRecord(device)

    def start_with(self, weights: dict[str, Tensor]) -> None:
        """Gives the decomposing generator these weights; the other networks begin anew."""
        for generator in filter(None, (self.networks.decompose, self.average)):
            generator.load_state_dict(weights)

    @property
    def final(self) -> torch.nn.Module:
        """The generator that predicts."""
        return self.average if self.average is not None else self.networks.decompose

    def train_batch(self, batch: Batch, batches: int) -> dict[str, float]:
        """One batch: generators, then discriminators. The optimisers step when enough batches have gone by.

        Args:
            batch: the batch.
            batches: number of batches in an epoch.

        Returns:
            unweighted losses by name, and their weighted total, each summed over the batches since the last reading:
            on a CPU this batch's own; on a GPU, which is not to wait for the host, nothing at most batches.

        Raises:
            MskdexError: a loss is not finite; names its batch's patients. No weight has changed since.
        """
        o = self.settings.optimisation
        number = self.progress.epoch * batches + self.progress.place
        first = self.progress.place % o.accumulate_batches == 0
        last = (self.progress.place + 1) % o.accumulate_batches == 0 or self.progress.place + 1 == batches
        self._set_rates(self.progress.epoch + self.progress.place / batches)
        fakes = self._generators(batch, first, last)
        if fakes is not None:
            self._discriminators(batch, fakes, number, first, last)
        if last and self.average is not None and o.ema_decay:
            update_average(self.average, self.networks.decompose, o.ema_decay)
        due = self.device.type == "cpu" or (self.progress.place + 1) % BATCHES_BETWEEN_READINGS == 0
        return self.record.read() if due else {}

    def _generators(self, batch: Batch, first: bool, last: bool) -> tuple[Tensor, Tensor] | None:
        for discriminator in self.networks.discriminators:
            discriminator.requires_grad_(False)
        with self._precision():
            found, fake, fake_radiograph = self.objective.generator_losses(self.called, batch)
        total = self.objective.total(found)
        self.record.add(found | {"total": total}, batch)
        self._step("generators", total, batch, first, last)
        if fake_radiograph is None or self.settings.losses.lambda_gan == 0:
            return None
        return fake.detach(), fake_radiograph.detach()

    def _discriminators(self, batch: Batch, fakes: tuple[Tensor, Tensor], number: int, first: bool, last: bool) -> None:
        for discriminator in self.networks.discriminators:
            discriminator.requires_grad_(True)
        with self._precision():
            found = self.objective.discriminator_losses(
                self.called,
                batch,
                self.pools["drr"].exchange(fakes[0], number),
                self.pools["radiograph"].exchange(fakes[1], number),
            )
        self.record.add(found, batch)
        self._step("discriminators", torch.stack(list(found.values())).sum(), batch, first, last)

    def _step(self, name: str, loss: Tensor, batch: Batch, first: bool, last: bool) -> None:
        o, optimiser = self.settings.optimisation, self.optimisers[name]
        if first:
            optimiser.zero_grad(set_to_none=True)
        (loss / o.accumulate_batches).backward()
        if last:
            parameters = [p for group in optimiser.param_groups for p in group["params"]]
            self.group.average_gradients(parameters, self.record.stopped)
            norm = torch.nn.utils.get_total_norm([p.grad for p in parameters if p.grad is not None])
            self.record.add({name: norm}, batch, losses=False)
            if o.max_gradient_norm:
                torch.nn.utils.clip_grads_with_norm_(parameters, o.max_gradient_norm, norm)
            optimiser.found_inf = self.record.stopped  # type: ignore[attr-defined] # as torch.amp.GradScaler does
            optimiser.step()

    def _precision(self) -> torch.autocast:
        use = self.device.type == "cuda" and self.settings.optimisation.mixed_precision
        return torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=use)

    def _set_rates(self, epochs: float) -> None:
        o = self.settings.optimisation
        rates = {"generators": o.learning_rate, "discriminators": o.discriminator_learning_rate or o.learning_rate}
        for name, rate in rates.items():
            set_learning_rate(self.optimisers[name], sgdr(epochs, rate, o.min_learning_rate, o.restart_epochs))

    @property
    def shapes(self) -> dict[str, list[int]]:
        """Of every weight, by name: what an architecture is, as far as weights can tell."""
        named = self.networks.named().items()
        return {f"{n}.{k}": list(v.shape) for n, m in named for k, v in m.state_dict().items()}

    @property
    def has_history(self) -> bool:
        """Whether a history pool holds images."""
        return any(pool.images for pool in self.pools.values())

    def finish_epoch(self, batches: int) -> None:
        """Enters the epoch's mean losses in the history; empties the history pools when their time has come.

        Args:
            batches: number of batches in an epoch.
        """
        progress, o = self.progress, self.settings.optimisation
        rate = self.optimisers["generators"].param_groups[0]["lr"]
        progress.count(self.record.read())
        row = {name: value / batches for name, value in progress.totals.items()}
        progress.epoch += 1
        progress.history.append({"epoch": progress.epoch, "learning_rate": float(rate), **row})
        progress.place, progress.counted, progress.totals = 0, 0, {}
        for pool in self.pools.values():
            if progress.epoch == o.epochs or progress.epoch % pool.epochs(o.batch_size * batches) == 0:
                pool.images.clear()

    def state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Everything that decides what comes next: tensors, and JSON-able facts."""
        tensors = {f"{n}.{k}": v for n, m in self.networks.named().items() for k, v in m.state_dict().items()}
        for name, optimiser in self.optimisers.items():
            tensors |= optimiser_tensors(name, optimiser)
        if self.group.size == 1:  # each process has pools of its own
            for name, pool in self.pools.items():
                tensors |= {f"pool/{name}/{i}": image for i, image in enumerate(pool.images)}
        if self.average is not None:
            tensors |= {f"average.{k}": v for k, v in self.average.state_dict().items()}
        return tensors, json.loads(json.dumps(vars(self.progress)))

    def load_state(self, tensors: dict[str, Tensor], progress: dict[str, Any]) -> None:
        """Puts `state` back."""
        for name, module in self.networks.named().items():
            module.load_state_dict(_under(tensors, f"{name}."))
        for name, optimiser in self.optimisers.items():
            load_optimiser(name, optimiser, tensors)
        for name, pool in self.pools.items():
            images = _under(tensors, f"pool/{name}/")
            pool.images = [images[str(i)].to(self.device) for i in range(len(images))]
        if self.average is not None:
            self.average.load_state_dict(_under(tensors, "average."))
        names = {"told": "counted"}  # as earlier checkpoints have it
        self.progress = Progress(**{names.get(name, name): value for name, value in progress.items()})


def _under(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): t for name, t in tensors.items() if name.startswith(prefix)}


def _adamw(parameters: list[torch.nn.Parameter], settings: ExperimentSettings) -> torch.optim.AdamW:
    o = settings.optimisation
    return torch.optim.AdamW(parameters, lr=o.learning_rate, weight_decay=o.weight_decay, fused=True)


def _compiled(networks: Networks) -> Networks:
    return Networks(**{name: torch.compile(m) for name, m in networks.named().items()})  # type: ignore[arg-type]
