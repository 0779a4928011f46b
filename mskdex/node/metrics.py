"""What the node counts, for Prometheus."""

import logging
from collections.abc import Mapping
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, start_http_server

from mskdex.errors import MskdexError

log = logging.getLogger("mskdex")

_LOOPBACK = "127.0.0.1"
_SECONDS = (0.5, 1, 2, 5, 10, 30, 60, 300)


class Metrics:
    """Counters and gauges, all named mskdex_node_...; no label holds anything of a patient."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        kind: dict[str, Any] = {"namespace": "mskdex_node", "registry": self.registry}
        self._received = Counter("objects_received", "Images taken into the queue", **kind)
        self._refused = Counter("refused", "Connections, associations and objects refused", ["reason"], **kind)
        self._studies = Counter("studies", "Studies finished", ["state"], **kind)
        self._images = Counter("images", "Images of finished studies", ["state"], **kind)
        self._sent = Counter("results_sent", "Result objects that the destination has taken", **kind)
        self._failures = Counter("destination_failures", "Times that the destination could not be reached", **kind)
        self._reports = Counter("commitment_reports", "Reports of storage commitment delivered", **kind)
        self._seconds = Histogram("prediction_seconds", "Time of one image's prediction", buckets=_SECONDS, **kind)
        self._queue = Gauge("queue_studies", "Studies in the queue", ["state"], **kind)
        self._bytes = Gauge("queue_bytes", "Bytes in the queue", **kind)
        self._server: Any = None

    def serve(self, port: int) -> int:
        """Offers the metrics at http://127.0.0.1:port/metrics, to this machine alone; returns the port.

        Raises:
            MskdexError: the port is taken.
        """
        try:
            self._server, _ = start_http_server(port, _LOOPBACK, self.registry)
        except OSError as error:
            msg = f"metrics_port {port} cannot be used ({error.strerror}); choose another one"
            raise MskdexError(msg) from error
        return int(self._server.server_port)

    def close(self) -> None:
        """Ends what `serve` began."""
        if self._server:
            self._server.shutdown()
            self._server.server_close()

    def received(self) -> None:
        """An image was taken into the queue."""
        self._received.inc()

    def refused(self, reason: str) -> None:
        """A connection, association or object was refused; the reason is one word."""
        self._refused.labels(reason).inc()

    def finished(self, state: str, images: Mapping[str, int]) -> None:
        """A study was finished, with so many images in each state."""
        self._studies.labels(state).inc()
        for name, count in images.items():
            self._images.labels(name).inc(count)

    def sent(self) -> None:
        """The destination took a result."""
        self._sent.inc()

    def destination_failed(self) -> None:
        """The destination could not be reached."""
        self._failures.inc()

    def reported(self) -> None:
        """A report of storage commitment was delivered."""
        self._reports.inc()

    def predicted(self, seconds: float) -> None:
        """An image was predicted in so many seconds."""
        self._seconds.observe(seconds)

    def queue(self, counts: Mapping[str, int], used_bytes: int) -> None:
        """What is in the queue now."""
        for state, count in counts.items():
            self._queue.labels(state).set(count)
        self._bytes.set(used_bytes)
