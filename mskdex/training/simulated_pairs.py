"""Pairs of radiograph and DRRs from the training patients' own CTs, as training samples."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import chain, repeat
from pathlib import Path

import numpy as np

from mskdex.io.arrays import Crops
from mskdex.io.simulated import Simulated, read_simulated
from mskdex.io.stack import Stack, require_same
from mskdex.models.device_profiles import DeviceProfile
from mskdex.training.batches import StackStore

_TRUSTED = 0.5
"""Weight of a pixel from which on it counts."""


class PairStore(StackStore):
    """The pairs of a list of patients as stacks in which every object is aligned, one name for each pair."""

    def __init__(
        self,
        stacks: dict[str, Path],
        pairs: dict[str, Path],
        cache_bytes: float,
        profiles: Sequence[DeviceProfile] = (),
    ):
        """`stacks` and `pairs`: stack.safetensors and simulated.safetensors of each patient."""
        super().__init__(stacks, cache_bytes, profiles)
        self._pairs = pairs
        self._of = {
            f"{patient}, pair {number}": (patient, number)
            for patient, path in pairs.items()
            for number in _trusted(read_simulated(path, patient))
        }
        self.patients = tuple(self._of)
        self.people = tuple(pairs)

    def real(self, person: str) -> Stack:
        """The stack of a person's own radiograph."""
        return super()._read(person)[0]

    def _read(self, name: str) -> tuple[Stack, Path]:
        patient, number = self._of[name]
        path = self._pairs[patient]
        real, _ = super()._read(patient)
        return as_stack(read_simulated(path, patient), number, real), path


class MixedStore(PairStore):
    """Real radiographs, with every object aligned where that is known, beside the pairs; alike in number.

    Each patient's radiograph stands in an epoch as often as the patient has pairs; first epochs may have pairs alone.
    """

    def __init__(
        self,
        stacks: dict[str, Path],
        pairs: dict[str, Path],
        cache_bytes: float,
        profiles: Sequence[DeviceProfile] = (),
        *,
        pairs_alone_epochs: int,
        muscle_weight: float,
    ):
        """As of `PairStore`.

        Args:
            pairs_alone_epochs: number of first epochs without a real radiograph.
            muscle_weight: of a real radiograph's aligned muscles in the bone loss, where a bone has 1; 0: none.
        """
        super().__init__(stacks, pairs, cache_bytes, profiles)
        self.pairs_alone_epochs, self.muscle_weight = pairs_alone_epochs, muscle_weight
        self.simulated = tuple(self._of)
        self.patients = (*stacks, *self.simulated)
        times = -(-len(self.simulated) // max(1, len(stacks)))
        self._mixed = (*chain.from_iterable(repeat(tuple(stacks), times)), *self.simulated)

    @property
    def samples(self) -> int:
        """Number of samples that an epoch takes."""
        return len(self._mixed)

    def of_epoch(self, epoch: int) -> tuple[str, ...]:
        """Names of the samples of an epoch."""
        return self.simulated if self.simulated and epoch < self.pairs_alone_epochs else self._mixed

    def _read(self, name: str) -> tuple[Stack, Path]:
        if name in self._of:
            return super()._read(name)
        real, path = StackStore._read(self, name)
        if self.muscle_weight == 0.0:
            return real, path
        return with_aligned_muscles(real, read_simulated(self._pairs[name], name), self.muscle_weight), path


def _trusted(found: Simulated) -> list[int]:
    """Pairs of which a pixel in the field is trusted."""
    return [n for n, weight in enumerate(found.weight) if (found.field & (weight >= _TRUSTED)).any()]


def as_stack(found: Simulated, number: int, real: Stack) -> Stack:
    """A pair as a training sample; objects and distances are those of the patient's own stack.

    Raises:
        MskdexError: the pairs lack an object of the stack.
    """
    order = _order(found, real)
    drr = Crops.of(found.drr[number].dense()[:, order])
    return Stack(
        patient=found.patient,
        channels=real.channels,
        camera=found.camera,
        radiograph=found.radiograph[number],
        field=found.field & (found.weight[number] >= _TRUSTED),
        drr=drr,
        aligned=drr,
        aligned_objects=real.objects,
        truth=found.sums[number][:, order],
        known=found.known[number][order],
        visible=np.ones(len(order)),
        source_to_isocentre_mm=real.source_to_isocentre_mm,
        scale=found.scale,
    )


def with_aligned_muscles(real: Stack, found: Simulated, weight: float) -> Stack:
    """A patient's own sample, to whose aligned bones those objects come that the first pair has in the same posture.

    The first pair has the registered posture where every body was accepted; soft tissue follows the bones. Pixels that
    it does not trust do not count. The bones stay those rendered from the CT itself.

    Raises:
        MskdexError: the pairs lack an object of the stack.
    """
    first = found.weight[0] >= _TRUSTED if len(found.weight) else np.zeros(real.camera.shape, bool)
    if not found.registered or not (real.field & first).any():
        return real
    order = _order(found, real)
    muscles = [i for i, c in enumerate(real.channels) if c.kind == "muscle" and found.known[0][order[i]]]
    names = tuple(real.objects[i] for i in muscles)
    posed = found.drr[0].dense()[:, [order[i] for i in muscles]]
    return replace(
        real,
        field=real.field & first,
        aligned=Crops.of(np.concatenate([real.aligned.dense(), posed], axis=1)),
        aligned_objects=(*real.aligned_objects, *names),
        aligned_weights=(*(1.0 for _ in real.aligned_objects), *(weight for _ in names)),
    )


def _order(found: Simulated, real: Stack) -> list[int]:
    of = f"patient {found.patient}: simulated.safetensors"
    require_same([o for o in found.objects if o in real.objects], real.objects, of, "the patient's stack")
    return [found.objects.index(name) for name in real.objects]
