import hospital as make
import numpy as np
import pandas as pd
import pytest

from mskdex.errors import MskdexError
from mskdex.imaging.object_quantities import quantity_rows
from mskdex.imaging.structures import hu_histograms, median_hu, truncated_labels
from mskdex.io.volume import Volume, write_volume
from mskdex.pipeline.stages.quantities import quantities
from mskdex.quantities import HU_MIN, lean_mass_density_g_cm3

CHANNELS = make.settings().channels


def test_known_box_of_known_tissue():
    hu = np.full((6, 6, 6), -1000, np.int16)
    ids = np.zeros((6, 6, 6), np.uint8)
    hu[2:4, 2:4, 2:4], ids[2:4, 2:4, 2:4] = 55, 1
    table = pd.DataFrame(quantity_rows(Volume(hu, _affine()), ids, CHANNELS)).set_index("object")
    row = table.loc[CHANNELS[0].name]
    assert row["volume_cm3"] == pytest.approx(8 * 10.0**3 / 1000)
    assert row["lean_mass_g"] == pytest.approx(8 * 1.0673, rel=1e-4)
    assert row["weighted_volume_cm3"] == pytest.approx(8 * 1.055)
    assert (row["mean_hu"], row["voxels"], row["present"], row["truncated"]) == (55, 8, True, False)
    absent = table.loc[CHANNELS[1].name]
    assert not absent["present"]
    assert np.isnan(
        [absent["volume_cm3"], absent["lean_mass_g"], absent["weighted_volume_cm3"], absent["mean_hu"]]
    ).all()


def test_histograms_agree_with_direct_sums():
    generator = np.random.default_rng(0)
    hu = generator.integers(-1024, 3072, (5, 7, 9)).astype(np.int16)
    ids = generator.integers(0, 4, (5, 7, 9)).astype(np.uint8)
    histograms = hu_histograms(hu, ids, 3)
    levels = np.arange(-1024, 3072)
    for i in (1, 2, 3):
        inside = hu[ids == i]
        assert histograms[i].sum() == inside.size
        assert histograms[i] @ lean_mass_density_g_cm3(levels) == pytest.approx(lean_mass_density_g_cm3(inside).sum())
        assert median_hu(histograms[i]) == np.sort(inside)[(inside.size - 1) // 2]
    assert not histograms[0].any()


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("end", [0, -1])
def test_each_face_of_the_scan_truncates(axis, end):
    ids = np.zeros((5, 5, 5), np.uint8)
    ids[2, 2, 2] = 1
    ct = np.zeros((5, 5, 5), np.int16)
    assert truncated_labels(ct, ids) == set()
    at = [2, 2, 2]
    at[axis] = end
    ids[tuple(at)] = 2
    assert truncated_labels(ct, ids) == {2}


def test_scan_circle_truncates_and_noise_does_not():
    ct = np.zeros((12, 20, 20), np.int16)
    ids = np.zeros_like(ct, dtype=np.uint8)
    ct[:, :, 15:] = HU_MIN
    ids[2:10, 5:15, 10:15] = 1
    ids[2:10, 5:15, 2:9] = 2
    ct[3, 4, 5] = HU_MIN
    assert truncated_labels(ct, ids) == {1}


def test_stage_writes_a_row_for_every_channel(tmp_path):
    ct, labels = make.phantom()
    write_volume(tmp_path / "ct.nii.gz", ct)
    write_volume(tmp_path / "labels.nii.gz", labels)
    quantities(tmp_path / "ct.nii.gz", tmp_path / "labels.nii.gz", CHANNELS, tmp_path / "q.parquet")
    table = pd.read_parquet(tmp_path / "q.parquet")
    assert list(table["object"]) == [c.name for c in CHANNELS]
    assert list(table.columns) == [
        "object",
        "volume_cm3",
        "lean_mass_g",
        "weighted_volume_cm3",
        "mean_hu",
        "voxels",
        "present",
        "truncated",
    ]
    write_volume(tmp_path / "other.nii.gz", Volume(labels.array[1:], labels.world_from_voxel))
    with pytest.raises(MskdexError, match="lies on another grid"):
        quantities(tmp_path / "ct.nii.gz", tmp_path / "other.nii.gz", CHANNELS, tmp_path / "r.parquet")
    assert not (tmp_path / "r.parquet").exists()


def test_channels_are_found_by_their_label_not_by_their_place(tmp_path):
    ct, labels = make.phantom()
    write_volume(tmp_path / "ct.nii.gz", ct)
    write_volume(tmp_path / "labels.nii.gz", labels)
    whole = {row["object"]: row for row in quantity_rows(ct, labels.array, CHANNELS)}
    some = [c for c in CHANNELS[::-1] if c.label in (7, 3, 6)]
    for row in quantity_rows(ct, labels.array, some):
        assert row["volume_cm3"] == whole[row["object"]]["volume_cm3"]
    with pytest.raises(MskdexError, match="holds label 7, the config's objects have 1 to 4; import the patient again"):
        quantities(tmp_path / "ct.nii.gz", tmp_path / "labels.nii.gz", CHANNELS[:4], tmp_path / "r.parquet")


def _affine() -> np.ndarray:
    return np.diag([10.0, 10.0, 10.0, 1.0])
