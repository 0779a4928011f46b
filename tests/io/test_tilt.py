"""CTs whose gantry was tilted: an analytic phantom of known volumes, sheared, comes back upright."""

import hospital as make
import nibabel
import numpy as np
import pytest

from mskdex.errors import MskdexError
from mskdex.imaging.ct import read_ct
from mskdex.io.tilt import at_right_angles, require_orthogonal, skew, straight_grid, straighten
from mskdex.io.volume import Volume
from mskdex.pipeline.stages.importing import import_patient, read_patient_volumes
from mskdex.quantities import HU_MIN

CT = make.settings().ct
TILTED = CT.model_copy(update={"resample_tilted": True})
SPACING = np.array([1.25, 1.25, 1.5])
BALLS = {1: (-14.0, 4.0, 130.0), 2: (14.0, 4.0, 130.0), 3: (-14.0, -6.0, 154.0), 4: (14.0, -6.0, 154.0)}
RADIUS = 9.0


def sheared(degrees: float, shape=(60, 68, 58)) -> tuple[Volume, Volume]:
    """A body of 40 HU with four balls of bone, sampled on the grid of a gantry tilted about the left-right axis.

    HU rise by 1 a millimetre towards the head, so that a misplaced voxel shows.
    """
    affine = np.diag([*SPACING, 1.0])
    affine[1, 2] = SPACING[2] * np.tan(np.radians(degrees))
    affine[:3, 3] = -SPACING[0] * (shape[2] - 1) / 2, -40.0 - affine[1, 2] * (shape[0] - 1) / 2, 100.0
    k, j, i = np.indices(shape)
    x, y, z = np.einsum("ab,bkji->akji", affine, np.stack([i, j, k, np.ones_like(i)]))[:3]
    hu = np.where((x / 32) ** 2 + (y / 30) ** 2 < 1, np.rint(z - 140), -1000).astype(np.int16)
    ids = np.zeros(shape, np.uint8)
    for label, (cx, cy, cz) in BALLS.items():
        inside = (x - cx) ** 2 + (y - cy) ** 2 + (z - cz) ** 2 < RADIUS**2
        ids[inside], hu[inside] = label, 400
    return Volume(hu, affine), Volume(ids, affine)


def series(ct: Volume, folder):
    """The volume as slices whose planes stay upright and whose positions run along the shear."""
    upright = ct.world_from_voxel.copy()
    upright[1, 2] = 0.0
    datasets = make.slice_datasets(Volume(ct.array, upright))
    for k, dataset in enumerate(datasets):
        x, y, z = (np.diag([-1.0, -1.0, 1.0, 1.0]) @ ct.world_from_voxel @ [0, 0, k, 1])[:3]
        dataset.ImagePositionPatient = [float(x), float(y), float(z)]
        dataset.GantryDetectorTilt = 15.0
    return make.save_all(datasets, folder)


def sform(path, volume: Volume):
    image = nibabel.Nifti1Image(np.ascontiguousarray(volume.array.transpose(2, 1, 0)), volume.world_from_voxel)
    image.set_sform(volume.world_from_voxel, 1)
    image.set_qform(volume.world_from_voxel, 0)
    nibabel.save(image, path)
    return path


def voxels_at(volume: Volume, points: np.ndarray) -> np.ndarray:
    index = np.linalg.solve(volume.world_from_voxel, np.c_[points, np.ones(len(points))].T)[:3].round().astype(int)
    return volume.array[index[2], index[1], index[0]]


