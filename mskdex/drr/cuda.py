"""The object-wise march in Triton, for CUDA devices; the same samples and weights as the CPU kernel."""

import os
from collections.abc import Sequence

import numpy as np
import torch
import triton
import triton.language as tl

from mskdex.drr.cpu import cell_limits, label_lookup, skip_map
from mskdex.drr.rays import make_rays
from mskdex.drr.sampling import Sampling
from mskdex.drr.scene import Scene
from mskdex.drr.skipping import BLOCK
from mskdex.errors import MskdexError
from mskdex.geometry.camera import Camera
from mskdex.quantities import HU_MIN

PIXELS = 64
"""Pixels of a program: two warps, so that rays of one program leave empty space at about the same time."""

_LOWEST_HU = tl.constexpr(HU_MIN)
_EDGE = tl.constexpr(BLOCK)


@triton.jit
def _interval(origin, direction, low, high, first, last):
    """Narrows the depths first … last to where low ≤ origin + depth · direction ≤ high."""
    safe = tl.where(tl.abs(direction) < 1e-12, 1e-12, direction)
    a, b = (low - origin) / safe, (high - origin) / safe
    return tl.maximum(first, tl.minimum(a, b)), tl.minimum(last, tl.maximum(a, b))


@triton.jit
def _rest(x, g, distance):
    """Steps along one axis to the end of the block at `x` and through `distance` - 1 further ones."""
    place = x - _EDGE * tl.floor(x / _EDGE)
    rest = tl.where(g > 0, _EDGE - place, place) + (distance - 1) * _EDGE
    return rest / tl.maximum(tl.abs(g), 1e-6)


@triton.jit
def _linear(coefficients, axis, part, row, column):
    """Component `axis` of the origin (part 0) or direction (part 1) of the rays, float64."""
    base = coefficients + 9 * part + axis
    return tl.load(base) + tl.load(base + 3) * row + tl.load(base + 6) * column


