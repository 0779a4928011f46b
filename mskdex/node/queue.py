"""The node's queue on disk: a study's state is the folder that it lies in, and changes by one rename.

    receiving/                    objects that are being received
    incoming/{study}/{image}.dcm  studies of which more may come
    ready/{job}/{image}.dcm       complete studies; results lie in the job's folder `results`
    done/{job}/, failed/{job}/    finished studies, kept for a while; failed ones with reason.txt
    records/{image}.json          which results an image has got, of which model

{study} and {image} are UIDs, {job} is the time of completion and the study's UID. A job that is moved from `failed`
back to `ready` is done again.
"""

import fcntl
import json
import logging
import re
import shutil
import threading
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from mskdex.errors import MskdexError
from mskdex.node import folders

log = logging.getLogger("mskdex")

_UID = re.compile(r"[0-9]+(\.[0-9]+)*")
_LONGEST_UID = 64
_STATES = ("receiving", "incoming", "ready", "done", "failed", "records", "reports")
_ABANDONED_S = 3600.0
"""Nobody writes any more to a half-received file this old: a silent peer is disconnected long before."""


def is_uid(text: str) -> bool:
    """Whether a text is a DICOM UID, which is then safe as a file's name."""
    return len(text) <= _LONGEST_UID and _UID.fullmatch(text) is not None


@dataclass(frozen=True)
class Job:
    """A complete study in the queue."""

    path: Path

    @property
    def study(self) -> str:
        """Study Instance UID."""
        return self.path.name.partition("-")[2]

    @property
    def images(self) -> list[Path]:
        """Its images, {SOP Instance UID}.dcm."""
        return sorted(self.path.glob("*.dcm"))

    @property
    def results(self) -> Path:
        """Folder of what has become of its images."""
        return self.path / "results"


class Queue:
    """The queue; one process at a time holds it. Its methods may be called from any thread."""

    def __init__(self, root: Path, max_bytes: int, min_free_bytes: int):
        """Opens the queue, and makes it where it is absent.

        Raises:
            MskdexError: another process holds it, or the folder cannot be written.
        """
        self.root, self._max_bytes, self._min_free_bytes = root, max_bytes, min_free_bytes
        try:
            for name in ("", *_STATES):
                folders.make(root / name)
            self._lock_file: IO[str] = open(root / ".lock", "a", encoding="utf-8")  # noqa: SIM115 (held until `close`)
            fcntl.flock(self._lock_file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            self._lock_file.close()
            msg = f"queue {root} is that of another running node; stop it, or name another folder"
            raise MskdexError(msg) from error
        except OSError as error:
            msg = f"queue {root} cannot be used ({error.strerror}); give the node's user the right to write there"
            raise MskdexError(msg) from error
        self._lock = threading.Lock()
        for left in (root / "receiving").iterdir():
            left.unlink()
        now = time.monotonic()
        self._touched = {folder.name: now for folder in (root / "incoming").iterdir()}
        self._used = folders.size(root)

    def close(self) -> None:
        """Gives the queue back; what is in it stays."""
        self._lock_file.close()

    def state(self, name: str) -> Path:
        """The folder of a state."""
        return self.root / name

    def has_room_for(self, size: int) -> bool:
        """Whether so many bytes more may be taken; images of finished studies make room."""
        while self._used + size > self._max_bytes or self._free() - size < self._min_free_bytes:
            if not (finished := self._jobs("done")):
                return False
            self._drop(finished[0])
        return True

    def accept(self, received: Path, study: str, image: str) -> bool:
        """Takes a received file in; when this returns, the object outlives a loss of power.

        Returns:
            False where the queue holds the image already, in which case the file is left.
        """
        folders.sync(received)
        size = received.stat().st_size
        with self._lock:
            if self.held(image):
                return False
            folder = self.root / "incoming" / study
            folders.make(folder)
            folders.put(received, folder / f"{image}.dcm")
            self._touched[study] = time.monotonic()
            self._used += size
        return True

    def held(self, image: str, states: Iterable[str] = ("incoming", "ready")) -> Path | None:
        """The file of an image in one of some states."""
        for state in states:
            for folder in self.state(state).iterdir():
                path = folder / f"{image}.dcm"
                if path.is_file():
                    return path
        return None

    def complete(self, studies: Iterable[str]) -> None:
        """Makes jobs of studies of which nothing more is expected; those that are none any more are passed over."""
        with self._lock:
            for study in studies:
                folder = self.root / "incoming" / study
                if folder.is_dir():
                    folders.put(folder, self.root / "ready" / f"{time.time_ns():020d}-{study}")
                self._touched.pop(study, None)

    def complete_quiet(self, quiet_s: float) -> None:
        """Makes jobs of studies of which nothing has come for so long."""
        now = time.monotonic()
        self.complete([study for study, last in list(self._touched.items()) if now - last >= quiet_s])

    def ready(self) -> list[Job]:
        """The jobs to do, the oldest first."""
        return self._jobs("ready")

    def finish(self, job: Job, reason: str = "") -> None:
        """Moves a job to `done`, or to `failed` with the reason."""
        if reason:
            folders.write(job.path / "reason.txt", reason + "\n")
        folders.remove(job.results)
        folders.put(job.path, self.root / ("failed" if reason else "done") / job.path.name)

    def record(self, image: str) -> dict[str, Any] | None:
        """What `write_record` kept of an image."""
        path = self.root / "records" / f"{image}.json"
        try:
            found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return None
        except ValueError as error:
            log.warning("%s is damaged (%s) and is passed over", path, error)
            return None
        return found

    def write_record(self, image: str, content: dict[str, Any]) -> None:
        """Keeps which results an image has got."""
        folders.write(self.root / "records" / f"{image}.json", json.dumps(content, indent=1) + "\n")

    def tidy(self, keep_hours: float) -> None:
        """Removes finished studies that have been kept long enough, and what an ended association left."""
        until = time.time() - keep_hours * 3600
        for job in self._jobs("done"):
            if job.path.stat().st_ctime <= until:
                self._drop(job)
        for path in (self.root / "receiving").iterdir():
            if path.stat().st_mtime < time.time() - _ABANDONED_S:
                path.unlink(missing_ok=True)
        self._used = folders.size(self.root)

    def counts(self) -> dict[str, int]:
        """How many studies are in each state."""
        states = ("incoming", "ready", "done", "failed")
        return {state: len(list(self.state(state).iterdir())) for state in states}

    @property
    def used_bytes(self) -> int:
        """What the queue holds, as last counted."""
        return self._used

    def _jobs(self, state: str) -> list[Job]:
        return [Job(path) for path in sorted(self.state(state).iterdir()) if is_uid(path.name.partition("-")[2])]

    def _drop(self, job: Job) -> None:
        size = folders.size(job.path)
        folders.remove(job.path)
        self._used -= size

    def _free(self) -> int:
        return shutil.disk_usage(self.root).free
