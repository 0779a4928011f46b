"""One density volume: equal to its definition, and its six pose derivatives against central differences."""

import numpy as np
import pytest
from rendering_phantoms import TABLES, Phantom, random_poses
from scipy.ndimage import gaussian_filter

from mskdex.drr.density import Density, render_density, render_with_tangents
from mskdex.drr.reference import render_reference
from mskdex.errors import MskdexError
from mskdex.geometry.camera import Camera, nominal_pose
from mskdex.geometry.pose import difference, inverse, moved
from mskdex.quantities import HU_MIN

CONE = Camera(1000.0, 2.0, (44, 40), (22.3, 18.9))
PARALLEL = Camera(1000.0, 2.0, (44, 40), (22.3, 18.9), "parallel")
CENTRE = np.array([3.0, -2.0, 5.0])


def smooth_volume(dtype: type = np.float64) -> tuple[np.ndarray, np.ndarray]:
    """A body that falls smoothly to nothing, so that its silhouette is smooth too; and its affine."""
    grid = np.stack(np.indices((40, 36, 44)), axis=-1) - [19.5, 17.5, 21.5]
    radius = np.linalg.norm(grid / [13, 11, 15], axis=-1)
    texture = gaussian_filter(np.random.default_rng(3).normal(size=radius.shape), 3)
    affine = np.diag([1.5, 1.2, -1.4, 1.0])
    affine[:3, 3] = CENTRE - affine[:3, :3] @ [21.5, 17.5, 19.5]
    return ((1 + 5 * texture) * np.clip(1 - radius, 0, None) ** 3).astype(dtype), affine


def test_density_equals_the_definition(phantom: Phantom, camera: Camera, oblique_pose: np.ndarray) -> None:
    density = TABLES[0][phantom.ct.astype(int) - HU_MIN] * (phantom.labels == 3)
    prepared = Density.of(density.astype(np.float32), phantom.world_from_voxel)
    for conserve_sums in (False, True):
        expected = render_reference(
            phantom.ct,
            phantom.labels,
            phantom.world_from_voxel,
            [3],
            camera,
            oblique_pose,
            TABLES[:1],
            conserve_sums=conserve_sums,
        )[0, 0]
        found = render_density(prepared, camera, oblique_pose, conserve_sums=conserve_sums)
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5 * expected.max())


def test_a_voxel_at_the_volume_s_corner_keeps_its_mass() -> None:
    density = np.zeros((6, 5, 4), np.float32)
    density[0, 4, 3] = 2.0
    prepared = Density.of(density, np.diag([2.0, 2.0, 2.0, 1.0]))
    camera = Camera(1000.0, 0.25, (80, 80), (39.5, 39.5))
    pose = moved(nominal_pose(np.array([6.0, 8.0, 0.0]), 800), np.array([0.1, 0.2, 0.3, 0, 0, 0]), np.zeros(3))
    image = render_density(prepared, camera, pose, step_mm=0.25, conserve_sums=True)
    assert image.sum() == pytest.approx(2.0 * 8 / 1000, rel=2e-3)


@pytest.mark.parametrize("camera", [CONE, PARALLEL], ids=["cone", "parallel"])
@pytest.mark.parametrize("conserve_sums", [False, True])
@pytest.mark.parametrize("centre", [None, CENTRE], ids=["source", "centre"])
def test_derivatives_against_central_differences(
    camera: Camera, conserve_sums: bool, centre: np.ndarray | None
) -> None:
    density = Density.of(*smooth_volume())
    pose = moved(nominal_pose(CENTRE, 820.0), np.array([0.11, 0.23, -0.17, 3.0, 1.0, 2.0]), CENTRE)
    image, jacobian = render_with_tangents(density, camera, pose, centre_mm=centre, conserve_sums=conserve_sums)
    np.testing.assert_allclose(image, render_density(density, camera, pose, conserve_sums=conserve_sums), rtol=1e-12)
    for axis in range(6):
        h = 1e-8 if axis < 3 else 1e-6
        ends = [
            render_density(
                density, camera, moved(pose, sign * h * np.eye(6)[axis], centre), conserve_sums=conserve_sums
            )
            for sign in (1, -1)
        ]
        numeric = (ends[0] - ends[1]) / (2 * h)
        # Along a parallel beam the image does not change but by the sampling, so errors go by the other axes.
        scale = np.abs(jacobian[:3] if axis < 3 else jacobian[3:]).max()
        # Everywhere, the silhouette's neighbourhood included.
        assert np.abs(numeric - jacobian[axis]).max() < 1e-4 * scale


