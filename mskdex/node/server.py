"""The node's side of associations: who may call, what a peer may make the node hold in memory or on disk."""

import logging
import socket
import struct
import threading
from socketserver import BaseServer
from typing import Any
from weakref import WeakKeyDictionary

from pynetdicom import AE, Association, _config, evt
from pynetdicom.events import EventHandlerType
from pynetdicom.presentation import PresentationContext, build_context
from pynetdicom.sop_class import StorageCommitmentPushModel, Verification  # type: ignore[attr-defined]
from pynetdicom.transport import ThreadedAssociationServer

from mskdex.config.node import NodeSettings
from mskdex.node.entity import entity
from mskdex.node.metrics import Metrics

log = logging.getLogger("mskdex")

STORED_CLASSES = {
    "CR": ("1.2.840.10008.5.1.4.1.1.1",),
    "DX": ("1.2.840.10008.5.1.4.1.1.1.1", "1.2.840.10008.5.1.4.1.1.1.1.1"),
}
"""SOP classes by modality: CR Image; DX Image for presentation and for processing."""

TRANSFER_SYNTAXES = (
    "1.2.840.10008.1.2.1",  # Explicit VR Little Endian
    "1.2.840.10008.1.2",  # Implicit VR Little Endian
    "1.2.840.10008.1.2.4.70",  # JPEG Lossless, first-order prediction
    "1.2.840.10008.1.2.4.57",  # JPEG Lossless
    "1.2.840.10008.1.2.4.80",  # JPEG-LS Lossless
    "1.2.840.10008.1.2.4.90",  # JPEG 2000, lossless only
    "1.2.840.10008.1.2.5",  # RLE Lossless
    "1.2.840.10008.1.2.4.50",  # JPEG Baseline
    "1.2.840.10008.1.2.4.51",  # JPEG Extended
    "1.2.840.10008.1.2.4.81",  # JPEG-LS near-lossless
    "1.2.840.10008.1.2.4.91",  # JPEG 2000
)
"""What the import decodes, by preference."""

_LARGEST_PDU = 1 << 17
_LARGEST_HEADER = 1 << 20
"""Bytes of an association request: 128 presentation contexts with every transfer syntax take a tenth of it."""
_LARGEST_MESSAGE = 1 << 24
"""Bytes of a message other than C-STORE, which pynetdicom holds in memory; a commitment of 100 000 images fits."""
_CUT_OFF = 4
"""A sender cannot be told to stop within an object, only be cut off; up to so many times the limit it gets a status."""
_HALF_OPEN = 4
"""Connections per allowed association, those that have not asked for an association yet included."""

_REJECTED_PERMANENTLY, _BY_USER, _CALLING_TITLE_UNKNOWN = 1, 1, 3


class _PduSocket(socket.socket):
    """A connection that ends where a PDU claims to be larger than what was agreed; it would be read into memory."""

    _header = b""
    _left = 0

    def recv(self, size: int, flags: int = 0, /) -> bytes:
        got = super().recv(size, flags)
        at = 0
        while at < len(got):
            if self._left:
                step = min(self._left, len(got) - at)
                self._left -= step
            else:
                step = min(6 - len(self._header), len(got) - at)
                self._header += got[at : at + step]
                if len(self._header) == 6:
                    self._left, self._header = struct.unpack(">2xL", self._header)[0], b""
                    if self._left > _LARGEST_HEADER:
                        msg = f"a PDU of {self._left} bytes is announced"
                        raise OSError(msg)
            at += step
        return got


