"""What every command needs: the environment, the log, and plain words where something went wrong."""

import errno
import logging
import os
import resource
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from mskdex.errors import MskdexError, UnfinishedError

log = logging.getLogger("mskdex")

_LEAST_ADDRESS_SPACE_MB = 1000
"""The libraries of a stage without torch take 620 MB, most of it never touched. Where they get less, OpenBLAS waits for
ever and ITK crashes, so that it has to be told before they are loaded."""


def set_up(log_file: Path | None) -> None:
    """Sets threads before numpy is imported, and sends the log to the console and a file.

    Raises:
        MskdexError: the limit on address space is one under which the libraries hang or crash.
    """
    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")  # it would look through every installed package
    os.environ.setdefault("NUMBA_NUM_THREADS", os.environ.get("OMP_NUM_THREADS", str(os.cpu_count())))
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # importing numpy would start a thread per core
    log.setLevel(logging.DEBUG)
    console = logging.StreamHandler()
    console.setLevel(logging.INFO)
    console.setFormatter(logging.Formatter("%(message)s"))
    log.addHandler(console)
    if log_file:
        log_file.parent.mkdir(parents=True, exist_ok=True)
        handler = logging.FileHandler(log_file, mode="w", encoding="utf-8")
        handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
        log.addHandler(handler)
    _check_address_space()


def _check_address_space() -> None:
    limit = resource.getrlimit(resource.RLIMIT_AS)[0]
    if limit != resource.RLIM_INFINITY and limit < _LEAST_ADDRESS_SPACE_MB * 1e6:
        msg = (
            f"processes may have {limit / 1e6:.0f} MB of address space here, and the libraries alone need "
            f"{_LEAST_ADDRESS_SPACE_MB} MB; raise the limit (ulimit -v) and run the same command again"
        )
        raise MskdexError(msg)


def run(commands: Callable[[], Any]) -> None:
    """Runs the command line; a user's mistake is one sentence on stderr and exit code 1."""
    logging.raiseExceptions = False  # a log on a full disk must not hide the sentence about it
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(encoding="utf-8")  # type: ignore[union-attr]  # also where the locale is plain C
    try:
        commands()
    except MskdexError as error:
        log.debug("traceback", exc_info=True)
        _log_error(str(error) if isinstance(error, UnfinishedError) else f"error: {error}")
        sys.exit(error.exit_code)
    except Exception as error:
        log.debug("traceback", exc_info=True)
        if detail := _of_this_machine(error):
            sys.exit(_log_error(f"error: {detail} and run the same command again"))
        known = next((h.baseFilename for h in log.handlers if isinstance(h, logging.FileHandler)), None)
        if known is None:
            raise
        sys.exit(_log_error(f"error: {type(error).__name__}: {error}; this is a defect, please report it with {known}"))


_NO_MEMORY = (
    "out of memory",
    "not enough memory",
    "can't allocate memory",
    "cannot allocate memory",
    "failed to allocate memory",
    "failed to map segment",
    "can't start new thread",
)
"""What libraries say that have no MemoryError: PyTorch, ITK, the loader of shared libraries, threads."""


def _of_this_machine(error: BaseException) -> str:
    """What this machine lacks and what to do, where that is what went wrong; "" otherwise."""
    chain: list[BaseException] = []
    at: BaseException | None = error
    while at is not None and at not in chain:
        chain.append(at)
        at = at.__cause__ or at.__context__
    for e in chain:
        code = e.errno if isinstance(e, OSError) else None
        if isinstance(e, MemoryError) or code == errno.ENOMEM or any(w in str(e).lower() for w in _NO_MEMORY):
            return f"there was not enough memory ({_one_line(e)}); end other programs, or give the job more (mem_mb),"
        if code in (errno.EACCES, errno.EPERM, errno.EROFS):
            return f"{_one_line(e)}; give yourself the right to read and write there"
    from mskdex.io.artifacts import disk_is_full

    full = disk_is_full(error, Path())
    return f"the disk is full ({_one_line(error)}); free some space" if full else ""


def _one_line(error: BaseException) -> str:
    words = error.strerror if isinstance(error, OSError) and error.strerror else str(error) or type(error).__name__
    place = f"{error.filename}: " if isinstance(error, OSError) and error.filename else ""
    return place + words.strip().splitlines()[0]


def _log_error(message: str) -> int:
    log.error(message)
    if not log.handlers:
        sys.stderr.write(message + "\n")
    return 1
