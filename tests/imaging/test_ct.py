import hospital as make
import numpy as np
import pytest
import SimpleITK as sitk
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from pydicom.uid import ExplicitVRBigEndian, ImplicitVRLittleEndian, RLELossless

from mskdex.errors import MskdexError
from mskdex.imaging.ct import read_ct
from mskdex.io.volume import Volume, volume_from_sitk, volume_to_sitk
from mskdex.io.volume_grid import grid_difference, obliquity_deg, orientation, resample_isotropic, to_ras
from mskdex.quantities import HU_MAX, HU_MIN

ORIENTATIONS = ("RAS", "LPS", "PIR", "SRA", "ILP", "ARI")
CT = make.settings().ct


def same(found: Volume, expected: Volume) -> None:
    np.testing.assert_array_equal(found.array, expected.array)
    np.testing.assert_allclose(found.world_from_voxel, expected.world_from_voxel, atol=1e-4)


def reordered(volume: Volume, order: str) -> Volume:
    return volume_from_sitk(sitk.DICOMOrient(volume_to_sitk(volume), order))


def turned(volume: Volume, degrees: float) -> Volume:
    a = np.radians(degrees)
    rotation = np.eye(4)
    rotation[:3, :3] = [[np.cos(a), -np.sin(a), 0], [np.sin(a), np.cos(a), 0], [0, 0, 1]]
    return Volume(volume.array, rotation @ volume.world_from_voxel)


@pytest.mark.parametrize("suffix", ["nii", "nii.gz", "nrrd", "nhdr", "mha", "mhd"])
@pytest.mark.parametrize("order", ORIENTATIONS)
def test_every_file_format_and_orientation_gives_the_same_ras_voxels(tmp_path, suffix, order):
    ct, _ = make.phantom()
    found = read_ct(make.write(tmp_path / f"ct.{suffix}", ct, order), CT)
    assert found.facts["orientation"] == order
    same(found.volume, ct)


@pytest.mark.parametrize("order", ORIENTATIONS)
def test_dicom_series_of_every_orientation_gives_the_same_ras_voxels(tmp_path, order):
    ct, _ = make.phantom()
    same(read_ct(make.save_all(make.slice_datasets(reordered(ct, order)), tmp_path / "a" / "b"), CT).volume, ct)


@pytest.mark.parametrize("write", ["nifti", "dicom"])
def test_oblique_volume_keeps_its_voxels_and_direction(tmp_path, write):
    ct = turned(make.phantom()[0], 12.0)
    path = make.write(tmp_path / "ct.nii", ct, "RAS") if write == "nifti" else None
    found = read_ct(path or make.save_all(make.slice_datasets(ct), tmp_path / "s"), CT)
    assert found.facts["obliquity_deg"] == pytest.approx(12.0, abs=0.01)
    same(found.volume, ct)


