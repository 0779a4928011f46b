"""Against a real Orthanc: what it sends comes back as results, none lost and none twice, whatever dies meanwhile."""

import json
import os
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path

import peers
import pytest
from orthanc import PASSWORD, TITLE, USER, Orthanc

STUDIES = 40
KILLS = (13, 27)
"""After so many accepted studies the node is killed; `benchmarks/node.py` kills it more often, among 200 studies."""


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """An Orthanc that knows a node at a port, and that port."""
    port = peers.free_port()
    orthanc = Orthanc(tmp_path_factory.mktemp("orthanc"), port)
    yield orthanc, port
    orthanc.close()


class Process:
    """A node in a process of its own, as `node_process` makes it."""

    def __init__(self, folder: Path, orthanc: Orthanc, port: int, **changes):
        to = {"ae_title": TITLE, "host": peers.HERE, "port": orthanc.port}
        known = [
            {"ae_title": peers.MODALITY, "addresses": [peers.HERE]},
            {"ae_title": TITLE, "addresses": [peers.HERE], "port": orthanc.port},
        ]
        given = {"port": port, "peers": known, "results_to": to} | changes
        self.log = folder / "node.log"
        self._command = [
            sys.executable,
            str(Path(__file__).with_name("node_process.py")),
            str(folder),
            json.dumps(given),
        ]
        self._started = 0
        self.start()

    def start(self):
        with open(self.log, "ab") as log:
            environment = os.environ | {"MSKDEX_DICOMWEB_USER": USER, "MSKDEX_DICOMWEB_PASSWORD": PASSWORD}
            self._process = subprocess.Popen(self._command, stdout=log, stderr=log, env=environment)
        self._started += 1
        peers.eventually(lambda: self.log.read_text(encoding="utf-8").count("listens at") == self._started, 60)

    def kill(self):
        self._process.kill()
        self._process.wait()

    def close(self):
        self._process.send_signal(signal.SIGTERM)
        assert self._process.wait(30) == 0

    @property
    def studies(self) -> list[str]:
        return [line for line in self.log.read_text(encoding="utf-8").splitlines() if line.startswith("study ")]


@pytest.fixture
def begin(tmp_path, place):
    running = []

    def start(**changes):
        node = Process(tmp_path, *place, **changes)
        running.append(node)
        return node

    yield start
    for node in running:
        node.kill()


def results(orthanc, studies):
    """How many results each of some studies has."""
    found = Counter()
    for study in studies:
        found[study] = len(orthanc.instances(StudyInstanceUID=study, Modality="OT"))
    return found


def accepted(port, image) -> bool:
    association = peers.associate(port, [(image.SOPClassUID, image.file_meta.TransferSyntaxUID)])
    if not association.is_established:
        return False
    try:
        return association.send_c_store(image).get("Status") == 0
    except RuntimeError:
        return False
    finally:
        association.abort()  # no release: the studies wait for the quiet time, so that kills find every state


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # pynetdicom leaves refused sockets
def test_of_all_studies_none_is_lost_and_none_comes_twice_though_the_node_is_killed(begin, place):
    orthanc, port = place
    node, images = begin(quiet_s=0.5), [peers.radiograph() for _ in range(STUDIES)]
    for count, image in enumerate(images, start=1):
        while not accepted(port, image):  # what was not acknowledged the sender sends again, and nothing else
            pass
        if count in KILLS:
            node.kill()
            node.start()
    studies = [i.StudyInstanceUID for i in images]
    peers.eventually(lambda: len(orthanc.instances(Modality="OT")) >= STUDIES, 120)
    peers.eventually(lambda: {line.split()[1].rstrip(":") for line in node.studies} == set(studies))
    assert results(orthanc, studies) == Counter(studies)
    assert len(node.studies) <= STUDIES + len(KILLS)  # a kill between the line and the end of a study repeats the line
    node.close()


def test_orthanc_sends_and_gets_results_and_a_commitment(begin, place, tmp_path):
    orthanc, _ = place
    node, image = begin(), peers.radiograph()
    image.save_as(tmp_path / "image.dcm", enforce_file_format=True)
    study = orthanc.upload(tmp_path / "image.dcm")
    orthanc.post("/modalities/node/store", [study])
    peers.eventually(lambda: results(orthanc, [image.StudyInstanceUID])[image.StudyInstanceUID] == 1, 60)
    instances = [[image.SOPClassUID, image.SOPInstanceUID]]
    asked = orthanc.post("/modalities/node/storage-commitment", {"DicomInstances": instances})
    report = peers.eventually(lambda: _report(orthanc, asked), 60)
    assert (report["Status"], [s["SOPInstanceUID"] for s in report["Success"]]) == ("Success", [image.SOPInstanceUID])
    node.close()


def _report(orthanc, asked):
    found = orthanc.get(asked["Path"])
    return None if found["Status"] == "Pending" else found


def test_results_go_back_by_stow(begin, place):
    orthanc, port = place
    node, image = begin(results_to={"dicomweb": orthanc.dicomweb}), peers.radiograph()
    assert peers.send(port, [image]) == [0]
    peers.eventually(lambda: results(orthanc, [image.StudyInstanceUID])[image.StudyInstanceUID] == 1, 60)
    peers.eventually(lambda: len(node.studies) == 1)
    node.close()


def test_a_wrong_password_keeps_results_for_later(begin, place, monkeypatch):
    orthanc, port = place
    monkeypatch.setitem(globals(), "PASSWORD", "another")
    node, image = begin(results_to={"dicomweb": orthanc.dicomweb}), peers.radiograph()
    assert peers.send(port, [image]) == [0]
    peers.eventually(lambda: "takes nothing now: HTTP 401" in node.log.read_text(encoding="utf-8"), 60)
    node.kill()
    monkeypatch.undo()
    node.start()
    peers.eventually(lambda: results(orthanc, [image.StudyInstanceUID])[image.StudyInstanceUID] == 1, 60)
