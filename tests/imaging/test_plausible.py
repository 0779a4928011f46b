"""What no patient and no scanner makes: mirrored patients, voxels out of order, slices that step, air that is none."""

import gzip
import json
import re
from pathlib import Path

import hospital as make
import numpy as np
import pytest
import SimpleITK as sitk
from label_cases import SETTINGS

from mskdex.config.imaging import CtSettings
from mskdex.errors import MskdexError
from mskdex.imaging.ct import read_ct
from mskdex.imaging.radiograph_source import read_source
from mskdex.io.files import quote, reading
from mskdex.io.volume import Volume
from mskdex.pipeline.stages.importing import import_patient

CT, LABELS = make.phantom()
NO_LIMITS = CtSettings.model_validate(make.SMALL_STRUCTURES)


def imported(row, tmp_path, **changes) -> dict:
    import_patient(row, make.settings(**changes), tmp_path / "out")
    return json.loads((tmp_path / "out" / "import.json").read_text(encoding="utf-8"))


def with_hu(folder: Path, hu: np.ndarray, ids: np.ndarray = LABELS.array) -> dict:
    row = make.patient(folder)
    make.write(folder / "ct.nii.gz", Volume(np.ascontiguousarray(hu), CT.world_from_voxel))
    make.write(folder / "labels.nii.gz", Volume(np.ascontiguousarray(ids), CT.world_from_voxel))
    return row


@pytest.mark.parametrize(("axis", "told"), [(0, "femur_left lies above pelvis_left"), (1, "sacrum lies in front of")])
def test_ct_and_labels_that_are_both_flipped_are_said(tmp_path, axis, told):
    row = with_hu(tmp_path / "in", np.flip(CT.array, axis), np.flip(LABELS.array, axis))
    assert any(told in w and "as in no patient" in w for w in imported(row, tmp_path)["warnings"])


def test_a_sacrum_that_does_not_lie_between_the_hip_bones_is_said(tmp_path):
    ids = LABELS.array.copy()
    ids[LABELS.array == 3], ids[LABELS.array == 5] = 5, 3
    told = imported(with_hu(tmp_path / "in", CT.array, ids), tmp_path)["warnings"]
    assert any("sacrum does not lie between the hip bones, as in no patient" in w for w in told)


@pytest.mark.parametrize("shape", [(20, 40, 30), (30, 20, 40), (40, 30, 20)])
def test_sizes_in_another_order_are_refused(tmp_path, shape):
    path = make.write(tmp_path / "ct.nii.gz", Volume(CT.array.reshape(shape), CT.world_from_voxel))
    with pytest.raises(MskdexError, match="have nothing to do with the ones beside them, so the sizes of its header"):
        read_ct(path, NO_LIMITS)


def test_rows_and_columns_that_are_swapped_are_refused(tmp_path):
    dataset = make.radiograph()
    dataset.Rows, dataset.Columns = dataset.Columns, dataset.Rows
    with pytest.raises(MskdexError, match="so the numbers of rows and columns are wrong"):
        read_source(make.save(dataset, tmp_path / "x.dcm"), 100)


def test_noise_and_thick_slices_are_in_order(tmp_path):
    noise = np.random.default_rng(1).normal(0, 40, CT.array.shape)
    thick = np.repeat(CT.array[::4], 1, axis=0) + noise[::4]
    affine = CT.world_from_voxel @ np.diag([1.0, 1.0, 3.0, 1.0])
    path = make.write(tmp_path / "ct.nii.gz", Volume(thick.astype(np.int16), affine))
    assert read_ct(path, NO_LIMITS).warnings == []


@pytest.mark.parametrize("odd", ["turns", "parts"])
def test_two_kinds_of_scaling_between_which_the_hu_step_are_refused(tmp_path, odd):
    datasets = make.slice_datasets(CT)
    for dataset in datasets[::2] if odd == "turns" else datasets[:9]:
        dataset.RescaleIntercept = -1000 if odd == "turns" else 0
    with pytest.raises(
        MskdexError, match=r"RescaleIntercept -1024 and (-1000|0), and their HU differ by (2\d|10\d\d) "
    ):
        read_ct(make.save_all(datasets, tmp_path / "s"), NO_LIMITS)


def test_two_kinds_of_scaling_that_fit_each_other_are_read(tmp_path):
    datasets = make.slice_datasets(CT)
    other = make.slice_datasets(CT, intercept=-1000.0)
    for dataset, that in list(zip(datasets, other, strict=True))[:9]:
        dataset.RescaleIntercept, dataset.PixelData = that.RescaleIntercept, that.PixelData
    found = read_ct(make.save_all(datasets, tmp_path / "s"), NO_LIMITS)
    np.testing.assert_array_equal(found.volume.array, CT.array)


