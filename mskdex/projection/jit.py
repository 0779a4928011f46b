"""Compilation of the CPU kernels, kept on disk so that only the first process pays for it."""

import functools
import os
import tempfile
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

kernel = functools.partial(numba.njit, cache=True, fastmath=True, nogil=True, error_model="numpy", parallel=True)
"""Decorator of a kernel that runs over all threads."""

inner = functools.partial(numba.njit, cache=True, fastmath=True, nogil=True, error_model="numpy")
"""Decorator of a function that kernels call."""
