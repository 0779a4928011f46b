import numba
import numpy as np
import pytest

from mskdex.virtual import cached as module
from mskdex.virtual.cached import cached


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "cache_folder", lambda: tmp_path)
    return tmp_path


def making(calls):
    def make():
        calls.append(1)
        return [np.arange(6, dtype=np.uint8).reshape(2, 3), np.array([1.5])]

    return make


def test_arrays_are_made_once(folder):
    calls = []
    first, second = cached("name", 2, making(calls)), cached("name", 2, making(calls))
    assert len(calls) == 1
    assert all(np.array_equal(a, b) and a.dtype == b.dtype for a, b in zip(first, second, strict=True))
    (only,) = folder.iterdir()
    assert sorted(path.name for path in only.iterdir()) == ["0.npy", "1.npy"]


@pytest.mark.usefixtures("folder")
def test_arrays_just_made_and_kept_ones_run_the_same_kernel():
    """Numba compiles one kernel per type of array, and the last digits of two kernels may differ."""
    fresh = cached("name", 1, lambda: [np.arange(6.0).reshape(3, 2).T])
    kept = cached("name", 1, lambda: [])
    assert numba.typeof(fresh[0]) == numba.typeof(kept[0])
    for (array,) in (fresh, kept):
        with pytest.raises(ValueError, match="read-only"):
            array[0, 0] = 1


@pytest.mark.parametrize("damage", ["empty", "short", "other", "missing"])
def test_a_folder_that_is_not_whole_is_made_again(folder, damage):
    calls = []
    cached("name", 2, making(calls))
    (path,) = folder.glob("*/1.npy")
    if damage == "missing":
        path.unlink()
    else:
        path.write_bytes({"empty": b"", "short": path.read_bytes()[:-1], "other": b"not an array"}[damage])
    assert cached("name", 2, making(calls))[1] == 1.5
    assert len(calls) == 2
    assert cached("name", 2, making(calls))[1] == 1.5
    assert len(calls) == 2


def test_changed_code_makes_them_again_and_removes_the_old(folder, monkeypatch):
    calls = []
    cached("name", 2, making(calls))
    cached("name.5", 2, making([]))
    monkeypatch.setattr(module, "_source_hash", lambda: "another")
    cached("name", 2, making(calls))
    assert len(calls) == 2
    assert sorted(path.name.partition("-")[0] for path in folder.iterdir()) == ["name", "name.5"]


def test_a_folder_that_cannot_be_written_costs_time_only(folder, monkeypatch):
    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(module.np, "save", full)
    calls = []
    assert cached("name", 2, making(calls))[1] == 1.5
    assert not list(folder.iterdir())
