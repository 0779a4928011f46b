"""Storage commitment: which images the node holds on its disk, reported to who asked, also after a restart.

The node is no archive: an image is held until its study is finished and `keep_hours` long after that.
Source: DICOM PS3.4, annex J.
"""

import json
import logging
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydicom.dataset import Dataset
from pynetdicom import build_role, evt
from pynetdicom.sop_class import (  # type: ignore[attr-defined]
    StorageCommitmentPushModel,
    StorageCommitmentPushModelInstance,
)

from mskdex.config.node import NodeSettings, PeerSettings
from mskdex.errors import MskdexError
from mskdex.imaging.radiograph_tags import text_of
from mskdex.io.dicom import read_header
from mskdex.node import folders
from mskdex.node.entity import entity
from mskdex.node.metrics import Metrics
from mskdex.node.queue import Queue, is_uid

log = logging.getLogger("mskdex")

_SUCCESS, _PROCESSING_FAILURE, _NO_SUCH_INSTANCE, _NO_SUCH_ACTION = 0x0000, 0x0110, 0x0112, 0x0123
_INVALID_ARGUMENT = 0x0115
_CLASS_CONFLICT = 0x0119
_COMMIT, _ALL_HELD, _SOME_NOT_HELD = 1, 1, 2
_HELD_IN = ("incoming", "ready", "done", "failed")
_GIVEN_UP_S = 24 * 3600.0


class Commitments:
    """Requests that came, each a file in the queue's folder `reports` until its report has been taken."""

    def __init__(self, settings: NodeSettings, queue: Queue, metrics: Metrics):
        self._settings, self._queue, self._metrics = settings, queue, metrics
        self._came = threading.Event()

    def requested(self, event: evt.Event) -> tuple[int, Dataset | None]:
        """Handler of N-ACTION: keeps the request; `report` answers it."""
        if event.action_type != _COMMIT:
            return _NO_SUCH_ACTION, None
        request: Any = event.request
        if request.RequestedSOPInstanceUID != StorageCommitmentPushModelInstance:
            return _NO_SUCH_INSTANCE, None
        title = str(event.assoc.requestor.ae_title).strip()
        peer = self._peer(title)
        if peer is None or peer.port is None:
            log.warning("storage commitment for %s refused: give its port in peers", title)
            return _PROCESSING_FAILURE, None
        try:
            asked: Dataset = event.action_information
            transaction = text_of(asked, "TransactionUID")
            instances = [
                (text_of(item, "ReferencedSOPClassUID"), text_of(item, "ReferencedSOPInstanceUID"))
                for item in asked.ReferencedSOPSequence
            ]
        except Exception as error:  # pydicom raises anything of damaged bytes
            log.warning("storage commitment for %s refused: the request cannot be read (%s)", title, error)
            return _INVALID_ARGUMENT, None
        if not is_uid(transaction) or not all(is_uid(uid) for pair in instances for uid in pair):
            log.warning("storage commitment for %s refused: not all UIDs of the request are valid", title)
            return _INVALID_ARGUMENT, None
        content = {"peer": title, "instances": instances, "asked": time.time()}
        folders.write(self._queue.state("reports") / f"{transaction}.json", json.dumps(content))
        self._came.set()
        return _SUCCESS, None

    def run(self, stopping: threading.Event) -> None:
        """Reports until the node stops: at once, and again with pauses where a peer does not take it."""
        while not stopping.is_set():
            self._came.clear()
            try:
                left = [path for path in self._pending() if not self._report(path)]
            except Exception as error:  # the node goes on, and the report is tried again
                log.error("storage commitment: a report failed (%s: %s)", type(error).__name__, error)
                log.debug("traceback", exc_info=True)
                left = [Path()]
            pause = self._settings.retry_s if left else None
            while not stopping.is_set() and not self._came.wait(min(1.0, pause or 1.0)):
                if pause is not None and (pause := pause - 1.0) <= 0:
                    break

    def _pending(self) -> list[Path]:
        return sorted(p for p in self._queue.state("reports").glob("*.json") if not p.name.startswith("."))

    def _report(self, path: Path) -> bool:
        """Whether nothing is left to do of a request."""
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            peer, instances, asked = self._peer(content["peer"]), content["instances"], float(content["asked"])
        except (ValueError, KeyError, TypeError) as error:
            log.warning("%s is damaged (%s) and is removed", path, error)
            path.unlink()
            return True
        if peer is not None and peer.port is not None and self._send(peer, path.stem, instances):
            self._metrics.reported()
            path.unlink()
            return True
        if time.time() - asked < _GIVEN_UP_S:
            return False
        log.warning("storage commitment %s: %s did not take the report; given up", path.stem, content["peer"])
        path.unlink()
        return True

    def _peer(self, title: str) -> PeerSettings | None:
        return next((peer for peer in self._settings.peers if peer.ae_title.strip() == title), None)

    def _send(self, peer: PeerSettings, transaction: str, instances: Sequence[Sequence[str]]) -> bool:
        caller = entity(self._settings.ae_title, self._settings.timeout_s)
        caller.add_requested_context(StorageCommitmentPushModel)
        role = build_role(StorageCommitmentPushModel, scp_role=True)
        association = caller.associate(peer.host, int(peer.port or 0), ae_title=peer.ae_title, ext_neg=[role])  # type: ignore[list-item]
        if not association.is_established:
            log.info("storage commitment: %s cannot be reached for the report, which is tried again", peer.ae_title)
            return False
        try:
            report, kind = self._content(transaction, instances)
            status, _ = association.send_n_event_report(
                report, kind, StorageCommitmentPushModel, StorageCommitmentPushModelInstance
            )
        finally:
            association.release()
        return getattr(status, "Status", None) == _SUCCESS

    def _content(self, transaction: str, instances: Sequence[Sequence[str]]) -> tuple[Dataset, int]:
        report = Dataset()
        held: list[Dataset] = []
        missing: list[Dataset] = []
        report.TransactionUID = transaction
        for sop_class, instance in instances:
            item = Dataset()
            item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = sop_class, instance
            path = self._queue.held(instance, _HELD_IN)
            if path is None:
                item.FailureReason = _NO_SUCH_INSTANCE
            elif _class_of(path) != sop_class:
                item.FailureReason = _CLASS_CONFLICT
            (missing if "FailureReason" in item else held).append(item)
        if held:
            report.ReferencedSOPSequence = held
        if missing:
            report.FailedSOPSequence = missing
        return report, _SOME_NOT_HELD if missing else _ALL_HELD


def _class_of(path: Path) -> Any:
    """SOP class of a held image; None where it has gone meanwhile."""
    try:
        return text_of(read_header(path, ("SOPClassUID",)), "SOPClassUID")
    except MskdexError:
        return None