@hypothesis_settings(max_examples=60, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(
    permutation=st.permutations(range(3)),
    flips=st.tuples(*[st.booleans()] * 3),
    tilt=st.tuples(*[st.floats(-0.3, 0.3)] * 3),
    spacing=st.tuples(*[st.floats(0.3, 5.0)] * 3),
    shape=st.tuples(*[st.integers(2, 5)] * 3),
)
def test_to_ras_moves_no_voxel_in_the_world(permutation, flips, tilt, spacing, shape):
    array = np.arange(np.prod(shape)).reshape(shape)
    rotation = np.array(sitk.Euler3DTransform((0, 0, 0), *tilt).GetMatrix()).reshape(3, 3)
    affine = np.eye(4)
    affine[:3, :3] = (rotation[:, permutation] * np.where(flips, -1.0, 1.0)) * spacing
    affine[:3, 3] = (11.0, -7.0, 3.0)
    volume = Volume(array, affine)
    ras = to_ras(volume)

    def world(v: Volume) -> np.ndarray:
        k, j, i = np.indices(v.array.shape).reshape(3, -1)
        points = (v.world_from_voxel @ np.stack([i, j, k, np.ones_like(i)]))[:3].T
        return points[np.argsort(v.array.ravel())]

    np.testing.assert_allclose(world(ras), world(volume), atol=1e-9)
    assert orientation(ras.world_from_voxel) == "RAS"
    assert ras.voxel_volume_cm3 == pytest.approx(volume.voxel_volume_cm3)
    assert obliquity_deg(ras.world_from_voxel) == pytest.approx(obliquity_deg(affine), abs=1e-6)


@pytest.mark.parametrize("syntax", [ImplicitVRLittleEndian, ExplicitVRBigEndian, RLELossless])
def test_transfer_syntaxes_give_the_same_voxels(tmp_path, syntax):
    ct, _ = make.phantom()
    datasets = make.slice_datasets(ct)
    folder = tmp_path / "s"
    folder.mkdir()
    for i, dataset in enumerate(datasets):
        if syntax == RLELossless:
            dataset.compress(RLELossless, generate_instance_uid=False)
        elif syntax == ExplicitVRBigEndian:
            dataset.PixelData = np.frombuffer(dataset.PixelData, "<i2").astype(">i2").tobytes()
        dataset.file_meta.TransferSyntaxUID = syntax
        dataset["PixelData"].VR = "OW"
        little = syntax != ExplicitVRBigEndian
        if syntax == RLELossless:
            dataset.save_as(folder / f"{i}.dcm")
        else:
            dataset.save_as(folder / f"{i}.dcm", implicit_vr=syntax == ImplicitVRLittleEndian, little_endian=little)
    same(read_ct(folder, CT).volume, ct)


def test_big_endian_nifti_gives_the_same_voxels(tmp_path):
    import nibabel

    ct, _ = make.phantom()
    data = ct.array.transpose(2, 1, 0).astype(">i2")
    header = nibabel.Nifti1Header(endianness=">")
    header.set_data_dtype(">i2")
    image = nibabel.Nifti1Image(data, ct.world_from_voxel, header)
    image.set_sform(ct.world_from_voxel, 1)
    nibabel.save(image, tmp_path / "ct.nii")
    same(read_ct(tmp_path / "ct.nii", CT).volume, ct)


def test_slope_intercept_differ_by_slice(tmp_path):
    ct, _ = make.phantom()
    even = make.slice_datasets(Volume(ct.array, ct.world_from_voxel), intercept=-1024.0)
    odd = make.slice_datasets(Volume(ct.array, ct.world_from_voxel), intercept=-1000.0, slope=0.5)
    for dataset in odd:
        dataset.SeriesInstanceUID = even[0].SeriesInstanceUID
    datasets = [(even, odd)[k % 2][k] for k in range(len(even))]
    same(read_ct(make.save_all(datasets, tmp_path / "s"), CT).volume, ct)


def test_padding_becomes_the_lowest_hu(tmp_path):
    ct, _ = make.phantom()
    datasets = make.slice_datasets(ct, PixelPaddingValue=-2000)
    for dataset in datasets:
        pixels = dataset.pixel_array.copy()
        pixels[:3] = -2000
        dataset.PixelData = pixels.tobytes()
    found = read_ct(make.save_all(datasets, tmp_path / "s"), CT).volume
    assert (found.array[:, :3] == HU_MIN).all()
    np.testing.assert_array_equal(found.array[:, 3:], ct.array[:, 3:])


def test_values_beyond_the_range_are_clipped_and_counted(tmp_path):
    ct, _ = make.phantom()
    array = ct.array.copy()
    array[0, 0, :4] = -3024
    array[5, 15, 20] = 9000
    found = read_ct(make.write(tmp_path / "ct.nrrd", Volume(array, ct.world_from_voxel)), CT)
    assert (found.volume.array.min(), found.volume.array.max()) == (HU_MIN, HU_MAX)
    assert found.facts["voxels_clipped_below"] == 4
    assert found.facts["voxels_clipped_above"] == 1
    assert found.facts["hu_range_read"] == [-3024.0, 9000.0]


def test_named_series_is_taken_among_several(tmp_path):
    ct, _ = make.phantom()
    other = Volume(np.where(ct.array > 200, ct.array + 7, ct.array), ct.world_from_voxel)
    one, two = make.slice_datasets(ct), make.slice_datasets(other)
    make.save_all(one, tmp_path / "s" / "one")
    make.save_all(two, tmp_path / "s" / "two")
    with pytest.raises(MskdexError, match=r"2 CT series.*20 slices.*ct_series") as error:
        read_ct(tmp_path / "s", CT)
    assert one[0].SeriesInstanceUID in str(error.value)
    same(read_ct(tmp_path / "s", CT, two[0].SeriesInstanceUID).volume, other)


def test_scouts_and_other_modalities_are_passed_over(tmp_path):
    ct, _ = make.phantom()
    make.save_all(make.slice_datasets(ct), tmp_path / "s")
    scout = make.slice_datasets(
        Volume(ct.array[:2], ct.world_from_voxel), ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"]
    )
    make.save_all(scout, tmp_path / "s" / "scout")
    make.save(make.radiograph(), tmp_path / "s" / "xray.dcm")
    (tmp_path / "s" / "DICOMDIR").write_bytes(b"x")
    (tmp_path / "s" / "readme.txt").write_text("notes", encoding="utf-8")
    same(read_ct(tmp_path / "s", CT).volume, ct)


def test_uneven_slices_are_resampled_when_allowed(tmp_path):
    ct, _ = make.phantom()
    ramp = Volume(
        np.clip(ct.array // 10 * 0 + np.arange(20, dtype=np.int16)[:, None, None] * 10, 0, 200), ct.world_from_voxel
    )
    ramp.array[:, 0, 0] = -1000
    datasets = make.slice_datasets(ramp)
    heights = np.cumsum(np.where(np.arange(20) % 2, 2.2, 1.8)) + 100.0
    for k, dataset in enumerate(datasets):
        dataset.ImagePositionPatient = [*dataset.ImagePositionPatient[:2], float(heights[k])]
        dataset.PixelData = np.full((30, 40), round(float(heights[k] - heights[0]) * 5) + 1024, np.int16).tobytes()
    datasets[0].PixelData = np.full((30, 40), -1000 + 1024, np.int16).tobytes()
    folder = make.save_all(datasets, tmp_path / "s")
    with pytest.raises(MskdexError, match=r"vary from 1\.8 to 2\.2 mm.*resample_uneven_slices"):
        read_ct(folder, CT)
    found = read_ct(folder, CT.model_copy(update={"resample_uneven_slices": True}))
    step = found.volume.spacing_mm[2]
    expected = 5 * step * np.arange(2, len(found.volume.array))
    np.testing.assert_allclose(found.volume.array[2:, 5, 5], expected, atol=1.0)
    assert found.facts["slices_resampled_to_mm"] == pytest.approx(step)


def test_isotropic_resampling_keeps_extent_volume_and_place():
    ct, labels = make.phantom((40, 60, 80), (1.0, 1.25, 1.5))
    coarse = resample_isotropic(labels, 2.0, nearest=True, outside=0)
    assert coarse.spacing_mm == pytest.approx((2.0, 2.0, 2.0))
    for label in (1, 5):
        fine_voxels, coarse_voxels = (labels.array == label).sum(), (coarse.array == label).sum()
        assert coarse_voxels * 8 == pytest.approx(fine_voxels * 1.875, rel=0.08)
        centres = []
        for volume in (labels, coarse):
            k, j, i = np.nonzero(volume.array == label)
            centres.append((volume.world_from_voxel @ [i.mean(), j.mean(), k.mean(), 1])[:3])
        np.testing.assert_allclose(
            centres[0], centres[1], atol=0.6
        )  # half a voxel where a new centre lies between two old ones
    assert resample_isotropic(ct, 3.0, nearest=False, outside=-1024).array.dtype == np.int16


def test_grid_difference_names_what_differs():
    ct, _ = make.phantom()
    shifted = ct.world_from_voxel.copy()
    shifted[:3, 3] += [0, 7.5, 0]
    assert grid_difference(Volume(ct.array, shifted), ct) == "shifted by (0, 7.5, 0) mm to the right, front and top"
    assert "voxels of" in grid_difference(Volume(ct.array, ct.world_from_voxel @ np.diag([2, 1, 1, 1])), ct)
    assert "turned" in grid_difference(turned(ct, 3.0), ct)
    assert grid_difference(Volume(ct.array[1:], ct.world_from_voxel), ct) == "40 x 30 x 19 voxels against 40 x 30 x 20"
    assert grid_difference(ct, ct) is None


def test_enhanced_multiframe_ct_gives_the_same_ras_voxels(tmp_path):
    ct, _ = make.phantom()
    path = make.save(make.enhanced_ct(reordered(ct, "LPS")), tmp_path / "enhanced.dcm")
    same(read_ct(path, CT).volume, ct)
    same(read_ct(tmp_path, CT).volume, ct)


@pytest.mark.parametrize("axes", [(0, 1, 2), (2, 0, 1), (1, 0, 2)])
@pytest.mark.parametrize("signs", [(1, 1, 1), (-1, 1, -1)])
def test_resampling_keeps_a_ramp_where_it_is(axes, signs):
    """HU that rise linearly along RAS axes do so at the same places afterwards, however the voxels were stored."""
    affine = np.eye(4)
    affine[:3, :3] = (np.diag([0.8, 1.1, 1.5]) * np.array(signs))[:, axes]
    affine[:3, 3] = [12.0, -30.0, 5.0]

    def ramp(shape, world_from_voxel):
        index = np.stack([*np.indices(shape)[::-1], np.ones(shape)], axis=-1)
        return index @ world_from_voxel.T @ np.array([9.0, -7.0, 5.0, 100.0])

    stored = to_ras(Volume(np.rint(ramp((30, 31, 32), affine)).astype(np.int16), affine))
    found = resample_isotropic(stored, 1.3, nearest=False, outside=-1024)
    inner = (slice(1, -1),) * 3
    wanted = ramp(found.array.shape, found.world_from_voxel)
    assert np.abs(found.array - wanted)[inner].max() < 1.1
    assert abs((found.array - wanted)[inner].mean()) < 0.06


def test_a_single_slice_is_resampled_within_itself():
    """A volume one voxel thick has no next slice to interpolate with: its own values come out."""
    ct = Volume(np.tile(np.arange(0, 90, 10, dtype=np.int16), (1, 4, 1)), np.diag([2.0, 2.0, 2.0, 1.0]))
    found = resample_isotropic(ct, 1.0, nearest=False, outside=-1024).array
    assert found.shape == (2, 8, 18)
    assert (found == found[0, 0]).all()
    np.testing.assert_array_equal(found[0, 0, :5], [0, 3, 8, 13, 18])
