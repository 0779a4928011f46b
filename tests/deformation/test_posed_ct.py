"""A hospital's CT in another posture: what it keeps, what moves how, what is refused."""

import hospital
import numpy as np
import pytest
import SimpleITK as sitk

from mskdex.anatomy import LABEL_SOURCES
from mskdex.config import Config
from mskdex.config.imaging import CtSettings
from mskdex.deformation.labelled_ct import LabelledCt, labelled_ct
from mskdex.deformation.posed_ct import TOLERANCE, PosedCt, pose_ct
from mskdex.deformation.posture import rotation_about
from mskdex.errors import MskdexError
from mskdex.imaging.ct import read_ct
from mskdex.imaging.structures import truncated_labels
from mskdex.io.volume import volume_from_sitk
from mskdex.io.volume_grid import to_ras

BY_NAME = {c.name: c for c in Config().channels}
CHANNELS = tuple(BY_NAME[name].model_copy(update={"label": i}) for i, name in enumerate(hospital.CHANNELS, 1))
TILT, HIP = (6.0, 2.0, -1.5), (8.0, -4.0, 14.0)


def hospital_ct(spacing=(5.0, 5.0, 6.0), *, oblique=False, noise=0.0) -> LabelledCt:
    """The phantom in the size of a patient; noise as of a CT, lying askew if asked."""
    ct, ids = hospital.phantom((40, 60, 80), spacing)
    hu = ct.array.astype(np.float32) + noise * np.random.default_rng(0).standard_normal(ct.array.shape)
    affine = rotation_about(np.array([20.0, 30.0, 40.0]), np.array([9.0, -6.0, 12.0])) @ ct.world_from_voxel
    affine = affine if oblique else ct.world_from_voxel
    return labelled_ct(np.clip(np.rint(hu), -1024, 3071).astype(np.int16), ids.array, affine, CHANNELS)


def whole_of(ct: LabelledCt) -> frozenset[int]:
    return frozenset(range(1, ct.count + 1)) - truncated_labels(ct.hu, ct.labels)


def middle(ct: LabelledCt, label: int) -> np.ndarray:
    return points(ct.labels, ct.world_from_voxel, label).mean(axis=0)


def points(labels: np.ndarray, affine: np.ndarray, label: int) -> np.ndarray:
    return np.argwhere(labels == label)[:, ::-1] @ affine[:3, :3].T + affine[:3, 3]


def postures(ct: LabelledCt, pelvis=TILT, hip=HIP) -> dict[str, np.ndarray]:
    """The pelvis about the sacrum's middle, each femur about a point above its own, both sides unlike."""
    label = {c.name: c.label for c in ct.channels}
    tilt = rotation_about(middle(ct, label["sacrum"]), np.array(pelvis))
    poses = {"pelvis": tilt}
    for sign, side in ((1.0, "left"), (-0.7, "right")):
        head = middle(ct, label[f"femur_{side}"]) + np.array([0.0, 0.0, 30.0])
        poses[f"femur_{side}"] = rotation_about(head, sign * np.array(hip))
        poses[f"femur_{side}"][:3, 3] += (tilt @ np.r_[head, 1.0])[:3] - head
    return poses


def assert_muscles_kept(ct: LabelledCt, posed: PosedCt, growth: dict[int, float] | None = None) -> None:
    muscles = [c.label for c in ct.channels if c.kind == "muscle" and c.label in whole_of(ct)]
    assert muscles
    for label in muscles:
        before = ct.amounts[:, label] * (growth or {}).get(label, 1.0)
        assert posed.amounts[:, label] == pytest.approx(before, rel=TOLERANCE)


@pytest.mark.parametrize("spacing", [(5.0, 5.0, 6.0), (4.0, 4.5, 8.0)])
@pytest.mark.parametrize("oblique", [False, True])
def test_identical_poses_give_the_ct_back(spacing, oblique):
    ct = hospital_ct(spacing, oblique=oblique, noise=12.0)
    same = pose_ct(ct, {body: np.eye(4) for body in ct.bodies}, whole_of(ct))
    assert np.array_equal(same.hu, ct.hu)
    assert np.array_equal(same.labels, ct.labels)
    assert np.array_equal(same.world_from_voxel, ct.world_from_voxel)
    assert not same.beyond.any()
    assert same.amounts == pytest.approx(ct.amounts)


