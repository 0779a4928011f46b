"""What stands around a node in a hospital: a modality that sends to it, and a PACS that takes its results."""

import contextlib
import socket
import threading
import time
from pathlib import Path

import hospital as make
import numpy as np
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, SecondaryCaptureImageStorage, generate_uid
from pynetdicom import AE, evt
from pynetdicom.sop_class import Verification

from mskdex.config.node import NodeSettings
from mskdex.io.dicom import read_header

MODALITY, NODE, PACS = "ROOM1", "MSKDEX", "PACS"
HERE = "127.0.0.1"


def settings(folder: Path, pacs_port: int = 1, **changes) -> NodeSettings:
    """A node at any free port with one peer and a PACS, both on this machine; its model is never read."""
    given = {
        "model": folder / "model.safetensors",
        "queue": folder / "queue",
        "peers": [{"ae_title": MODALITY, "addresses": [HERE]}],
        "results_to": {"ae_title": PACS, "host": HERE, "port": pacs_port},
        "port": 0,
        "quiet_s": 0.4,
        "retry_s": 0.2,
        "min_free_megabytes": 0,
        "timeout_s": 5,
    }
    return NodeSettings.model_validate(given | changes)


def radiograph(attenuation=None, **tags) -> Dataset:
    """A small DX image of a study of its own."""
    found = make.radiograph(attenuation, **tags)
    found.PatientSex, found.StudyDate, found.StudyTime, found.StudyID = "F", "20260101", "120000", "1"
    return found


def result(image: Path) -> list[Dataset]:
    """Stands for the prediction: one object whose UID follows from the image's, and which says what it is of."""
    found = Dataset()
    found.file_meta = FileMetaDataset()
    found.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    found.SOPClassUID = found.file_meta.MediaStorageSOPClassUID = SecondaryCaptureImageStorage
    found.SOPInstanceUID = found.file_meta.MediaStorageSOPInstanceUID = result_uid(image.stem)
    source = read_header(image, ("SOPClassUID", "StudyInstanceUID"))
    found.StudyInstanceUID, found.PatientID, found.PatientName = source.StudyInstanceUID, "HOSP-4711", "Mustermann"
    found.SeriesInstanceUID, found.Modality, found.ImageComments = f"{found.SOPInstanceUID[:60]}.1", "OT", image.stem
    found.Rows, found.Columns, found.SamplesPerPixel, found.PhotometricInterpretation = 2, 2, 1, "MONOCHROME2"
    found.BitsAllocated = found.BitsStored = 8
    found.HighBit, found.PixelRepresentation, found.PixelData = 7, 0, np.zeros(4, np.uint8).tobytes()
    return [found]


def result_uid(image: str) -> str:
    return generate_uid(entropy_srcs=[image])


def associate(port: int, contexts, calling=MODALITY, called=NODE, **more):
    """An association with the node, established or not."""
    entity = AE(ae_title=calling)
    entity.acse_timeout = entity.dimse_timeout = entity.network_timeout = 10
    for context in contexts:
        entity.add_requested_context(*context) if isinstance(context, tuple) else entity.add_requested_context(context)
    return entity.associate(HERE, port, ae_title=called, **more)


def send(port: int, datasets) -> list[int | None]:
    """Sends images in one association; the status of each, None where the node ended it."""
    contexts = {(d.SOPClassUID, d.file_meta.TransferSyntaxUID) for d in datasets}
    association = associate(port, sorted(contexts))
    assert association.is_established
    found = []
    for dataset in datasets:
        try:
            found.append(association.send_c_store(dataset).get("Status"))
        except RuntimeError:
            found.append(None)
    association.release()
    return found


class Archive:
    """A PACS that keeps what it gets in memory; `answers` are the statuses of the next objects."""

    def __init__(self, port: int = 0):
        self.got: list[Dataset] = []
        self.answers: list[int] = []
        entity = AE(ae_title=PACS)
        results = ("1.2.840.10008.5.1.4.1.1.88.34", "1.2.840.10008.5.1.4.1.1.30", "1.2.840.10008.5.1.4.1.1.104.1")
        for taken in (SecondaryCaptureImageStorage, Verification, *results):
            entity.add_supported_context(taken)
        self._server = entity.start_server((HERE, port), block=False, evt_handlers=[(evt.EVT_C_STORE, self._store)])
        self.port = self._server.server_address[1]

    def _store(self, event) -> int:
        status = self.answers.pop(0) if self.answers else 0
        if status == 0:
            self.got.append(event.dataset)
        return status

    @property
    def images(self) -> list[str]:
        """The images that results have come of, in the order in which they came."""
        return [str(d.get("ImageComments")) for d in self.got]

    def close(self) -> None:
        self._server.shutdown()


def eventually(holds, seconds: float = 20.0):
    """Waits until something holds, and returns it."""
    end = time.monotonic() + seconds
    while not (found := holds()):
        assert time.monotonic() < end, "it did not come about"
        time.sleep(0.02)
    return found


def free_port() -> int:
    with contextlib.closing(socket.socket()) as found:
        found.bind((HERE, 0))
        return found.getsockname()[1]


def nothing_left_running() -> bool:
    """Whether no thread of a node is alive."""
    return not {"listener", "worker", "tidier", "reporter"} & {t.name for t in threading.enumerate()}