@pytest.mark.parametrize("degrees", [15.0, -22.0])
@pytest.mark.parametrize("form", ["dicom", "nii.gz", "nrrd", "mha"])
def test_a_tilted_ct_comes_back_upright(tmp_path, degrees, form):
    ct, _ = sheared(degrees)
    if form == "dicom":
        path = series(ct, tmp_path / "s")
    else:
        path = sform(tmp_path / "ct.nii.gz", ct) if form == "nii.gz" else make.write(tmp_path / f"ct.{form}", ct)
    with pytest.raises(
        MskdexError, match=rf"(tilted|displaced.*) by {abs(degrees)} degrees.*ct\.resample_tilted: true"
    ):
        read_ct(path, CT)
    found = read_ct(path, TILTED)
    assert found.facts["tilt_resampled_deg"] == pytest.approx(abs(degrees), abs=0.01)
    assert any("gantry was tilted" in w for w in found.warnings)
    assert skew(found.volume.world_from_voxel) < 1e-6
    assert found.volume.spacing_mm == pytest.approx(tuple(SPACING), abs=1e-4)
    points = np.array([[x, y, z] for x in (-8.0, 0.0, 8.0) for y in (-4.0, 4.0) for z in (112.0, 142.0, 175.0)])
    balls = np.array(list(BALLS.values()))
    points = points[[bool((np.hypot(*(p - balls)[:, [0, 2]].T) > RADIUS + 4).all()) for p in points]]
    assert len(points) > 5
    np.testing.assert_allclose(voxels_at(found.volume, points), points[:, 2] - 140, atol=2.0)
    assert (voxels_at(found.volume, balls) == 400).all()


@pytest.mark.parametrize("form", ["dicom", "nifti"])
def test_volumes_and_places_of_labels_on_a_tilted_grid_are_kept(tmp_path, form):
    ct, labels = sheared(15.0)
    row = {
        "patient_id": "P01",
        "label_source": "phantom",
        "labels": str(sform(tmp_path / "l.nii.gz", labels)),
        "ct": str(series(ct, tmp_path / "s") if form == "dicom" else sform(tmp_path / "ct.nii.gz", ct)),
    }
    found = read_patient_volumes(row, make.settings(ct={"resample_tilted": True}))
    assert found.labels.array.shape == found.ct.array.shape
    names = {1: "pelvis_left", 2: "pelvis_right", 3: "femur_left", 4: "femur_right"}
    kept = {c.name: c.label for c in make.settings().channels}
    for label, centre in BALLS.items():
        inside = found.labels.array == kept[names[label]]
        volume = inside.sum() * found.labels.voxel_volume_cm3
        exact = 4 / 3 * np.pi * RADIUS**3 / 1000
        assert volume == pytest.approx((labels.array == label).sum() * labels.voxel_volume_cm3, rel=1e-6)
        assert volume == pytest.approx(exact, rel=0.03)
        k, j, i = np.nonzero(inside)
        middle = (found.labels.world_from_voxel @ [i.mean(), j.mean(), k.mean(), 1])[:3]
        np.testing.assert_allclose(middle, centre, atol=0.7)
    assert any("labels" in w or "l.nii.gz" in w for w in found.warnings if "tilted" in w)


def test_no_voxel_outside_the_scan_is_invented():
    ct, _ = sheared(15.0)
    ct.array[:] = 50
    upright = straighten(ct, nearest=False, outside=HU_MIN)
    values, counts = np.unique(upright.array, return_counts=True)
    assert values.tolist() == [HU_MIN, 50]
    assert counts[1] == pytest.approx(ct.array.size, rel=1e-6)
    affine, shape = straight_grid(ct.world_from_voxel, ct.array.shape)
    corners = np.array([[i, j, k, 1] for i in (0, 57) for j in (0, 67) for k in (0, 59)])
    index = np.linalg.solve(affine, ct.world_from_voxel @ corners.T)[:3].T
    assert (index > -1e-6).all()
    assert (index < np.array(shape[::-1]) - 1 + 1e-6).all()


