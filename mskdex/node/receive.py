"""What the node does with what peers send: objects go into the queue, commitments are answered."""

import logging
import threading
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

from pynetdicom import Association, evt
from pynetdicom.events import EventHandlerType

from mskdex.config.node import NodeSettings
from mskdex.errors import MskdexError
from mskdex.imaging.radiograph_tags import text_of
from mskdex.io.dicom import read_header
from mskdex.node.commitment import Commitments
from mskdex.node.metrics import Metrics
from mskdex.node.queue import Queue, is_uid

log = logging.getLogger("mskdex")

SUCCESS = 0x0000
OUT_OF_RESOURCES = 0xA700
DOES_NOT_MATCH_CLASS = 0xA900
CANNOT_UNDERSTAND = 0xC000
"""Status of a C-STORE (DICOM PS3.4, annex B.2.3)."""

_TAGS = ("SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "Modality")


class Receiver:
    """Handlers of pynetdicom's events."""

    def __init__(self, settings: NodeSettings, queue: Queue, commitments: Commitments, metrics: Metrics):
        self._settings, self._queue, self._commitments, self._metrics = settings, queue, commitments, metrics
        self._brought: WeakKeyDictionary[Association, set[str]] = WeakKeyDictionary()
        self._lock = threading.Lock()

    @property
    def handlers(self) -> list[EventHandlerType]:
        """For the listener."""
        return [
            (evt.EVT_C_ECHO, lambda _: SUCCESS),
            (evt.EVT_C_STORE, self._store),
            (evt.EVT_N_ACTION, self._commitments.requested),
            (evt.EVT_RELEASED, self._released),
        ]

    def _store(self, event: evt.Event) -> int:
        """Takes an object in; success is answered when it would outlive a loss of power."""
        received = Path(event.dataset_path)
        try:
            return self._taken(event, received)
        except OSError as error:
            log.warning("an object was refused: the queue cannot be written (%s)", error.strerror)
            self._metrics.refused("disk")
            return OUT_OF_RESOURCES

    def _taken(self, event: evt.Event, received: Path) -> int:
        size = received.stat().st_size
        if size > self._settings.max_object_bytes or not self._queue.has_room_for(size):
            log.warning("an object of %d bytes was refused: larger than allowed, or no room for it", size)
            self._metrics.refused("resources")
            return OUT_OF_RESOURCES
        try:
            header = read_header(received, _TAGS)
        except MskdexError as error:
            log.debug("while an object was read: %s", error)
            return self._refuse(event, CANNOT_UNDERSTAND, "it cannot be read")
        image, study = text_of(header, "SOPInstanceUID"), text_of(header, "StudyInstanceUID")
        if not (is_uid(image) and is_uid(study)):
            return self._refuse(event, CANNOT_UNDERSTAND, "its study or image has no valid UID")
        request: Any = event.request
        asked = str(request.AffectedSOPInstanceUID), str(request.AffectedSOPClassUID)
        if (image, text_of(header, "SOPClassUID")) != asked:
            return self._refuse(event, DOES_NOT_MATCH_CLASS, "class or instance are others than in the request")
        if self._queue.accept(received, study, image):
            self._metrics.received()
        with self._lock:
            self._brought.setdefault(event.assoc, set()).add(study)
        return SUCCESS

    def _refuse(self, event: evt.Event, status: int, reason: str) -> int:
        title = str(event.assoc.requestor.ae_title).strip()
        log.warning("an object of %s was refused (status 0x%04X): %s", title, status, reason)
        self._metrics.refused("object")
        return status

    def _released(self, event: evt.Event) -> None:
        with self._lock:
            studies = self._brought.pop(event.assoc, set())
        if self._settings.complete_on_release:
            self._queue.complete(studies)
