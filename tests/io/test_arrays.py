import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mskdex.errors import MskdexError
from mskdex.io.arrays import Crops, read_arrays, read_crops, write_arrays


def _sparse(seed=0, shape=(3, 4, 20, 30)):
    rng = np.random.default_rng(seed)
    array = np.zeros(shape, np.float32)
    array[..., 3:9, 5:25] = rng.uniform(0, 50, (*shape[:-2], 6, 20))
    array[0, 1] = 0.0
    return array


def test_arrays_and_meta_come_back(tmp_path):
    arrays = {"a": np.arange(6, dtype=np.int16).reshape(2, 3), "empty": np.zeros((0, 4)), "scalar": np.float32(2)}
    write_arrays(tmp_path / "x.safetensors", {k: np.asarray(v) for k, v in arrays.items()}, {"n": [1, None]})
    back, meta = read_arrays(tmp_path / "x.safetensors")
    assert meta == {"n": [1, None]}
    for name, array in arrays.items():
        assert back[name].dtype == np.asarray(array).dtype
        np.testing.assert_array_equal(back[name], array)


def test_cropped_arrays_come_back_to_half_precision_with_their_zeros(tmp_path):
    array = _sparse()
    write_arrays(tmp_path / "x.safetensors", {"drr": array, "plain": array}, {}, crop=("drr",))
    back, _ = read_arrays(tmp_path / "x.safetensors")
    np.testing.assert_array_equal(back["plain"], array)
    assert back["drr"].dtype == np.float32
    np.testing.assert_allclose(back["drr"], array, rtol=2**-11, atol=50 * 2**-24)
    np.testing.assert_array_equal(back["drr"] == 0, array == 0)
    np.testing.assert_allclose(back["drr"].sum((-2, -1)), array.sum((-2, -1)), rtol=1e-4)
    crops = read_crops(tmp_path / "x.safetensors")[0]["drr"]
    assert isinstance(crops, Crops)
    assert crops.values.size == 11 * 6 * 20


@settings(deadline=None, max_examples=50)
@given(st.integers(0, 2**32 - 1), st.integers(1, 12), st.integers(1, 12), st.floats(1e-20, 1e20))
def test_crops_hold_any_image(seed, rows, columns, magnitude):
    rng = np.random.default_rng(seed)
    array = (rng.normal(size=(2, rows, columns)) * (rng.random((2, rows, columns)) < 0.3) * magnitude).astype(
        np.float32
    )
    back = Crops.of(array).dense()
    peak = np.abs(array).max(initial=0.0)
    np.testing.assert_allclose(back, array, rtol=2**-10.9, atol=peak * 2**-24)


def test_a_file_that_is_absent_is_named(tmp_path):
    with pytest.raises(MskdexError, match=r"x\.safetensors cannot be read"):
        read_arrays(tmp_path / "x.safetensors")


@pytest.mark.parametrize("damage", ["empty", "other", "cut"])
def test_a_damaged_file_is_named_and_moved_away(tmp_path, damage):
    path = tmp_path / "x.safetensors"
    write_arrays(path, {"a": _sparse()}, {})
    whole = path.read_bytes()
    path.write_bytes({"empty": b"", "other": b"hello", "cut": whole[: len(whole) // 2]}[damage])
    with pytest.raises(MskdexError, match=r"x\.safetensors is damaged"):
        read_arrays(path)
    assert not path.exists()
    assert path.with_name("x.safetensors.damaged").exists()
