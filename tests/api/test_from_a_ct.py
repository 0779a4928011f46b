"""From CT and labels on disk to structures, quantities and DRRs."""

import hospital as make
import numpy as np
import pytest

import mskdex
from mskdex.errors import MskdexError
from mskdex.quantities import lean_mass_density_g_cm3

NAMES = (
    "gluteus_maximus_left",
    "gluteus_maximus_right",
    "pelvis_left",
    "pelvis_right",
    "sacrum",
    "femur_left",
    "femur_right",
)


@pytest.fixture
def patient(row, config):
    ct = mskdex.read_ct(row["ct"])
    return ct, mskdex.read_labels(row["labels"], ct, "phantom", config=config)


def test_five_lines_lead_to_object_wise_drrs(row, config):
    ct = mskdex.read_ct(row["ct"])
    labels = mskdex.read_labels(row["labels"], ct, "phantom", config=config)
    drrs = mskdex.render(ct, labels)
    table = drrs.sums()
    hu, ids = (volume.array for volume in make.phantom())
    voxel_cm3 = 2.0 * 2.5 * 3.0 / 1000
    mass = lean_mass_density_g_cm3(hu[ids == 6]).sum() * voxel_cm3
    assert labels.names == NAMES
    assert table.loc["gluteus_maximus_left", "lean_mass_g"] == pytest.approx(mass, rel=0.01)
    assert table.loc["gluteus_maximus_left", "volume_cm3"] == pytest.approx((ids == 6).sum() * voxel_cm3, rel=0.01)
    assert drrs.image("gluteus_maximus_left").sum() == pytest.approx(mass, rel=0.01)
    assert table["outside"].max() == 0.0


def test_measure_sums_over_the_voxels(patient):
    table = mskdex.measure(*patient)
    ids = make.phantom()[1].array
    assert list(table.index) == list(NAMES)
    assert table.loc["femur_right", "volume_cm3"] == pytest.approx((ids == 4).sum() * 0.015)
    assert table.loc["femur_right", "voxels"] == (ids == 4).sum()


def column(drrs, channel):
    line = drrs.image(channel).sum(axis=0, dtype=np.float64)
    return float((np.arange(len(line)) * line).sum() / line.sum())


def test_left_is_on_the_images_right_and_a_pose_moves_the_images(patient):
    pose = mskdex.Pose.nominal([20.0, 6.0, 120.0], 850.0)
    seen = mskdex.render(*patient, pose=pose)
    moved = mskdex.render(*patient, pose=pose.moved(shift_mm=(16.8, 0, 0)))
    assert column(seen, "femur_left") > column(seen, "femur_right") + 20
    shift = column(moved, "femur_left") - column(seen, "femur_left")
    assert shift == pytest.approx(16.8 * 1000 / 850 / 1.68, rel=0.03)


def test_labels_of_another_ct_are_refused(patient, tmp_path):
    labels = patient[1]
    other = make.phantom(shape=(22, 30, 40))[0]
    longer = mskdex.read_ct(make.write(tmp_path / "other.nii.gz", other))
    for act in (mskdex.render, mskdex.measure):
        with pytest.raises(MskdexError, match="the labels lie on another grid than the CT"):
            act(longer, labels)


def test_flipped_labels_are_refused_with_their_file(row, config, tmp_path):
    labels = make.phantom()[1]
    flipped = make.write(tmp_path / "flipped.nii.gz", type(labels)(labels.array[::-1].copy(), labels.world_from_voxel))
    ct = mskdex.read_ct(row["ct"])
    with pytest.raises(MskdexError, match=r"flipped\.nii\.gz"):
        mskdex.read_labels(flipped, ct, "phantom", config=config)


def test_what_is_neither_a_path_nor_a_config_is_named(row):
    with pytest.raises(MskdexError, match="the CT is a ndarray; give the path of a file or folder"):
        mskdex.read_ct(np.zeros((2, 2, 2)))
    with pytest.raises(MskdexError, match=r"config is a dict; give the path of a config\.yaml"):
        mskdex.read_ct(row["ct"], config={"ct": {}})


def test_a_path_that_is_not_there_is_named(tmp_path):
    with pytest.raises(MskdexError, match=r"nowhere\.nii\.gz does not exist; give the path of the CT"):
        mskdex.read_ct(tmp_path / "nowhere.nii.gz")


def test_an_unknown_image_is_named(patient):
    drrs = mskdex.render(*patient)
    with pytest.raises(MskdexError, match="there is no channel psoas; the DRRs have gluteus_maximus_left"):
        drrs.image("psoas")
    with pytest.raises(MskdexError, match="there is no quantity fat"):
        drrs.image("sacrum", "fat")


def test_impossible_poses_and_views_are_refused():
    with pytest.raises(MskdexError, match="not rigid"):
        mskdex.Pose(2 * np.eye(4))
    with pytest.raises(MskdexError, match="allowed are AP and PA"):
        mskdex.Pose.nominal([0, 0, 0], 800.0, "lateral")


def test_config_may_be_a_file(row, tmp_path):
    path = tmp_path / "config.yaml"
    ids = {name: list(keys) for name, keys in make.IDS.items()}
    path.write_text(f"label_sources: {{phantom: {ids}}}\nct: {{min_volume_ratio: 0}}\n", encoding="utf-8")
    ct = mskdex.read_ct(row["ct"], config=path)
    assert mskdex.read_labels(row["labels"], ct, "phantom", config=path).names == NAMES
