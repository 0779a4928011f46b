"""From stored stacks to batches on the device."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from mskdex.compute.transfer import PackedArrays, pack
from mskdex.config.learning import AugmentationSettings
from mskdex.errors import MskdexError
from mskdex.io.arrays import Crops
from mskdex.io.stack import Stack
from mskdex.models.normalisation import Normalisation
from mskdex.models.water import water_per_neper, water_volume
from mskdex.training.augmentation import (
    Change,
    bend_tone,
    draw_change,
    retained_fraction,
    sampling_matrix,
    side_swap,
    warp,
)
from mskdex.training.stack_store import StackStore

Move = Callable[..., Tensor]
"""Images to images: `warp` with a sample's change, or to a coarser grid."""


@dataclass(frozen=True)
class Batch:
    """B radiographs with their patients' targets, and B DRR stacks of other patients; images normalised.

    Attributes:
        patients: whose radiographs.
        partners: whose DRR stacks.
        radiograph: X, on its own grid; what follows has half as many rows and columns in a coarse batch, whose pixels
            are means of four.
        field: 1 in exposed pixels.
        water: volume of water that attenuates as each pixel of the radiograph, contrast and brightness unchanged, cm³;
            of one of relative scale with its tone bent.
        relative: radiographs of relative scale, whose water is known up to a factor.
        drr: DRR stacks of the partners, quantities outermost: 3·N channels.
        partner_water: volume of water that attenuates as a normalised radiograph's 1 in the partners' cameras, cm³.
        partner_relative: partners whose radiograph is of relative scale.
        aligned: registered bones of the patients themselves, the K bones of the bone loss.
        available: weight of each of those bones; 0 where its registration was not accepted.
        target: sums that the patients' DRRs shall have on the batch's grid, cm³ and g: of a coarse one a quarter.
        known: objects that have such a sum and are visible enough.
    """

    patients: tuple[str, ...]
    partners: tuple[str, ...]
    radiograph: Float[Tensor, "b 1 rows columns"]
    field: Float[Tensor, "b 1 h w"]
    water: Float[Tensor, "b 1 h w"]
    relative: Bool[Tensor, " b"]
    drr: Float[Tensor, "b c h w"]
    partner_water: Float[Tensor, "b 1 h w"]
    partner_relative: Bool[Tensor, " b"]
    aligned: Float[Tensor, "b 3 k h w"]
    available: Float[Tensor, "b k"]
    target: Float[Tensor, "b 3 n"]
    known: Bool[Tensor, "b n"]

    @property
    def compared(self) -> Float[Tensor, "b 1 h w"]:
        """The radiograph on the grid of the DRRs."""
        return self.radiograph if self.radiograph.shape == self.field.shape else halved(self.radiograph)


def halved(images: Float[Tensor, "c h w"] | Float[Tensor, "b c h w"]) -> Tensor:
    """Half as many rows and columns, each pixel the mean of four."""
    even, odd = images[..., ::2, :], images[..., 1::2, :]
    return (even[..., ::2] + even[..., 1::2] + odd[..., ::2] + odd[..., 1::2]) / 4.0


def dense(crops: Crops, factors: np.ndarray, values: Tensor) -> Float[Tensor, "c h w"]:
    """Puts crops in place, each image times its factor; (images, H, W) float32.

    Args:
        crops: where each image's rectangle lies.
        factors: (images,).
        values: the crops' values, on the device where the images shall be.
    """
    rows, columns = crops.shape[-2:]
    out = torch.zeros((len(crops.boxes), rows, columns), device=values.device)
    offset = 0
    for image, (r, c, h, w), scale in zip(out, crops.boxes.tolist(), (crops.scales * factors).tolist(), strict=True):
        torch.mul(values[offset : offset + h * w].view(h, w).float(), scale, out=image[r : r + h, c : c + w])
        offset += h * w
    return out


@dataclass(frozen=True)
class _Drawn:
    """What one sample is made of: a patient's radiograph and a partner's DRRs, and how they are changed."""

    own: Stack
    partner: Stack
    changes: tuple[Change, Change]
    coarse: bool


