"""Pairs of radiograph and DRRs from the training patients' own CTs, as training samples."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import chain, repeat
from pathlib import Path

import numpy as np

from mskdex.io.arrays import Crops
from mskdex.io.simulated import Simulated, read_simulated
from mskdex.io.stack import Stack, require_same
from mskdex.models.device_profiles import DeviceProfile
from mskdex.training.stack_store import StackStore

_TRUSTED = 0.5
"""Weight of a pixel from which on it counts."""


@dataclass(frozen=True)
class Mixture:
    """How real radiographs stand beside the pairs: each in an epoch as often as its patient has pairs.

    Attributes:
        pairs_alone_epochs: number of first epochs without a real radiograph.
        muscle_weight: of a real radiograph's aligned muscles in the bone loss, where a bone has 1; 0: none.
    """

    pairs_alone_epochs: int
    muscle_weight: float


class PairStore(StackStore):
    """The pairs of a list of patients as stacks in which every object is aligned, one name for each pair.

    With a `Mixture` the patients' real radiographs too, with every object aligned where that is known.
    """

    def __init__(
        self,
        stacks: dict[str, Path],
        pairs: dict[str, Path],
        cache_bytes: float,
        profiles: Sequence[DeviceProfile] = (),
        mixture: Mixture | None = None,
    ):
        """`stacks` and `pairs`: stack.safetensors and simulated.safetensors of each patient."""
        super().__init__(stacks, cache_bytes, profiles)
        self._pairs, self._mixture = pairs, mixture
        self._of = {
            f"{patient}, pair {number}": (patient, number)
            for patient, path in pairs.items()
            for number in _trusted(read_simulated(path, patient))
        }
        self.people, self.simulated = tuple(pairs), tuple(self._of)
        real = tuple(stacks) if mixture else ()
        self.patients = (*real, *self.simulated)
        times = -(-len(self.simulated) // max(1, len(stacks)))  # rounded up
        self._samples = (*chain.from_iterable(repeat(real, times)), *self.simulated)

    @property
    def samples(self) -> int:
        """Number of samples that an epoch takes."""
        return len(self._samples)

    def of_epoch(self, epoch: int) -> tuple[str, ...]:
        """Names of the samples of an epoch."""
        pairs_alone = self._mixture is not None and epoch < self._mixture.pairs_alone_epochs
        return self.simulated if self.simulated and pairs_alone else self._samples

    def real(self, person: str) -> Stack:
        """The stack of a person's own radiograph."""
        return super()._read(person)[0]

    def _read(self, name: str) -> tuple[Stack, Path]:
        if name in self._of:
            patient, number = self._of[name]
            path = self._pairs[patient]
            return as_stack(read_simulated(path, patient), number, self.real(patient)), path
        real, path = super()._read(name)
        if self._mixture is None or self._mixture.muscle_weight == 0.0:
            return real, path
        return with_aligned_muscles(real, read_simulated(self._pairs[name], name), self._mixture.muscle_weight), path


def _trusted(simulated: Simulated) -> list[int]:
    """Pairs of which a pixel in the field is trusted."""
    return [n for n, weight in enumerate(simulated.weight) if (simulated.field & (weight >= _TRUSTED)).any()]


def as_stack(simulated: Simulated, number: int, real: Stack) -> Stack:
    """A pair as a training sample; objects and distances are those of the patient's own stack.

    Raises:
        MskdexError: the pairs lack an object of the stack.
    """
    order = _order(simulated, real)
    drr = Crops.of(simulated.drr[number].dense()[:, order])
    return Stack(
        patient=simulated.patient,
        channels=real.channels,
        camera=simulated.camera,
        radiograph=simulated.radiograph[number],
        field=simulated.field & (simulated.weight[number] >= _TRUSTED),
        drr=drr,
        aligned=drr,
        aligned_objects=real.objects,
        truth=simulated.sums[number][:, order],
        known=simulated.known[number][order],
        visible=np.ones(len(order)),
        source_to_isocentre_mm=real.source_to_isocentre_mm,
        scale=simulated.scale,
    )


def with_aligned_muscles(real: Stack, simulated: Simulated, weight: float) -> Stack:
    """A patient's own sample, to whose aligned bones those objects come that the first pair has in the same posture.

    The first pair has the registered posture where every body was accepted; soft tissue follows the bones. Pixels that
    it does not trust do not count. The bones stay those rendered from the CT itself.

    Raises:
        MskdexError: the pairs lack an object of the stack.
    """
    first = simulated.weight[0] >= _TRUSTED if len(simulated.weight) else np.zeros(real.camera.shape, bool)
    if not simulated.registered or not (real.field & first).any():
        return real
    order = _order(simulated, real)
    muscles = [i for i, c in enumerate(real.channels) if c.kind == "muscle" and simulated.known[0][order[i]]]
    names = tuple(real.objects[i] for i in muscles)
    posed = simulated.drr[0].dense()[:, [order[i] for i in muscles]]
    return replace(
        real,
        field=real.field & first,
        aligned=Crops.of(np.concatenate([real.aligned.dense(), posed], axis=1)),
        aligned_objects=(*real.aligned_objects, *names),
        aligned_weights=(*(1.0 for _ in real.aligned_objects), *(weight for _ in names)),
    )


def _order(simulated: Simulated, real: Stack) -> list[int]:
    of = f"patient {simulated.patient}: simulated.safetensors"
    require_same([o for o in simulated.objects if o in real.objects], real.objects, of, "the patient's stack")
    return [simulated.objects.index(name) for name in real.objects]
