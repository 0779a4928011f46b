"""Compiled kernels: kept on disk, found again without numba, made anew when their code changes."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from mskdex.compute import native
from mskdex.compute.native import Kernel

OFFSET = 3


def _twice(x):
    return 2 * x


twice = Kernel(_twice)


def _fill(values, out, add):
    for i in range(values.size):
        out[i] = twice(values[i]) + OFFSET + add
    return values.size


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(native, "cache_folder", lambda: tmp_path)
    return tmp_path


def filled(kernel: Kernel, dtype: type) -> list[float]:
    out = np.zeros(3, dtype)
    assert kernel(np.arange(3, dtype=dtype), out, 1) == 3
    return out.tolist()


def test_kernels_are_kept_and_found(folder: Path) -> None:
    assert filled(Kernel(_fill), np.float64) == [4.0, 6.0, 8.0]
    (kept,) = folder.iterdir()
    written = kept.stat().st_mtime_ns
    assert filled(Kernel(_fill), np.float64) == [4.0, 6.0, 8.0]
    assert kept.stat().st_mtime_ns == written
    assert filled(Kernel(_fill), np.float32) == [4.0, 6.0, 8.0]
    assert len(list(folder.iterdir())) == 2


def test_a_change_in_what_a_kernel_uses_makes_it_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    before = Kernel(_fill).source_hash()
    monkeypatch.setitem(globals(), "OFFSET", 4)
    changed = Kernel(_fill).source_hash()
    monkeypatch.setitem(globals(), "twice", Kernel(lambda x: 3 * x))
    assert len({before, changed, Kernel(_fill).source_hash()}) == 3


def test_a_damaged_file_is_made_anew(folder: Path) -> None:
    filled(Kernel(_fill), np.float64)
    (kept,) = folder.iterdir()
    content = kept.read_bytes()
    for damaged in (content[: len(content) // 2], b"", content.replace(b"sha256", b"sha999")):
        kept.write_bytes(damaged)
        assert filled(Kernel(_fill), np.float64) == [4.0, 6.0, 8.0]
        assert json.loads(kept.read_bytes().partition(b"\n")[0])["sha256"]


@pytest.mark.usefixtures("folder")
def test_strided_arrays_are_refused() -> None:
    with pytest.raises(ValueError, match="C-contiguous"):
        Kernel(_fill)(np.zeros(6)[::2], np.zeros(3), 0)


def test_a_read_only_package_keeps_kernels_elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MSKDEX_CACHE_DIR", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    locked = Path(native.__file__).parent / "__pycache__"
    access = os.access
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path) != locked and access(path, mode))
    assert native.cache_folder.__wrapped__() == tmp_path / "mskdex"
    monkeypatch.setattr(os, "access", lambda *_: False)
    assert native.cache_folder.__wrapped__().name.startswith("mskdex-kernels-")
    monkeypatch.undo()
    monkeypatch.setenv("MSKDEX_CACHE_DIR", str(tmp_path / "chosen"))
    assert native.cache_folder.__wrapped__() == tmp_path / "chosen"


def test_a_later_process_starts_without_numba() -> None:
    program = """
import sys, time
import numpy as np
from mskdex.quantities import density_table
from mskdex.geometry.camera import Camera, nominal_pose
started = time.process_time()
from mskdex.drr.render import render
ct, labels = np.zeros((8, 8, 8), np.int16), np.ones((8, 8, 8), np.uint8)
camera = Camera(1000.0, 1.0, (16, 16), (7.5, 7.5))
render(ct, labels, np.eye(4), [1], camera, nominal_pose(np.full(3, 4.0), 800.0), density_table())
print(time.process_time() - started, "numba" in sys.modules)
"""
    for _ in range(2):
        result = subprocess.run([sys.executable, "-c", program], capture_output=True, encoding="utf-8", check=True)
    seconds, numba = result.stdout.split()
    assert numba == "False"
    assert float(seconds) < 0.5