@pytest.mark.parametrize(("off", "says"), [(2e-6, None), (2e-4, "nearest rotation"), (9e-4, "nearest rotation")])
def test_rounded_axes_are_turned_to_the_nearest_rotation_and_said(tmp_path, off, says):
    ct, _ = make.phantom()
    affine = ct.world_from_voxel.copy()
    affine[0, 1] += off * 2.5
    for path in (
        sform(tmp_path / "ct.nii.gz", Volume(ct.array, affine)),
        make.write(tmp_path / "ct.nrrd", Volume(ct.array, affine)),
    ):
        found = read_ct(path, CT)
        np.testing.assert_array_equal(found.volume.array, ct.array)
        assert [says in w for w in found.warnings] == ([True] if says else [])
        if says:
            assert skew(found.volume.world_from_voxel) < 1e-12
            middle = np.array([19.5, 14.5, 9.5, 1.0])
            np.testing.assert_allclose(found.volume.world_from_voxel @ middle, affine @ middle, atol=1e-4)


@pytest.mark.parametrize("off", [1.5e-3, 8e-3])
def test_axes_beyond_rounding_are_refused_with_the_number_and_without_a_gantry(tmp_path, off):
    ct, _ = make.phantom()
    affine = ct.world_from_voxel.copy()
    affine[0, 1] += off * 2.5
    with pytest.raises(MskdexError, match=rf"cosine is {off:.2g} .*up to 0\.001") as error:
        read_ct(sform(tmp_path / "ct.nii.gz", Volume(ct.array, affine)), CT)
    assert "gantry" not in str(error.value)


def test_a_plane_that_is_skew_is_no_tilt_even_where_tilts_are_resampled(tmp_path):
    ct, _ = make.phantom()
    affine = ct.world_from_voxel.copy()
    affine[0, 1], affine[1, 2], affine[0, 2] = 0.5, 0.5, 0.7
    with pytest.raises(MskdexError, match="axes are not at right angles") as error:
        read_ct(sform(tmp_path / "ct.nii.gz", Volume(ct.array, affine)), TILTED)
    assert "gantry" not in str(error.value)


def test_rounded_orientation_of_dicom_is_said(tmp_path):
    ct, _ = make.phantom()
    datasets = make.slice_datasets(ct, ImageOrientationPatient=[1, 0.0004, 0, 0, 1, 0])
    found = read_ct(make.save_all(datasets, tmp_path / "s"), CT)
    assert "ImageOrientationPatient is rounded (4.0e-04" in found.warnings[0]
    assert skew(found.volume.world_from_voxel) < 1e-9
    datasets = make.slice_datasets(ct, ImageOrientationPatient=[1, 0.004, 0, 0, 1, 0])
    with pytest.raises(MskdexError, match=r"their product is -?0\.004, up to 0\.001 is rounding"):
        read_ct(make.save_all(datasets, tmp_path / "t"), CT)


def test_slices_that_lie_on_no_line_are_refused(tmp_path):
    ct, _ = sheared(15.0)
    folder = series(ct, tmp_path / "s")
    import pydicom

    path = sorted(folder.iterdir())[7]
    dataset = pydicom.dcmread(path)
    dataset.ImagePositionPatient[1] = float(dataset.ImagePositionPatient[1]) + 9
    dataset.save_as(path)
    with pytest.raises(MskdexError, match=r"do not lie on one line \(slice \d+ is 9 mm off it\)"):
        read_ct(folder, TILTED)


def test_a_tilted_patient_goes_through_the_import(tmp_path):
    ct, labels = sheared(15.0)
    row = make.patient(tmp_path / "in") | {"ct": str(series(ct, tmp_path / "in" / "s"))}
    row["labels"] = str(sform(tmp_path / "in" / "l.nii.gz", labels))
    import_patient(row, make.settings(ct={"resample_tilted": True}), tmp_path / "out")
    with pytest.raises(MskdexError, match="gantry was tilted"):
        import_patient(row, make.settings(), tmp_path / "none")


def test_the_grid_of_upright_volumes_is_left_alone():
    ct, _ = make.phantom()
    affine, told = require_orthogonal(ct.world_from_voxel, ct.array.shape, "x")
    assert affine is ct.world_from_voxel
    assert told == []
    np.testing.assert_allclose(at_right_angles(ct.world_from_voxel, ct.array.shape), ct.world_from_voxel, atol=1e-9)
