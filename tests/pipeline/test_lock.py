"""Two processes that want one folder: the second waits and says so."""

import os
import signal
import subprocess
import sys

CODE = """
import logging, sys
from pathlib import Path
from mskdex.pipeline.lock import locked
logging.basicConfig(level=logging.INFO, stream=sys.stdout, format="%(message)s")
with locked(Path(sys.argv[1]), "the training of fold 0"):
    print("mine", flush=True)
    sys.stdin.readline()
"""


def start(folder):
    return subprocess.Popen(
        [sys.executable, "-c", CODE, str(folder)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, encoding="utf-8"
    )


def end(process, line="\n"):
    return process.communicate(line, timeout=60)[0]


def test_the_second_waits_for_the_first_and_says_for_whom(tmp_path):
    first = start(tmp_path / "fold0")
    assert first.stdout.readline() == "mine\n"
    second = start(tmp_path / "fold0")
    said = second.stdout.readline()
    assert said.startswith("the training of fold 0 is under way already (process ")
    assert f"process {first.pid} on" in said
    end(first)
    assert end(second) == "mine\n"


def test_a_killed_process_holds_nothing(tmp_path):
    first = start(tmp_path / "fold0")
    first.stdout.readline()
    os.kill(first.pid, signal.SIGKILL)
    end(first, None)
    assert end(start(tmp_path / "fold0")) == "mine\n"
