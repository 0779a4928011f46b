"""What the machine lacks is told in a sentence, not as a defect."""

import errno
import logging
import os
import resource

import pytest

from mskdex.errors import MskdexError
from mskdex.pipeline.program import run, set_up


def of_numpy():
    raise MemoryError("Unable to allocate 3.00 GiB for an array")


def of_torch():
    raise RuntimeError("[enforce fail at alloc_cpu.cpp:124] . DefaultCPUAllocator: can't allocate memory: you tried")


def of_a_gpu():
    raise RuntimeError("CUDA out of memory. Tried to allocate 20.00 MiB")


def of_a_library():
    raise ImportError("libtorch_cpu.so: failed to map segment from shared object")


def of_a_fork():
    raise OSError(errno.ENOMEM, os.strerror(errno.ENOMEM))


def behind_another_error():
    try:
        of_numpy()
    except MemoryError:
        raise ValueError("the reader failed") from None


def read_only():
    raise OSError(errno.EROFS, os.strerror(errno.EROFS), "results/logs")


def not_mine():
    raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), "results/patients")


@pytest.mark.parametrize(
    ("command", "told"),
    [
        *((c, "there was not enough memory") for c in (of_numpy, of_torch, of_a_gpu, of_a_library, of_a_fork)),
        (behind_another_error, "there was not enough memory"),
        (read_only, "results/logs: Read-only file system; give yourself the right"),
        (not_mine, "results/patients: Permission denied; give yourself the right"),
    ],
)
def test_what_the_machine_lacks_is_a_sentence(command, told, capsys, monkeypatch):
    monkeypatch.setattr(logging.getLogger("mskdex"), "handlers", [])  # of commands that ran before in this process
    with pytest.raises(SystemExit) as ended:
        run(command)
    said = capsys.readouterr().err
    assert ended.value.code == 1
    assert told in said
    assert "run the same command again" in said
    assert "defect" not in said


def test_another_error_stays_what_it_is():
    def wrong():
        raise ValueError("memory of a patient")

    with pytest.raises(ValueError, match="memory of a patient"):
        run(wrong)


@pytest.fixture
def alone(monkeypatch):
    """What `set_up` sets is forgotten afterwards."""
    monkeypatch.setattr(logging.getLogger("mskdex"), "handlers", [])
    monkeypatch.setattr(os, "environ", dict(os.environ))


@pytest.mark.usefixtures("alone")
@pytest.mark.parametrize(("limit", "told"), [(450e6, "450 MB"), (999e6, "999 MB")])
def test_a_limit_under_which_libraries_hang_or_crash_is_told_before_they_are_loaded(limit, told, monkeypatch):
    monkeypatch.setattr(resource, "getrlimit", {resource.RLIMIT_AS: (int(limit), resource.RLIM_INFINITY)}.get)
    with pytest.raises(MskdexError, match=rf"{told} of address space.*raise the limit \(ulimit -v\)"):
        set_up(None)


@pytest.mark.usefixtures("alone")
@pytest.mark.parametrize("limit", [resource.RLIM_INFINITY, 1000 * 10**6])
def test_a_limit_that_the_libraries_fit_in_is_none(limit, monkeypatch):
    monkeypatch.setattr(resource, "getrlimit", {resource.RLIMIT_AS: (limit, limit)}.get)
    set_up(None)
