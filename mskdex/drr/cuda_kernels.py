"""The object-wise march in Triton; the same samples and weights as the CPU kernel.

A program is one warp of 32 rays, one to a thread, so that every value stays in a register of its ray's thread: nothing
is exchanged but votes of the warp. A pixel belongs to one thread, which alone reads and writes it.
"""

import triton
import triton.language as tl

from mskdex.drr.skipping import BLOCK

TILE_ROWS, TILE_COLUMNS = 4, 8
"""Pixels of a program: rays close to each other leave empty space at about the same time, and 8 are a memory sector."""

OPTIONS = {"num_warps": 1, "enable_fp_fusion": True}
"""Of the compiler; whether products are added unrounded is said because Triton's default changes."""

_ROWS, _COLUMNS, _EDGE = tl.constexpr(TILE_ROWS), tl.constexpr(TILE_COLUMNS), tl.constexpr(BLOCK)


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
def _linear(terms, row, column, stride: tl.constexpr):
    """Value of the terms (1, row, column), `stride` apart, at each ray; float64."""
    return tl.load(terms) + tl.load(terms + stride) * row + tl.load(terms + 2 * stride) * column


@triton.jit
def _any(condition):
    """Whether it holds for a ray of the warp."""
    return tl.max(condition.to(tl.int32), axis=0) > 0


@triton.jit
def _low(pair):
    return pair.to(tl.int32).to(tl.float32, bitcast=True)


@triton.jit
def _high(pair):
    return (pair >> 32).to(tl.int32).to(tl.float32, bitcast=True)


@triton.jit
def _add(hu, table, place, share, s0, s1, s2, s3, quantities: tl.constexpr):
    """Adds `share` of the quantities of the voxels at `place`; two of them come in one load of 64 bits."""
    entry = tl.load(hu + place).to(tl.int32)
    pair = tl.load(table + 2 * entry)
    s0 += share * _low(pair)
    if quantities > 1:
        s1 += share * _high(pair)
    if quantities > 2:
        pair = tl.load(table + 2 * entry + 1)
        s2 += share * _low(pair)
    if quantities > 3:
        s3 += share * _high(pair)
    return s0, s1, s2, s3


@triton.jit
def _add_to_image(target, stride, value, where):
    tl.store(target, tl.load(target, mask=where, other=0.0) + value, mask=where)
    return target + stride


@triton.jit
def _flush(target, pixels, stride, owner, where, s0, s1, s2, s3, quantities: tl.constexpr):
    """Adds the sums to the pixels of the object `owner` of each ray."""
    target += owner.to(tl.int64) * pixels
    target = _add_to_image(target, stride, s0, where)
    if quantities > 1:
        target = _add_to_image(target, stride, s1, where)
    if quantities > 2:
        target = _add_to_image(target, stride, s2, where)
    if quantities > 3:
        _add_to_image(target, stride, s3, where)


@triton.jit
def _change(target, pixels, stride, owner, current, where, s0, s1, s2, s3, quantities: tl.constexpr):
    """Goes on with the sums of the object `owner` where that is another one."""
    change = where & (owner != current)
    if _any(change):
        _flush(target, pixels, stride, current, change & (current >= 0), s0, s1, s2, s3, quantities)
        s0, s1 = tl.where(change, 0.0, s0), tl.where(change, 0.0, s1)
        s2, s3 = tl.where(change, 0.0, s2), tl.where(change, 0.0, s3)
        current = tl.where(change, owner, current)
    return current, s0, s1, s2, s3


