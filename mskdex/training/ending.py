"""When a training has to end before it is done: its job's time is nearly up, or it was asked to by SIGTERM."""

import contextlib
import logging
import os
import signal
import threading
import time
from collections.abc import Iterator, Mapping
from types import FrameType

log = logging.getLogger("mskdex")

MARGIN_SECONDS = 30.0
"""Time that is left for the end of a job beside twice the time that a checkpoint has taken."""


class Ending:
    """Whether a training shall write a checkpoint now and leave the rest to its next process."""

    def __init__(self, environment: Mapping[str, str] = os.environ):
        """`environment`: SLURM says in SLURM_JOB_END_TIME when a job ends, in seconds since 1970."""
        found = environment.get("SLURM_JOB_END_TIME", "")
        self.end = float(found) if found.isdigit() else float("inf")
        self.asked = False

    def due(self, checkpoint_seconds: float) -> bool:
        """Whether it shall end now.

        Args:
            checkpoint_seconds: how long a checkpoint takes to write.
        """
        return self.asked or time.time() > self.end - MARGIN_SECONDS - 2.0 * checkpoint_seconds

    @contextlib.contextmanager
    def heeded(self) -> Iterator[None]:
        """Takes SIGTERM as a wish to end, once; a second one ends the process at once."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = signal.signal(signal.SIGTERM, self._ask)
        try:
            yield
        finally:
            signal.signal(signal.SIGTERM, before)

    def _ask(self, number: int, frame: FrameType | None) -> None:  # noqa: ARG002 - as signal.signal calls it
        self.asked = True
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