class _Server(ThreadedAssociationServer):
    """Takes connections from the peers' addresses alone."""

    def __init__(self, *args: Any, settings: NodeSettings, metrics: Metrics, **kwargs: Any):
        self._settings, self._metrics = settings, metrics
        super().__init__(*args, **kwargs)

    def verify_request(self, request: Any, client_address: Any) -> bool:  # noqa: ARG002 (socketserver's signature)
        if not any(peer.calls_from(client_address[0]) for peer in self._settings.peers):
            log.warning("connection from %s refused: no peer of the config has this address", client_address[0])
            self._metrics.refused("address")
            return False
        if len(self.active_associations) >= _HALF_OPEN * self._settings.max_associations:
            log.warning("connection from %s refused: too many are open", client_address[0])
            self._metrics.refused("connections")
            return False
        return True

    def get_request(self) -> tuple[socket.socket, Any]:
        request, address = super().get_request()
        limited = _PduSocket(request.family, request.type, request.proto, fileno=request.detach())
        return limited, address

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ARG002 (socketserver's signature)
        log.warning("connection from %s ended with an error", client_address[0])
        log.debug("connection", exc_info=True)


class Listener:
    """The running server."""

    def __init__(self, settings: NodeSettings, metrics: Metrics, handlers: list[EventHandlerType]):
        """Starts to listen.

        Args:
            settings: of the node.
            metrics: to count refusals in.
            handlers: of pynetdicom's events, beside those that this class has for who may call.

        Raises:
            OSError: the port is taken or the address is not this machine's.
        """
        self._settings, self._metrics = settings, metrics
        self._received: WeakKeyDictionary[Association, int] = WeakKeyDictionary()
        _config.STORE_RECV_CHUNKED_DATASET = True  # objects go to the disk, not into memory
        _config.LOG_HANDLER_LEVEL = "none"  # its handlers would spell out every PDU, which takes time
        own: list[EventHandlerType] = [
            (evt.EVT_REQUESTED, self._check_peer),
            (evt.EVT_PDU_RECV, self._check_size),
            (evt.EVT_DIMSE_RECV, self._message_came),
        ]
        self._server = self._entity().make_server(
            (settings.address, settings.port),
            evt_handlers=[*own, *handlers],
            server_class=_Server,
            settings=settings,
            metrics=metrics,
        )
        self._thread = threading.Thread(target=self._server.serve_forever, name="listener", daemon=True)
        self._thread.start()

    @property
    def port(self) -> int:
        """The port that it listens at."""
        return int(self._server.server_address[1])

    def stop(self) -> None:
        """Stops listening and ends all associations."""
        BaseServer.shutdown(self._server)  # pynetdicom's own expects a server that its AE has started
        self._server.server_close()
        for association in self._server.active_associations:
            association.abort()

    def _entity(self) -> AE:
        settings = self._settings
        own = entity(settings.ae_title, settings.timeout_s)
        own.require_called_aet = True
        own.require_calling_aet = [peer.ae_title for peer in settings.peers]
        own.maximum_associations = settings.max_associations
        own.maximum_pdu_size = _LARGEST_PDU
        own.supported_contexts = _contexts(settings)
        return own

    def _check_peer(self, event: evt.Event) -> None:
        """Rejects a title that calls from another peer's address; what else is wrong pynetdicom rejects."""
        request: Any = event.assoc.requestor
        title, address = str(request.primitive.calling_ae_title).strip(), request.address_info.address
        known = [peer for peer in self._settings.peers if peer.ae_title.strip() == title]
        if not known or not known[0].calls_from(address):
            log.warning("association of %r from %s rejected: no such peer in the config", title, address)
            self._metrics.refused("peer")
            event.assoc.acse.send_reject(_REJECTED_PERMANENTLY, _BY_USER, _CALLING_TITLE_UNKNOWN)
            event.assoc.kill()

    def _check_size(self, event: evt.Event) -> None:
        """Cuts a peer off whose message is larger than what can be taken."""
        association, items = event.assoc, getattr(event.pdu, "presentation_data_value_items", [])
        if not items:
            return
        total = self._received.get(association, 0) + event.pdu.pdu_length
        self._received[association] = total
        if total > self._most(association, items[0].presentation_context_id):
            log.warning("association of %r aborted: a message of more than %d bytes", _title(association), total)
            self._metrics.refused("size")
            threading.Thread(target=association.abort, name="abort", daemon=True).start()  # it waits for this thread

    def _most(self, association: Association, context_id: int) -> int:
        """Bytes of a message in a presentation context."""
        stored = {uid for classes in STORED_CLASSES.values() for uid in classes}
        used = [c for c in association.accepted_contexts if c.context_id == context_id]
        if used and used[0].abstract_syntax in stored:
            return _CUT_OFF * self._settings.max_object_bytes
        return _LARGEST_MESSAGE

    def _message_came(self, event: evt.Event) -> None:
        self._received.pop(event.assoc, None)


def _title(association: Association) -> str:
    return str(association.requestor.ae_title).strip()


def _contexts(settings: NodeSettings) -> list[PresentationContext]:
    classes = [uid for modality in settings.modalities for uid in STORED_CLASSES[modality]]
    stored = [build_context(uid, list(TRANSFER_SYNTAXES)) for uid in classes]
    return [build_context(Verification), build_context(StorageCommitmentPushModel), *stored]
