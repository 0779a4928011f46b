"""Where a machine keeps what every process would else make anew."""

import functools
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path


@functools.cache
def cache_folder() -> Path:
    """The folder of compiled kernels and of arrays that are the same for every patient.

    In order: `MSKDEX_CACHE_DIR` or numba's own `NUMBA_CACHE_DIR`, the package's own `__pycache__`, the user's cache
    folder, and where none of these can be written to, a folder for this process alone.
    """
    chosen = os.environ.get("MSKDEX_CACHE_DIR") or os.environ.get("NUMBA_CACHE_DIR")
    for folder in [Path(chosen)] if chosen else _usual_folders():
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError:
            continue
        if os.access(folder, os.W_OK):
            return folder
    return Path(tempfile.mkdtemp(prefix="mskdex-kernels-"))


def _usual_folders() -> Iterator[Path]:
    yield Path(__file__).parent / "__pycache__"
    if home := os.environ.get("XDG_CACHE_HOME"):
        yield Path(home) / "mskdex"
    try:
        yield Path.home() / ".cache" / "mskdex"
    except RuntimeError:  # a user without a home
        return
