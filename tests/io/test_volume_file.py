import logging

import hospital as make
import numpy as np
import pytest
import SimpleITK as sitk

from mskdex.errors import MskdexError
from mskdex.io.files import reading
from mskdex.io.volume import Volume, read_volume, write_volume


@pytest.mark.parametrize("dtype", [np.int16, np.uint8, np.float32])
@pytest.mark.parametrize("angles", [(0.0, 0.0, 0.0), (0.2, -0.1, 0.4)])
def test_written_volume_is_read_back_alike_by_itk_and_nibabel(tmp_path, dtype, angles):
    import nibabel

    affine = np.eye(4)
    affine[:3, :3] = np.array(sitk.Euler3DTransform((0, 0, 0), *angles).GetMatrix()).reshape(3, 3) * [0.7, 0.8, 1.25]
    affine[:3, 3] = (-123.4, 56.7, 1890.1)
    array = np.random.default_rng(0).integers(0, 200, (7, 6, 5)).astype(dtype)
    write_volume(tmp_path / "v.nii.gz", Volume(array, affine))
    found = read_volume(tmp_path / "v.nii.gz")
    assert found.array.dtype == dtype
    np.testing.assert_array_equal(found.array, array)
    np.testing.assert_allclose(found.world_from_voxel, affine, atol=2e-4)
    other = nibabel.load(tmp_path / "v.nii.gz")
    np.testing.assert_array_equal(np.asarray(other.dataobj).transpose(2, 1, 0), array)
    np.testing.assert_allclose(other.affine, affine, atol=2e-4)
    np.testing.assert_allclose(other.header.get_zooms(), (0.7, 0.8, 1.25), rtol=1e-6)


def test_the_same_volume_gives_the_same_bytes(tmp_path):
    ct, _ = make.phantom()
    for name in ("a", "b"):
        write_volume(tmp_path / f"{name}.nii.gz", ct)
    assert (tmp_path / "a.nii.gz").read_bytes() == (tmp_path / "b.nii.gz").read_bytes()


def test_any_exception_while_a_file_is_read_is_one_sentence_and_the_traceback_is_logged(tmp_path, caplog):
    with (
        caplog.at_level(logging.DEBUG, "mskdex"),
        pytest.raises(MskdexError, match=r"a\.nii cannot be read.*KeyError: 'x'") as error,
        reading(tmp_path / "a.nii"),
    ):
        raise KeyError("x")
    assert "\n" not in str(error.value)
    assert "Traceback" in caplog.text
    with pytest.raises(MskdexError, match=r"^as it is$"), reading(tmp_path / "a.nii"):
        raise MskdexError("as it is")
