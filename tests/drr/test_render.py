"""The object-wise renderer: equal to its definition, exact in mass, additive, and honest about bad input."""

import numpy as np
import pytest
from rendering_phantoms import TABLES, Phantom, ball, random_poses

from mskdex.drr.reference import render_reference
from mskdex.drr.render import render, render_poses
from mskdex.drr.sampling import Sampling
from mskdex.drr.scene import Scene
from mskdex.errors import MskdexError
from mskdex.geometry.camera import Camera, nominal_pose
from mskdex.geometry.pose import moved
from mskdex.quantities import HU_MIN

PARALLEL = Camera(1000.0, 2.0, (80, 72), (38.2, 36.9), "parallel")


@pytest.mark.parametrize("beam", ["cone", "parallel"])
@pytest.mark.parametrize("conserve_sums", [True, False])
@pytest.mark.parametrize("oversampling", [1, 2])
def test_march_equals_its_definition(
    phantom: Phantom, camera: Camera, oblique_pose: np.ndarray, beam: str, conserve_sums: bool, oversampling: int
) -> None:
    camera = camera if beam == "cone" else PARALLEL
    arguments = (phantom.ct, phantom.labels, phantom.world_from_voxel, phantom.ids, camera, oblique_pose, TABLES)
    expected = render_reference(*arguments, step_mm=1.3, conserve_sums=conserve_sums, oversampling=oversampling)
    found = render(*arguments, step_mm=1.3, conserve_sums=conserve_sums, oversampling=oversampling).images
    assert expected[:, :3].max(axis=(2, 3)).min() > 0
    np.testing.assert_allclose(found, expected, rtol=0, atol=2e-5 * expected.max())


def test_a_source_close_to_the_object_sees_all_of_it(phantom: Phantom) -> None:
    # The block of cells around the nearest voxels reaches behind the source.
    camera = Camera(100.0, 20.0, (32, 30), (15.0, 15.5))
    pose = nominal_pose(phantom.centre_mm, 18.5)
    arguments = (phantom.ct, phantom.labels, phantom.world_from_voxel, [3], camera, pose, TABLES[1:2])
    expected = render_reference(*arguments)
    found = render(*arguments, oversampling=1).images
    np.testing.assert_allclose(found, expected, rtol=0, atol=2e-5 * expected.max())
    walked = render(*arguments, oversampling=1, method="walk").images
    assert walked.sum() == pytest.approx(expected.sum(), rel=0.1)


