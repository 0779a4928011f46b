"""What becomes of studies: predicted once, given to the PACS once, and one line of the log for each."""

import logging
import urllib.request

import peers
import pytest
from pydicom.uid import generate_uid

from mskdex.errors import MskdexError


def done(node, count=1, state="done"):
    return peers.eventually(lambda: node.queue.counts()[state] == count)


def lines(caplog, count=1):
    """The log's lines of studies, which are written after these were put away."""

    def found():
        return [r.getMessage() for r in list(caplog.records) if r.getMessage().startswith("study ")]

    peers.eventually(lambda: len(found()) >= count)
    return found()


@pytest.fixture(autouse=True)
def _log(caplog):
    caplog.set_level(logging.INFO, "mskdex")


def study(count):
    uid = generate_uid()
    return [peers.radiograph(StudyInstanceUID=uid) for _ in range(count)]


def test_the_results_of_a_study_reach_the_pacs_and_the_log_has_one_line(start, pacs, caplog):
    node, images = start(), study(3)
    peers.send(node.port, images)
    done(node)
    assert sorted(pacs.images) == sorted(i.SOPInstanceUID for i in images)
    assert lines(caplog) == [f"study {images[0].StudyInstanceUID}: done, images: 3 predicted, 3 results sent"]
    record = node.queue.record(images[0].SOPInstanceUID)
    assert record["results"] == [peers.result_uid(images[0].SOPInstanceUID)]


def test_a_study_that_comes_in_several_associations_is_one(start, pacs, caplog):
    node, images = start(complete_on_release=False), study(2)
    for image in images:
        peers.send(node.port, [image])
    done(node)
    assert len(lines(caplog)) == 1
    assert len(pacs.images) == 2


def test_an_image_that_cannot_be_predicted_costs_none_of_the_others(start, pacs, caplog):
    good, bad, broken = study(3)

    def predict(image):
        if image.stem == bad.SOPInstanceUID:
            msg = f"{image}: it is lateral"
            raise MskdexError(msg)
        return peers.result(image) if image.stem == good.SOPInstanceUID else [][0]

    node = start(predict)
    peers.send(node.port, [good, bad, broken])
    done(node)
    assert pacs.images == [good.SOPInstanceUID]
    (line,) = lines(caplog)
    assert "done, images: 2 failed, 1 predicted, 1 results sent; " in line
    assert f"{bad.SOPInstanceUID}: {bad.SOPInstanceUID}.dcm: it is lateral" in line
    assert f"{broken.SOPInstanceUID}: IndexError: list index out of range" in line


def test_a_study_without_any_prediction_fails_and_is_done_when_it_is_moved_back(start, pacs):
    good = []

    def predict(image):
        if not good:
            msg = "no pelvis"
            raise MskdexError(msg)
        return peers.result(image)

    node, (image,) = start(predict), study(1)
    peers.send(node.port, [image])
    done(node, state="failed")
    (folder,) = node.queue.state("failed").iterdir()
    assert "no pelvis" in (folder / "reason.txt").read_text(encoding="utf-8")
    good.append(True)
    folder.rename(node.queue.state("ready") / folder.name)
    done(node)
    assert pacs.images == [image.SOPInstanceUID]


def test_an_image_that_comes_again_is_not_predicted_again_unless_the_model_is_another(start, pacs, caplog):
    node, (image,) = start(), study(1)
    for count in (1, 2):
        peers.send(node.port, [image])
        done(node, count)
    assert pacs.images == [image.SOPInstanceUID]
    assert lines(caplog, 2)[1].endswith("done, images: 1 repeat")
    node.stop()
    again = start(digest="model-2")
    peers.send(again.port, [image])
    done(again, 3)
    assert pacs.images == [image.SOPInstanceUID] * 2


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # pynetdicom leaves a refused socket
def test_results_wait_for_a_pacs_that_is_away_and_the_next_studies_are_predicted_meanwhile(start):
    port, predicted = peers.free_port(), []

    def predict(image):
        predicted.append(image.stem)
        return peers.result(image)

    node, images = (
        start(predict, results_to={"ae_title": peers.PACS, "host": peers.HERE, "port": port}),
        study(1) + study(1),
    )
    peers.send(node.port, images)
    peers.eventually(lambda: len(predicted) == 2)
    assert node.queue.counts()["done"] == 0
    pacs = peers.Archive(port)
    done(node, 2)
    pacs.close()
    assert sorted(pacs.images) == sorted(predicted) == sorted(i.SOPInstanceUID for i in images)


def test_a_pacs_without_room_is_asked_again_and_one_that_refuses_is_not(start, pacs, caplog):
    pacs.answers = [0xA700, 0]
    node, (first,), (second,) = start(), study(1), study(1)
    peers.send(node.port, [first])
    done(node)
    pacs.answers = [0xC000]
    peers.send(node.port, [second])
    done(node, state="failed")
    assert pacs.images == [first.SOPInstanceUID]
    assert "1 refused; " + second.SOPInstanceUID + ": PACS refuses it, status 0xC000" in lines(caplog, 2)[1]


def test_a_pacs_that_warns_has_taken_it(start, pacs):
    pacs.answers = [0xB000]
    node = start()
    peers.send(node.port, study(1))
    done(node)


def test_a_class_that_the_pacs_does_not_take_is_told(start, caplog):
    def other_class(image):
        (found,) = peers.result(image)
        found.SOPClassUID = found.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.66.4"
        return [found]

    node = start(other_class)
    peers.send(node.port, study(1))
    done(node, state="failed")
    assert "PACS does not take objects of this class" in lines(caplog)[0]


def test_the_metrics_count_what_happened_and_name_nobody(start, caplog):
    node, images = start(metrics_port=0), study(2)
    peers.send(node.port, images)
    assert lines(caplog)
    address = f"http://127.0.0.1:{node.metrics_port}/metrics"
    text = urllib.request.urlopen(address, timeout=10).read().decode()
    values = dict(line.rsplit(" ", 1) for line in text.splitlines() if not line.startswith("#"))
    assert float(values["mskdex_node_objects_received_total"]) == 2
    assert float(values['mskdex_node_studies_total{state="done"}']) == 1
    assert float(values["mskdex_node_results_sent_total"]) == 2
    assert float(values["mskdex_node_prediction_seconds_count"]) == 2
    assert not [s for s in ("Mustermann", "HOSP-4711", images[0].StudyInstanceUID) if s in text]
