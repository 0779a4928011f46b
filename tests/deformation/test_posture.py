import numpy as np
import pytest
from scipy.ndimage import label as components

from mskdex.anatomy import STRUCTURES
from mskdex.config.virtual import PostureSettings
from mskdex.deformation.posture import BODIES, body_of, draw_poses, rotation_about

WITHIN_FIELD = [f"{s.name}_{side}" for s in STRUCTURES if s.kind == "muscle" for side in ("left", "right")]


@pytest.mark.parametrize("name", WITHIN_FIELD)
def test_muscles_keep_volume_and_mass(two_postures, name):
    label = two_postures.shape.template.label(name)
    for quantity in ("volumes_cm3", "masses_g"):
        before, after = (getattr(body, quantity)[label] for body in (two_postures.lying, two_postures.posed))
        assert after == pytest.approx(before, rel=0.005)


@pytest.mark.parametrize("name", ["pelvis_left", "pelvis_right", "sacrum"])
def test_bones_keep_volume_and_mass(two_postures, name):
    label = two_postures.shape.template.label(name)
    for quantity in ("volumes_cm3", "masses_g"):
        before, after = (getattr(body, quantity)[label] for body in (two_postures.lying, two_postures.posed))
        assert after == pytest.approx(before, rel=0.005)


@pytest.mark.parametrize(
    ("name", "body"), [("pelvis_left", "pelvis"), ("sacrum", "pelvis"), ("femur_right", "femur_right")]
)
def test_bones_move_rigidly(two_postures, name, body):
    """Every voxel of a posed bone lies in the same bone of the reference, taken back by the body's pose."""
    template, posed, lying = two_postures.shape.template, two_postures.posed, two_postures.lying
    label = template.label(name)
    index = np.argwhere(posed.labels == label)[:, ::-1]
    points = posed.grid.origin_mm + posed.grid.cell_mm * index
    back = np.linalg.inv(two_postures.posture.poses[body])
    at = (points @ back[:3, :3].T + back[:3, 3] - lying.grid.origin_mm) / lying.grid.cell_mm
    at = np.rint(at).astype(int)
    inside = np.all((at >= 1) & (at < np.array(lying.labels.shape[::-1]) - 1), axis=1)
    x, y, z = at[inside].T
    near = [lying.labels[z + c, y + b, x + a] == label for a in (-1, 0, 1) for b in (-1, 0, 1) for c in (-1, 0, 1)]
    assert np.any(near, axis=0).mean() > 0.999


@pytest.mark.parametrize("which", ["lying", "posed"])
def test_every_voxel_has_one_label_and_the_body_no_holes(two_postures, which):
    body = getattr(two_postures, which)
    shares = body.volumes_cm3.sum() / (body.grid.cell_mm**3 / 1000.0)
    assert shares == pytest.approx(body.labels.size, rel=1e-6)
    for part in np.array_split(body.labels[2:-2], 8):
        _, outside = components(part == 0)
        assert outside <= 2  # around the body, and between the thighs


def test_angles_follow_their_spread():
    heads = {"left": np.array([-85.0, 0, 0]), "right": np.array([85.0, 0, 0])}
    still = PostureSettings.model_validate(dict.fromkeys(PostureSettings.model_fields, 0.0))
    poses = draw_poses(still, heads, np.random.default_rng(0))
    assert all(np.allclose(poses[body], np.eye(4)) for body in BODIES)
    angles = []
    for seed in range(300):
        poses = draw_poses(PostureSettings.model_validate({}), heads, np.random.default_rng(seed))
        # The head stays in its socket.
        assert (poses["femur_left"] @ np.r_[heads["left"], 1.0]) == pytest.approx(
            poses["pelvis"] @ np.r_[heads["left"], 1.0]
        )
        angles.append(np.degrees(np.arctan2(poses["femur_left"][1, 0], poses["femur_left"][0, 0])))
    assert np.std(angles) == pytest.approx(8.0, rel=0.25)


def test_rotation_about_a_point_keeps_it():
    pose = rotation_about(np.array([10.0, -20.0, 30.0]), np.array([10.0, 20.0, 30.0]))
    assert pose @ [10.0, -20.0, 30.0, 1.0] == pytest.approx([10.0, -20.0, 30.0, 1.0])
    assert pose[:3, :3] @ pose[:3, :3].T == pytest.approx(np.eye(3))


def test_bodies_of_labels():
    assert body_of("femur_left") == "femur_left"
    assert body_of("stem_right") == "femur_right"
    assert body_of("lumbar_spine") == body_of("cup_left") == "pelvis"
    assert body_of("gluteus_maximus_left") is None
