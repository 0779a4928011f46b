import numpy as np
import pytest

from mskdex.virtual import kept as module
from mskdex.virtual.kept import kept


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "cache_folder", lambda: tmp_path)
    return tmp_path


def making(calls):
    def make():
        calls.append(1)
        return {"a": np.arange(6, dtype=np.uint8).reshape(2, 3), "b": np.array([1.5])}

    return make


def test_arrays_are_made_once(folder):
    calls = []
    first, second = kept("name", making(calls)), kept("name", making(calls))
    assert len(calls) == 1
    assert first.keys() == second.keys()
    assert all(np.array_equal(first[k], second[k]) and first[k].dtype == second[k].dtype for k in first)
    assert [path.suffix for path in folder.iterdir()] == [".npz"]


@pytest.mark.parametrize("content", [b"", b"PK", b"not a zip file"])
def test_a_file_that_is_not_whole_is_made_again(folder, content):
    calls = []
    kept("name", making(calls))
    (path,) = folder.iterdir()
    path.write_bytes(content or path.read_bytes()[:-40])
    assert kept("name", making(calls))["b"] == 1.5
    assert len(calls) == 2
    assert kept("name", making(calls))["a"].shape == (2, 3)
    assert len(calls) == 2


def test_changed_code_makes_them_again_and_removes_the_old(folder, monkeypatch):
    calls = []
    kept("name", making(calls))
    kept("name.5", making([]))
    monkeypatch.setattr(module, "_source_hash", lambda: "another")
    kept("name", making(calls))
    assert len(calls) == 2
    assert sorted(path.name.partition("-")[0] for path in folder.iterdir()) == ["name", "name.5"]


def test_a_folder_that_cannot_be_written_costs_time_only(folder, monkeypatch):
    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(module.tempfile, "NamedTemporaryFile", full)
    calls = []
    assert kept("name", making(calls))["b"] == 1.5
    assert not list(folder.iterdir())