def test_a_slice_with_padding_of_its_own_is_said(tmp_path):
    datasets = make.slice_datasets(CT)
    datasets[7].add_new("PixelPaddingValue", "SS", 24)
    found = read_ct(make.save_all(datasets, tmp_path / "s"), NO_LIMITS)
    assert any("1 slices" in w and "another PixelPaddingValue than the rest" in w for w in found.warnings)


def test_blank_and_repeated_slices_are_said(tmp_path):
    blank, twice = CT.array.copy(), CT.array.copy()
    blank[10], twice[10] = 0, twice[9]
    for hu, told in (
        (blank, "hold one value throughout"),
        (twice, "are exact copies of the one below"),
    ):
        path = make.write(tmp_path / "ct.nii.gz", Volume(hu, CT.world_from_voxel))
        assert any(f"slices 11 of 20 (from below) {told}" in w for w in read_ct(path, NO_LIMITS).warnings)


def test_air_and_muscle_of_a_wrong_scale_are_said(tmp_path):
    noise = np.random.default_rng(0).normal(0, 15, CT.array.shape)
    light = np.where(CT.array < -900, CT.array + 400 + noise, CT.array).astype(np.int16)
    told = imported(with_hu(tmp_path / "a", light), tmp_path)["warnings"]
    assert any("lie between -850 and -250 HU" in w for w in told)
    told = imported(with_hu(tmp_path / "b", CT.array * 2), tmp_path)["warnings"]
    assert any("(down to -2000) and none is air" in w for w in told)
    assert any("the median of gluteus_maximus_left, gluteus_maximus_right is above 100 HU" in w for w in told)


def test_the_import_says_which_id_is_which_object(tmp_path):
    facts = imported(make.patient(tmp_path / "in"), tmp_path)
    ids = facts["labels"]["ids"]
    assert ids == {c.name: c.label for c in SETTINGS.channels}
    voxels = np.asarray(gzip.decompress((tmp_path / "out" / "labels.nii.gz").read_bytes())[352:], dtype="S")
    written = np.frombuffer(voxels.tobytes(), np.uint8)
    for name, structure in facts["structures"].items():
        assert np.count_nonzero(written == ids[name]) == structure["voxels"]


def test_too_little_memory_is_no_damage(tmp_path, monkeypatch):
    path = tmp_path / "ct.nii.gz"
    with pytest.raises(MskdexError, match="does not fit into the memory") as error, reading(path):
        raise MemoryError
    assert "damaged" not in str(error.value)
    row = make.patient(tmp_path / "in")
    for name in ("mskdex.imaging.ct.to_ras", "mskdex.io.dicom_pixels.pixel_array", "mskdex.imaging.label_map.to_ras"):
        with monkeypatch.context() as patched:
            patched.setattr(name, _no_memory)
            with pytest.raises(MskdexError, match=r"^patient P01: .*memory") as error:
                imported(row, tmp_path)
        assert "damaged" not in str(error.value)


def _no_memory(*_args, **_kwargs):
    raise MemoryError


def test_frames_that_are_deflated_one_by_one_are_refused_by_name(tmp_path):
    folder = make.save_all(make.slice_datasets(CT), tmp_path / "s")
    path = sorted(folder.iterdir())[3]
    syntax, deflated = b"1.2.840.10008.1.2.1\0", b"1.2.840.10008.1.2.8.1\0"
    content = path.read_bytes()
    at = content.index(b"\x02\0\x10\0UI")
    assert content[at + 8 : at + 28] == syntax
    longer = content[: at + 6] + len(deflated).to_bytes(2, "little") + deflated + content[at + 28 :]
    path.write_bytes(
        longer[:140] + (int.from_bytes(longer[140:144], "little") + 2).to_bytes(4, "little") + longer[144:]
    )
    with pytest.raises(MskdexError, match=r"its frames are deflated one by one \(1.2.840.10008.1.2.8.1\)"):
        read_ct(folder, NO_LIMITS)


def test_a_spacing_that_is_no_number_is_not_called_absent(tmp_path):
    datasets = make.slice_datasets(CT)
    for dataset in datasets:
        dataset.add_new("PixelSpacing", "LO", ["2,5", "2,0"])
    with pytest.raises(MskdexError, match="its PixelSpacing is no list of numbers"):
        read_ct(make.save_all(datasets, tmp_path / "s"), NO_LIMITS)


def test_long_values_are_cut_in_messages(tmp_path):
    assert len(quote("x" * 5000, 2000)) < 100
    row = make.patient(tmp_path / "in") | {"label_source": "x" * 5000}
    with pytest.raises(MskdexError, match=r"add it to config\.yaml") as error:
        imported(row, tmp_path)
    assert len(str(error.value)) < 500


