"""A lock that a killed run left is cleared, whenever the run was killed; any other is left alone."""

import json
import os
import subprocess
import sys

import pytest

from mskdex.errors import MskdexError
from mskdex.pipeline.recovery import LOCKS, OWNERS, claim_folder, recover_from_kill

START = """
import os, signal, sys
from pathlib import Path
from mskdex.pipeline.recovery import LOCKS, record_owner
record_owner()
LOCKS.mkdir(parents=True)
(LOCKS / "0.input.lock").touch()
if sys.argv[1] == "ends":
    (LOCKS / "0.input.lock").unlink()
elif sys.argv[1] == "is killed":
    os.kill(os.getpid(), signal.SIGKILL)
else:
    print("locked", flush=True)
    sys.stdin.read()
"""


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path))  # no SLURM is asked


def start(what):
    """A process that locks the folder as Snakemake does, before it has started a job."""
    return subprocess.Popen(
        [sys.executable, "-c", START, what], stdin=subprocess.PIPE, stdout=subprocess.PIPE, encoding="utf-8"
    )


def locks():
    return sorted(path.name for path in LOCKS.glob("*"))


def notes():
    return sorted(OWNERS.glob("*"))


def test_a_process_killed_while_it_plans_leaves_no_lock_for_the_next_one():
    start("is killed").communicate()
    assert locks() == ["0.input.lock"]
    assert "The run before was killed" in recover_from_kill()
    assert locks() == []
    assert notes() == []
    assert recover_from_kill() is None


def test_a_process_that_ends_takes_its_note_back():
    start("ends").communicate()
    assert notes() == []


def test_the_lock_of_a_living_process_stays():
    process = start("lives")
    assert process.stdout.readline() == "locked\n"
    assert recover_from_kill().startswith(f"This folder is in use by another Snakemake, process {process.pid} on ")
    assert locks() == ["0.input.lock"]
    process.kill()
    process.communicate()
    assert f"process {process.pid} on " in recover_from_kill()
    assert locks() == []


def test_a_lock_from_another_machine_stays():
    start("is killed").communicate()
    (note,) = notes()
    note.write_text(json.dumps(json.loads(note.read_text(encoding="utf-8")) | {"host": "elsewhere"}), encoding="utf-8")
    assert "on elsewhere" in recover_from_kill()
    assert locks() == ["0.input.lock"]


def test_a_lock_without_a_note_stays():
    LOCKS.mkdir(parents=True)
    (LOCKS / "0.input.lock").touch()
    assert recover_from_kill() is None
    assert locks() == ["0.input.lock"]


def test_jobs_of_the_killed_run_are_ended_and_no_others():
    start("is killed").communicate()
    run = notes()[0].stem
    mine, other = (
        subprocess.Popen(["/bin/sleep", "60"], env={**os.environ, "MSKDEX_RUN": name}) for name in (run, "another")
    )
    assert "the job that it left was ended" in recover_from_kill()
    assert mine.wait() != 0
    assert other.poll() is None
    other.kill()
    other.wait()


def test_a_folder_that_cannot_be_written_to_is_told_before_anything_is_planned():
    LOCKS.parent.write_text("in the way", encoding="utf-8")
    with pytest.raises(MskdexError, match=r"\.snakemake.*needs the right to write there"):
        claim_folder()
