"""Line integrals equal those of another project: ITK-RTK's projector by Joseph's method (Rit et al. 2014)."""

import itk
import numpy as np
import pytest
from itk import RTK
from rendering_phantoms import random_poses
from scipy.ndimage import gaussian_filter
from scipy.spatial.transform import Rotation

from mskdex.drr.density import Density, render_density
from mskdex.geometry.camera import Camera

pytestmark = pytest.mark.filterwarnings("ignore:builtin type .* has no __module__ attribute:DeprecationWarning")
"""Of ITK's own modules, as they are loaded; raised as an error it ends the process."""

CAMERA = Camera(1000.0, 2.5, (56, 52), (29.3, 24.6))
SHAPE = (40, 36, 44)
CENTRE = np.array([13.0, -22.0, 35.0])
POSES = random_poses(CENTRE, 10, seed=7)


def body() -> np.ndarray:
    """A textured ellipsoid that falls smoothly to nothing, float32 (z, y, x), so that no edge of a voxel counts."""
    grid = np.stack(np.indices(SHAPE), axis=-1) - (np.array(SHAPE) - 1) / 2
    radius = np.linalg.norm(grid / [17, 15, 19], axis=-1)
    texture = gaussian_filter(np.random.default_rng(3).normal(size=SHAPE), 3.0)
    return ((1 + 5 * texture) * np.clip(1 - radius, 0, None) ** 2).astype(np.float32)


def affine(angles_deg: tuple[float, float, float], spacing_mm: tuple[float, float, float]) -> np.ndarray:
    """World from voxel of a grid about `CENTRE`."""
    found = np.eye(4)
    found[:3, :3] = Rotation.from_euler("xyz", angles_deg, degrees=True).as_matrix() @ np.diag(spacing_mm)
    found[:3, 3] = CENTRE - found[:3, :3] @ ((np.array(SHAPE[::-1]) - 1) / 2)
    return found


def joseph(values: np.ndarray, world_from_voxel: np.ndarray, poses: list[np.ndarray]) -> np.ndarray:
    """RTK's line integrals in density times mm, (poses, H, W) of `CAMERA`."""
    volume = itk.image_from_array(values)
    spacing = np.linalg.norm(world_from_voxel[:3, :3], axis=0)
    volume.SetSpacing(spacing.tolist())
    volume.SetOrigin(world_from_voxel[:3, 3].tolist())
    volume.SetDirection(itk.matrix_from_array(world_from_voxel[:3, :3] / spacing))
    geometry = RTK.ThreeDCircularProjectionGeometry.New()
    point, vector = itk.Point[itk.D, 3], itk.Vector[itk.D, 3]
    for pose in poses:
        right, down, forward = pose[:3, :3]
        source = -pose[:3, :3].T @ pose[:3, 3]
        places = (point(p.tolist()) for p in (source, source + CAMERA.sdd_mm * forward))
        geometry.AddProjection(*places, vector(right.tolist()), vector(down.tolist()))
    empty = itk.image_from_array(np.zeros((len(poses), *CAMERA.shape), np.float32))
    row, column = CAMERA.principal_point_px
    empty.SetSpacing([CAMERA.pixel_mm, CAMERA.pixel_mm, 1.0])
    empty.SetOrigin([-column * CAMERA.pixel_mm, -row * CAMERA.pixel_mm, 0.0])
    image = itk.Image[itk.F, 3]
    projector = RTK.JosephForwardProjectionImageFilter[image, image].New()
    projector.SetInput(0, empty)
    projector.SetInput(1, volume)
    projector.SetGeometry(geometry)
    projector.Update()
    return np.array(itk.array_from_image(projector.GetOutput()))


@pytest.mark.parametrize(
    "world_from_voxel",
    [
        affine((0.0, 0.0, 0.0), (1.6, 1.6, 1.6)),
        affine((21.0, -13.0, 37.0), (1.2, 1.7, 2.1)),
        affine((-8.0, 44.0, 171.0), (2.0, 1.4, 1.5)),
    ],
    ids=["upright", "oblique", "oblique and turned"],
)
def test_line_integrals_equal_rtks(world_from_voxel: np.ndarray) -> None:
    values = body()
    expected = joseph(values, world_from_voxel, POSES)
    found = render_density(Density.of(values, world_from_voxel), CAMERA, np.stack(POSES), step_mm=0.5)
    peaks = expected.max(axis=(1, 2))
    assert (peaks > 5.0).all()
    assert (np.abs(found - expected).max(axis=(1, 2)) <= 0.005 * peaks).all()