def test_derivatives_in_single_precision_are_those_in_double() -> None:
    values, affine = smooth_volume()
    pose = random_poses(CENTRE, 1, seed=8)[0]
    double = render_with_tangents(Density.of(values, affine), CONE, pose, centre_mm=CENTRE)
    single = render_with_tangents(Density.of(values.astype(np.float32), affine), CONE, pose, centre_mm=CENTRE)
    assert single[0].dtype == single[1].dtype == np.float32
    np.testing.assert_allclose(single[0], double[0], rtol=0, atol=1e-5 * double[0].max())
    for axis in range(6):
        np.testing.assert_allclose(single[1][axis], double[1][axis], rtol=0, atol=3e-4 * np.abs(double[1][axis]).max())


def test_a_batch_of_poses_is_each_pose() -> None:
    density = Density.of(*smooth_volume(np.float32))
    poses = np.stack(random_poses(CENTRE, 3, seed=4))
    images, jacobians = render_with_tangents(density, CONE, poses, centre_mm=CENTRE)
    assert images.shape == (3, 44, 40)
    assert jacobians.shape == (3, 6, 44, 40)
    image, jacobian = render_with_tangents(density, CONE, poses[2], centre_mm=CENTRE)
    np.testing.assert_array_equal(images[2], image)
    np.testing.assert_array_equal(jacobians[2], jacobian)
    # Another kernel, which the compiler may order otherwise on another processor.
    np.testing.assert_allclose(render_density(density, CONE, poses)[1], images[1], rtol=0, atol=1e-5 * images.max())


def test_gauss_newton_on_the_derivatives_finds_the_pose() -> None:
    # Two views at right angles; a single one leaves depth to noise.
    density = Density.of(*smooth_volume(np.float32))
    quarter = np.array([0.0, np.pi / 2, 0, 0, 0, 0])

    truth = random_poses(CENTRE, 1, seed=6)[0]
    second_from_first = moved(truth, quarter, CENTRE) @ inverse(truth)

    def views(pose: np.ndarray) -> list[np.ndarray]:
        return [pose, second_from_first @ pose]

    targets = [render_density(density, CONE, p) for p in views(truth)]
    pose = moved(truth, np.array([0.02, -0.03, 0.02, 1.0, -1.5, 3.0]), CENTRE)
    for _ in range(15):
        rows, residuals = [], []
        for index, (view, target) in enumerate(zip(views(pose), targets, strict=True)):
            image, jacobian = render_with_tangents(density, CONE, view, centre_mm=CENTRE)
            turn = moved(np.eye(4), index * quarter)[:3, :3]
            by_world = [np.tensordot(turn.T, part, axes=1) for part in (jacobian[:3], jacobian[3:])]
            rows.append(np.concatenate(by_world).reshape(6, -1).T)
            residuals.append((target - image).ravel())
        step = np.linalg.lstsq(np.concatenate(rows).astype(float), np.concatenate(residuals), rcond=None)[0]
        pose = moved(pose, step, CENTRE)
    angle, distance = difference(pose, truth, CENTRE)
    assert distance < 0.01
    assert angle < 0.1


def test_an_empty_volume_is_zero() -> None:
    density = Density.of(np.zeros((4, 5, 6), np.float32), np.eye(4))
    image, jacobian = render_with_tangents(density, CONE, nominal_pose(np.zeros(3), 800.0))
    assert image.max() == np.abs(jacobian).max() == 0.0


def test_bad_input() -> None:
    values, affine = smooth_volume(np.float32)
    density = Density.of(values, affine)
    with pytest.raises(MskdexError, match="source lies inside"):
        render_density(density, CONE, nominal_pose(CENTRE, 3.0))
    with pytest.raises(MskdexError, match="NaN"):
        render_density(density, CONE, np.full((4, 4), np.nan))
    with pytest.raises(MskdexError, match="singular"):
        Density.of(values, np.diag([1.0, 0.0, 1.0, 1.0]))
    with pytest.raises(MskdexError, match="NaN or infinity"):
        Density.of(np.where(values > 0.5, np.nan, values), affine)
    with pytest.raises(MskdexError, match="three dimensions"):
        Density.of(values[0], affine)
