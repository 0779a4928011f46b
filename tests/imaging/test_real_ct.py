"""A real CT with TotalSegmentator's labels: every count agrees exactly with one made here from the raw files."""

import hospital as make
import numpy as np
import pandas as pd
import pytest
import SimpleITK as sitk

from mskdex.anatomy import LABEL_SOURCES
from mskdex.config import Config
from mskdex.imaging.ct import read_ct
from mskdex.io.volume import read_volume
from mskdex.pipeline.settings import import_stage
from mskdex.pipeline.stages.importing import import_patient
from mskdex.pipeline.stages.quantities import quantities
from mskdex.quantities import lean_mass_density_g_cm3

OBJECTS = [
    {"name": n, "kind": "muscle"} for n in ("gluteus_maximus", "gluteus_medius", "gluteus_minimus", "iliopsoas")
] + [
    {"name": "pelvis", "kind": "bone", "body": "pelvis", "bone_loss": True},
    {"name": "sacrum", "kind": "bone", "paired": False, "body": "pelvis"},
    {"name": "femur", "kind": "bone", "body": "femur", "bone_loss": True},
]
SOURCE = LABEL_SOURCES["totalsegmentator"]


@pytest.fixture(scope="module")
def raw(shared_data):
    folder = shared_data / "real_ct"
    ct, labels = (sitk.ReadImage(str(folder / n)) for n in ("ct.nii.gz", "totalsegmentator_total.nii.gz"))
    return folder, sitk.GetArrayFromImage(ct).astype(float), sitk.GetArrayFromImage(labels), ct.GetSpacing()


def row(folder, tmp_path, **more):
    return {
        "patient_id": "real",
        "ct": str(folder / "ct.nii.gz"),
        "labels": str(folder / "totalsegmentator_total.nii.gz"),
        "label_source": "totalsegmentator",
        "radiograph": str(make.save(make.radiograph(), tmp_path / "r.dcm")),
        **more,
    }


def import_real(raw, tmp_path, **config):
    settings = Config.model_validate({"objects": OBJECTS, **config})
    import_patient(row(raw[0], tmp_path), import_stage(settings, "totalsegmentator"), tmp_path / "out")
    return settings.channels, tmp_path / "out"


def test_volumes_hu_and_masses_agree_exactly_with_the_raw_files(raw, tmp_path):
    channels, out = import_real(raw, tmp_path)
    quantities(out / "ct.nii.gz", out / "labels.nii.gz", channels, out / "quantities.parquet")
    table = pd.read_parquet(out / "quantities.parquet").set_index("object")
    _, hu, ids, spacing = raw
    clipped = np.clip(np.rint(hu), -1024, 3071)
    voxel = float(np.prod(spacing)) / 1000
    for channel in channels:
        side = {"left": 0, "right": 1, "midline": 0}[channel.side]
        inside = ids == SOURCE[channel.object][side]
        found = table.loc[channel.name]
        assert found["voxels"] == inside.sum() > 0
        assert found["volume_cm3"] == pytest.approx(inside.sum() * voxel, rel=1e-9)
        assert found["mean_hu"] == pytest.approx(clipped[inside].mean(), rel=1e-9)
        assert found["weighted_volume_cm3"] == pytest.approx(
            (1 + clipped[inside] / 1000).clip(0).sum() * voxel, rel=1e-6
        )
        assert found["lean_mass_g"] == pytest.approx(lean_mass_density_g_cm3(clipped[inside]).sum() * voxel, rel=1e-6)


def test_structures_cut_by_the_field_of_view_are_flagged(raw, tmp_path):
    channels, out = import_real(raw, tmp_path)
    quantities(out / "ct.nii.gz", out / "labels.nii.gz", channels, out / "quantities.parquet")
    table = pd.read_parquet(out / "quantities.parquet").set_index("object")
    ids = raw[2]
    for channel in channels:
        side = {"left": 0, "right": 1, "midline": 0}[channel.side]
        inside = ids == SOURCE[channel.object][side]
        faces = [inside[0], inside[-1], inside[:, 0], inside[:, -1], inside[:, :, 0], inside[:, :, -1]]
        assert table.loc[channel.name, "truncated"] == any(f.any() for f in faces)
    assert table.loc[["femur_left", "femur_right", "gluteus_maximus_left"], "truncated"].all()
    assert not table.loc[["sacrum", "gluteus_medius_left", "gluteus_minimus_right"], "truncated"].any()


