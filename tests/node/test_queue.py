import json
import os
import time

import pytest

from mskdex.errors import MskdexError
from mskdex.node.queue import Queue, is_uid

STUDY, IMAGE = "1.2.3", "1.2.3.4"


@pytest.fixture
def queue(tmp_path):
    found = Queue(tmp_path / "queue", 10_000, 0)
    yield found
    found.close()


def received(queue, size=10, name="part"):
    path = queue.state("receiving") / name
    path.write_bytes(b"x" * size)
    return path


def test_a_study_goes_from_state_to_state_by_renames(queue):
    assert queue.accept(received(queue), STUDY, IMAGE)
    assert queue.held(IMAGE) == queue.root / "incoming" / STUDY / f"{IMAGE}.dcm"
    assert queue.ready() == []
    queue.complete([STUDY])
    (job,) = queue.ready()
    assert (job.study, [p.stem for p in job.images]) == (STUDY, [IMAGE])
    queue.finish(job)
    assert queue.counts() == {"incoming": 0, "ready": 0, "done": 1, "failed": 0}


def test_what_failed_says_why_and_is_done_again_when_it_is_moved_back(queue):
    queue.accept(received(queue), STUDY, IMAGE)
    queue.complete([STUDY])
    queue.finish(queue.ready()[0], "no radiograph")
    (folder,) = (queue.root / "failed").iterdir()
    assert (folder / "reason.txt").read_text(encoding="utf-8") == "no radiograph\n"
    folder.rename(queue.root / "ready" / folder.name)
    assert [job.study for job in queue.ready()] == [STUDY]


def test_jobs_come_in_the_order_in_which_studies_were_complete(queue):
    for n in (3, 1, 2):
        queue.accept(received(queue), f"1.{n}", f"1.{n}.1")
        queue.complete([f"1.{n}"])
    assert [job.study for job in queue.ready()] == ["1.3", "1.1", "1.2"]


def test_a_study_is_complete_when_it_has_been_quiet_and_not_before(queue):
    queue.accept(received(queue), STUDY, IMAGE)
    queue.complete_quiet(3600)
    assert queue.ready() == []
    queue.complete_quiet(0)
    assert [job.study for job in queue.ready()] == [STUDY]


def test_more_of_a_study_that_was_complete_is_a_job_of_its_own(queue):
    for image in ("1.2.3.4", "1.2.3.5"):
        queue.accept(received(queue), STUDY, image)
        queue.complete([STUDY])
    assert [[p.stem for p in job.images] for job in queue.ready()] == [["1.2.3.4"], ["1.2.3.5"]]


def test_an_image_that_waits_already_is_not_taken_twice(queue):
    assert queue.accept(received(queue), STUDY, IMAGE)
    assert not queue.accept(received(queue), STUDY, IMAGE)
    queue.complete([STUDY])
    assert not queue.accept(received(queue), STUDY, IMAGE)
    assert len(queue.ready()) == 1


def test_a_restart_finds_all_that_was_accepted_and_forgets_what_was_half_received(queue):
    queue.accept(received(queue), STUDY, IMAGE)
    queue.accept(received(queue), "1.9", "1.9.1")
    queue.complete([STUDY])
    received(queue, name="half")
    queue.close()
    again = Queue(queue.root, 10_000, 0)
    assert list(again.state("receiving").iterdir()) == []
    again.complete_quiet(0)
    assert [job.study for job in again.ready()] == [STUDY, "1.9"]
    again.close()


def test_the_limit_counts_what_is_there_and_finished_studies_make_room(queue):
    queue.accept(received(queue, 6000), STUDY, IMAGE)
    assert queue.has_room_for(4000)
    assert not queue.has_room_for(4001)
    queue.complete([STUDY])
    assert not queue.has_room_for(4001)
    queue.finish(queue.ready()[0])
    assert queue.has_room_for(4001)
    assert queue.counts()["done"] == 0


def test_the_disk_keeps_its_reserve(tmp_path):
    full = Queue(tmp_path / "full", 10_000, 1 << 60)
    assert not full.has_room_for(1)
    full.close()


def test_finished_studies_go_after_their_time_and_their_records_stay(queue):
    queue.accept(received(queue), STUDY, IMAGE)
    queue.complete([STUDY])
    queue.write_record(IMAGE, {"model": "m"})
    queue.finish(queue.ready()[0])
    queue.tidy(keep_hours=1)
    assert queue.counts()["done"] == 1
    queue.tidy(keep_hours=0)
    assert queue.counts()["done"] == 0
    assert queue.record(IMAGE) == {"model": "m"}


def test_a_half_received_file_of_an_ended_association_goes_in_time(queue):
    fresh, old = received(queue, name="fresh"), received(queue, name="old")
    hours_ago = time.time() - 2 * 3600
    os.utime(old, (hours_ago, hours_ago))
    queue.tidy(keep_hours=24)
    assert (fresh.exists(), old.exists()) == (True, False)


def test_a_damaged_record_counts_as_none(queue):
    (queue.state("records") / f"{IMAGE}.json").write_text("{", encoding="utf-8")
    assert queue.record(IMAGE) is None


def test_two_nodes_do_not_share_a_queue(queue):
    with pytest.raises(MskdexError, match="is that of another running node"):
        Queue(queue.root, 10_000, 0)


def test_the_queue_is_its_owners_alone(queue):
    assert {oct(p.stat().st_mode & 0o777) for p in (queue.root, *queue.root.iterdir()) if p.is_dir()} == {"0o700"}


def test_only_uids_become_names_of_files():
    assert is_uid("1.2.840.10008.1")
    wrong = ("", "../1", "1..2", "1.2.", ".1", "1/2", "1.2\n", "1.2\0", "1" * 65, "1.2 ", "a.b")
    assert [uid for uid in wrong if is_uid(uid)] == []


def test_records_are_json_for_others_to_read(queue):
    queue.write_record(IMAGE, {"results": ["1.5"]})
    assert json.loads((queue.state("records") / f"{IMAGE}.json").read_text(encoding="utf-8")) == {"results": ["1.5"]}
