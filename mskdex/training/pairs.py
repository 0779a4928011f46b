"""Pairs of radiograph and DRRs from the training patients' own CTs, as training samples."""

from pathlib import Path

import numpy as np

from mskdex.io.arrays import Crops
from mskdex.io.simulated import Simulated, read_simulated
from mskdex.io.stack import Stack, require_same
from mskdex.training.data import StackStore

_TRUSTED = 0.5
"""Weight of a pixel from which on it counts."""


class PairStore(StackStore):
    """The pairs of a list of patients as stacks in which every object is aligned, one name for each pair."""

    def __init__(self, stacks: dict[str, Path], pairs: dict[str, Path], cache_bytes: float):
        """`stacks` and `pairs`: stack.safetensors and simulated.safetensors of each patient."""
        super().__init__(stacks, cache_bytes)
        self._pairs = pairs
        self._of = {
            f"{patient}, pair {number}": (patient, number)
            for patient, path in pairs.items()
            for number in _trusted(read_simulated(path, patient))
        }
        self.patients = tuple(self._of)
        self.people = tuple(pairs)

    def _read(self, name: str) -> tuple[Stack, Path]:
        patient, number = self._of[name]
        path = self._pairs[patient]
        real, _ = super()._read(patient)
        return as_stack(read_simulated(path, patient), number, real), path


def _trusted(found: Simulated) -> list[int]:
    """Pairs of which a pixel in the field is trusted."""
    return [n for n, weight in enumerate(found.weight) if (found.field & (weight >= _TRUSTED)).any()]


def as_stack(found: Simulated, number: int, real: Stack) -> Stack:
    """A pair as a training sample; objects and distances are those of the patient's own stack.

    Raises:
        MskdexError: the pairs lack an object of the stack.
    """
    of = f"patient {found.patient}: simulated.safetensors"
    require_same([o for o in found.objects if o in real.objects], real.objects, of, "the patient's stack")
    order = [found.objects.index(name) for name in real.objects]
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
