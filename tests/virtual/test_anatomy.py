import numpy as np
import pytest
from scipy.ndimage import label as components

from mskdex.anatomy import STRUCTURES
from mskdex.deformation.template import Tissue, label_depth
from mskdex.virtual.built_in_anatomy import built_in, muscles
from mskdex.virtual.profiles import atlas_volumes_cm3, profiles


@pytest.mark.parametrize("structure", STRUCTURES, ids=lambda s: s.name)
def test_volumes_are_the_atlas_s(template, structure):
    volumes = template.volumes_cm3
    for side in ("_left", "_right") if structure.paired else ("",):
        found = volumes[template.label(structure.name + side)]
        assert found == pytest.approx(atlas_volumes_cm3()[structure.name], rel=0.12)


def test_at_least_fifteen_muscles_a_side_each_with_voxels(template):
    assert len(muscles()) >= 15
    volumes = template.volumes_cm3
    assert all(volumes[template.label(f"{name}_{side}")] > 1.0 for name in muscles() for side in ("left", "right"))


def test_right_half_mirrors_the_left(template):
    swapped = [n.replace("_left", "_@").replace("_right", "_left").replace("_@", "_right") for n in template.names]
    table = np.array([template.names.index(n) for n in swapped], np.uint8)
    assert np.array_equal(table[template.labels[:, :, ::-1]], template.labels)
    assert template.heads_mm["left"] == pytest.approx(template.heads_mm["right"] * (-1, 1, 1))


def test_the_body_has_no_holes(template):
    for part in np.array_split(template.labels, 8):
        _, outside = components(part == 0)
        assert outside <= 2  # around the body, and between the thighs


def test_left_structures_lie_at_the_left(template):
    x = template.origin_mm[0] + template.voxel_mm * np.arange(template.labels.shape[2])
    for structure in STRUCTURES:
        if structure.paired:
            mask = template.labels == template.label(f"{structure.name}_left")
            assert (mask.sum(axis=(0, 1)) @ x) / mask.sum() < -20.0


def test_femur_and_socket_do_not_touch(template):
    """A joint without a gap would fuse two bodies that move apart."""
    femur = template.labels == template.label("femur_left")
    pelvis = template.labels == template.label("pelvis_left")
    touching = sum(int((np.roll(femur, shift, axis) & pelvis).sum()) for axis in range(3) for shift in (-1, 1))
    assert touching == 0


def test_sections_keep_the_atlas_s_area():
    """Volume of the swept sections, before muscles compete for space, against the table."""
    for name in ("gluteus_maximus", "iliacus", "psoas_major", "femur"):
        profile = profiles()[name]
        volume = np.pi * profile.rows[1:-1, 2] @ profile.rows[1:-1, 3] * 10.0 / 1000.0
        assert volume == pytest.approx(atlas_volumes_cm3()[name], rel=0.06)


def test_depth_of_a_ball():
    z, y, x = np.indices((41, 41, 41)) - 20
    ball = (np.sqrt(x**2 + y**2 + z**2) <= 15.0).astype(np.uint8)
    depth = label_depth(ball, np.array([Tissue.AIR, Tissue.BONE]), 2.0)
    assert depth[20, 20, 20] == pytest.approx(30.0, abs=2.5)
    assert depth[20, 20, 26] == pytest.approx(18.0, abs=2.5)
    assert not depth[ball == 0].any()


def test_volumes_hold_at_another_voxel_size():
    coarse = built_in(4.0)
    for name in ("gluteus_maximus_left", "iliacus_left", "pelvis_left"):
        bare = name.removesuffix("_left")
        assert coarse.volumes_cm3[coarse.label(name)] == pytest.approx(atlas_volumes_cm3()[bare], rel=0.15)
