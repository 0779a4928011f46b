"""Stored stacks of the patients that a training learns from, read by their devices' profiles."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from mskdex.errors import MskdexError
from mskdex.io.stack import Stack, read_stack
from mskdex.models.device_profiles import DeviceProfile, stack_by_profile


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
