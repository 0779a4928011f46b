"""Labels and HU of every voxel in one pass: from the voxel back to the template, and what lies there."""

import numpy as np

from mskdex.compute.affine import moved
from mskdex.compute.kernels import kernel
from mskdex.deformation.coarse_grid import trilinear
from mskdex.deformation.template import Tissue
from mskdex.quantities import FAT_HU, HU_MIN
from mskdex.virtual.tissue import bone_hu, fat_share

_MUSCLE, _BONE = int(Tissue.MUSCLE), int(Tissue.BONE)
_METAL = int(Tissue.METAL)
_SHELL_MM = 2.0
"""A thicker cortical shell marks a bone with a shaft."""

BODILY, FIRST_BODY = 1, 2
"""Bits of a cell that holds more than air, and of one that may hold bone of body 0; body b's is FIRST_BODY << b."""


@kernel
def _index(to_template, labels, x, y, z):
    """Template index of a point of the scaled template; False beside the template."""
    u = x * to_template[0, 0] + to_template[1, 0]
    v = y * to_template[0, 1] + to_template[1, 1]
    w = z * to_template[0, 2] + to_template[1, 2]
    w = min(max(w, 0.0), labels.shape[0] - 1.001)
    return u, v, w, 0.0 <= u < labels.shape[2] - 1.001 and 0.0 <= v < labels.shape[1] - 1.001


@kernel
def _shifted_index(shift, at, to_template, labels, x, y, z):
    """Template index of a point that `shift` takes to the scaled template; False beside the template."""
    du, dv, dw = trilinear(shift, (x - at[0]) * at[3], (y - at[1]) * at[3], (z - at[2]) * at[3])
    return _index(to_template, labels, x + du, y + dv, z + dw)


@kernel
def _between_rows(field, y, z, row):
    """Sets `row` to a field (z, y, x, 3) between its rows, at the indices y and z, held at the edges."""
    y, z = min(max(y, 0.0), field.shape[1] - 1.001), min(max(z, 0.0), field.shape[0] - 1.001)
    j, k = int(y), int(z)
    fy, fz = np.float32(y - j), np.float32(z - k)
    for i in range(row.shape[0]):
        for c in range(3):
            low = field[k, j, i, c] + fy * (field[k, j + 1, i, c] - field[k, j, i, c])
            high = field[k + 1, j, i, c] + fy * (field[k + 1, j + 1, i, c] - field[k + 1, j, i, c])
            row[i, c] = low + fz * (high - low)


@kernel
def _within_row(row, x):
    x = min(max(x, 0.0), row.shape[0] - 1.001)
    i = int(x)
    f = np.float32(x - i)
    return (
        row[i, 0] + f * (row[i + 1, 0] - row[i, 0]),
        row[i, 1] + f * (row[i + 1, 1] - row[i, 1]),
        row[i, 2] + f * (row[i + 1, 2] - row[i, 2]),
    )


@kernel
def _strength(u, v, w, labels, depths, body_of, body):
    """How deep a point lies in a body's bones; 0 outside."""
    i, j, k = int(u), int(v), int(w)
    strength = 0.0
    for c in range(2):
        for b in range(2):
            for a in range(2):
                if body_of[labels[k + c, j + b, i + a]] == body:
                    strength += 1.0 + depths[k + c, j + b, i + a]
    return strength


@kernel
def _shares(fx, fy, fz, labels, i, j, k, kinds, in_bone, soft_bone, found, weight):
    """Sets `found` and `weight` to the labels of the eight voxels around a point; returns how many labels."""
    many = 0
    for c in range(2):
        for b in range(2):
            for a in range(2):
                label = int(labels[k + c, j + b, i + a])
                if not in_bone and (kinds[label] == _BONE or kinds[label] == _METAL):
                    label = soft_bone
                m = 0
                while m < many and found[m] != label:
                    m += 1
                if m == many:
                    found[m], weight[m] = label, 0.0
                    many += 1
                weight[m] += (fz if c else 1.0 - fz) * (fy if b else 1.0 - fy) * (fx if a else 1.0 - fx)
    return many


