"""From stored stacks to batches on the device."""

from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from mskdex.config.learning import AugmentationSettings
from mskdex.errors import MskdexError
from mskdex.io.arrays import Crops
from mskdex.io.stack import Stack, read_stack
from mskdex.models.device_profiles import DeviceProfile, stack_by_profile
from mskdex.models.normalisation import Normalisation
from mskdex.models.water import water_per_neper, water_volume
from mskdex.training.augmentation import Change, draw_change, kept, side_swap, warp


@dataclass(frozen=True)
class Batch:
    """B radiographs with their patients' targets, and B DRR stacks of other patients; images normalised.

    Attributes:
        patients: whose radiographs.
        partners: whose DRR stacks.
        radiograph: X.
        field: 1 in exposed pixels.
        water: volume of water that attenuates as each pixel of the radiograph, contrast and brightness unchanged, cm³.
        relative: radiographs of relative scale, whose water is known up to a factor.
        drr: DRR stacks of the partners, quantities outermost: 3·N channels.
        partner_water: volume of water that attenuates as a normalised radiograph's 1 in the partners' cameras, cm³.
        partner_relative: partners whose radiograph is of relative scale.
        aligned: registered bones of the patients themselves, the K bones of the bone loss.
        available: weight of each of those bones; 0 where its registration was not accepted.
        target: sums that the patients' DRRs shall have, cm³ and g.
        known: objects that have such a sum and are visible enough.
    """

    patients: tuple[str, ...]
    partners: tuple[str, ...]
    radiograph: Float[Tensor, "b 1 h w"]
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


class StackStore:
    """Stacks of a list of patients, by their devices' profiles; decoded ones stay in memory up to a limit."""

    def __init__(self, paths: dict[str, Path], cache_bytes: float, profiles: Sequence[DeviceProfile] = ()):
        self.paths, self.profiles = paths, tuple(profiles)
        self.patients = self.people = tuple(paths)
        self._left = cache_bytes
        self._first: tuple[str, tuple[str, ...], tuple[int, int]] | None = None
        self._cache: dict[str, Stack] = {}

    def __getitem__(self, patient: str) -> Stack:
        found = self._cache.get(patient)
        if found is None:
            found, path = self._read(patient)
            self._check(found, patient, path)
            size = found.drr.values.nbytes + found.aligned.values.nbytes + found.radiograph.nbytes
            if size <= self._left:
                self._left -= size
                self._cache[patient] = found
        return found

    def __iter__(self) -> Iterator[Stack]:
        return (self[patient] for patient in self.patients)

    @property
    def samples(self) -> int:
        """Number of samples that an epoch takes."""
        return len(self.patients)

    def of_epoch(self, epoch: int) -> tuple[str, ...]:  # noqa: ARG002 - every epoch alike
        """Names of the samples of an epoch, in no order; with fewer than `samples` they come again."""
        return self.patients

    def real(self, person: str) -> Stack:
        """The stack of a person's own radiograph."""
        return self[person]

    def _read(self, patient: str) -> tuple[Stack, Path]:
        stack = read_stack(self.paths[patient], patient).corrected()
        return stack_by_profile(stack, self.profiles), self.paths[patient]

    def _check(self, stack: Stack, patient: str, path: Path) -> None:
        """Every stack has the channels of the first one read, in that order, and its image size."""
        self._first = self._first or (patient, stack.objects, stack.camera.shape)
        other, objects, shape = self._first
        if stack.objects != objects or stack.camera.shape != shape:
            msg = (
                f"patient {patient}: {path} has {', '.join(stack.objects)} at {stack.camera.shape}, "
                f"patient {other} has {', '.join(objects)} at {shape}; "
                "delete the older of the two and run the same command again"
            )
            raise MskdexError(msg)
        if not np.isfinite(stack.radiograph).all() or not np.isfinite(stack.drr.values).all():
            msg = f"patient {patient}: {path} holds values that are not finite; delete it and run again"
            raise MskdexError(msg)


