"""Compiled kernels: kept on disk, found again, made anew when what they use changes."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from mskdex.compute import cache
from mskdex.compute.kernels import code_hash, kernel

MODULE = """
import math
from mskdex.compute.kernels import kernel

OFFSET = 3

@kernel
def twice(x):
    return math.ldexp(x, 1)

@kernel
def fill(values, out, add):
    for i in range(values.size):
        out[i] = twice(values[i]) + OFFSET + add
    return values.size
"""
PROGRAM = """
import numpy as np
from module import fill
out = np.zeros(3)
fill(np.arange(3.0), out, 1)
print(*out, sum(fill.stats.cache_hits.values()))
"""


def run(folder: Path, module: str) -> list[float]:
    """The numbers that a new process gets from a module's kernel, and whether it was found compiled."""
    (folder / "module.py").write_text(module, encoding="utf-8")
    environment = os.environ | {"PYTHONPATH": str(folder), "MSKDEX_CACHE_DIR": str(folder / "cache")}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], env=environment, capture_output=True, encoding="utf-8", check=True, umask=0o022
    )
    return [float(word) for word in done.stdout.split()]


def test_a_kernel_is_found_again_until_what_it_uses_changes(tmp_path: Path) -> None:
    assert run(tmp_path, MODULE) == [4.0, 6.0, 8.0, 0]
    assert run(tmp_path, MODULE) == [4.0, 6.0, 8.0, 1]
    kept = [path for path in (tmp_path / "cache").rglob("*") if path.is_file()]
    assert kept
    assert all(path.stat().st_mode & 0o044 == 0o044 for path in kept)
    assert run(tmp_path, MODULE.replace("ldexp(x, 1)", "ldexp(x, 2)")) == [4.0, 8.0, 12.0, 0]


@kernel
def inner(x):
    return 2 * x


OFFSET, HIDDEN = 3, [1.0]


def _outer(x):
    return inner(x) + OFFSET


@kernel
def _sum(values):
    total = 0.0
    for i in range(values.size):
        total += values[i]
    return total


def test_a_kernel_adds_in_the_order_that_is_written() -> None:
    """So that two processes have the same bytes, of which one compiled the kernel and one loaded it."""
    values = np.tile([1e16, 1.0, -1e16, 1.0], 64)
    assert _sum(values) == 1.0


def test_the_hash_follows_constants_kernels_and_functions_inside(monkeypatch: pytest.MonkeyPatch) -> None:
    def total(values, power):
        return sum(v**power for v in values)

    def other(values, power):
        return sum(v * power for v in values)

    found = [code_hash(_outer), code_hash(total), code_hash(other)]
    assert found[0] == code_hash(_outer)
    monkeypatch.setitem(globals(), "OFFSET", 4)
    found.append(code_hash(_outer))
    monkeypatch.setitem(globals(), "inner", kernel(lambda x: 3 * x))
    found.append(code_hash(_outer))
    assert len(set(found)) == len(found)


def test_what_would_change_unnoticed_is_refused() -> None:
    with pytest.raises(TypeError, match="_hidden uses HIDDEN, which is neither a kernel nor a number"):
        kernel(_hidden)
    with pytest.raises(TypeError, match="_early uses NOT_YET, which has to stand above it"):
        kernel(_early)


def _hidden(x):
    return x + HIDDEN[0]


def _early(x):
    return x + NOT_YET  # noqa: F821


def test_where_nothing_can_be_written_each_process_keeps_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = cache.cache_folder.__wrapped__
    for name in ("MSKDEX_CACHE_DIR", "NUMBA_CACHE_DIR"):
        monkeypatch.setenv(name, str(tmp_path / name))
        assert folder() == tmp_path / name
        monkeypatch.delenv(name)
        monkeypatch.delenv("MSKDEX_CACHE_DIR", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    locked, access = Path(cache.__file__).parent / "__pycache__", os.access
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path) != locked and access(path, mode))
    assert folder() == tmp_path / "mskdex"
    monkeypatch.setattr(os, "access", lambda *_: False)
    monkeypatch.setattr(Path, "home", _homeless)
    assert folder().name.startswith("mskdex-kernels-")


def _homeless() -> Path:
    msg = "Could not determine home directory."
    raise RuntimeError(msg)


def test_stages_without_kernels_do_not_wait_for_numba() -> None:
    names = ", ".join(f"mskdex.pipeline.stages.{s}" for s in ("quantities", "stack", "folds", "train", "collect"))
    code = f"import sys, {names}; print('numba' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, encoding="utf-8", check=True)
    assert done.stdout.strip() == "False"
