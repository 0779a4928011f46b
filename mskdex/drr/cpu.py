"""The object-wise kernels on the CPU, over all threads."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float32, Float64, Int16, Int64, Real, UInt8

from mskdex.compute.parallel import in_chunks
from mskdex.drr.march import LANES, march
from mskdex.drr.rays import make_rays
from mskdex.drr.sampling import Sampling
from mskdex.drr.scene import Scene
from mskdex.drr.skipping import (
    BLOCK,
    CELL_SHIFT,
    MIXED,
    TILE,
    classify_cells,
    distance_of_blocks,
    occupied_blocks,
    tile_depths,
)
from mskdex.drr.views import View
from mskdex.drr.walk import walk
from mskdex.geometry.camera import Camera


def render_views(
    scene: Scene,
    views: Sequence[View],
    camera: Camera,
    tables: Float32[np.ndarray, "q hu"],
    sampling: Sampling,
    images: Float32[np.ndarray, "poses q n h w"],
) -> None:
    """Fills `images` (P, Q, N, H, W), zero before, with the objects of each view; without voxels they stay zero."""
    for view in views:
        if view.box is None:
            continue
        target = images[view.index]
        if len(view.members) == target.shape[1]:
            _add_images(scene, view, camera, tables, sampling, target)
        else:
            part = np.zeros((len(tables), len(view.members), *camera.shape), np.float32)
            _add_images(scene, view, camera, tables, sampling, part)
            target[:, list(view.members)] = part


def _add_images(
    scene: Scene,
    view: View,
    camera: Camera,
    tables: Float32[np.ndarray, "q hu"],
    sampling: Sampling,
    images: Float32[np.ndarray, "q members h w"],
) -> None:
    assert view.box is not None
    step = sampling.step_mm if sampling.method == "march" else 1.0
    rays = make_rays(camera, scene.world_from_voxel, view.pose, step, sampling.conserve_sums)
    lookup = label_lookup(view.ids, range(len(view.ids)))
    cells, blocks = skip_map(scene, lookup, view.box)
    reach = _tile_depths(scene, blocks, camera, view.pose)
    if sampling.method == "march":
        volume: tuple[np.ndarray, ...] = (scene.ct, scene.labels, cells, blocks)
        limits = cell_limits(view.box)
    else:
        volume = (scene.ct, scene.labels, blocks)
        limits = np.ascontiguousarray(view.box[:, ::-1] - 0.5)
    kernel = march if sampling.method == "march" else walk
    for start in range(0, len(tables), LANES):
        part = tables[start : start + LANES]
        table = np.zeros((tables.shape[1], LANES), np.float32)
        table[:, : len(part)] = part.T
        constants = (*volume, lookup, table, limits, rays.coefficients, rays.slope, rays.weight, step, reach)
        _over_rows(kernel, constants, view.oversampling, images[start : start + len(part)])


def _over_rows(
    kernel: Callable[..., None],
    constants: tuple[Any, ...],
    oversampling: int,
    images: Float32[np.ndarray, "lanes members h w"],
) -> None:
    def rows(start: int, stop: int) -> None:
        line, seen = np.zeros((*images.shape[1:4:2], LANES), np.float32), np.zeros(images.shape[1], np.uint8)
        kernel(*constants, oversampling, images, line, seen, start, stop)

    in_chunks(rows, images.shape[2])


def _tile_depths(
    scene: Scene, blocks: UInt8[np.ndarray, "kz ky kx"], camera: Camera, pose: Float64[np.ndarray, "4 4"]
) -> Float64[np.ndarray, "tilerows tilecolumns 2"]:
    """Depths (tile rows, tile columns, 2) between which the rays of each tile of pixels can meet an object."""
    reach = np.empty((*(-(-n // TILE) for n in camera.shape), 2))
    matrix = pose @ scene.world_from_voxel
    matrix[:3, 3] -= matrix[:3, :3].sum(axis=1) * CELL_SHIFT
    cone = camera.beam == "cone"
    scale = (camera.sdd_mm if cone else 1.0) / camera.pixel_mm
    tile_depths(blocks, matrix[:3].copy(), int(cone), scale, np.array(camera.principal_point_px, float), reach)
    return reach


def label_lookup(ids: Sequence[int], objects: Sequence[int]) -> Int16[np.ndarray, "256"]:
    """Object of each cell value (256,) int16: -1 for a cell of several labels, -2 for a label of no object."""
    lookup = np.full(256, -2, np.int16)
    lookup[MIXED] = -1
    lookup[list(ids)] = objects
    return lookup


def cell_limits(box: Real[np.ndarray, "2 3"]) -> Float64[np.ndarray, "2 3"]:
    """Box (2, 3), x y z, of cell coordinates in which the voxels of a box (2, 3), z y x, are felt."""
    return np.ascontiguousarray(np.stack([box[0] + 1.0, box[1] + 2.0])[:, ::-1])


def skip_map(
    scene: Scene, lookup: Int16[np.ndarray, "256"], box: Int64[np.ndarray, "2 3"]
) -> tuple[UInt8[np.ndarray, "cz cy cx"], UInt8[np.ndarray, "kz ky kx"]]:
    """The label that each cell's corners share, and each block's distance to one that may hold an object."""
    cells = np.empty([n + 3 for n in scene.ct.shape], np.uint8)
    low, high = box[0], np.minimum(box[1] + 3, cells.shape)
    in_chunks(lambda a, b: classify_cells(scene.labels, cells, low, high, a, b), cells.shape[0])
    blocks = np.empty([-(-n // BLOCK) for n in cells.shape], np.uint8)
    in_chunks(lambda a, b: occupied_blocks(cells, lookup, blocks, low, high, a, b), blocks.shape[0], 1)
    distance_of_blocks(blocks)
    return cells, blocks
