"""What is done with a complete study: predicted, its results given to the destination, recorded, put away."""

import logging
import shutil
import time
import warnings
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from pydicom.config import disable_value_validation
from pydicom.dataset import Dataset

from mskdex.errors import MskdexError
from mskdex.io.artifacts import disk_is_full
from mskdex.node import folders
from mskdex.node.destination import Destination, DestinationError
from mskdex.node.metrics import Metrics
from mskdex.node.queue import Job, Queue

log = logging.getLogger("mskdex")

_LONGEST_PAUSE_S = 900.0

Predict = Callable[[Path], Sequence[Dataset]]
"""From a radiograph's file to the result objects, whole with file meta; MskdexError where it cannot be predicted."""


@dataclass(frozen=True)
class StudyProcessor:
    """How studies are worked on.

    Attributes:
        queue: where they lie.
        predict: what makes the results.
        digest: of the model; an image that has been done with the same one is not done again.
        destination: where results go.
        attempts: an image at which the process has died so often is given up.
        metrics: to count in.
    """

    queue: Queue
    predict: Predict
    digest: str
    destination: Destination
    attempts: int
    metrics: Metrics

    def predict_all(self, job: Job) -> None:
        """Predicts those of a job's images that have no results yet; what was begun and not finished is begun anew."""
        folders.make(job.results)
        for image in job.images:
            uid = image.stem
            if any((job.results / f"{uid}{end}").exists() for end in ("", ".failed", ".repeat")):
                continue
            record = self.queue.record(uid)
            if record is not None and record.get("model") == self.digest:
                folders.write(job.results / f"{uid}.repeat", "")
            else:
                self._predict(image, job)

    def _predict(self, image: Path, job: Job) -> None:
        uid, started = image.stem, time.monotonic()
        attempt = job.results / f"{uid}.attempts"
        before = len(attempt.read_text(encoding="utf-8")) if attempt.is_file() else 0
        if before >= self.attempts:
            folders.write(job.results / f"{uid}.failed", f"the node has ended {before} times while it was predicted")
            return
        folders.write(attempt, "x" * (before + 1))
        try:
            objects = self.predict(image)
        except Exception as error:  # whatever is wrong with one image is said of that image alone
            if disk_is_full(error, job.path):
                raise
            log.debug("while %s was predicted", image, exc_info=True)
            reason = str(error) if isinstance(error, MskdexError) else f"{type(error).__name__}: {error}"
            folders.write(job.results / f"{uid}.failed", reason.replace(f"{job.path}/", ""))
        else:
            self._write(objects, job.results / uid)
            self.metrics.predicted(time.monotonic() - started)
        attempt.unlink()

    def _write(self, objects: Sequence[Dataset], folder: Path) -> None:
        """All results of an image or none."""
        temporary = folder.with_name(f".{folder.name}")
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.mkdir()
        for number, item in enumerate(objects):
            path = temporary / f"{number:02d}-{item.SOPInstanceUID}.dcm"
            with disable_value_validation(), warnings.catch_warnings():
                warnings.simplefilter("ignore")  # an archive's own values are kept, whatever the standard says of them
                item.save_as(path, enforce_file_format=True)
            folders.sync(path)
        folders.sync(temporary)
        folders.put(temporary, folder)

    def unsent(self, job: Job) -> list[Path]:
        """Results of a predicted job that the destination has not taken yet."""
        return [path for image in job.images for path in sorted((job.results / image.stem).glob("*.dcm"))]

    def deliver(self, files: Sequence[Path]) -> None:
        """Sends results; each is marked when the destination has taken it.

        Raises:
            DestinationError: it takes nothing now.
        """
        for path, refused in self.destination.send(files):
            if refused:
                folders.write(path.with_suffix(".refused"), refused)
            else:
                self.metrics.sent()
            folders.put(path, path.with_suffix(".sent"))

    def finish(self, job: Job) -> None:
        """Records what images have got, puts the study away and writes its one log line."""
        states: Counter[str] = Counter()
        notes: list[str] = []
        refusals: list[str] = []
        count = 0
        for image in job.images:
            state, why = self._outcome(image.stem, job.results)
            states[state] += 1
            if why:
                (refusals if state == "refused" else notes).append(f"{image.stem}: {why}")
            if state == "predicted":
                sent = [p.stem.partition("-")[2] for p in sorted((job.results / image.stem).glob("*.sent"))]
                count += len(sent)
                record = {"study": job.study, "model": self.digest, "results": sent, "sent": _now()}
                self.queue.write_record(image.stem, record)
        good = bool(states["predicted"] or states["repeat"]) and not refusals
        reasons = "; ".join([*refusals, *notes]) or ("" if good else "it holds no image")
        parts = [f"{number} {name}" for name, number in sorted(states.items())] or ["none"]
        parts += [f"{count} results sent"] if count else []
        line = f"study {job.study}: {'done' if good else 'failed'}, images: {', '.join(parts)}"
        log.log(logging.INFO if good else logging.WARNING, "%s%s", line, f"; {reasons}" if reasons else "")
        self.metrics.finished("done" if good else "failed", states)
        self.queue.finish(job, "" if good else reasons)  # last, so that no study is put away without its line

    @staticmethod
    def _outcome(uid: str, results: Path) -> tuple[str, str]:
        """What has become of an image, and why."""
        failed = results / f"{uid}.failed"
        if (results / f"{uid}.repeat").exists():
            return "repeat", ""
        if failed.is_file():
            return "failed", failed.read_text(encoding="utf-8").strip()
        refused = sorted((results / uid).glob("*.refused"))
        return ("refused", refused[0].read_text(encoding="utf-8")) if refused else ("predicted", "")


class Worker:
    """Does the jobs one after the other; a destination that fails is left alone for longer each time."""

    def __init__(self, processor: StudyProcessor, retry_s: float):
        self._processor, self._retry_s = processor, retry_s
        self._pause_s, self._until = retry_s, 0.0

    def round(self, stopping: Callable[[], bool]) -> None:
        """One pass over the jobs that are ready; returns early when the node is to stop."""
        for job in self._processor.queue.ready():
            if stopping():
                return
            self._processor.predict_all(job)
            files = self._processor.unsent(job)
            if not files or (time.monotonic() >= self._until and self._delivered(files)):
                self._processor.finish(job)

    def _delivered(self, files: Sequence[Path]) -> bool:
        try:
            self._processor.deliver(files)
        except DestinationError as error:
            log.warning("results wait: %s; tried again in %.0f s", error, self._pause_s)
            self._processor.metrics.destination_failed()
            self._until = time.monotonic() + self._pause_s
            self._pause_s = min(2 * self._pause_s, _LONGEST_PAUSE_S)
            return False
        self._pause_s = self._retry_s
        return True


def _now() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S%z")
