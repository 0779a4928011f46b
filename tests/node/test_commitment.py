"""Storage commitment: a modality asks which of its images the node holds, and gets a report of its own association."""

import hospital as make
import peers
import pytest
from pydicom.dataset import Dataset
from pydicom.uid import generate_uid
from pynetdicom import AE, evt
from pynetdicom.sop_class import StorageCommitmentPushModel, StorageCommitmentPushModelInstance

CR_CLASS = "1.2.840.10008.5.1.4.1.1.1"


class Modality:
    """Listens for reports."""

    def __init__(self, port=0):
        self.reports = []
        entity = AE(ae_title=peers.MODALITY)
        entity.add_supported_context(StorageCommitmentPushModel, scu_role=True, scp_role=True)
        handlers = [(evt.EVT_N_EVENT_REPORT, self._reported)]
        self._server = entity.start_server((peers.HERE, port), block=False, evt_handlers=handlers)
        self.port = self._server.server_address[1]

    def _reported(self, event):
        self.reports.append((event.event_type, event.event_information))
        return 0, None

    def close(self):
        self._server.shutdown()


@pytest.fixture
def modality():
    found = Modality()
    yield found
    found.close()


def known(port):
    return [{"ae_title": peers.MODALITY, "addresses": [peers.HERE], "port": port}]


def ask(node, images, action=1, instance=StorageCommitmentPushModelInstance):
    request = Dataset()
    request.TransactionUID = generate_uid()
    request.ReferencedSOPSequence = []
    for sop_class, uid in images:
        item = Dataset()
        item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = sop_class, uid
        request.ReferencedSOPSequence.append(item)
    association = peers.associate(node.port, [StorageCommitmentPushModel])
    status, _ = association.send_n_action(request, action, StorageCommitmentPushModel, instance)
    association.release()
    return request.TransactionUID, status.Status


def failures(report):
    return {item.ReferencedSOPInstanceUID: item.FailureReason for item in report.get("FailedSOPSequence") or []}


def test_what_is_held_is_committed_also_when_it_has_been_done(start, modality):
    node, image = start(peers=known(modality.port)), peers.radiograph()
    peers.send(node.port, [image])
    peers.eventually(lambda: node.queue.counts()["done"] == 1)
    transaction, status = ask(node, [(make.DX_CLASS, image.SOPInstanceUID)])
    assert status == 0
    kind, report = peers.eventually(lambda: modality.reports)[0]
    assert (kind, report.TransactionUID, failures(report)) == (1, transaction, {})
    assert [item.ReferencedSOPInstanceUID for item in report.ReferencedSOPSequence] == [image.SOPInstanceUID]
    peers.eventually(lambda: not list(node.queue.state("reports").iterdir()))


def test_what_is_not_held_or_is_of_another_class_is_told(start, modality):
    node, image, other = start(peers=known(modality.port)), peers.radiograph(), peers.radiograph()
    peers.send(node.port, [image, other])
    unknown = generate_uid()
    wanted = [(make.DX_CLASS, image.SOPInstanceUID), (CR_CLASS, other.SOPInstanceUID), (make.DX_CLASS, unknown)]
    ask(node, wanted)
    kind, report = peers.eventually(lambda: modality.reports)[0]
    assert (kind, failures(report)) == (2, {other.SOPInstanceUID: 0x0119, unknown: 0x0112})
    assert [item.ReferencedSOPInstanceUID for item in report.ReferencedSOPSequence] == [image.SOPInstanceUID]


def test_images_that_have_gone_are_not_committed(start, modality):
    node, image = start(peers=known(modality.port), keep_hours=0), peers.radiograph()
    peers.send(node.port, [image])
    peers.eventually(lambda: node.queue.counts()["done"] == 1)
    node.queue.tidy(0)
    ask(node, [(make.DX_CLASS, image.SOPInstanceUID)])
    kind, report = peers.eventually(lambda: modality.reports)[0]
    assert (kind, failures(report)) == (2, {image.SOPInstanceUID: 0x0112})


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # pynetdicom leaves a refused socket
def test_a_report_waits_for_a_peer_that_is_away_also_over_a_restart(start):
    port, image = peers.free_port(), peers.radiograph()
    first = start(peers=known(port))
    peers.send(first.port, [image])
    ask(first, [(make.DX_CLASS, image.SOPInstanceUID)])
    first.stop()
    modality = Modality(port)
    start(peers=known(port))
    kind, _ = peers.eventually(lambda: modality.reports)[0]
    modality.close()
    assert kind == 1


def test_a_request_that_cannot_be_answered_is_refused(start, modality):
    node, image = start(peers=known(modality.port)), (make.DX_CLASS, generate_uid())
    assert ask(node, [image], action=2)[1] == 0x0123
    assert ask(node, [image], instance=generate_uid())[1] == 0x0112
    assert ask(node, [(make.DX_CLASS, "not a UID")])[1] == 0x0115
    assert list(node.queue.state("reports").iterdir()) == []


def test_a_peer_without_a_port_gets_no_commitment(start):
    assert ask(start(), [(make.DX_CLASS, generate_uid())])[1] == 0x0110