class Loader:
    """Batches of an epoch, each decided by (seed, epoch, place) alone, so that a restart needs no random state."""

    def __init__(
        self,
        store: StackStore,
        normalisation: Normalisation,
        *,
        batch_size: int,
        seed: int,
        augmentation: AugmentationSettings | None,
        device: torch.device,
        rank: tuple[int, int] = (0, 1),
        every_object: bool = False,
        unpaired: bool = True,
        coarse_epochs: int = 0,
    ):
        """Beside what a batch is made of and by.

        Args:
            coarse_epochs: number of first epochs whose batches are coarse.
            unpaired: whether other patients' DRR stacks are asked for; they are 0 otherwise.
            rank: (this process's number, number of processes) of a training that shares each batch among several.
            every_object: aligned DRRs of all objects, not only of the bones of the bone loss.
        """
        if len(store.patients) < 2:
            msg = (
                f"{len(store.patients)} training patients whose radiograph and CT belong together; unpaired training "
                "needs at least 2, add patients or folds"
            )
            raise MskdexError(msg)
        self.store, self.normalisation, self.device = store, normalisation, device
        self.batch_size, self.seed, self.augmentation, self.rank = batch_size, seed, augmentation, rank
        self.unpaired, self.coarse_epochs = unpaired, coarse_epochs
        first = store[store.patients[0]]
        self.swap = side_swap(first.channels)
        self._swapped = torch.tensor(self.swap, device=device)
        self.bones = [i for i, channel in enumerate(first.channels) if channel.bone_loss or every_object]

    def __len__(self) -> int:
        return -(-self.store.samples // (self.batch_size * self.rank[1]))

    def epoch(self, epoch: int, start: int = 0) -> Iterator[Batch]:
        """The epoch's batches from number `start` on; for a GPU the next ones are read while one is used."""
        if self.device.type == "cpu":
            yield from (self.batch(epoch, place) for place in range(start, len(self)))
            return
        with ThreadPoolExecutor(4) as pool:
            waiting: list[Future[tuple[list[_Drawn], PackedArrays]]] = []
            for place in range(start, len(self) + 3):
                if place < len(self):
                    waiting.append(pool.submit(self._read, epoch, place))
                if waiting and (len(waiting) > 3 or place >= len(self)):
                    yield self._made(*waiting.pop(0).result())

    def batch(self, epoch: int, place: int) -> Batch:
        """One batch; the last one of an epoch is filled up from the epoch's beginning."""
        return self._made(*self._read(epoch, place))

    def _read(self, epoch: int, place: int) -> tuple[list[_Drawn], PackedArrays]:
        """The host's share of a batch: what is drawn, and the arrays that the device is to have."""
        names = self.store.of_epoch(epoch)
        order = np.random.default_rng([self.seed, epoch]).permutation(len(names))
        first = (place * self.rank[1] + self.rank[0]) * self.batch_size
        drawn = []
        for index in range(first, first + self.batch_size):
            rng = np.random.default_rng([self.seed, epoch, index, 1])
            mine = int(order[index % len(order)])
            partner = (mine + int(rng.integers(1, len(order)))) % len(order)
            changes = [draw_change(self.augmentation, rng) if self.augmentation else Change() for _ in range(2)]
            stacks = self.store[names[mine]], self.store[names[partner]]
            drawn.append(_Drawn(*stacks, (changes[0], changes[1]), epoch < self.coarse_epochs))
        arrays = {f"{n}/{name}": a for n, d in enumerate(drawn) for name, a in self._arrays(d).items()}
        return drawn, pack(arrays, self.device)

    def _arrays(self, drawn: _Drawn) -> dict[str, np.ndarray]:
        own, partner, change = drawn.own, drawn.partner, drawn.changes[0]
        unit = np.float32(self.normalisation.radiograph)
        per_neper = water_per_neper(partner.camera, partner.source_to_isocentre_mm)
        radiograph = bend_tone(own.radiograph, change.tone) if own.relative and change.tone else own.radiograph
        found = {
            "radiograph": radiograph / unit,
            "field": own.field,
            "water": water_volume(radiograph, own.camera, own.source_to_isocentre_mm),
            "relative": np.array([own.relative, partner.relative]),
            "partner_water": per_neper * unit,
            "aligned": own.aligned.values,
            "available": self._weights(own, change),
            "target": (own.truth * own.visible).astype(np.float32),
            "known": own.counted,
            "matrices": np.stack([sampling_matrix(c, *own.camera.shape) for c in drawn.changes]).astype(np.float32),
        }
        if self.unpaired:
            found["drr"] = partner.drr.values
        if change.moves:
            found["volume"] = _quantity(own.drr, 1).values
        return found

    def _made(self, drawn: list[_Drawn], packed: PackedArrays) -> Batch:
        """The device's share of a batch."""
        tensors = packed.on(self.device)
        return _collate([self._sample(d, _under(tensors, f"{number}/")) for number, d in enumerate(drawn)])

    def _sample(self, drawn: _Drawn, t: Mapping[str, Tensor]) -> Batch:
        own, (change, other) = drawn.own, drawn.changes
        move = partial(warp, change=change, matrix=t["matrices"][0])
        move_partner = partial(warp, change=other, matrix=t["matrices"][1])
        grid = halved if drawn.coarse else _as_they_are
        target, known = t["target"] * self._factor(own, grid, move, t), t["known"]
        if drawn.coarse:
            target = target / 4.0
        if change.flip:
            target, known = target.index_select(1, self._swapped), known.index_select(0, self._swapped)
        return Batch(
            patients=(own.patient,),
            partners=(drawn.partner.patient,),
            radiograph=move(t["radiograph"][None] * change.contrast + change.brightness, outside="border")[None],
            field=(move(grid(t["field"][None].float())) > 0.99).float()[None],
            # As moved: a zoomed patient is broader and taller at the same thickness, so pixels keep their volume.
            water=move(grid(t["water"][None]), outside="border")[None],
            relative=t["relative"][:1],
            drr=self._drr(drawn.partner, other, move_partner, t)[None],
            partner_water=move_partner(t["partner_water"][None], outside="border")[None],
            partner_relative=t["relative"][1:],
            aligned=self._aligned(own, change, lambda images: move(grid(images)), t["aligned"])[None],
            available=t["available"][None],
            target=target[None],
            known=known[None],
        )

    def _factor(self, stack: Stack, grid: Move, move: Move, t: Mapping[str, Tensor]) -> Tensor:
        """Factor of each object's sum, unflipped order."""
        if "volume" not in t:
            return torch.ones(len(stack.objects), device=self.device)
        objects = grid(dense(_quantity(stack.drr, 1), np.ones(len(stack.objects)), t["volume"]))
        return retained_fraction(objects, move(objects))

    def _targets(self, stack: Stack, change: Change) -> list[int]:
        """The channel that each aligned object goes to."""
        places = [stack.objects.index(name) for name in stack.aligned_objects]
        return [self.swap[place] if change.flip else place for place in places]

    def _weights(self, stack: Stack, change: Change) -> np.ndarray:
        available = np.zeros(len(self.bones), np.float32)
        for number, target in enumerate(self._targets(stack, change)):
            if target in self.bones:
                available[self.bones.index(target)] = stack.aligned_weights[number] if stack.aligned_weights else 1.0
        return available

    def _aligned(self, stack: Stack, change: Change, move: Move, values: Tensor) -> Tensor:
        targets = self._targets(stack, change)
        # The other side's scale belongs to the channel that a flipped bone goes to.
        factors = (1.0 / self.normalisation.drr[:, targets]).ravel()
        images = move(dense(stack.aligned, factors, values)).unflatten(0, (3, len(targets)))
        out = torch.zeros((3, len(self.bones), *images.shape[-2:]), device=self.device)
        for number, target in enumerate(targets):
            if target in self.bones:
                out[:, self.bones.index(target)] = images[:, number]
        return out

    def _drr(self, stack: Stack, change: Change, move: Move, t: Mapping[str, Tensor]) -> Tensor:
        if not self.unpaired:
            return torch.zeros((1, 1, 1), device=self.device)
        objects = self.swap if change.flip else list(range(len(self.swap)))
        scale = self.normalisation.drr[:, np.argsort(objects)]  # of the channel that each object goes to
        images = move(dense(stack.drr, (1.0 / scale).ravel(), t["drr"])).view(3, len(objects), *stack.camera.shape)
        return (images.index_select(1, self._swapped) if change.flip else images).flatten(0, 1)


def _as_they_are(images: Tensor) -> Tensor:
    return images


def _quantity(crops: Crops, index: int) -> Crops:
    count = crops.shape[1]
    sizes = crops.boxes[:, 2].astype(np.int64) * crops.boxes[:, 3]
    first, last = sizes[: index * count].sum(), sizes[: (index + 1) * count].sum()
    chosen = slice(index * count, (index + 1) * count)
    return Crops(crops.shape[1:], crops.boxes[chosen], crops.scales[chosen], crops.values[first:last])


def _under(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): t for name, t in tensors.items() if name.startswith(prefix)}


def _collate(samples: Sequence[Batch]) -> Batch:
    tensors = (
        "radiograph",
        "field",
        "water",
        "relative",
        "drr",
        "partner_water",
        "partner_relative",
        "aligned",
        "available",
        "target",
        "known",
    )
    return Batch(
        patients=sum((s.patients for s in samples), ()),
        partners=sum((s.partners for s in samples), ()),
        **{name: torch.cat([getattr(s, name) for s in samples]) for name in tensors},
    )