@pytest.mark.parametrize(("oblique", "noise"), [(False, 0.0), (True, 25.0)])
def test_muscles_keep_volume_and_lean_mass(oblique, noise):
    ct = hospital_ct(oblique=oblique, noise=noise)
    posed = pose_ct(ct, postures(ct), whole_of(ct), voxel_mm=None if oblique else 3.0)
    assert_muscles_kept(ct, posed)
    assert np.nanmax(np.abs(posed.errors)) < TOLERANCE


@pytest.mark.parametrize("oblique", [False, True])
def test_bones_move_rigidly(oblique):
    """Middle and corners of each bone's box of inertia lie within 0.1 mm of where the pose puts them."""
    ct = hospital_ct((3.0, 3.0, 3.0), oblique=oblique)
    poses = postures(ct)
    posed = pose_ct(ct, poses, whole_of(ct), voxel_mm=1.5)
    for channel in ct.channels:
        if channel.body is None:
            continue
        pose = poses[channel.body]
        before = points(ct.labels, ct.world_from_voxel, channel.label) @ pose[:3, :3].T + pose[:3, 3]
        after = points(posed.labels, posed.world_from_voxel, channel.label)
        assert after.mean(axis=0) == pytest.approx(before.mean(axis=0), abs=0.1)
        sizes = [np.sqrt(np.linalg.eigvalsh(np.cov(p.T))) for p in (before, after)]
        assert sizes[1] == pytest.approx(sizes[0], abs=0.1)
        assert np.cov(after.T) == pytest.approx(np.cov(before.T), abs=0.1 * 2 * sizes[0].max())


def test_hu_of_a_bone_are_those_of_its_own_voxels():
    ct = hospital_ct(noise=12.0)
    poses = postures(ct)
    posed = pose_ct(ct, poses, whole_of(ct), voxel_mm=4.0)
    index = np.argwhere(posed.labels == 3)
    world = index[:, ::-1] @ posed.world_from_voxel[:3, :3].T + posed.world_from_voxel[:3, 3]
    back = np.linalg.inv(poses["femur_left"] @ ct.world_from_voxel)
    source = np.rint(world @ back[:3, :3].T + back[:3, 3]).astype(int)[:, ::-1]
    assert np.array_equal(posed.hu[tuple(index.T)], ct.hu[tuple(source.T)])


def test_muscles_and_fat_grow_as_asked():
    ct = hospital_ct(noise=12.0)
    growth = {6: 1.25, 7: 0.75}
    posed = pose_ct(ct, postures(ct), whole_of(ct), growth, voxel_mm=3.0)
    assert_muscles_kept(ct, posed, growth)


def test_fat_grows_as_asked():
    ct = hospital_ct()
    fatty = labelled_ct(
        np.where((ct.hu > -200) & (ct.labels == 0), -90, ct.hu).astype(np.int16),
        ct.labels,
        ct.world_from_voxel,
        CHANNELS,
    )
    still = {body: np.eye(4) for body in fatty.bodies}
    fat = []
    for factor in (1.0, 1.2):
        posed = pose_ct(fatty, still, whole_of(fatty), {fatty.fat: factor, 6: 1.0001}, voxel_mm=4.0)
        assert_muscles_kept(fatty, posed)
        fat.append(np.count_nonzero((posed.labels == 0) & (posed.hu == -90)))
    assert fat[1] / fat[0] == pytest.approx(1.2, rel=0.02)


def test_what_lies_beyond_the_ct_is_said_and_goes_on_as_its_edge():
    ct = hospital_ct()
    posed = pose_ct(ct, postures(ct), whole_of(ct), voxel_mm=4.0)
    z = np.indices(posed.hu.shape)[0] * 4.0 + posed.world_from_voxel[2, 3]
    low, high = ct.box_mm[0][2], ct.box_mm[1][2]
    outside = (z < low - 50.0) | (z > high + 50.0)
    dense = posed.hu > -200
    assert dense[outside].any()
    assert posed.beyond[outside & dense].all()
    assert not posed.beyond[(abs(z - (low + high) / 2) < 30.0) & dense].any()


