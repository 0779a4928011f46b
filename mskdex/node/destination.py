"""Where results go: a PACS by C-STORE or by STOW-RS."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Protocol

import requests
from pydicom.filereader import read_file_meta_info
from pynetdicom import Association, _config, build_context
from pynetdicom.sop_class import Verification  # type: ignore[attr-defined]

from mskdex.config.node import DicomDestination, DicomwebDestination, NodeSettings
from mskdex.node.dicomweb import error_text, open_dicomweb, store
from mskdex.node.entity import entity


class DestinationError(Exception):
    """The destination cannot be reached or takes nothing now; the same object is sent again later."""


class Destination(Protocol):
    """Takes results."""

    def send(self, files: Sequence[Path]) -> Iterator[tuple[Path, str]]:
        """Sends objects one after the other.

        Yields:
            Each file when the destination has answered, with "" or why it refuses the object for good.

        Raises:
            DestinationError: nothing more can be sent now.
        """
        ...


def destination(settings: NodeSettings) -> Destination:
    """That of the settings.

    Raises:
        MskdexError: a DICOMweb address that cannot be used.
    """
    if isinstance(settings.results_to, DicomwebDestination):
        return _Stow(settings.results_to, settings.timeout_s)
    return _Store(settings.results_to, settings.ae_title, settings.timeout_s)


class _Store:
    """By C-STORE, one association for the objects of a study."""

    def __init__(self, to: DicomDestination, ae_title: str, timeout_s: float):
        self._to, self._title, self._timeout_s = to, ae_title, timeout_s
        _config.STORE_SEND_CHUNKED_DATASET = True  # objects go from the disk, not through memory

    def send(self, files: Sequence[Path]) -> Iterator[tuple[Path, str]]:
        association = self._associate(files)
        try:
            for path in files:
                yield path, self._sent(association, path)
        finally:
            association.release() if association.is_established else association.abort()

    def _associate(self, files: Sequence[Path]) -> Association:
        caller = entity(self._title, self._timeout_s)
        metas = [read_file_meta_info(path) for path in files]
        kinds = sorted({(str(m.MediaStorageSOPClassUID), str(m.TransferSyntaxUID)) for m in metas})
        contexts = [build_context(sop_class, syntax) for sop_class, syntax in kinds]
        contexts.append(build_context(Verification))  # so that there is an association also where no class is taken
        try:
            found = caller.associate(self._to.host, self._to.port, contexts=contexts, ae_title=self._to.ae_title)
        except (OSError, RuntimeError) as error:
            msg = f"{self._to.ae_title} cannot be reached: {error}"
            raise DestinationError(msg) from error
        if not found.is_established:
            how = "rejects the association" if found.is_rejected else "cannot be reached"
            msg = f"{self._to.ae_title} at {self._to.host}:{self._to.port} {how}"
            raise DestinationError(msg)
        return found

    def _sent(self, association: Association, path: Path) -> str:
        try:
            answer = association.send_c_store(path)
        except ValueError:  # pynetdicom's answer where no presentation context was accepted
            return f"{self._to.ae_title} does not take objects of this class"
        except (OSError, RuntimeError) as error:
            msg = f"{self._to.ae_title} has ended the association: {error}"
            raise DestinationError(msg) from error
        status = answer.get("Status")
        if status is None:
            msg = f"{self._to.ae_title} did not answer"
            raise DestinationError(msg)
        if status >> 8 == 0xA7 or status == 0x0110:
            msg = f"{self._to.ae_title} takes nothing now, status 0x{status:04X}"
            raise DestinationError(msg)
        return "" if status == 0 or status >> 12 == 0xB else f"{self._to.ae_title} refuses it, status 0x{status:04X}"


class _Stow:
    """By STOW-RS, one request an object."""

    def __init__(self, to: DicomwebDestination, timeout_s: float):
        self._client = open_dicomweb(to.dicomweb, timeout_s)

    def send(self, files: Sequence[Path]) -> Iterator[tuple[Path, str]]:
        for path in files:
            try:
                refused = store(self._client, path)
            except requests.RequestException as error:
                msg = f"the DICOMweb server takes nothing now: {error_text(error)}"
                raise DestinationError(msg) from error
            yield path, f"the DICOMweb server refuses it: {refused}" if refused else ""
