"""Compilation of the CPU kernels, kept on disk so that only the first process pays for it, and their threads."""

import functools
import os
import tempfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numba

config: Any = numba.config


def _writable(folder: Path) -> bool:
    while not folder.exists():
        folder = folder.parent
    return os.access(folder, os.W_OK)


def _cache_folder() -> str:
    """Where compiled kernels are kept; empty leaves it to numba, which takes `__pycache__`.

    In order: `NUMBA_CACHE_DIR`, the package's own `__pycache__`, the user's cache folder, a temporary
    folder of this user. Numba alone would fail at import where a container makes the first two read-only.
    """
    set_by_user: str = config.CACHE_DIR
    if set_by_user or _writable(Path(__file__).parent / "__pycache__"):
        return set_by_user
    home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    if _writable(home):
        return str(home / "mskdex" / "numba")
    return str(Path(tempfile.gettempdir()) / f"mskdex-numba-{os.getuid()}")


config.CACHE_DIR = _cache_folder()

kernel = functools.partial(numba.njit, cache=True, fastmath=True, nogil=True, error_model="numpy")
"""Decorator of a kernel. Kernels are serial and release the GIL; `spread` runs them on threads. Numba's own
`parallel=True` compiles and loads several times slower and its pools do not survive a fork."""


def threads() -> int:
    """Threads to use: `NUMBA_NUM_THREADS`, else `OMP_NUM_THREADS` (Snakemake sets it per rule), else every core."""
    for name in ("NUMBA_NUM_THREADS", "OMP_NUM_THREADS"):
        value = os.environ.get(name, "")
        if value.isdigit() and int(value) > 0:
            return int(value)
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@functools.cache
def _pool(workers: int, process: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(workers, thread_name_prefix=f"mskdex-{process}")


def spread(task: Callable[[int, int], Any], count: int, chunk: int = 8) -> list[Any]:
    """Calls `task(start, stop)` over 0 … count in chunks, on all threads; returns the results in order.

    The chunks are handed out as threads come free, because the middle rows of an image cost more.
    """
    workers = threads()
    if workers == 1 or count <= chunk:
        return [task(0, count)]
    starts = range(0, count, chunk)
    pool = _pool(workers, os.getpid())
    return list(pool.map(lambda start: task(start, min(start + chunk, count)), starts))