def test_a_body_that_is_left_out_moves_with_the_first():
    ct = hospital_ct((4.0, 4.0, 4.0))
    pelvis = postures(ct)["pelvis"]
    posed = pose_ct(ct, {"pelvis": pelvis}, whole_of(ct), voxel_mm=1.5)
    before = middle(ct, 3)
    after = points(posed.labels, posed.world_from_voxel, 3).mean(axis=0)
    assert after == pytest.approx((pelvis @ np.r_[before, 1.0])[:3], abs=0.1)
    assert_muscles_kept(ct, posed)


def test_a_ct_without_bones_stays_where_it_is():
    ct = hospital_ct()
    bare = labelled_ct(ct.hu, np.where(ct.labels > 5, ct.labels, 0).astype(np.uint8), ct.world_from_voxel, CHANNELS)
    assert bare.bodies == ()
    assert np.array_equal(pose_ct(bare, {}, whole_of(bare)).hu, bare.hu)


@pytest.mark.parametrize(
    ("poses", "growth", "message"),
    [
        ({"tibia": np.eye(4)}, {}, "holds no bone of tibia; it holds pelvis, femur_left, femur_right"),
        ({"pelvis": np.diag([1.1, 1, 1, 1])}, {}, "pose of pelvis is not a rigid motion"),
        ({"pelvis": np.diag([-1.0, 1, 1, 1])}, {}, "pose of pelvis is not a rigid motion"),
        ({"pelvis": np.full((4, 4), np.nan)}, {}, "pose of pelvis is not a rigid motion"),
        ({"pelvis": np.eye(3)}, {}, "pose of pelvis is not a rigid motion"),
        ({}, {6: 0.0}, "growth by the factor 0; factors from 0.2 to 5"),
        ({}, {6: np.nan}, "growth by the factor nan"),
    ],
)
def test_bad_poses_and_factors_are_refused(poses, growth, message):
    ct = hospital_ct((8.0, 8.0, 8.0))
    with pytest.raises(MskdexError, match=message):
        pose_ct(ct, poses, frozenset(), growth)


def test_arrays_that_do_not_belong_together_are_refused():
    ct = hospital_ct()
    with pytest.raises(MskdexError, match="of one shape"):
        labelled_ct(ct.hu, ct.labels[1:], ct.world_from_voxel, CHANNELS)
    with pytest.raises(MskdexError, match="labels go up to 7, the objects are 5"):
        labelled_ct(ct.hu, ct.labels, ct.world_from_voxel, CHANNELS[:5])


@pytest.fixture(scope="module")
def real_ct(shared_data) -> LabelledCt:
    """The real CT with TotalSegmentator's labels, as the default objects."""
    folder = shared_data / "real_ct"
    volume = read_ct(folder / "ct.nii.gz", CtSettings()).volume
    labels = to_ras(volume_from_sitk(sitk.ReadImage(str(folder / "totalsegmentator_total.nii.gz"))))
    ids = np.zeros(256, np.uint8)
    channels = []
    for name, sides in LABEL_SOURCES["totalsegmentator"].items():
        for number, label in enumerate(sides):
            full = f"{name}_{('left', 'right')[number]}" if len(sides) == 2 else name
            if full in BY_NAME and (labels.array == label).any():
                channels.append(BY_NAME[full].model_copy(update={"label": len(channels) + 1}))
                ids[label] = len(channels)
    return labelled_ct(volume.array, ids[labels.array.astype(int)], volume.world_from_voxel, channels)


def test_a_real_ct_keeps_muscles_and_bones(real_ct):
    same = pose_ct(real_ct, {b: np.eye(4) for b in real_ct.bodies}, frozenset())
    assert np.array_equal(same.hu, real_ct.hu)
    poses = {
        body: rotation_about(
            np.mean([middle(real_ct, c.label) for c in real_ct.channels if c.body == body], axis=0),
            np.array((4.0, 1.5, -1.0) if body == "pelvis" else (5.0, -2.0, 8.0)),
        )
        for body in real_ct.bodies
    }
    posed = pose_ct(real_ct, poses, whole_of(real_ct), voxel_mm=3.0)
    known = np.isfinite(posed.wanted[0])
    assert known.any()
    assert np.nanmax(np.abs(posed.errors)) < TOLERANCE
