"""Artifacts are written whole or not at all."""

import json
import resource

import numpy as np
import pandas as pd
import pytest
import torch

from mskdex.errors import MskdexError
from mskdex.imaging.radiograph import write_image
from mskdex.io.arrays import read_arrays, write_arrays
from mskdex.io.artifacts import atomic_path, read_json, read_parquet, read_rows, write_json, write_parquet, write_rows
from mskdex.io.tensors import write_tensors
from mskdex.io.volume import Volume, read_volume, write_volume


def test_a_failed_write_leaves_the_old_file_and_no_other(tmp_path):
    path = tmp_path / "a.json"
    write_json(path, {"x": 1})

    def interrupted():
        with atomic_path(path) as temporary:
            temporary.write_text("half", encoding="utf-8")
            raise RuntimeError("disk")

    with pytest.raises(RuntimeError, match="disk"):
        interrupted()
    assert read_json(path) == {"x": 1}
    assert list(tmp_path.iterdir()) == [path]


def test_json_takes_arrays_and_refuses_nan(tmp_path):
    write_json(tmp_path / "a.json", {"pose": np.eye(2), "n": np.int64(3)})
    assert read_json(tmp_path / "a.json") == {"pose": [[1.0, 0.0], [0.0, 1.0]], "n": 3}
    content = json.loads((tmp_path / "a.json").read_text(encoding="utf-8"))
    assert list(content) == ["pose", "n", "seal"], "the seal is the last key of ordinary JSON"
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(tmp_path / "b.json", {"x": float("nan")})


@pytest.mark.parametrize("read", [read_json, read_parquet, read_rows, read_arrays])
@pytest.mark.parametrize("content", [b"", b"PAR1", b"MSKDEX1\n\x10", b"{"])
def test_a_corrupted_artifact_is_named(tmp_path, read, content):
    path = tmp_path / "artifact"
    path.write_bytes(content)
    with pytest.raises(MskdexError, match=r"artifact is damaged .* moved to artifact\.damaged, run the same command"):
        read(path)
    assert not path.exists()
    assert path.with_name("artifact.damaged").read_bytes() == content


@pytest.mark.parametrize("content", [[], [1, 2], {"content": 3}, "text", {}])
def test_any_json_comes_back_as_it_was(tmp_path, content):
    write_json(tmp_path / "a.json", content)
    assert read_json(tmp_path / "a.json") == content


def test_what_is_absent_is_not_called_damaged(tmp_path):
    with pytest.raises(MskdexError, match=r"gone\.json cannot be read \(.*No such file"):
        read_json(tmp_path / "gone.json")


def test_a_patients_damaged_artifact_names_the_patient_and_clears_the_cache_behind_a_link(tmp_path):
    cached = tmp_path / "cache" / "0123.json"
    cached.parent.mkdir()
    cached.write_bytes(b"")
    path = tmp_path / "patients" / "A1" / "pose.json"
    path.parent.mkdir(parents=True)
    path.symlink_to(cached)
    with pytest.raises(MskdexError, match=r"^patient A1: .*pose\.json is damaged"):
        read_json(path)
    assert not path.is_symlink()
    assert [p.name for p in cached.parent.iterdir()] == ["0123.json.damaged"]


def _volume(path, noise):
    write_volume(path, Volume((1000 * noise).astype(np.int16), np.eye(4)))


def _tensors(path, noise):
    write_tensors(path, {"x": torch.from_numpy(noise)}, {})


@pytest.mark.parametrize(
    "write",
    [
        _volume,
        _tensors,
        lambda path, noise: write_image(path, noise[0].astype(np.float32), 1.0),
        lambda path, noise: write_arrays(path, {"x": noise}, {}),
        lambda path, noise: write_parquet(path, pd.DataFrame({"x": noise.ravel()})),
        lambda path, noise: write_rows(path, [{"x": value} for value in noise.ravel()]),
        lambda path, noise: write_json(path, noise.tolist()),
    ],
)
def test_a_full_disk_is_said_plainly_and_leaves_no_half_file(tmp_path, write):
    noise = np.random.default_rng(0).normal(size=(8, 64, 64))
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, before[1]))
    try:
        with pytest.raises(MskdexError, match=r"a\.nii\.gz could not be written, the disk is full; free some space"):
            write(tmp_path / "a.nii.gz", noise)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("keep", [0, 100, 20_000, -9])
def test_a_volume_that_was_cut_short_is_damaged_and_not_zeros(tmp_path, keep):
    path = tmp_path / "v.nii.gz"
    _volume(path, np.random.default_rng(0).normal(size=(8, 64, 64)))
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(MskdexError, match=r"v\.nii\.gz is damaged"):
        read_volume(path)


def test_truncated_arrays_are_named(tmp_path):
    path = tmp_path / "a.safetensors"
    write_arrays(path, {"x": np.random.default_rng(0).normal(size=(50, 50)).astype(np.float32)}, {})
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(MskdexError, match=r"a\.safetensors is damaged"):
        read_arrays(path)
