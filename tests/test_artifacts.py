"""Artifacts are written whole or not at all."""

import json

import numpy as np
import pytest

from mskdex.arrays import read_arrays, write_arrays
from mskdex.artifacts import atomic_path, read_json, read_parquet, write_json
from mskdex.errors import MskdexError


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
    assert json.loads((tmp_path / "a.json").read_text(encoding="utf-8")) == {"pose": [[1.0, 0.0], [0.0, 1.0]], "n": 3}
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(tmp_path / "b.json", {"x": float("nan")})


@pytest.mark.parametrize("read", [read_json, read_parquet, read_arrays])
@pytest.mark.parametrize("content", [b"", b"PAR1", b"MSKDEX1\n\x10", b"{"])
def test_a_corrupted_artifact_is_named(tmp_path, read, content):
    path = tmp_path / "artifact"
    path.write_bytes(content)
    with pytest.raises(MskdexError, match=r"artifact cannot be read .* delete it"):
        read(path)


def test_truncated_arrays_are_named(tmp_path):
    path = tmp_path / "a.zst"
    write_arrays(path, {"x": np.random.default_rng(0).normal(size=(50, 50)).astype(np.float32)}, {})
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(MskdexError, match=r"a\.zst cannot be read"):
        read_arrays(path)
