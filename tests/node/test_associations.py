"""Who may call the node, and what it takes of them."""

import gc
import logging
import socket
import struct
from copy import deepcopy

import hospital as make
import peers
import pytest
from pydicom.uid import generate_uid
from pynetdicom.sop_class import Verification

from mskdex.config.node import PeerSettings

CT_CLASS = make.CT_CLASS
OUT_OF_RESOURCES = 0xA700


def taken(node) -> int:
    return sum(node.queue.counts().values())


def test_a_known_peer_is_answered(start):
    association = peers.associate(start().port, [Verification])
    assert association.send_c_echo().Status == 0
    association.release()


@pytest.mark.parametrize(
    ("calling", "called"), [("STRANGER", peers.NODE), (peers.MODALITY, "OTHER"), ("room1", peers.NODE)]
)
def test_foreign_titles_are_rejected(start, calling, called):
    association = peers.associate(start().port, [Verification, make.DX_CLASS], calling=calling, called=called)
    assert association.is_rejected


def test_a_title_that_calls_from_another_peers_address_is_rejected(start, caplog):
    known = [{"ae_title": "OTHER", "addresses": [peers.HERE]}, {"ae_title": peers.MODALITY, "addresses": ["10.0.0.1"]}]
    node = start(peers=known)
    with caplog.at_level(logging.WARNING, "mskdex"):
        assert peers.associate(node.port, [Verification]).is_rejected
    assert "association of 'ROOM1' from 127.0.0.1 rejected" in caplog.text
    assert not peers.associate(node.port, [Verification], calling="OTHER").is_rejected


def test_a_foreign_address_is_not_even_asked_for_its_title(start, caplog):
    node = start(peers=[{"ae_title": peers.MODALITY, "addresses": ["10.0.0.0/8"]}])
    with caplog.at_level(logging.WARNING, "mskdex"), socket.create_connection((peers.HERE, node.port)) as connection:
        connection.settimeout(10)
        assert connection.recv(1) == b""
    assert "connection from 127.0.0.1 refused" in caplog.text


def test_classes_that_are_no_radiographs_are_not_accepted(start):
    seg, dx_display = "1.2.840.10008.5.1.4.1.1.66.4", "1.2.840.10008.5.1.4.1.1.1.1"
    association = peers.associate(start().port, [CT_CLASS, seg, make.DX_CLASS, dx_display])
    assert {c.abstract_syntax for c in association.accepted_contexts} == {make.DX_CLASS, dx_display}
    association.release()


def test_the_config_says_which_radiographs_are_taken(start):
    cr = "1.2.840.10008.5.1.4.1.1.1"
    association = peers.associate(start(modalities=["CR"]).port, [cr, make.DX_CLASS])
    assert {c.abstract_syntax for c in association.accepted_contexts} == {cr}
    association.release()


NO_PDUS = {
    "noise": bytes(range(7, 250)) * 9,
    "a web page": b"GET / HTTP/1.1\r\nHost: node\r\n\r\n",
    "an association request of two gigabytes": struct.pack(">BBL", 1, 0, 1 << 31) + bytes(5000),
    "an association request that ends early": struct.pack(">BBL", 1, 0, 200) + bytes(20),
    "data without an association": struct.pack(">BBLLBB", 4, 0, 6, 2, 1, 3),
    "nothing": b"",
}


@pytest.mark.parametrize("content", NO_PDUS.values(), ids=NO_PDUS)
def test_what_is_no_dicom_is_disconnected_and_harms_nobody(start, content):
    node = start(timeout_s=1)
    with socket.create_connection((peers.HERE, node.port)) as connection:
        connection.settimeout(10)
        connection.sendall(content)
        if content and len(content) < 200:
            connection.shutdown(socket.SHUT_WR)
        while _received(connection):
            pass
    assert peers.send(node.port, [peers.radiograph()]) == [0]


def _received(connection) -> bytes:
    try:
        return connection.recv(4096)
    except ConnectionResetError:
        return b""


def test_an_object_beyond_the_limit_is_refused_and_smaller_ones_of_the_association_are_not(start):
    node = start(max_object_megabytes=0.02)
    small, large = peers.radiograph(), peers.radiograph(make.radiograph_values((128, 128)))
    assert peers.send(node.port, [small, large, peers.radiograph()]) == [0, OUT_OF_RESOURCES, 0]
    peers.eventually(lambda: taken(node) == 2)
    assert list(node.queue.state("receiving").iterdir()) == []


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # pynetdicom leaves the file to gc
def test_an_object_far_beyond_the_limit_is_cut_off(start):
    node = start(max_object_megabytes=0.02)
    assert peers.send(node.port, [peers.radiograph(make.radiograph_values((512, 512)))]) == [None]
    assert peers.send(node.port, [peers.radiograph()]) == [0]
    gc.collect()


def test_a_full_queue_refuses_and_takes_again_when_there_is_room(start):
    node = start(predict=lambda _: [], max_queue_megabytes=0.03, quiet_s=60, complete_on_release=False)
    first, second, third = (peers.radiograph() for _ in range(3))
    assert peers.send(node.port, [first, second, third]) == [0, 0, OUT_OF_RESOURCES]
    node.queue.complete([first.StudyInstanceUID, second.StudyInstanceUID])
    peers.eventually(lambda: node.queue.counts()["done"] == 2)
    assert peers.send(node.port, [third]) == [0]


def test_a_full_disk_refuses(start):
    assert peers.send(start(min_free_megabytes=1e9).port, [peers.radiograph()]) == [OUT_OF_RESOURCES]


def test_an_object_whose_ids_are_not_those_of_the_request_is_refused(start, tmp_path):
    node, image = start(), peers.radiograph()
    association = peers.associate(node.port, [(image.SOPClassUID, image.file_meta.TransferSyntaxUID)])
    lying = deepcopy(image)
    lying.SOPInstanceUID, lying.preamble = generate_uid(), bytes(128)
    lying.save_as(tmp_path / "lying.dcm", enforce_file_format=False)  # its file meta, which is sent, is the image's
    assert association.send_c_store(tmp_path / "lying.dcm").Status == 0xA900
    association.release()
    assert taken(node) == 0


@pytest.mark.parametrize(("tag", "value"), [("StudyInstanceUID", "../../etc"), ("StudyInstanceUID", None)])
def test_an_object_without_valid_uids_is_refused(start, tag, value):
    node, image = start(), peers.radiograph()
    setattr(image, tag, value)
    assert peers.send(node.port, [image]) == [0xC000]
    assert taken(node) == 0


def test_no_more_associations_than_allowed(start):
    node = start(max_associations=1)
    first = peers.associate(node.port, [Verification])
    assert peers.associate(node.port, [Verification]).is_rejected
    first.release()


def test_addresses_and_networks():
    peer = PeerSettings(ae_title="A", addresses=("10.1.2.0/24", "192.0.2.7", "2001:db8::/32"))
    inside, outside = ("10.1.2.3", "192.0.2.7", "::ffff:10.1.2.3", "2001:db8::1"), ("10.1.3.1", "192.0.2.8", "::1")
    assert [peer.calls_from(a) for a in (*inside, *outside)] == [True] * 4 + [False] * 3
