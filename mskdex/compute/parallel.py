"""Threads that the CPU kernels run on."""

import functools
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any


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


def in_chunks(task: Callable[[int, int], Any], count: int, chunk: int = 8) -> list[Any]:
    """Calls `task(start, stop)` over 0 … count in chunks, on all threads; returns the results in order.

    The chunks are handed out as threads come free, because the middle rows of an image cost more.
    """
    workers = threads()
    if workers == 1 or count <= chunk:
        return [task(0, count)]
    starts = range(0, count, chunk)
    pool = _pool(workers, os.getpid())
    return list(pool.map(lambda start: task(start, min(start + chunk, count)), starts))