@triton.jit(
    do_not_specialize=[
        "hu",
        "labels",
        "cells",
        "blocks",
        "lookup",
        "table",
        "box",
        "coefficients",
        "group",
        "oversampling",
        "first_pixel",
        "slope",
        "out",
        "slices",
        "lines",
        "width",
        "rows",
        "columns",
        "objects",
        "step",
        "w_constant",
        "w_quadratic",
        "oblique",
    ]
)
def march_views(
    hu,
    labels,
    cells,
    blocks,
    lookup,
    table,
    box,
    coefficients,
    group,
    oversampling,
    first_pixel,
    slope,
    out,
    slices,
    lines,
    width,
    rows,
    columns,
    objects,
    step,
    w_constant,
    w_quadratic,
    oblique,
    quantities: tl.constexpr,
):
    """Adds the rays of a tile of pixels (program axis 0) of a view (axis 1) to `out`.

    Nothing is specialised on: no size, count or alignment of an argument leads to another compilation.

    Args:
        hu: (slices, lines, width) int16, entries of the table, in cell coordinates: two voxels around the volume.
        labels, cells: (slices, lines, width) uint8, as `resident.Resident`.
        blocks: (groups, blocks) uint8 distances. lookup: (groups, 256) int16, object of a label, -1 mixed, -2 none.
        table: (HU range, 2) int64, each two quantities in float32.
        box: (groups, 2, 3) float64, cell coordinates (x, y, z) that hold every object of a group.
        coefficients: (views, 6, 3) float64 of `Rays`. group, oversampling: (views,) int32.
        first_pixel: (views,) int64, where in `out` a view's first image begins. slope: (2, 3) float64 of `Rays`.
        out: (…, quantities, objects, rows, columns) float32.
        step: mm of depth. w_constant, w_quadratic, oblique: weight of `Rays`.
    """
    across = tl.cdiv(columns, _COLUMNS)
    tile, view = tl.program_id(0), tl.program_id(1)
    ray = tl.arange(0, _ROWS * _COLUMNS)
    pixel_row = tile // across * _ROWS + ray // _COLUMNS
    pixel_column = tile % across * _COLUMNS + ray % _COLUMNS
    real = (pixel_row < rows) & (pixel_column < columns)
    pixels = rows * columns
    stride = objects.to(tl.int64) * pixels
    target = out + tl.load(first_pixel + view) + pixel_row * columns + pixel_column
    member = tl.load(group + view)
    block_lines, block_width = tl.cdiv(lines, _EDGE), tl.cdiv(width, _EDGE)
    blocks += member.to(tl.int64) * tl.cdiv(slices, _EDGE) * block_lines * block_width
    lookup += member * 256
    box += member * 6
    origin = coefficients + view * 18
    sub = tl.load(oversampling + view)
    for part in range(sub * sub):
        row = pixel_row.to(tl.float64) + ((part // sub) + 0.5) / sub - 0.5
        column = pixel_column.to(tl.float64) + ((part % sub) + 0.5) / sub - 0.5
        ox, dx = _linear(origin, row, column, 3) + 2.0, _linear(origin + 9, row, column, 3)
        oy, dy = _linear(origin + 1, row, column, 3) + 2.0, _linear(origin + 10, row, column, 3)
        oz, dz = _linear(origin + 2, row, column, 3) + 2.0, _linear(origin + 11, row, column, 3)
        near, far = tl.zeros_like(ox), tl.zeros_like(ox) + 1e6
        near, far = _interval(ox, dx, tl.load(box), tl.load(box + 3), near, far)
        near, far = _interval(oy, dy, tl.load(box + 1), tl.load(box + 4), near, far)
        near, far = _interval(oz, dz, tl.load(box + 2), tl.load(box + 5), near, far)
        first = tl.ceil(near / step)
        count = tl.where(real & (far >= near), tl.floor(far / step) - first, -1.0).to(tl.int32)
        x0, gx = (ox + dx * first * step).to(tl.float32), (dx * step).to(tl.float32)
        y0, gy = (oy + dy * first * step).to(tl.float32), (dy * step).to(tl.float32)
        z0, gz = (oz + dz * first * step).to(tl.float32), (dz * step).to(tl.float32)
        depth0 = (first * step).to(tl.float32)
        sx, sy = _linear(slope, row, column, 1), _linear(slope + 3, row, column, 1)
        obliquity = tl.where(oblique > 0, tl.sqrt(1.0 + sx * sx + sy * sy), 1.0)
        scale = (obliquity / (sub * sub)).to(tl.float32)
        s0, s1, s2, s3 = tl.zeros_like(x0), tl.zeros_like(x0), tl.zeros_like(x0), tl.zeros_like(x0)
        current = tl.full([_ROWS * _COLUMNS], -1, tl.int32)
        k = tl.zeros_like(current)
        while tl.max(count - k, axis=0) >= 0:
            active = k <= count
            f = k.to(tl.float32)
            x, y, z = x0 + f * gx, y0 + f * gy, z0 + f * gz
            i, j, n = x.to(tl.int32), y.to(tl.int32), z.to(tl.int32)
            place = (n * lines + j) * width + i
            cell = tl.load(cells + place, mask=active, other=0)
            owner = tl.load(lookup + cell, mask=active, other=-2).to(tl.int32)
            felt = active & (owner != -2)
            if _any(felt):
                # Rays without a sample here take the volume's first voxel, with no weight: loads need no mask.
                place = tl.where(felt, place, 0)
                depth = depth0 + f * step
                w = tl.where(felt, scale * (w_constant + w_quadratic * depth * depth), 0.0)
                fx, fy, fz = x - i.to(tl.float32), y - j.to(tl.float32), z - n.to(tl.float32)
                if _any(felt & (owner == -1)):
                    for corner in tl.static_range(8):
                        c, b, a = corner % 2, (corner // 2) % 2, corner // 4
                        at = place + (a * lines + b) * width + c
                        own = tl.load(lookup + tl.load(labels + at)).to(tl.int32)
                        own = tl.where(owner == -1, own, owner)
                        held = felt & (own >= 0)
                        current, s0, s1, s2, s3 = _change(
                            target, pixels, stride, own, current, held, s0, s1, s2, s3, quantities
                        )
                        share = w * (fx if c else 1.0 - fx) * (fy if b else 1.0 - fy) * (fz if a else 1.0 - fz)
                        share = tl.where(held, share, 0.0)
                        s0, s1, s2, s3 = _add(hu, table, at, share, s0, s1, s2, s3, quantities)
                else:
                    current, s0, s1, s2, s3 = _change(
                        target, pixels, stride, owner, current, felt, s0, s1, s2, s3, quantities
                    )
                    for corner in tl.static_range(8):
                        c, b, a = corner % 2, (corner // 2) % 2, corner // 4
                        at = place + (a * lines + b) * width + c
                        share = w * (fx if c else 1.0 - fx) * (fy if b else 1.0 - fy) * (fz if a else 1.0 - fz)
                        s0, s1, s2, s3 = _add(hu, table, at, share, s0, s1, s2, s3, quantities)
            empty = active & (owner == -2)
            if _any(empty):
                block = (n // _EDGE * block_lines + j // _EDGE) * block_width + i // _EDGE
                distance = tl.load(blocks + block, mask=empty, other=0).to(tl.float32)
                skipped = tl.minimum(tl.minimum(_rest(x, gx, distance), _rest(y, gy, distance)), _rest(z, gz, distance))
                k += tl.where(empty & (distance > 0), tl.minimum(skipped, 1e6).to(tl.int32), 0)
            k += 1
        _flush(target, pixels, stride, current, real & (current >= 0), s0, s1, s2, s3, quantities)