def test_where_in_itk_s_source_an_error_arose_is_left_out(tmp_path):
    (tmp_path / "ct.nrrd").write_bytes(b"NRRD0004\ntype: nothing\n\n")
    with pytest.raises(RuntimeError, match=r"Exception thrown in SimpleITK[^\0]*\(0x") as error:
        sitk.ReadImage(str(tmp_path / "ct.nrrd"))
    assert "Exception thrown" not in quote(error.value)
    assert "0x" not in quote(error.value)
    assert "nrrd" in quote(error.value).lower()


@pytest.mark.parametrize(("shift", "told"), [(24, "air lies at -976 HU .* wrong by 24"), (-40, "below -1024 .* -1040")])
def test_an_intercept_that_moves_air_is_said(tmp_path, shift, told):
    noise = np.random.default_rng(0).normal(0, 3, CT.array.shape) if shift > 0 else 0
    row = with_hu(tmp_path / "in", np.rint(CT.array + shift + noise).astype(np.int16))
    assert any(re.search(told, w) for w in imported(row, tmp_path)["warnings"])


def test_a_volume_filled_with_water_is_said(tmp_path):
    filled = CT.array.copy()
    filled[:, :2] = filled[:, :, :2] = 0
    told = imported(with_hu(tmp_path / "in", filled), tmp_path)["warnings"]
    assert any("in its faces are exactly 0 HU" in w for w in told)


def test_soft_tissue_in_the_faces_is_no_fill(tmp_path):
    noise = np.random.default_rng(0).normal(0, 10, CT.array.shape)
    tissue = np.where(CT.array > -100, np.rint(CT.array - 40 + noise), CT.array).astype(np.int16)
    path = make.write(tmp_path / "ct.nii.gz", Volume(tissue, CT.world_from_voxel))
    assert read_ct(path, NO_LIMITS).warnings == []


def test_padding_that_tissue_has_too_is_said(tmp_path):
    datasets = make.slice_datasets(CT, PixelPaddingValue=1074)
    found = read_ct(make.save_all(datasets, tmp_path / "s"), NO_LIMITS)
    assert any("PixelPaddingValue 1074 stands for 50 HU, which tissue has too" in w for w in found.warnings)


def test_slices_that_all_lie_at_one_position_are_no_two_scans(tmp_path):
    datasets = make.slice_datasets(CT)
    for dataset in datasets:
        dataset.ImagePositionPatient = [*dataset.ImagePositionPatient[:2], 0]
    with pytest.raises(MskdexError, match=r"all its 20 slices lie at one position, 0 mm .* was overwritten"):
        read_ct(make.save_all(datasets, tmp_path / "s"), NO_LIMITS)


def test_pixels_in_floating_point_are_called_that(tmp_path):
    datasets = make.slice_datasets(CT)
    for dataset in datasets:
        values = np.frombuffer(dataset.PixelData, np.int16).astype(np.float32)
        del dataset.PixelData
        dataset.FloatPixelData, dataset.BitsAllocated = values.tobytes(), 32
    with pytest.raises(MskdexError, match="holds FloatPixelData, no integers"):
        read_ct(make.save_all(datasets, tmp_path / "s"), NO_LIMITS)


def muscle_with_a_core(folder: Path, core_hu: int, *, labelled: bool) -> dict:
    """The left gluteus maximus, grown to a size that has an inside, with a core of another HU along it."""
    z, y, x = np.indices(LABELS.array.shape)
    muscle = (np.hypot((y - 8) / 5, (x - 11) / 5) < 1) & (abs(z - 9.5) < 5) & np.isin(LABELS.array, (0, 6))
    core = muscle & (np.hypot(y - 8, x - 11) < 1.5)
    ids, hu = np.where(muscle, 6, LABELS.array).astype(np.uint8), np.where(muscle, 55, CT.array).astype(np.int16)
    hu[core] = core_hu
    ids[core & (not labelled)] = 0
    return with_hu(folder, hu, ids)


def test_fat_that_was_cut_out_of_muscle_labels_is_said(tmp_path):
    (told,) = imported(muscle_with_a_core(tmp_path / "cut", -90, labelled=False), tmp_path)["warnings"]
    assert re.match(r"the labels have holes where the CT shows fat, .*: gluteus_maximus_left \(15\.1 %\); fat", told)
    whole = muscle_with_a_core(tmp_path / "whole", -90, labelled=True)
    bone = muscle_with_a_core(tmp_path / "bone", 400, labelled=False)
    assert imported(whole, tmp_path)["warnings"] == imported(bone, tmp_path)["warnings"] == []
