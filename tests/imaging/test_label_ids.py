"""Voxels of label maps: ids of any type are read exactly, and what is no id is refused."""

import hospital as make
import numpy as np
import pytest
from label_cases import IDS, SETTINGS, WANTED, as_read, mask, names_file, nifti, present, read

from mskdex.errors import MskdexError
from mskdex.imaging.label_ids import as_ids, ids_in, translated

LISTED = SETTINGS.label_sources["phantom"]


def renumbered(ids: dict[int, int], dtype: type) -> np.ndarray:
    """The phantom's label map under other ids."""
    array = make.phantom()[1].array
    out = array.astype(dtype)
    for old, new in ids.items():
        out[array == old] = new
    return out


@pytest.mark.parametrize(
    ("dtype", "largest"),
    [
        (np.uint8, 255),
        (np.int8, 127),
        (np.uint16, 65535),
        (np.int16, 32767),
        (np.uint32, 2**32 - 1),
        (np.int32, 2**31 - 1),
        (np.uint64, 2**40),
        (np.int64, 2**40),
        (np.float32, 2**24),
        (np.float64, 2**40),
    ],
)
def test_ids_of_every_type_up_to_their_largest(tmp_path, dtype, largest):
    path = nifti(tmp_path / "l.nii.gz", renumbered({3: largest}, dtype))
    found = read(path, "phantom", {**LISTED, "femur": (largest, 4)})
    assert as_read(found)
    assert found.warnings == []


@pytest.mark.parametrize("beyond", [65536, 65539, 2**16 * 3 + 3, 2**32 + 3, 2**40])
def test_ids_beyond_16_bits_do_not_wrap(tmp_path, beyond):
    found = read(nifti(tmp_path / "l.nii.gz", renumbered({3: beyond}, np.int64)), "phantom")
    assert present(found) == set(IDS) - {"femur_left"}
    assert found.facts["absent"] == ["femur_left"]
    assert found.facts["unused"] == [str(beyond)]
    assert any("femur_left" in w for w in found.warnings)
    assert any(str(beyond) in w for w in found.warnings)


def test_large_ids_take_no_memory_by_their_size():
    ids, note = as_ids(np.array([[[0, 2**50, 7]]], np.int64), "l.nii.gz")
    assert note is None
    assert ids_in(ids) == {2**50, 7}
    np.testing.assert_array_equal(translated(ids, {2**50: 3, 9: 4}), [[[0, 3, 0]]])


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (renumbered({3: -3}, np.int16), r"values from -3 to 7; label ids of this type are 0 to"),
        (renumbered({3: 2**60}, np.int64), r"label ids of this type are 0 to 9007199254740991"),
        (renumbered({3: 2**25}, np.float32), r"label ids of this type are 0 to 16777216"),
        (renumbered({}, np.float32) * 0.7, r"holds fractions, not label ids"),
        (renumbered({}, np.float32) * 0.98, r"holds fractions, not label ids"),
        (np.zeros((20, 30, 40), np.uint8), r"is empty: every voxel is 0"),
    ],
)
def test_values_that_are_no_ids(tmp_path, array, message):
    with pytest.raises(MskdexError, match=message):
        read(nifti(tmp_path / "l.nii.gz", array), "phantom")


@pytest.mark.parametrize("least", [0.0, 0.5, 0.97])
def test_probabilities_are_refused(tmp_path, least):
    labels = make.phantom()[1].array
    probable = np.random.default_rng(0).uniform(least, 1, labels.shape)
    with pytest.raises(MskdexError, match="holds fractions, not label ids"):
        read(nifti(tmp_path / "l.nii.gz", (labels * probable).astype(np.float32)), "phantom")
    folder = make.masks(tmp_path / "masks", make.phantom()[1])
    nifti(folder / "femur_left.nii.gz", ((labels == 3) * probable).astype(np.float32))
    with pytest.raises(MskdexError, match=r"femur_left\.nii\.gz holds fractions"):
        read(folder)