@triton.jit
def _march(
    hu,
    labels,
    cells,
    blocks,
    lookup,
    table,
    coefficients,
    slope,
    box,
    out,
    nz,
    ny,
    nx,
    cells_y,
    cells_x,
    blocks_y,
    blocks_x,
    columns,
    pixels,
    objects,
    step,
    w_constant,
    w_quadratic,
    oblique: tl.constexpr,
    sub: tl.constexpr,
    quantities: tl.constexpr,
    size: tl.constexpr,
):
    """Adds the rays of `size` pixels to `out` (quantities, objects, pixels); see `march.march` for the arguments."""
    pixel = tl.program_id(0) * size + tl.arange(0, size)
    real = pixel < pixels
    lane = tl.arange(0, 4)[None, :]
    for part in range(sub * sub):
        row = (pixel // columns).to(tl.float64) + ((part // sub) + 0.5) / sub - 0.5
        column = (pixel % columns).to(tl.float64) + ((part % sub) + 0.5) / sub - 0.5
        ox = _linear(coefficients, 0, 0, row, column) + 2.0
        oy = _linear(coefficients, 1, 0, row, column) + 2.0
        oz = _linear(coefficients, 2, 0, row, column) + 2.0
        dx = _linear(coefficients, 0, 1, row, column)
        dy = _linear(coefficients, 1, 1, row, column)
        dz = _linear(coefficients, 2, 1, row, column)
        near, far = tl.zeros([size], tl.float64), tl.full([size], 1e6, tl.float64)
        near, far = _interval(ox, dx, tl.load(box), tl.load(box + 3), near, far)
        near, far = _interval(oy, dy, tl.load(box + 1), tl.load(box + 4), near, far)
        near, far = _interval(oz, dz, tl.load(box + 2), tl.load(box + 5), near, far)
        first = tl.ceil(near / step)
        count = tl.where(real & (far >= near), tl.floor(far / step) - first, -1.0).to(tl.int32)
        x0 = (ox + dx * first * step).to(tl.float32)
        y0 = (oy + dy * first * step).to(tl.float32)
        z0 = (oz + dz * first * step).to(tl.float32)
        gx, gy, gz = (dx * step).to(tl.float32), (dy * step).to(tl.float32), (dz * step).to(tl.float32)
        depth0 = (first * step).to(tl.float32)
        scale = tl.full([size], 1.0 / (sub * sub), tl.float32)
        if oblique:
            sx = tl.load(slope) + tl.load(slope + 1) * row + tl.load(slope + 2) * column
            sy = tl.load(slope + 3) + tl.load(slope + 4) * row + tl.load(slope + 5) * column
            scale = scale * tl.sqrt(1.0 + sx * sx + sy * sy).to(tl.float32)
        sums = tl.zeros([size, 4], tl.float32)
        current = tl.full([size], -1, tl.int32)
        k = tl.zeros([size], tl.int32)
        while tl.max(count - k, axis=0) >= 0:
            active = k <= count
            f = k.to(tl.float32)
            x, y, z = x0 + f * gx, y0 + f * gy, z0 + f * gz
            i, j, n = x.to(tl.int32), y.to(tl.int32), z.to(tl.int32)
            cell = tl.load(cells + (n.to(tl.int64) * cells_y + j) * cells_x + i, mask=active, other=0)
            owner = tl.load(lookup + cell, mask=active, other=-2).to(tl.int32)
            uniform, mixed = active & (owner >= 0), active & (owner == -1)
            change = uniform & (owner != current)
            flush = (change & (current >= 0))[:, None] & (lane < quantities)
            target = out + (lane * objects + current[:, None]).to(tl.int64) * pixels + pixel[:, None]
            tl.atomic_add(target, sums, mask=flush)
            sums = tl.where(change[:, None], 0.0, sums)
            current = tl.where(change, owner, current)
            depth = depth0 + f * step
            w = scale * (w_constant + w_quadratic * depth * depth)
            fx, fy, fz = x - i.to(tl.float32), y - j.to(tl.float32), z - n.to(tl.float32)
            for corner in tl.static_range(8):
                c, b, a = corner % 2, (corner // 2) % 2, corner // 4
                xx, yy, zz = i - 2 + c, j - 2 + b, n - 2 + a
                held = (xx >= 0) & (xx < nx) & (yy >= 0) & (yy < ny) & (zz >= 0) & (zz < nz) & (uniform | mixed)
                place = (zz.to(tl.int64) * ny + yy) * nx + xx
                share = w * (fx if c else 1.0 - fx) * (fy if b else 1.0 - fy) * (fz if a else 1.0 - fz)
                entry = tl.load(hu + place, mask=held, other=_LOWEST_HU).to(tl.int32) - _LOWEST_HU
                value = share[:, None] * tl.load(table + entry[:, None] * 4 + lane, mask=held[:, None], other=0.0)
                sums += tl.where(uniform[:, None], value, 0.0)
                label = tl.load(labels + place, mask=held & mixed, other=0)
                own = tl.load(lookup + label, mask=held & mixed, other=-2).to(tl.int32)
                target = out + (lane * objects + own[:, None]).to(tl.int64) * pixels + pixel[:, None]
                tl.atomic_add(target, value, mask=(held & mixed & (own >= 0))[:, None] & (lane < quantities))
            block = (n // _EDGE).to(tl.int64) * blocks_y * blocks_x + (j // _EDGE) * blocks_x + i // _EDGE
            empty = active & (owner == -2)
            distance = tl.load(blocks + block, mask=empty, other=0).to(tl.float32)
            leap = tl.minimum(tl.minimum(_rest(x, gx, distance), _rest(y, gy, distance)), _rest(z, gz, distance))
            k += tl.where(empty & (distance > 0), tl.minimum(leap, 1e6).to(tl.int32) + 1, 1)
        flush = (real & (current >= 0))[:, None] & (lane < quantities)
        target = out + (lane * objects + current[:, None]).to(tl.int64) * pixels + pixel[:, None]
        tl.atomic_add(target, sums, mask=flush)


def add_images(
    scene: Scene,
    ids: Sequence[int],
    camera: Camera,
    pose: np.ndarray,
    tables: np.ndarray,
    sampling: Sampling,
    images: np.ndarray,
    device: str = "cuda",
) -> None:
    """As `cpu.add_images`, on a CUDA device; under `TRITON_INTERPRET=1` on the CPU, for tests.

    Raises:
        MskdexError: no such device, or the exact walk, which only the CPU has.
    """
    device = _checked_device(device, sampling)
    box = scene.box(ids)
    if box is None:
        return
    scene.depths_mm(box, camera, pose)
    rays = make_rays(camera, scene.world_from_voxel, pose, sampling.step_mm, sampling.conserve_sums)
    lookup = label_lookup(ids)
    cells, blocks = skip_map(scene, lookup, box)
    arrays = (scene.ct, scene.labels, cells, blocks, lookup)
    constants = (rays.coefficients, rays.slope, cell_limits(box))
    pixels = camera.shape[0] * camera.shape[1]
    on_device = [torch.from_numpy(np.ascontiguousarray(a)).to(device) for a in (*arrays, *constants)]
    for start in range(0, len(tables), 4):
        part = tables[start : start + 4]
        table = torch.zeros((tables.shape[1], 4))
        table[:, : len(part)] = torch.from_numpy(np.ascontiguousarray(part.T))
        out = torch.zeros((len(part), len(ids), pixels), device=device)
        _march[(triton.cdiv(pixels, PIXELS),)](
            *on_device[:5],
            table.to(device),
            *on_device[5:],
            out,
            *scene.ct.shape,
            *cells.shape[1:],
            *blocks.shape[1:],
            camera.shape[1],
            pixels,
            len(ids),
            sampling.step_mm,
            float(rays.weight[0]),
            float(rays.weight[1]),
            oblique=not sampling.conserve_sums,
            sub=sampling.oversampling,
            quantities=len(part),
            size=PIXELS,
        )
        images[start : start + len(part)] = out.cpu().numpy().reshape(len(part), len(ids), *camera.shape)


def _checked_device(device: str, sampling: Sampling) -> str:
    if sampling.method != "march":
        msg = f"method {sampling.method} runs on the CPU only; choose device cpu, or method march"
        raise MskdexError(msg)
    if os.environ.get("TRITON_INTERPRET") == "1":
        return "cpu"
    index = int(device.partition(":")[2] or 0)
    if not torch.cuda.is_available() or index >= torch.cuda.device_count():
        found = torch.cuda.device_count()
        msg = f"device {device} is asked for, but torch finds {found} CUDA devices; choose auto or cpu"
        raise MskdexError(msg)
    return device
