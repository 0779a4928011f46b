"""Coarse DRRs, search, refinement, views and starts, each on a small phantom."""

import json
from dataclasses import replace

import numpy as np
import pytest

from mskdex.config.objects import Channel
from mskdex.config.registration import RegistrationSettings
from mskdex.errors import MskdexError
from mskdex.geometry.camera import Camera, nominal_pose
from mskdex.geometry.rigid import moved
from mskdex.registration import single
from mskdex.registration.bodies import find_bodies
from mskdex.registration.contrast import attenuation_slope, bone_attenuation
from mskdex.registration.fixed_image import FixedImage, cut_shadow
from mskdex.registration.pose_error import pose_error
from mskdex.registration.search import SearchEffort, SearchResult, SearchSpread, multi_start
from mskdex.registration.single import RenderedBody, Task, register_body
from mskdex.registration.splat import body_points, splat
from mskdex.registration.starts import pose_from_landmarks, read_starts

CAMERA = Camera(1000.0, 2.0, (110, 110), (54.5, 54.5))
CHANNEL = Channel(name="bone", object="bone", side="midline", kind="bone", label=1, body="bone", bone_loss=True)
AFFINE = np.diag([3.0, 3.0, 3.0, 1.0])
AFFINE[:3, 3] = [-60.0, -40.0, -70.0]
NOMINAL = nominal_pose(np.array([0.0, 0.0, 0.0]), 800.0)


def phantom() -> tuple[np.ndarray, np.ndarray]:
    """A bent bone with a knob, no two of its views alike, in a box of muscle; HU and labels (z, y, x)."""
    z, y, x = (AFFINE[a, a] * g + AFFINE[a, 3] for a, g in zip((2, 1, 0), np.indices((48, 28, 40)), strict=True))
    shaft = np.hypot(x - 0.004 * z**2, y) < 10 + 0.05 * z
    knob = (x - 24) ** 2 + (y - 8) ** 2 + (z - 30) ** 2 < 14**2
    bone = (shaft & (np.abs(z) < 55)) | knob | (np.hypot(x + 18, z + 20) < 8) & (np.abs(y) < 9)
    hu = np.where(bone, 500, 50).astype(np.int16)
    hu[:, :2] = hu[:, -2:] = -1000
    return hu, bone.astype(np.uint8)


@pytest.fixture(scope="module")
def body():
    hu, labels = phantom()
    return find_bodies(hu, labels, AFFINE, [CHANNEL])["bone"]


@pytest.fixture(scope="module")
def model(body):
    return RenderedBody.of(body, RegistrationSettings(), 1.0)


def test_bodies_hold_their_excess_and_measures(body):
    _, labels = phantom()
    inside = labels.astype(bool)
    np.testing.assert_allclose(body.excess[body.excess > 0.3], 0.45, atol=1e-6)
    assert body.excess.sum() * 0.027 == pytest.approx(0.45 * inside.sum() * 0.027, rel=1e-3)
    assert body.volume_cm3 == pytest.approx(inside.sum() * 0.027)
    assert not body.truncated
    assert 105 < body.extent_mm < 130


def test_a_body_at_the_border_is_cut(body):
    hu, labels = phantom()
    cut = find_bodies(hu[:20], labels[:20], AFFINE, [CHANNEL])["bone"]
    assert cut.truncated
    assert cut.extent_mm < 0.7 * body.extent_mm
    np.testing.assert_allclose(cut.cut_mm[:, 2], AFFINE[2, 3] + 19 * 3.0)
    shadow = cut_shadow(cut, CAMERA, NOMINAL, 10.0)
    pixel = CAMERA.project(cut.cut_mm.mean(axis=0) @ NOMINAL[:3, :3].T + NOMINAL[:3, 3]).astype(int)
    assert shadow[tuple(pixel)]
    assert not cut_shadow(body, CAMERA, NOMINAL, 10.0).any()