@kernel
def _mixture(
    u,
    v,
    w,
    labels,
    depths,
    to_template,
    kinds,
    properties,
    noise,
    cortex_hu,
    in_bone,
    soft_bone,
    lean_density,
    with_hu,
    volumes,
    masses,
    found,
    weight,
):
    """Label and HU at a template index: the eight voxels around it, each by its share."""
    i, j, k = int(u), int(v), int(w)
    first, many = int(labels[k, j, i]), 1
    for c in range(2):
        for b in range(2):
            for a in range(2):
                if labels[k + c, j + b, i + a] != first:
                    many = 2
    fx, fy, fz = u - i, v - j, w - k
    found[0], weight[0] = first, 1.0
    if many > 1:
        many = _shares(fx, fy, fz, labels, i, j, k, kinds, in_bone, soft_bone, found, weight)
    elif not in_bone and (kinds[first] == _BONE or kinds[first] == _METAL):
        found[0] = soft_bone
    best, value = 0, 0.0
    for m in range(many):
        volumes[found[m]] += weight[m]
        if weight[m] > weight[best]:
            best = m
    if with_hu:
        depth = 0.0
        if many > 1 or kinds[first] == _MUSCLE or kinds[first] == _BONE:
            for c in range(2):
                for b in range(2):
                    side = (fz if c else 1.0 - fz) * (fy if b else 1.0 - fy)
                    depth += side * ((1.0 - fx) * depths[k + c, j + b, i] + fx * depths[k + c, j + b, i + 1])
        x = (u - to_template[1, 0]) * to_template[2, 0]
        y = (v - to_template[1, 1]) * to_template[2, 1]
        z = (w - to_template[1, 2]) * to_template[2, 2]
        for m in range(many):
            label = found[m]
            here = properties[label, 0]
            if kinds[label] == _MUSCLE:
                axis_x, axis_y, axis_z = properties[label, 3], properties[label, 4], properties[label, 5]
                share = fat_share(x, y, z, axis_x, axis_y, axis_z, properties[label, 1], noise, depth)
                here += share * (FAT_HU - here)
            elif kinds[label] == _BONE:
                shell = properties[label, 2]
                here = bone_hu(x, y, z, here, shell, cortex_hu, depth, noise, shell > _SHELL_MM)
            entry = min(max(int(np.rint(here)) - HU_MIN, 0), len(lean_density) - 1)
            masses[label] += weight[m] * lean_density[entry]
            value += weight[m] * here
    return found[best], value


@kernel
def fill(
    from_index,
    cells,
    cells_at,
    soft,
    soft_at,
    bony,
    bony_at,
    inverse_poses,
    labels,
    depths,
    to_template,
    body_of,
    kinds,
    properties,
    noise,
    cortex_hu,
    soft_bone,
    lean_density,
    with_hu,
    out_labels,
    out_hu,
    volumes,
    masses,
    found,
    weight,
    row,
):
    """Fills a grid.

    Args:
        from_index: (4, 4), from the grid's index to mm in the frame of `soft`.
        cells: uint8 (z, y, x), bits of what a cell may hold. cells_at: its origin x, y, z and 1 / cell size.
        soft: (z, y, x, 3), from a point of soft tissue to the scaled template. soft_at: as `cells_at`.
        bony: likewise, from a point of the reference posture. bony_at: as `cells_at`.
        inverse_poses: (bodies, 4, 4), reference from posed, of each rigid body; none in the reference posture.
        labels, depths: of the template. to_template: (2, 3), factor and offset from the scaled template to its index.
        body_of: int64 (labels,), the body of each label, or -1.
        kinds: int64 (labels,), `Tissue`. properties: float64 (labels, 6), HU, threshold, cortex in mm, fibre axis.
        noise, cortex_hu: of `tissue.Composition`.
        soft_bone: label that bone becomes where no body claims it: what a soft deformation drags out of a bone.
        lean_density: (HU range,), lean mass per cm³ by HU.
        with_hu: 0 leaves out HU and masses.
        out_labels, out_hu: (z, y, x), zero and air before.
        volumes, masses: (labels,), voxels of each label, partial ones in part, and the same times lean density.
        found, weight: (8,), scratch. row: float32 (x of `soft`, 3), scratch.
    """
    bodies = inverse_poses.shape[0]
    along = from_index[1, 0] == 0.0 and from_index[2, 0] == 0.0
    for k in range(out_labels.shape[0]):
        for j in range(out_labels.shape[1]):
            row_known = False
            for i in range(out_labels.shape[2]):
                x, y, z = moved(from_index, float(i), float(j), float(k))
                a = int(np.rint((x - cells_at[0]) * cells_at[3]))
                b = int(np.rint((y - cells_at[1]) * cells_at[3]))
                c = int(np.rint((z - cells_at[2]) * cells_at[3]))
                a = min(max(a, 0), cells.shape[2] - 1)
                b = min(max(b, 0), cells.shape[1] - 1)
                here = int(cells[min(max(c, 0), cells.shape[0] - 1), b, a])
                if here == 0:
                    volumes[0] += 1.0
                    continue
                if along:
                    if not row_known:
                        _between_rows(soft, (y - soft_at[1]) * soft_at[3], (z - soft_at[2]) * soft_at[3], row)
                        row_known = True
                    du, dv, dw = _within_row(row, (x - soft_at[0]) * soft_at[3])
                    u, v, w, inside = _index(to_template, labels, x + du, y + dv, z + dw)
                else:
                    u, v, w, inside = _shifted_index(soft, soft_at, to_template, labels, x, y, z)
                in_bone, best = bodies == 0, 0.0
                for body in range(bodies):
                    if here & (FIRST_BODY << body):
                        p, q, r = moved(inverse_poses[body], x, y, z)
                        p, q, r, on_map = _shifted_index(bony, bony_at, to_template, labels, p, q, r)
                        if on_map:
                            strength = _strength(p, q, r, labels, depths, body_of, body)
                            if strength > best:
                                in_bone, inside, best = True, True, strength
                                u, v, w = p, q, r
                if inside:
                    label, value = _mixture(
                        u,
                        v,
                        w,
                        labels,
                        depths,
                        to_template,
                        kinds,
                        properties,
                        noise,
                        cortex_hu,
                        in_bone,
                        soft_bone,
                        lean_density,
                        with_hu,
                        volumes,
                        masses,
                        found,
                        weight,
                    )
                    out_labels[k, j, i] = label
                    out_hu[k, j, i] = value
                else:
                    volumes[0] += 1.0
