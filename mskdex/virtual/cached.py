"""Arrays that are the same for every patient, made once per machine."""

import hashlib
import shutil
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from mskdex.compute.cache import cache_folder


def cached(name: str, count: int, make: Callable[[], Sequence[np.ndarray]]) -> list[np.ndarray]:
    """What `make` gives, from beside the compiled kernels if an earlier process left it there.

    It is made again when anything in `mskdex/virtual` or `mskdex/deformation`, or numpy's version, has changed. Kept
    arrays are mapped into memory: a process takes only the pages that it reads, and all processes share them. All are
    read-only and C-contiguous, those just made too: numba compiles another kernel for arrays that may be written to,
    and its sums may differ in their last digit.

    Args:
        name: of the folder that keeps them.
        count: number of arrays.
        make: makes the arrays.
    """
    folder = cache_folder() / f"{name}-{_source_hash()}"
    try:
        return [np.asarray(np.load(folder / f"{i}.npy", mmap_mode="r", allow_pickle=False)) for i in range(count)]
    except (OSError, ValueError, EOFError):
        made = [_read_only(array) for array in make()]
    try:
        _keep(folder, made)
    except OSError:
        return made  # A full or read-only disk costs the next process its quick start, nothing else.
    for old in set(folder.parent.glob(f"{name}-*")) - {folder}:
        shutil.rmtree(old, ignore_errors=True)
    return made


def _read_only(array: np.ndarray) -> np.ndarray:
    array = np.ascontiguousarray(array)
    array.setflags(write=False)
    return array


def _keep(folder: Path, arrays: list[np.ndarray]) -> None:
    """Writes the arrays to a folder that is there as a whole or not at all, in the place of a damaged one."""
    with tempfile.TemporaryDirectory(dir=folder.parent) as temporary:
        whole = Path(temporary) / "whole"
        whole.mkdir()
        for i, array in enumerate(arrays):
            np.save(whole / f"{i}.npy", array)
        shutil.rmtree(folder, ignore_errors=True)
        whole.rename(folder)


def _source_hash() -> str:
    digest = hashlib.sha256(np.__version__.encode())
    package = Path(__file__).parents[1]
    for path in (
        sorted(package.glob("virtual/*.py"))
        + sorted(package.glob("virtual/data/*.csv"))
        + sorted(package.glob("deformation/*.py"))
    ):
        digest.update(path.name.encode() + path.read_bytes())
    return digest.hexdigest()[:16]