def test_a_body_that_the_label_files_edge_cuts_is_cut_there():
    """An ellipsoid of bone, whole in the CT, whose labels end in its middle."""
    z, y, x = np.indices((48, 28, 40))
    bone = ((z - 24) / 20) ** 2 + ((y - 14) / 9) ** 2 + ((x - 20) / 11) ** 2 < 1
    hu, part = np.where(bone, 500, 50).astype(np.int16), bone.astype(np.uint8)
    part[20:] = 0
    cut = find_bodies(hu, part, AFFINE, [CHANNEL], cut={CHANNEL.label})["bone"]
    assert cut.truncated
    np.testing.assert_allclose(cut.cut_mm[:, 2], AFFINE[2, 3] + 19 * 3.0)
    assert len(cut.cut_mm) == np.count_nonzero(part[19])
    assert cut_shadow(cut, CAMERA, NOMINAL, 10.0).any()
    assert not find_bodies(hu, part, AFFINE, [CHANNEL])["bone"].truncated, "nothing says that it goes on"


def test_splatted_drr_is_the_marched_one(body, model):
    camera = CAMERA.resized((34, 34), 6.4)
    pose = moved(NOMINAL, body.centre_mm, np.array([5.0, 10.0, -8.0, 9.0, -4.0, 20.0]))
    quick = splat(body_points(body, 6.4), camera, np.stack([NOMINAL, pose]))
    exact = np.stack([model.image(camera, p) for p in (NOMINAL, pose)])
    assert quick.sum() == pytest.approx(exact.sum(), rel=0.02)
    assert np.corrcoef(quick.ravel(), exact.ravel())[0, 1] > 0.98


def test_search_finds_the_maximum_of_a_known_function_and_repeats():
    wanted = np.array([10.0, -8.0, 5.0, 20.0, -15.0, 30.0])
    goal = moved(NOMINAL, np.zeros(3), wanted)

    def score(poses):
        return -np.abs(poses - goal).sum(axis=(1, 2)) / 100

    spread, effort = SearchSpread(15.0, 30.0, 40.0), SearchEffort(4, 2, 16, 6, 40)
    found = multi_start(score, NOMINAL, np.zeros(3), spread, effort, seed=3)
    again = multi_start(score, NOMINAL, np.zeros(3), spread, effort, seed=3)
    assert len(found) == 2
    assert found[0].similarity >= found[1].similarity
    np.testing.assert_allclose(found[0].pose[:3, 3], goal[:3, 3], atol=6.0)
    assert np.array_equal(found[0].pose, again[0].pose)


def radiograph(model, pose, scatter=1.0):
    """The bone at a pose under a trend and noise."""
    draw = np.random.default_rng(1)
    rows, columns = np.indices(CAMERA.shape) / 50.0
    bone = bone_attenuation(model.image(CAMERA, pose), scatter)
    image = 0.02 * bone + columns**2 - rows * columns + draw.normal(0, 0.01, CAMERA.shape)
    return FixedImage(image.astype(np.float32), np.ones(CAMERA.shape, bool), CAMERA)


@pytest.mark.parametrize("scatter", [0.0, 1.0])
def test_search_and_refinement_find_the_pose(body, model, scatter):
    truth = moved(NOMINAL, body.centre_mm, np.array([4.0, -6.0, 3.0, 12.0, -9.0, 25.0]))
    settings = RegistrationSettings(scatter_to_primary=scatter, fine_pixels_mm=(2.0,))
    task = Task(model, NOMINAL, body.centre_mm, SearchSpread(10.0, 20.0, 30.0), seed=2)
    outcome = register_body(task, radiograph(model, truth, scatter).at, settings)
    error = pose_error(outcome.pose, truth, body.targets_mm, CAMERA)
    assert error.mpd_mm < 0.3
    assert error.rotation_deg < 1.0
    assert error.mtre_mm < 3.0


def test_a_right_start_is_not_lost_to_a_search_that_goes_astray(body, model, monkeypatch):
    truth = moved(NOMINAL, body.centre_mm, np.array([2.0, -2.0, 1.0, 1.5, -1.0, 3.0]))
    astray = moved(NOMINAL, body.centre_mm, np.array([25.0, 30.0, -20.0, 15.0, 10.0, 0.0]))
    monkeypatch.setattr(single, "_search", lambda *_: [SearchResult(astray, 1.0)])
    task = Task(model, NOMINAL, body.centre_mm, SearchSpread(10.0, 20.0, 30.0), seed=2)
    outcome = register_body(task, radiograph(model, truth).at, RegistrationSettings(fine_pixels_mm=(2.0,)))
    assert pose_error(outcome.pose, truth, body.targets_mm, CAMERA).mpd_mm < 0.3


