"""The object-wise march on a CUDA device: all views of a batch in one launch, over a scene that stays there."""

import contextlib
import os
from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float32, Float64, Int16, Int32, Int64, Shaped, UInt8
from torch import Tensor

from mskdex.drr.cpu import cell_limits, label_lookup
from mskdex.drr.cuda_kernels import OPTIONS, TILE_COLUMNS, TILE_ROWS, march_views
from mskdex.drr.march import LANES
from mskdex.drr.rays import make_rays
from mskdex.drr.resident import Resident, resident
from mskdex.drr.sampling import Sampling
from mskdex.drr.scene import Scene
from mskdex.drr.views import View
from mskdex.errors import MskdexError
from mskdex.geometry.camera import Camera

LAUNCH_BYTES = 2**30
"""Images of one launch: larger batches of poses are rendered in parts, so that they fit any device's memory."""

LAUNCH_VIEWS = 65535
"""The second axis of a CUDA grid holds no more programs."""


def render_views(
    scene: Scene,
    views: Sequence[View],
    camera: Camera,
    tables: Float32[np.ndarray, "q hu"],
    sampling: Sampling,
    images: Float32[np.ndarray, "poses q n h w"],
    device: str = "cuda",
) -> None:
    """As `cpu.render_views`, on a CUDA device; under `TRITON_INTERPRET=1` on the CPU, for tests.

    The scene is copied to the device at the first call and stays there as long as it is held, see `resident.resident`.

    Raises:
        MskdexError: no such device, too little memory on it, or the exact walk, which only the CPU has.
    """
    place = _checked_device(device, sampling)
    on_device = torch.cuda.device(place) if place.type == "cuda" else contextlib.nullcontext()
    count = LAUNCH_BYTES // (4 * min(len(tables), LANES) * int(np.prod(images.shape[2:])))
    count = max(1, min(count, LAUNCH_VIEWS // images.shape[2]))
    try:
        with on_device:
            held = resident(scene, place)
            for start in range(0, len(images), count):
                part = [v for v in views if start <= v.index < start + count and v.box is not None]
                if part:
                    _render(held, scene, part, camera, tables, sampling, images[start : start + count], start)
    except torch.cuda.OutOfMemoryError as error:
        msg = f"the memory of {device} does not hold a CT of {scene.ct.shape} voxels and its images; choose device cpu"
        raise MskdexError(msg) from error


def _render(
    held: Resident,
    scene: Scene,
    views: Sequence[View],
    camera: Camera,
    tables: Float32[np.ndarray, "q hu"],
    sampling: Sampling,
    images: Float32[np.ndarray, "part q n h w"],
    first_index: int,
) -> None:
    place = held.hu.device
    objects, rows, columns = images.shape[2:]
    rays = [make_rays(camera, scene.world_from_voxel, v.pose, sampling.step_mm, sampling.conserve_sums) for v in views]
    numbers, lookup, blocks, boxes = _groups(held, views)
    tiles = -(-rows // TILE_ROWS) * -(-columns // TILE_COLUMNS)
    for start in range(0, len(tables), LANES):
        part = tables[start : start + LANES]
        out = torch.zeros((len(images), len(part), *images.shape[2:]), device=place)
        first_pixel = np.array([(v.index - first_index) * out[0].numel() for v in views])
        march_views[(tiles, len(views))](
            held.hu,
            held.labels,
            held.cells,
            blocks,
            lookup,
            _packed(part, place),
            boxes,
            _on(np.stack([r.coefficients for r in rays]), place),
            _on(numbers, place),
            _on(np.array([v.oversampling for v in views], np.int32), place),
            _on(first_pixel, place),
            _on(rays[0].slope, place),
            out,
            *held.hu.shape,
            rows,
            columns,
            objects,
            sampling.step_mm,
            *rays[0].weight[:2].tolist(),
            int(rays[0].weight[2]),
            quantities=len(part),
            **OPTIONS,
        )
        torch.from_numpy(images[:, start : start + len(part)]).copy_(out)


def _groups(
    held: Resident, views: Sequence[View]
) -> tuple[
    Int32[np.ndarray, "views"],
    Int16[Tensor, "groups 256"],
    UInt8[Tensor, "groups kz ky kx"],
    Float64[Tensor, "groups 2 3"],
]:
    """Each view's group (V,) int32, and of the groups, views of the same objects, lookup, distances and box."""
    groups = list(dict.fromkeys(v.members for v in views))
    shown = {v.members: v for v in views}
    lookup, blocks, boxes = [], [], []
    for members in groups:
        view = shown[members]
        assert view.box is not None
        lookup.append(label_lookup(view.ids, members))
        blocks.append(held.distances(view.ids, view.box))
        boxes.append(cell_limits(view.box))
    place = held.hu.device
    numbers = np.array([groups.index(v.members) for v in views], np.int32)
    return numbers, _on(np.stack(lookup), place), torch.stack(blocks), _on(np.stack(boxes), place)


def _packed(tables: Float32[np.ndarray, "lanes hu"], place: torch.device) -> Int64[Tensor, "hu 2"]:
    """Up to four quantities as (HU range, 2) int64, two float32 in each."""
    packed = np.zeros((tables.shape[1], LANES), np.float32)
    packed[:, : len(tables)] = tables.T
    return _on(packed.view(np.int64), place)


def _on(array: Shaped[np.ndarray, "*shape"], place: torch.device) -> Shaped[Tensor, "*shape"]:
    return torch.from_numpy(np.ascontiguousarray(array)).to(place)


def _checked_device(device: str, sampling: Sampling) -> torch.device:
    if sampling.method != "march":
        msg = f"method {sampling.method} runs on the CPU only; choose device cpu, or method march"
        raise MskdexError(msg)
    if os.environ.get("TRITON_INTERPRET") == "1":
        return torch.device("cpu")
    index = int(device.partition(":")[2] or 0)
    if not torch.cuda.is_available() or index >= torch.cuda.device_count():
        found = torch.cuda.device_count()
        msg = f"device {device} is asked for, but torch finds {found} CUDA devices; choose auto or cpu"
        raise MskdexError(msg)
    return torch.device("cuda", index)
