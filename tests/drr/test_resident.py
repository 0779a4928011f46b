"""A scene on a device: what may be skipped there, one copy of it, and its end."""

import gc
import weakref
from dataclasses import replace

import numpy as np
import pytest
import torch
from rendering_phantoms import Phantom
from scipy.ndimage import distance_transform_cdt

from mskdex.drr.resident import FAR, is_resident, resident
from mskdex.drr.scene import Scene
from mskdex.drr.skipping import BLOCK, MIXED
from mskdex.errors import MskdexError
from mskdex.quantities import HU_MIN

CPU = torch.device("cpu")


@pytest.fixture
def scene(phantom: Phantom) -> Scene:
    return Scene.of(phantom.ct, phantom.labels, phantom.world_from_voxel)


def test_the_arrays_are_the_volume_with_nothing_around_it(scene: Scene) -> None:
    held = resident(scene, CPU)
    inside = tuple(slice(2, 2 + n) for n in scene.ct.shape)
    around = np.ones(held.hu.shape, bool)
    around[inside] = False
    np.testing.assert_array_equal(held.hu.numpy()[inside] + HU_MIN, scene.ct)
    np.testing.assert_array_equal(held.labels.numpy()[inside], scene.labels)
    assert (held.labels.numpy()[around] == MIXED).all()
    assert min(np.array(held.hu.shape) - scene.ct.shape) >= 4
    labels = held.labels.numpy().astype(int)
    for cell in np.random.default_rng(0).integers(0, np.array(labels.shape) - 1, (3000, 3)):
        corners = labels[tuple(slice(c, c + 2) for c in cell)]
        shared = corners.min() if corners.min() == corners.max() else MIXED
        assert held.cells[tuple(cell)] == shared


@pytest.mark.parametrize("ids", [[3], [5, 3], [7]])
def test_distances_are_the_chessboard_s_to_cells_that_may_hold_the_objects(scene: Scene, ids: list[int]) -> None:
    held = resident(scene, CPU)
    box = scene.box(ids)
    assert box is not None
    cells, low, high = held.cells.numpy(), box[0], box[1] + 3
    felt = np.isin(cells, [*ids, MIXED])
    occupied = np.zeros([n // BLOCK for n in cells.shape], bool)
    for place in np.argwhere(felt):
        if (place >= low // BLOCK * BLOCK).all() and (place // BLOCK <= (high - 1) // BLOCK).all():
            occupied[tuple(place // BLOCK)] = True
    expected = distance_transform_cdt(~occupied, "chessboard")
    found = held.distances(ids, box)
    assert found.dtype == torch.uint8
    assert expected.max() > 1
    np.testing.assert_array_equal(found.numpy(), expected)
    assert expected.max() < FAR


def test_a_scene_is_copied_once_and_freed_with_it(phantom: Phantom) -> None:
    scene = Scene.of(phantom.ct, phantom.labels, phantom.world_from_voxel)
    assert not is_resident(scene, CPU)
    held = resident(scene, CPU)
    assert resident(scene, CPU) is held
    assert is_resident(scene, CPU)
    memory = weakref.ref(held.hu.untyped_storage())
    del held, scene
    gc.collect()
    assert memory() is None


def test_arrays_that_cannot_be_written_are_copied(scene: Scene) -> None:
    ct = scene.ct.copy()
    ct.flags.writeable = False
    held, same = resident(replace(scene, ct=ct), CPU), resident(scene, CPU)
    assert held is not same
    assert torch.equal(held.hu, same.hu)


def test_a_volume_beyond_the_kernel_s_indices_is_refused() -> None:
    shape = (2048, 1024, 1024)
    ct, labels = (np.broadcast_to(np.zeros(1, dtype), shape) for dtype in (np.int16, np.uint8))
    huge = Scene(ct, labels, np.eye(4), np.zeros((256, 6), np.int64), np.zeros(256, np.int64))
    with pytest.raises(MskdexError, match="too large for rendering on cpu; choose device cpu"):
        resident(huge, CPU)
