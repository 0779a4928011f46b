"""The process may die between any two steps: what follows makes up for it, and nothing is done twice."""

import peers
import pytest

from mskdex.node import work as module
from mskdex.node.metrics import Metrics
from mskdex.node.queue import Queue
from mskdex.node.work import StudyProcessor

STUDY, IMAGES = "1.2.3", ("1.2.3.1", "1.2.3.2")


class Dies(BaseException):
    """As a kill: nothing catches it."""


class Recorder:
    """A destination that keeps the names of what it has got, and dies after so many."""

    def __init__(self, dies_after=None):
        self.got, self.left = [], dies_after

    def send(self, files):
        for path in files:
            self.got.append(path.stem.partition("-")[2])
            if self.left is not None and (left := self.left - 1) <= 0:
                self.left = left
                raise Dies
            yield path, ""


@pytest.fixture
def queue(tmp_path):
    found = Queue(tmp_path / "queue", 10**9, 0)
    for image in IMAGES:
        path = found.state("receiving") / "part"
        peers.radiograph().save_as(path, enforce_file_format=True)
        found.accept(path, STUDY, image)
    found.complete([STUDY])
    yield found
    found.close()


def work(queue, destination, predict=peers.result):
    return StudyProcessor(queue, predict, "model", destination, 3, Metrics())


def through(queue, destination, predict=peers.result):
    """All of a job, as the worker does it."""
    found, (job,) = work(queue, destination, predict), queue.ready()
    found.predict_all(job)
    if files := found.unsent(job):
        found.deliver(files)
    found.finish(job)


UIDS = [peers.result_uid(image) for image in IMAGES]


def test_what_was_predicted_is_not_predicted_again(queue):
    predicted = []

    def predict(image):
        predicted.append(image.stem)
        if len(predicted) == 2:
            raise Dies
        return peers.result(image)

    with pytest.raises(Dies):
        through(queue, Recorder(), predict)
    destination = Recorder()
    through(queue, destination, predict)
    assert predicted == [IMAGES[0], IMAGES[1], IMAGES[1]]
    assert destination.got == UIDS


def test_a_result_that_was_sent_and_not_noted_goes_again_under_its_own_uid_and_no_other_does(queue):
    with pytest.raises(Dies):
        through(queue, first := Recorder(dies_after=1))
    through(queue, second := Recorder())
    assert (first.got, second.got) == (UIDS[:1], UIDS)
    assert queue.ready() == []


@pytest.mark.parametrize("step", ["write_record", "finish"])
def test_a_death_while_a_study_is_put_away_sends_nothing_again(queue, monkeypatch, step):
    original = getattr(Queue, step)

    def dies(*args):
        original(*args) if step == "write_record" else None
        raise Dies

    monkeypatch.setattr(Queue, step, dies)
    with pytest.raises(Dies):
        through(queue, first := Recorder())
    monkeypatch.undo()
    through(queue, second := Recorder())
    assert (first.got, second.got) == (UIDS, [])
    assert queue.counts() == {"incoming": 0, "ready": 0, "done": 1, "failed": 0}


def test_an_image_that_ends_the_process_each_time_is_given_up_and_the_other_is_done(queue):
    def predict(image):
        if image.stem == IMAGES[0]:
            raise Dies
        return peers.result(image)

    for _ in range(3):
        with pytest.raises(Dies):
            through(queue, Recorder(), predict)
    through(queue, destination := Recorder(), predict)
    assert destination.got == UIDS[1:]


def test_half_written_results_are_not_sent(queue, monkeypatch):
    original = module.folders.put

    def dies(path, to):
        if path.is_dir() and path.name.startswith("."):
            raise Dies
        original(path, to)

    monkeypatch.setattr(module.folders, "put", dies)
    (job,) = queue.ready()
    with pytest.raises(Dies):
        work(queue, Recorder()).predict_all(job)
    assert work(queue, Recorder()).unsent(job) == []
    monkeypatch.undo()
    through(queue, destination := Recorder())
    assert destination.got == UIDS
