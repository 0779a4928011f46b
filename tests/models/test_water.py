import numpy as np
import pytest
import torch

from mskdex.drr.render import render
from mskdex.geometry.camera import Camera
from mskdex.models.water import WATER_PER_MM, volume_per_mm, water_per_neper, water_volume

CAMERA = Camera(1100.0, 6.0, (60, 70), (20.0, 40.0))


def test_a_thin_slab_at_the_isocentre_has_its_own_volume():
    y, x = CAMERA.pixel_centres_mm()
    path_mm = 10.0 * np.sqrt(1100.0**2 + x**2 + y**2) / 1100.0  # 10 mm thick, crossed obliquely
    image = WATER_PER_MM * path_mm
    pixel_cm3 = (6.0 * 900.0 / 1100.0) ** 2 * 10.0 / 1000.0
    np.testing.assert_allclose(water_volume(image, CAMERA, 900.0), pixel_cm3, rtol=1e-5)


def test_a_rendered_block_of_water_has_the_volume_of_its_attenuation():
    """Of a block 40 mm thick at the isocentre; its depth changes (z/SDD)² by a thousandth on the mean."""
    ct = np.zeros((40, 60, 60), np.int16)  # z, y, x; 2 mm voxels of water
    world = np.diag([2.0, 2.0, 2.0, 1.0])
    pose = np.eye(4)
    pose[:3, 3] = [-59.0, -59.0, 900.0 - 39.0]
    table = np.ones((1, 4096), np.float32)
    camera = Camera(1100.0, 4.0, (80, 80), (39.5, 39.5))
    volume = render(ct[:20], np.ones((20, 60, 60), np.uint8), world, [1], camera, pose, table, step_mm=0.5).images[0, 0]
    y, x = camera.pixel_centres_mm()
    image = np.where(volume > 0, WATER_PER_MM * 40.0 * np.sqrt(1100.0**2 + x**2 + y**2) / 1100.0, 0.0)
    inner = (slice(30, 50), slice(30, 50))
    np.testing.assert_allclose(water_volume(image, camera, 881.0 - 1.0)[inner], volume[inner], rtol=0.01)


def test_a_parallel_beam_has_no_magnification():
    flat = Camera(1100.0, 2.0, (4, 5), (1.5, 2.0), "parallel")
    np.testing.assert_allclose(volume_per_mm(flat, 700.0), np.full((4, 5), 0.004))


def test_air_below_zero_holds_no_water():
    assert (water_volume(np.full((60, 70), -0.3), CAMERA, 900.0) == 0.0).all()
    assert water_per_neper(CAMERA, 900.0).dtype == np.float32


@pytest.mark.parametrize("pixel", [3.0, 6.0])
def test_the_volume_of_an_image_does_not_depend_on_the_pixels(pixel):
    rows = round(360 / pixel)
    camera = Camera(1000.0, pixel, (rows, rows), ((rows - 1) / 2, (rows - 1) / 2))
    total = torch.as_tensor(water_volume(np.ones((rows, rows)), camera, 800.0)).double().sum().item()
    assert total == pytest.approx(0.64 * 360**2 / WATER_PER_MM / 1000 * 0.98944, rel=1e-3)