def dense(crops: Crops, factors: np.ndarray, device: torch.device) -> Float[Tensor, "c h w"]:
    """Puts crops in place on the device, each image times its factor; (images, H, W) float32."""
    rows, columns = crops.shape[-2:]
    out = torch.zeros((len(crops.boxes), rows, columns), device=device)
    values = torch.from_numpy(crops.values if crops.values.flags.writeable else crops.values.copy()).to(device)
    offset = 0
    for image, (r, c, h, w), scale in zip(out, crops.boxes, (crops.scales * factors).tolist(), strict=True):
        torch.mul(values[offset : offset + h * w].view(h, w).float(), scale, out=image[r : r + h, c : c + w])
        offset += h * w
    return out


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
    ):
        """Beside what a batch is made of and by.

        Args:
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
        self.unpaired = unpaired
        first = store[store.patients[0]]
        self.swap = side_swap(first.channels)
        self.bones = [i for i, channel in enumerate(first.channels) if channel.bone_loss or every_object]

    def __len__(self) -> int:
        return -(-self.store.samples // (self.batch_size * self.rank[1]))

    def epoch(self, epoch: int, start: int = 0) -> Iterator[Batch]:
        """The epoch's batches from number `start` on; on a GPU the next two are made while one is used."""
        if self.device.type == "cpu":
            yield from (self.batch(epoch, place) for place in range(start, len(self)))
            return
        with ThreadPoolExecutor(4) as pool:
            waiting: list[Future[Batch]] = []
            for place in range(start, len(self) + 3):
                if place < len(self):
                    waiting.append(pool.submit(self.batch, epoch, place))
                if waiting and (len(waiting) > 3 or place >= len(self)):
                    yield waiting.pop(0).result()

    def batch(self, epoch: int, place: int) -> Batch:
        """One batch; the last one of an epoch is filled up from the epoch's beginning."""
        names = self.store.of_epoch(epoch)
        order = np.random.default_rng([self.seed, epoch]).permutation(len(names))
        first = (place * self.rank[1] + self.rank[0]) * self.batch_size
        samples = []
        for index in range(first, first + self.batch_size):
            rng = np.random.default_rng([self.seed, epoch, index, 1])
            mine = int(order[index % len(order)])
            partner = (mine + int(rng.integers(1, len(order)))) % len(order)
            samples.append(self._sample(names[mine], names[partner], rng))
        return _collate(samples)

    def _sample(self, mine: str, partner: str, rng: np.random.Generator) -> Batch:
        a, b = self.store[mine], self.store[partner]
        changes = [draw_change(self.augmentation, rng) if self.augmentation else Change() for _ in range(2)]
        radiograph, field, factor = self._radiograph(a, changes[0])
        water, partner_water = self._water(a, changes[0]), self._partner_water(b, changes[1])
        aligned, available = self._aligned(a, changes[0])
        flipped = self.swap if changes[0].flip else list(range(len(self.swap)))
        target = torch.as_tensor((a.truth * a.visible)[:, flipped], dtype=torch.float32, device=self.device)
        return Batch(
            patients=(a.patient,),
            partners=(b.patient,),
            radiograph=radiograph[None],
            field=field[None],
            water=water[None],
            relative=torch.tensor([a.relative], device=self.device),
            drr=self._drr(b, changes[1])[None] if self.unpaired else torch.zeros(1, 1, 1, 1, device=self.device),
            partner_water=partner_water[None],
            partner_relative=torch.tensor([b.relative], device=self.device),
            aligned=aligned[None],
            available=available[None],
            target=(target * factor[flipped])[None],
            known=torch.as_tensor(a.counted[flipped], device=self.device)[None],
        )

    def _radiograph(self, stack: Stack, change: Change) -> tuple[Tensor, Tensor, Tensor]:
        """Radiograph and field as changed, and the factor of each object's sum (unflipped order)."""
        field = torch.as_tensor(stack.field.astype(np.float32), device=self.device)
        image = torch.as_tensor(stack.radiograph / np.float32(self.normalisation.radiograph), device=self.device)
        image = warp((image * change.contrast + change.brightness)[None], change, outside="border")
        factor = torch.ones(len(stack.objects), device=self.device)
        if change.moves:
            objects = dense(_quantity(stack.drr, 1), np.ones(len(factor)), self.device)
            factor = kept(objects, warp(objects, change))
        return image, (warp(field[None], change) > 0.99).float(), factor

    def _water(self, stack: Stack, change: Change) -> Tensor:
        """As moved: a zoomed patient is broader and taller at the same thickness, so pixels keep their volume."""
        volume = water_volume(stack.radiograph, stack.camera, stack.source_to_isocentre_mm)
        return warp(torch.as_tensor(volume, device=self.device)[None], change, outside="border")

    def _partner_water(self, stack: Stack, change: Change) -> Tensor:
        one = water_per_neper(stack.camera, stack.source_to_isocentre_mm) * np.float32(self.normalisation.radiograph)
        return warp(torch.as_tensor(one, device=self.device)[None], change, outside="border")

    def _aligned(self, stack: Stack, change: Change) -> tuple[Tensor, Tensor]:
        rows, columns = stack.camera.shape
        out = torch.zeros((3, len(self.bones), rows, columns), device=self.device)
        available = torch.zeros(len(self.bones), device=self.device)
        places = [stack.objects.index(name) for name in stack.aligned_objects]
        factors = (1.0 / self.normalisation.drr[:, places]).ravel()
        images = dense(stack.aligned, factors, self.device)
        images = warp(images, change).view(3, len(places), rows, columns)
        for number, place in enumerate(places):
            target = self.swap[place] if change.flip else place
            if target in self.bones:
                # The other side's scale belongs to the channel that a flipped bone goes to.
                ratio = self.normalisation.drr[:, place] / self.normalisation.drr[:, target]
                weight = torch.as_tensor(ratio, dtype=torch.float32, device=self.device)[:, None, None]
                out[:, self.bones.index(target)] = images[:, number] * weight
                available[self.bones.index(target)] = stack.aligned_weights[number] if stack.aligned_weights else 1.0
        return out, available

    def _drr(self, stack: Stack, change: Change) -> Tensor:
        objects = self.swap if change.flip else list(range(len(self.swap)))
        scale = self.normalisation.drr[:, np.argsort(objects)]  # of the channel that each object goes to
        images = warp(dense(stack.drr, (1.0 / scale).ravel(), self.device), change)
        return images.view(3, len(objects), *images.shape[1:])[:, objects].flatten(0, 1)


def _quantity(crops: Crops, index: int) -> Crops:
    count = crops.shape[1]
    sizes = crops.boxes[:, 2].astype(np.int64) * crops.boxes[:, 3]
    first, last = sizes[: index * count].sum(), sizes[: (index + 1) * count].sum()
    chosen = slice(index * count, (index + 1) * count)
    return Crops(crops.shape[1:], crops.boxes[chosen], crops.scales[chosen], crops.values[first:last])


def _collate(samples: Sequence[Batch]) -> Batch:
    tensors = (
        "radiograph", "field", "water", "relative", "drr", "partner_water", "partner_relative", "aligned", "available",
        "target", "known",
    )  # fmt: skip
    return Batch(
        patients=sum((s.patients for s in samples), ()),
        partners=sum((s.partners for s in samples), ()),
        **{name: torch.cat([getattr(s, name) for s in samples]) for name in tensors},
    )