@pytest.mark.parametrize("threads", ["1", "3"])
def test_threads_do_not_change_an_image(
    phantom: Phantom, camera: Camera, oblique_pose: np.ndarray, threads: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments = (phantom.ct, phantom.labels, phantom.world_from_voxel, phantom.ids, camera, oblique_pose, TABLES)
    expected = render(*arguments).images
    monkeypatch.setenv("NUMBA_NUM_THREADS", threads)
    assert np.array_equal(render(*arguments).images, expected)


@pytest.mark.parametrize("method", ["march", "walk"])
@pytest.mark.parametrize("beam", ["cone", "parallel"])
def test_sums_are_the_voxels_sums_at_every_pose(phantom: Phantom, method: str, beam: str) -> None:
    camera = Camera(1000.0, 1.0, (260, 260), (129.5, 129.5), beam)  # type: ignore[arg-type]
    truth = phantom.totals()[:, :3]
    arguments = (phantom.ct, phantom.labels, phantom.world_from_voxel, phantom.ids[:3], camera)
    for pose in random_poses(phantom.centre_mm, 4, seed=1):
        result = render(*arguments, pose, TABLES, method=method)  # type: ignore[arg-type]
        assert result.outside.max() == 0.0
        error = np.abs(result.images.sum(axis=(2, 3), dtype=np.float64) / truth - 1)
        assert error.max() < (1e-3 if method == "march" else 4e-3)


def test_without_the_weight_sums_depend_on_depth(phantom: Phantom, camera: Camera) -> None:
    def total(depth: float, conserve_sums: bool) -> float:
        pose = nominal_pose(phantom.centre_mm, depth)
        return float(
            render(
                phantom.ct,
                phantom.labels,
                phantom.world_from_voxel,
                [3],
                camera,
                pose,
                TABLES[1:2],
                conserve_sums=conserve_sums,
            ).images.sum()
        )

    assert total(800, True) == pytest.approx(total(900, True), rel=1e-3)
    assert total(800, False) / total(900, False) == pytest.approx((900 / 800) ** 2, rel=0.02)


def test_objects_and_background_add_up_to_the_whole(phantom: Phantom, camera: Camera, oblique_pose: np.ndarray) -> None:
    arguments = (phantom.world_from_voxel, camera, oblique_pose, TABLES)
    affine, camera, pose, tables = arguments
    parts = render(phantom.ct, phantom.labels, affine, [0, 3, 5, 7], camera, pose, tables).images
    whole = render(phantom.ct, None, affine, [0], camera, pose, tables).images
    np.testing.assert_allclose(parts.sum(axis=1), whole[:, 0], rtol=0, atol=1e-5 * whole.max())


def test_order_and_choice_of_objects_do_not_matter(phantom: Phantom, camera: Camera, oblique_pose: np.ndarray) -> None:
    def images(ids: list[int]) -> np.ndarray:
        return render(
            phantom.ct, phantom.labels, phantom.world_from_voxel, ids, camera, oblique_pose, TABLES, oversampling=1
        ).images

    together, alone = images([7, 3]), images([3])
    assert together[:, 0].max() > 0
    np.testing.assert_allclose(together[:, 1], alone[:, 0], rtol=0, atol=1e-5 * alone.max())


def test_more_quantities_than_one_pass_holds(phantom: Phantom, camera: Camera, oblique_pose: np.ndarray) -> None:
    many = np.concatenate([TABLES, 2 * TABLES, 3 * TABLES[:1]])
    found = render(phantom.ct, phantom.labels, phantom.world_from_voxel, [3, 5], camera, oblique_pose, many).images
    np.testing.assert_allclose(found[3:6], 2 * found[:3], rtol=1e-5, atol=1e-9)
    np.testing.assert_allclose(found[6], 3 * found[0], rtol=1e-5, atol=1e-9)


def test_objects_may_have_poses_of_their_own(phantom: Phantom, camera: Camera, oblique_pose: np.ndarray) -> None:
    other = moved(oblique_pose, np.array([0.1, 0, 0, 5.0, 0, 0]), phantom.centre_mm)
    arguments = (phantom.ct, phantom.labels, phantom.world_from_voxel)
    result = render(*arguments, [3, 5, 7], camera, np.stack([oblique_pose, other, oblique_pose]), TABLES)
    apart = render(*arguments, [5], camera, other, TABLES)
    # Sums of other objects beside them may round otherwise, by the processor: 1e-6 is 8 units of the last place.
    same = {"rtol": 0, "atol": 1e-6 * result.images.max()}
    np.testing.assert_allclose(result.images[:, 1], apart.images[:, 0], **same)
    together = render(*arguments, [3, 7], camera, oblique_pose, TABLES)
    np.testing.assert_allclose(result.images[:, [0, 2]], together.images, **same)


def test_a_batch_of_poses_is_each_pose(phantom: Phantom, camera: Camera) -> None:
    scene = Scene.of(phantom.ct, phantom.labels, phantom.world_from_voxel)
    poses = np.stack(random_poses(phantom.centre_mm, 3, seed=2))
    batch = render_poses(scene, [3, 5], camera, poses, TABLES, Sampling(oversampling=1))
    assert batch.images.shape == (3, 3, 2, *camera.shape)
    arguments = (phantom.ct, phantom.labels, phantom.world_from_voxel, [3, 5], camera)
    single = render(*arguments, poses[1], TABLES, oversampling=1)
    np.testing.assert_array_equal(batch.images[1], single.images)


@pytest.mark.parametrize("beam", ["cone", "parallel"])
def test_what_falls_outside_is_told(phantom: Phantom, oblique_pose: np.ndarray, beam: str) -> None:
    small = Camera(1000.0, 1.0, (60, 40), (40.0, 10.0), beam)  # type: ignore[arg-type]
    result = render(phantom.ct, phantom.labels, phantom.world_from_voxel, phantom.ids[:3], small, oblique_pose, TABLES)
    matrix = oblique_pose @ phantom.world_from_voxel
    for label, outside in zip(phantom.ids, result.outside, strict=False):
        points = np.argwhere(phantom.labels == label)[:, ::-1]
        pixels = small.project(points @ matrix[:3, :3].T + matrix[:3, 3])
        inside = ((pixels > -0.5) & (pixels < np.array(small.shape) - 0.5)).all(axis=1)
        assert outside == pytest.approx(1 - inside.mean(), abs=1e-9)
    assert 0.3 < result.outside[0] < 0.5
    seen = result.images.sum(axis=(2, 3), dtype=np.float64)[1] / phantom.totals()[1, :3]
    np.testing.assert_allclose(seen, 1 - result.outside, atol=0.02)


def test_a_pose_that_misses_the_detector_says_so(phantom: Phantom, camera: Camera, oblique_pose: np.ndarray) -> None:
    away = oblique_pose.copy()
    away[0, 3] += 2000
    result = render(phantom.ct, phantom.labels, phantom.world_from_voxel, phantom.ids[:3], camera, away, TABLES)
    assert result.images.max() == 0.0
    assert result.outside.tolist() == [1.0, 1.0, 1.0]


def test_a_label_without_voxels_is_zero_and_nan(phantom: Phantom, camera: Camera, oblique_pose: np.ndarray) -> None:
    arguments = (phantom.ct, phantom.labels, phantom.world_from_voxel)
    both = render(*arguments, [3, 9], camera, oblique_pose, TABLES)
    assert both.images[:, 1].max() == 0.0
    assert np.isnan(both.outside[1])
    assert both.outside[0] == 0.0
    none = render(*arguments, [9], camera, oblique_pose, TABLES)
    assert none.images.max() == 0.0
    assert np.isnan(none.outside[0])


@pytest.mark.parametrize(("method", "tolerance"), [("march", 0.003), ("walk", 0.02)])
def test_a_sphere_has_its_chords(method: str, tolerance: float) -> None:
    # A ball of 40 mm radius at 1 mm voxels, partial volume at its surface as a CT has it: in HU, where the
    # density is linear (relative attenuation), over one label.
    size, radius = 92, 40.0
    shape = (size, size, size)
    middle = (size - 1) / 2 + np.array([0.2, -0.3, 0.1])
    distance = np.sqrt(sum((g - c) ** 2 for g, c in zip(np.indices(shape), middle, strict=True)))
    ct = np.clip(1000 * np.clip(radius - distance + 0.5, 0, 1) - 1000, HU_MIN, 3071).astype(np.int16)
    pose = moved(nominal_pose(middle[::-1], 820.0), np.array([0.3, -0.2, 0.4, 3.0, 2.0, 0.0]), middle[::-1])
    camera = Camera(1000.0, 0.8, (140, 140), (69.5, 69.5))
    image = render(ct, None, np.eye(4), [0], camera, pose, TABLES[:1], conserve_sums=False, method=method).images[0, 0]  # type: ignore[arg-type]
    centre = (pose @ [*middle[::-1], 1])[:3]
    y, x = camera.pixel_centres_mm()
    direction = np.stack(np.broadcast_arrays(x, y, 1000.0), axis=-1)
    direction /= np.linalg.norm(direction, axis=-1, keepdims=True)
    offset = np.linalg.norm(centre - (direction @ centre)[..., None] * direction, axis=-1)
    core = offset < 0.9 * radius
    chord = 2 * np.sqrt(radius**2 - offset[core] ** 2)
    assert np.sqrt(np.mean((image[core] / chord - 1) ** 2)) < tolerance


def test_coarse_pixels_keep_the_sums_of_small_objects() -> None:
    shape = (40, 40, 40)
    labels = ball(shape, (20, 20, 20), 4.0).astype(np.uint8)
    ct = np.full(shape, 40, np.int16)
    camera = Camera(1000.0, 3.2, (24, 24), (11.5, 11.5))
    volume = labels.sum() / 1000
    for pose in random_poses(np.full(3, 20.0), 6, seed=3):
        sums = render(ct, labels, np.eye(4), [1], camera, pose, TABLES[1:2]).images.sum()
        assert sums == pytest.approx(volume, rel=5e-3)


class TestBadInput:
    @pytest.fixture
    def arguments(self, phantom: Phantom, camera: Camera, oblique_pose: np.ndarray) -> dict:
        return {
            "ct": phantom.ct,
            "labels": phantom.labels,
            "world_from_voxel": phantom.world_from_voxel,
            "label_ids": [3, 5],
            "camera": camera,
            "camera_from_ct": oblique_pose,
            "tables": TABLES,
        }

    def test_source_inside_the_volume(self, arguments: dict, phantom: Phantom) -> None:
        arguments["camera_from_ct"] = nominal_pose(phantom.centre_mm, 5.0)
        with pytest.raises(MskdexError, match="source lies inside"):
            render(**arguments)

    def test_volume_behind_the_source(self, arguments: dict, phantom: Phantom) -> None:
        arguments["camera_from_ct"] = nominal_pose(phantom.centre_mm, -500.0)
        with pytest.raises(MskdexError, match="source lies inside the volume or beyond"):
            render(**arguments)

    def test_pose_of_nan(self, arguments: dict) -> None:
        arguments["camera_from_ct"] = np.full((4, 4), np.nan)
        with pytest.raises(MskdexError, match="NaN"):
            render(**arguments)

    def test_pose_that_scales(self, arguments: dict) -> None:
        arguments["camera_from_ct"] = arguments["camera_from_ct"] @ np.diag([1.1, 1, 1, 1])
        with pytest.raises(MskdexError, match="not rigid"):
            render(**arguments)

    def test_pose_that_mirrors(self, arguments: dict) -> None:
        arguments["camera_from_ct"] = arguments["camera_from_ct"] @ np.diag([-1.0, 1, 1, 1])
        with pytest.raises(MskdexError, match="not rigid"):
            render(**arguments)

    def test_singular_affine(self, arguments: dict) -> None:
        arguments["world_from_voxel"] = np.diag([1.0, 1.0, 0.0, 1.0])
        with pytest.raises(MskdexError, match="singular"):
            render(**arguments)

    def test_hu_out_of_range(self, arguments: dict) -> None:
        ct = arguments["ct"].copy()
        ct[3, 4, 5] = -1207
        with pytest.raises(MskdexError, match="-1207"):
            render(**{**arguments, "ct": ct})

    @pytest.mark.parametrize(
        ("key", "value", "message"),
        [
            ("labels", np.zeros((3, 3, 3), np.uint8), "one shape"),
            ("ct", np.zeros((44, 36, 40), np.float32), "int16"),
            ("label_ids", [3, 3], "different"),
            ("label_ids", [255], "0 to 254"),
            ("tables", TABLES[:, :100], "tables"),
            ("camera_from_ct", np.zeros((3, 4, 4)), "per object"),
            ("step_mm", 0.0, "step_mm"),
            ("device", "cuda:7", "cuda:7"),
        ],
    )
    def test_other_arguments(self, arguments: dict, key: str, value: object, message: str) -> None:
        with pytest.raises(MskdexError, match=message):
            render(**{**arguments, key: value})