def test_scatter_lowers_contrast_and_its_slope_is_its_derivative():
    path = np.linspace(0.0, 60.0, 7)
    assert np.array_equal(bone_attenuation(path, 0.0), path)
    assert bone_attenuation(path, 1.0)[1] < path[1]
    step = 1e-4
    numeric = (bone_attenuation(path + step, 1.0) - bone_attenuation(path - step, 1.0)) / (2 * step)
    np.testing.assert_allclose(attenuation_slope(path, 1.0), numeric, rtol=1e-6)
    assert attenuation_slope(np.zeros(1), 0.7)[0] == pytest.approx(1.0)


def test_views_keep_projections():
    view = FixedImage(np.arange(110.0 * 110).reshape(110, 110), np.ones((110, 110), bool), CAMERA)
    coarse = view.at(6.0)
    assert coarse.camera.pixel_mm == 6.0
    assert coarse.image[0, 0] == pytest.approx(view.image[:3, :3].mean())
    point = np.array([30.0, -20.0, 800.0])
    millimetres = [(v.camera.project(point) - v.camera.principal_point_px) * v.camera.pixel_mm for v in (view, coarse)]
    np.testing.assert_allclose(*millimetres)
    middle = CAMERA.project(point).astype(int)
    mask = np.zeros((110, 110), bool)
    mask[middle[0] - 3 : middle[0] + 4, middle[1] - 2 : middle[1] + 2] = True
    part, _ = view.cropped(mask)
    pixel = np.round(part.camera.project(point)).astype(int)
    assert part.image[tuple(pixel)] == view.image[tuple(np.round(CAMERA.project(point)).astype(int))]
    mirrored = view.mirrored().camera.project(point * [-1, 1, 1])
    np.testing.assert_allclose(mirrored, [CAMERA.project(point)[0], 109 - CAMERA.project(point)[1]])


def test_masked_pixels_do_not_bleed_into_the_blur():
    field = np.ones((40, 40), bool)
    field[:, 20:] = False
    image = np.where(field, 2.0, 1e6).astype(np.float32)
    camera = replace(CAMERA, shape=(40, 40))
    np.testing.assert_allclose(FixedImage(image, field, camera).blurred(6.0).image[field], 2.0, rtol=1e-5)


def test_pose_from_landmarks_and_files(tmp_path):
    draw = np.random.default_rng(4)
    points = draw.uniform(-80, 80, (6, 3))
    truth = moved(NOMINAL, np.zeros(3), np.array([12.0, -9.0, 6.0, 15.0, 10.0, -40.0]))
    pixels = CAMERA.project(points @ truth[:3, :3].T + truth[:3, 3])
    np.testing.assert_allclose(pose_from_landmarks(points, pixels, CAMERA), truth, atol=1e-4)
    landmarks = [{"ct_mm": p.tolist(), "radiograph_px": q.tolist()} for p, q in zip(points, pixels, strict=True)]
    content = {"pelvis": {"landmarks": landmarks}, "femur_left": {"camera_from_ct": truth.tolist()}}
    (tmp_path / "P1.json").write_text(json.dumps(content), encoding="utf-8")
    starts = read_starts(str(tmp_path), "P1", ["pelvis", "femur_left"], CAMERA)
    np.testing.assert_allclose(starts["pelvis"], truth, atol=1e-4)
    np.testing.assert_allclose(starts["femur_left"], truth)
    assert read_starts(str(tmp_path), "P2", ["pelvis"], CAMERA) == {}
    assert read_starts(None, "P1", ["pelvis"], CAMERA) == {}


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ({"tibia": {"camera_from_ct": np.eye(4).tolist()}}, "unknown body tibia; this patient has pelvis"),
        ({"pelvis": {"camera_from_ct": (2 * np.eye(4)).tolist()}}, "rigid 4×4"),
        ({"pelvis": {"camera_from_ct": [[1, 0], [0, 1]]}}, "rigid 4×4"),
        ({"pelvis": {"landmarks": []}}, "at least 4 landmarks"),
    ],
)
def test_bad_starts_are_told(tmp_path, content, words):
    (tmp_path / "P1.json").write_text(json.dumps(content), encoding="utf-8")
    with pytest.raises(MskdexError, match=words):
        read_starts(str(tmp_path), "P1", ["pelvis"], CAMERA)