def test_padding_and_metal_are_clipped_and_counted(raw, tmp_path):
    import json

    _, out = import_real(raw, tmp_path)
    facts = json.loads((out / "import.json").read_text(encoding="utf-8"))["ct"]
    assert facts["hu_range_read"] == [-1207.0, 3382.0]
    assert facts["voxels_clipped_below"] == (raw[1] < -1024).sum()
    assert facts["voxels_clipped_above"] == (raw[1] > 3071).sum()


@pytest.mark.parametrize("window", [(-1024, 1000), (-1024, 300), (-160, 240), (-200, 800)])
def test_a_display_window_is_found_in_a_real_ct(raw, tmp_path, window):
    image = sitk.Clamp(sitk.ReadImage(str(raw[0] / "ct.nii.gz")), sitk.sitkInt16, *window)
    sitk.WriteImage(image, str(tmp_path / "ct.nrrd"))
    warnings = read_ct(tmp_path / "ct.nrrd", make.settings().ct).warnings
    assert [f"exactly {end} HU" in w for end, w in zip(window[::-1], warnings, strict=False)] == [True] * len(warnings)
    assert len(warnings) == (1 if window[0] == -1024 else 2)
    assert read_ct(raw[0] / "ct.nii.gz", make.settings().ct).warnings == []


def test_the_same_ct_as_dicom_in_another_orientation_gives_the_same_result(raw, tmp_path):
    folder = raw[0]
    _, out = import_real(raw, tmp_path)
    from mskdex.io.volume import volume_from_sitk

    image = sitk.Cast(sitk.ReadImage(str(folder / "ct.nii.gz")), sitk.sitkInt16)
    series = make.save_all(make.slice_datasets(volume_from_sitk(sitk.DICOMOrient(image, "LPS"))), tmp_path / "series")
    settings = import_stage(Config.model_validate({"objects": OBJECTS}), "totalsegmentator")
    import_patient(row(folder, tmp_path, ct=str(series)), settings, tmp_path / "dicom")
    for name in ("ct.nii.gz", "labels.nii.gz"):
        one, two = read_volume(out / name), read_volume(tmp_path / "dicom" / name)
        np.testing.assert_array_equal(one.array, two.array)
        np.testing.assert_allclose(one.world_from_voxel, two.world_from_voxel, atol=1e-3)


def test_resampled_volumes_stay_close_and_the_resampling_is_recorded(raw, tmp_path):
    import json

    channels, out = import_real(raw, tmp_path, ct={"spacing_mm": 2.0})
    quantities(out / "ct.nii.gz", out / "labels.nii.gz", channels, out / "quantities.parquet")
    table = pd.read_parquet(out / "quantities.parquet").set_index("object")
    voxel = float(np.prod(raw[3])) / 1000
    for name, value in (("pelvis_left", 77), ("gluteus_medius_right", 83), ("sacrum", 25)):
        assert table.loc[name, "volume_cm3"] == pytest.approx((raw[2] == value).sum() * voxel, rel=0.02)
    assert json.loads((out / "import.json").read_text(encoding="utf-8"))["ct"]["resampled_to_mm"] == 2.0


def test_isocentre_is_the_middle_of_the_bones(raw, tmp_path):
    import json

    _, out = import_real(raw, tmp_path)
    camera = json.loads((out / "camera.json").read_text(encoding="utf-8"))
    labels = read_volume(out / "labels.nii.gz")
    bones = np.isin(raw[2], [77, 78, 25, 75, 76])
    ends = np.array(
        [np.nonzero(bones)[a][[np.nonzero(bones)[a].argmin(), np.nonzero(bones)[a].argmax()]] for a in range(3)]
    )
    middle = (labels.world_from_voxel @ [*ends.mean(axis=1)[::-1], 1])[:3]
    np.testing.assert_allclose(camera["isocentre_mm"], middle, atol=1e-3)
    pose = np.array(camera["camera_from_ct"])
    np.testing.assert_allclose((pose @ [*middle, 1])[:3], [0, 0, camera["source_to_isocentre_mm"]], atol=1e-2)