def test_an_image_is_no_label_map(tmp_path):
    values = np.random.default_rng(0).integers(1, 256, (20, 30, 40)).astype(np.uint8)
    with pytest.raises(MskdexError, match=r"holds 25\d different values, more than the 200 ids of a label map"):
        read(nifti(tmp_path / "l.nii.gz", values * (make.phantom()[1].array > 0)), "phantom")


@pytest.mark.parametrize("factor", [0.99995, 1.00005])
def test_scaled_ids_are_read_and_said(tmp_path, factor):
    found = read(nifti(tmp_path / "l.nii.gz", renumbered({}, np.float32) * np.float32(factor)), "phantom")
    assert as_read(found)
    assert any("label ids had fractions" in w and "0.05 is allowed" in w for w in found.warnings)


def test_ids_saved_as_scaled_integers_are_read_and_said(tmp_path):
    import nibabel as nib

    labels = make.phantom()[1]
    image = nib.Nifti1Image(renumbered({7: 6222}, np.float64).transpose(2, 1, 0), labels.world_from_voxel)
    image.set_sform(labels.world_from_voxel, 1)
    image.set_data_dtype(np.uint16)
    image.to_filename(tmp_path / "l.nii.gz")
    found = read(tmp_path / "l.nii.gz", "phantom", {**LISTED, "gluteus_maximus": (6, 6222)})
    assert as_read(found)
    assert any("label ids had fractions" in w for w in found.warnings)


@pytest.mark.parametrize("value", [1, 255, 7])
def test_a_mask_may_hold_any_one_value(tmp_path, value):
    folder = make.masks(tmp_path / "masks", make.phantom()[1])
    nifti(folder / "femur_left.nii.gz", (make.phantom()[1].array == 3).astype(np.uint8) * np.uint8(value))
    assert as_read(read(folder))


def test_ids_of_the_config_that_no_label_map_has(tmp_path):
    path = make.write(tmp_path / "l.nii.gz", make.phantom()[1])
    for wrong in (-1, 0, 2**60):
        with pytest.raises(MskdexError, match=rf"femur has the id {wrong}; ids are whole numbers from 1 on"):
            read(path, "phantom", {**LISTED, "femur": (wrong, 4)})


def test_a_map_of_totalsegmentator_1_is_not_read_as_one_of_2(tmp_path):
    ids = dict(zip(WANTED, (90, 91, 88, 89, 92, 94, 95), strict=True))
    array = renumbered(ids, np.uint8)
    array[18:, 10:12, 20:22] = 25  # T10 in version 1, the sacrum in version 2
    path = nifti(tmp_path / "l.nii.gz", array)
    with pytest.raises(MskdexError, match="1 of the 11 structures of label source totalsegmentator, but 7 of"):
        read(path, "totalsegmentator")
    assert as_read(read(path, "totalsegmentator_v1"))
    other = dict(zip(WANTED, (77, 78, 75, 76, 25, 80, 81), strict=True))
    with pytest.raises(MskdexError, match="correct label_source"):
        read(nifti(tmp_path / "m.nii.gz", renumbered(other, np.uint8)), "totalsegmentator_v1")


def test_names_beside_the_map_must_not_contradict_the_source(tmp_path):
    path = names_file(tmp_path, {**IDS, "bladder": 9})
    assert as_read(read(path, "phantom"))
    path = names_file(tmp_path, {**IDS, "femur_left": 6, "gluteus_maximus_left": 3})
    with pytest.raises(MskdexError, match=r"phantom says that id \d is \w+, but the file's own names say"):
        read(path, "phantom")


def test_masks_of_all_kinds_are_hashed_in_the_same_order(tmp_path):
    hashes = []
    for name in ("a", "b"):
        for structure, i in IDS.items() if name == "a" else reversed(IDS.items()):
            mask(tmp_path / name, f"{structure}.nii.gz", i)
        hashes.append(read(tmp_path / name).facts["sha256"])
    assert hashes[0] == hashes[1]
