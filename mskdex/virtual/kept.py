"""Arrays that are the same for every patient, made once per machine."""

import hashlib
import os
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np

from mskdex.projection.native import cache_folder


def kept(name: str, make: Callable[[], dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
    """What `make` gives, from the folder of compiled kernels if an earlier process left it there.

    It is made again when anything in `mskdex/virtual`, or numpy's version, has changed.

    Args:
        name: of the file, without ending.
        make: makes the arrays.
    """
    path = cache_folder() / f"{name}-{_source_hash()}.npz"
    try:
        with path.open("rb") as handle, np.load(handle, allow_pickle=False) as found:
            return dict(found)
    except (OSError, ValueError, EOFError, zipfile.BadZipFile):
        made = make()
    try:
        with tempfile.NamedTemporaryFile(dir=path.parent, delete=False) as temporary:
            np.savez(temporary, **made)  # type: ignore[arg-type]
        os.replace(temporary.name, path)
        for old in set(path.parent.glob(f"{name}-*.npz")) - {path}:
            old.unlink(missing_ok=True)
    except OSError:
        pass  # A full or read-only disk costs the next process its quick start, nothing else.
    return made


def _source_hash() -> str:
    digest = hashlib.sha256(np.__version__.encode())
    folder = Path(__file__).parent
    for path in sorted([*folder.glob("*.py"), *folder.glob("data/*.csv")]):
        digest.update(path.name.encode() + path.read_bytes())
    return digest.hexdigest()[:16]
