"""One training: networks, optimisers and everything else that a checkpoint holds, and the step that changes it."""

import json
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from mskdex.compute.device import place
from mskdex.config.learning import ExperimentSettings, NetworkSettings
from mskdex.config.objects import Channel
from mskdex.errors import MskdexError
from mskdex.models.discriminators import SMALLEST_IMAGE, make_discriminator
from mskdex.models.generator import make_composer, make_decomposer
from mskdex.models.normalisation import Normalisation
from mskdex.training.checkpoint import load_optimiser, optimiser_tensors
from mskdex.training.data import Batch
from mskdex.training.distributed import Group
from mskdex.training.history_pool import HistoryPool
from mskdex.training.objective import Networks, Objective
from mskdex.training.schedule import set_learning_rate, sgdr, update_average


@dataclass
class Progress:
    """Where a training stands.

    Attributes:
        epoch: epochs finished.
        place: batches of the current epoch done.
        totals: sum over the current epoch's batches of each loss.
        history: one row per finished epoch.
        seconds: time trained, over all restarts.
    """

    epoch: int = 0
    place: int = 0
    totals: dict[str, float] = field(default_factory=dict)
    history: list[dict[str, float]] = field(default_factory=list)
    seconds: float = 0.0


def make_networks(
    settings: ExperimentSettings, normalisation: Normalisation, channels: tuple[Channel, ...], device: torch.device
) -> Networks:
    """The four networks, weights from the settings' seed and levels from the training patients' means.

    Raises:
        MskdexError: the image is too small for the discriminators.
    """
    network, seed = settings.network, settings.optimisation.seed
    rows, columns = normalisation.mean_drr.shape[-2:]
    _check_size((rows, columns), network)
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


def _check_size(shape: tuple[int, int], network: NetworkSettings) -> None:
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


class Trainer:
    """The state of a training and its optimisation step."""

    def __init__(
        self,
        settings: ExperimentSettings,
        normalisation: Normalisation,
        channels: tuple[Channel, ...],
        device: torch.device,
        group: Group,
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
            unweighted losses by name, and their weighted total.

        Raises:
            MskdexError: a loss is not finite; names the batch's patients.
        """
        o = self.settings.optimisation
        number = self.progress.epoch * batches + self.progress.place
        first = self.progress.place % o.accumulate_batches == 0
        last = (self.progress.place + 1) % o.accumulate_batches == 0 or self.progress.place + 1 == batches
        self._set_rates(self.progress.epoch + self.progress.place / batches)
        values, fakes = self._generators(batch, first, last)
        if fakes is not None:
            values |= self._discriminators(batch, fakes, number, first, last)
        if last and self.average is not None and o.ema_decay:
            update_average(self.average, self.networks.decompose, o.ema_decay)
        return values

    def _generators(self, batch: Batch, first: bool, last: bool) -> tuple[dict[str, float], tuple | None]:
        for discriminator in self.networks.discriminators:
            discriminator.requires_grad_(False)
        with self._precision():
            found, fake, fake_radiograph = self.objective.generator_losses(self.called, batch)
        total = self.objective.total(found)
        values = _finite(found | {"total": total}, batch)
        self._step("generators", total, first, last)
        fakes = (fake.detach(), fake_radiograph.detach()) if fake_radiograph is not None else None
        return values, fakes if self.settings.losses.lambda_gan > 0 else None

    def _discriminators(self, batch: Batch, fakes: tuple, number: int, first: bool, last: bool) -> dict[str, float]:
        for discriminator in self.networks.discriminators:
            discriminator.requires_grad_(True)
        with self._precision():
            found = self.objective.discriminator_losses(
                self.called,
                batch,
                self.pools["drr"].exchange(fakes[0], number),
                self.pools["radiograph"].exchange(fakes[1], number),
            )
        values = _finite(found, batch)
        self._step("discriminators", torch.stack(list(found.values())).sum(), first, last)
        return values

    def _step(self, name: str, loss: Tensor, first: bool, last: bool) -> None:
        o, optimiser = self.settings.optimisation, self.optimisers[name]
        if first:
            optimiser.zero_grad(set_to_none=True)
        (loss / o.accumulate_batches).backward()
        if last:
            parameters = [p for group in optimiser.param_groups for p in group["params"]]
            self.group.average_gradients(parameters)
            if o.max_gradient_norm:
                torch.nn.utils.clip_grad_norm_(parameters, o.max_gradient_norm)
            optimiser.step()

    def _precision(self) -> torch.autocast:
        use = self.device.type == "cuda" and self.settings.optimisation.mixed_precision
        return torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=use)

    def _set_rates(self, epochs: float) -> None:
        o = self.settings.optimisation
        rates = {"generators": o.learning_rate, "discriminators": o.discriminator_learning_rate or o.learning_rate}
        for name, rate in rates.items():
            set_learning_rate(self.optimisers[name], sgdr(epochs, rate, o.min_learning_rate, o.restart_epochs))

    def state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Everything that decides what comes next: tensors, and JSON-able facts."""
        tensors = {f"{n}.{k}": v for n, m in self.networks.named().items() for k, v in m.state_dict().items()}
        for name, optimiser in self.optimisers.items():
            tensors |= optimiser_tensors(name, optimiser)
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
        self.progress = Progress(**progress)


def _under(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): t for name, t in tensors.items() if name.startswith(prefix)}


def _adamw(parameters: list[torch.nn.Parameter], settings: ExperimentSettings) -> torch.optim.AdamW:
    o = settings.optimisation
    return torch.optim.AdamW(parameters, lr=o.learning_rate, weight_decay=o.weight_decay, fused=True)


def _compiled(networks: Networks) -> Networks:
    return Networks(**{name: torch.compile(m) for name, m in networks.named().items()})  # type: ignore[arg-type]


def _finite(found: dict[str, Tensor], batch: Batch) -> dict[str, float]:
    """The losses as numbers, in one transfer from the device; called before any weight changes."""
    values = dict(zip(found, torch.stack(list(found.values())).tolist(), strict=True))
    bad = [name for name, value in values.items() if not abs(value) < float("inf")]
    if bad:
        msg = (
            f"the loss {', '.join(bad)} is not finite for patients {', '.join(batch.patients)} "
            f"(DRRs of {', '.join(batch.partners)}); look at their stacks, or lower the learning rate"
        )
        raise MskdexError(msg)
    return values
