"""When a training has to end before it is done: its job's time is nearly up, or it was asked to by SIGTERM."""

import contextlib
import os
import signal
import subprocess
import threading
import time
from collections.abc import Iterator, Mapping
from datetime import datetime
from types import FrameType

MARGIN_SECONDS = 30.0
"""Time that is left for the end of a job beside twice the time that a checkpoint has taken."""


def job_end(environment: Mapping[str, str]) -> float:
    """When SLURM ends this job, in seconds since 1970; infinity where it is no job, or SLURM does not say."""
    stated, job_id = environment.get("SLURM_JOB_END_TIME", ""), environment.get("SLURM_JOB_ID", "")
    if stated.isdigit():
        return float(stated)
    if job_id.isdigit():
        command = ["squeue", "--noheader", "--format=%e", f"--job={job_id}"]
        with contextlib.suppress(OSError, subprocess.SubprocessError, ValueError):
            found = subprocess.run(command, capture_output=True, check=True, encoding="utf-8", timeout=60)
            return datetime.fromisoformat(found.stdout.strip()).timestamp()  # local time, as the controller has it
    return float("inf")


class JobDeadline:
    """Whether a training shall write a checkpoint now and leave the rest to its next process."""

    def __init__(self, environment: Mapping[str, str] = os.environ):
        """`environment`: where SLURM says which job this is and, since version 23, when it ends."""
        self.end = job_end(environment)
        self.terminated = False

    def due(self, checkpoint_seconds: float) -> bool:
        """Whether it shall end now.

        Args:
            checkpoint_seconds: how long a checkpoint takes to write.
        """
        return self.terminated or time.time() > self.end - MARGIN_SECONDS - 2.0 * checkpoint_seconds

    @contextlib.contextmanager
    def caught_sigterm(self) -> Iterator[None]:
        """Takes SIGTERM as a wish to end. It may come twice: SLURM sends it to a job and to each of its steps."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = signal.signal(signal.SIGTERM, self._terminate)
        try:
            yield
        finally:
            signal.signal(signal.SIGTERM, before)

    def _terminate(self, number: int, frame: FrameType | None) -> None:  # noqa: ARG002 - as signal.signal calls it
        self.terminated = True
