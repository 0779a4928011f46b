"""The running node: listener, worker and reporter over one queue, until it is told to stop."""

import logging
import signal
import tempfile
import threading
import time
from collections.abc import Callable
from types import TracebackType

from mskdex.config.node import NodeSettings
from mskdex.errors import MskdexError
from mskdex.node.commitment import Commitments
from mskdex.node.destination import destination
from mskdex.node.metrics import Metrics
from mskdex.node.queue import Queue
from mskdex.node.receive import Receiver
from mskdex.node.server import Listener
from mskdex.node.work import Predict, StudyProcessor, Worker

log = logging.getLogger("mskdex")

_TICK_S = 0.2
_TIDY_S = 60.0


def serve(settings: NodeSettings, predict: Predict, digest: str) -> None:
    """Runs a node until the process is told to end (SIGTERM or SIGINT); arguments and errors are `Node`'s."""
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    with Node(settings, predict, digest):
        stop.wait()
        log.info("the node stops")


class Node:
    """A node that runs in threads of this process; a context manager, which stops it."""

    def __init__(self, settings: NodeSettings, predict: Predict, digest: str):
        """Opens the queue and starts to listen and to work; what a stopped node left is taken up.

        Args:
            settings: of the node.
            predict: what makes the results of one image.
            digest: of the model.

        Raises:
            MskdexError: the queue or a port is another process's.
        """
        self._settings = settings
        self._stopping = threading.Event()
        self._next_tidy = 0.0
        self.metrics = Metrics()
        sender = destination(settings)
        self.queue = Queue(settings.queue, settings.max_queue_bytes, settings.min_free_bytes)
        tempfile.tempdir = str(self.queue.state("receiving"))  # pynetdicom receives there; taking in is then a rename
        commitments = Commitments(settings, self.queue, self.metrics)
        receiver = Receiver(settings, self.queue, commitments, self.metrics)
        self._worker = Worker(
            StudyProcessor(self.queue, predict, digest, sender, settings.attempts, self.metrics), settings.retry_s
        )
        try:
            self.metrics_port = None if settings.metrics_port is None else self.metrics.serve(settings.metrics_port)
            self._listener = Listener(settings, self.metrics, receiver.handlers)
        except OSError as error:
            self.queue.close()
            self.metrics.close()
            msg = f"the node cannot listen at {settings.address} port {settings.port} ({error.strerror}); choose others"
            raise MskdexError(msg) from error
        self._threads = [
            threading.Thread(target=target, args=args, name=name)
            for name, target, args in (
                ("worker", self._repeated, (self._work, _TICK_S)),
                ("tidier", self._repeated, (self._tidy, _TICK_S)),
                ("reporter", commitments.run, (self._stopping,)),
            )
        ]
        for thread in self._threads:
            thread.start()
        log.info("node %s listens at %s port %d", settings.ae_title, settings.address, self.port)

    @property
    def port(self) -> int:
        """The port that it listens at."""
        return self._listener.port

    def stop(self) -> None:
        """Refuses what comes, finishes the image in hand, and leaves the rest in the queue."""
        self._stopping.set()
        self._listener.stop()
        for thread in self._threads:
            thread.join()
        self.metrics.close()
        self.queue.close()

    def __enter__(self) -> "Node":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.stop()

    def _repeated(self, do: Callable[[], None], pause_s: float) -> None:
        """Does a thing again and again; an error of the disk, or a defect, costs a pause but not the node."""
        while not self._stopping.wait(pause_s):
            try:
                do()
            except Exception as error:
                log.error("the node goes on after an error (%s: %s)", type(error).__name__, error)
                log.debug("traceback", exc_info=True)
                self._stopping.wait(self._settings.retry_s)

    def _work(self) -> None:
        self.queue.complete_quiet(self._settings.quiet_s)
        self._worker.round(self._stopping.is_set)

    def _tidy(self) -> None:
        self.metrics.queue(self.queue.counts(), self.queue.used_bytes)
        if time.monotonic() >= self._next_tidy:
            self.queue.tidy(self._settings.keep_hours)
            self._next_tidy = time.monotonic() + _TIDY_S
