"""Labels and HU of every voxel in one pass: from the voxel back to the template, and what lies there."""

import numpy as np
from numba import njit

from mskdex.imaging.quantities import HU_MIN
from mskdex.virtual.grid import trilinear
from mskdex.virtual.template import Tissue
from mskdex.virtual.tissue import bone_hu, fat_share

_MUSCLE, _BONE = int(Tissue.MUSCLE), int(Tissue.BONE)
_METAL = int(Tissue.METAL)
_SHELL_MM = 2.0
"""A thicker cortical shell marks a bone with a shaft."""


@njit(cache=True, fastmath=True)
def _transform(matrix, x, y, z, out):
    for d in range(3):
        out[d] = matrix[d, 0] * x + matrix[d, 1] * y + matrix[d, 2] * z + matrix[d, 3]


@njit(cache=True, fastmath=True)
def _shifted(field, origin, cell, point, move):
    trilinear(field, (point[0] - origin[0]) / cell, (point[1] - origin[1]) / cell, (point[2] - origin[2]) / cell, move)
    for d in range(3):
        point[d] += move[d]


@njit(cache=True, fastmath=True)
def _index(point, inverse_scale, origin, voxel, shape, where):
    """Template index of a person's point; False beside the template."""
    for d in range(3):
        where[d] = (point[d] * inverse_scale[d] - origin[d]) / voxel
    where[2] = min(max(where[2], 0.0), shape[0] - 1.001)
    return 0.0 <= where[0] < shape[2] - 1.001 and 0.0 <= where[1] < shape[1] - 1.001


@njit(cache=True, fastmath=True)
def _strength(where, labels, depths, mine):
    """How deep a point lies in a body's bones; 0 outside."""
    i, j, k = int(where[0]), int(where[1]), int(where[2])
    corners, deep = 0, 0.0
    for c in range(8):
        if mine[labels[k + (c >> 2), j + ((c >> 1) & 1), i + (c & 1)]]:
            corners += 1
            deep += depths[k + (c >> 2), j + ((c >> 1) & 1), i + (c & 1)]
    return corners + deep


@njit(cache=True, fastmath=True)
def fill(
    shape, start, spacing, to_person, occupied, posture, person, inverse_poses, boxes, mine, template, made_of,
    soft_bone,
    lean_density, out_labels, out_hu, volumes, masses,
):  # fmt: skip
    """Fills a grid.

    Args:
        shape, start, spacing: the grid.
        to_person: 4×4 from the grid's frame to the frame of `posture`.
        occupied: (bool (z, y, x), origin, cell) in the frame of `posture`; elsewhere is air.
        posture: (shift, origin, cell) of soft tissue; an empty shift is the reference posture.
        person: (shift, origin, cell, 1 / scale) from the person to the template.
        inverse_poses: (bodies, 4, 4), reference from posed, of each rigid body.
        boxes: (bodies, 6), low and high x, y, z of each body in the posed frame.
        mine: bool (bodies, labels), the labels of each body.
        template: (labels, depth, origin, voxel).
        made_of: (hu, tissue, threshold, cortex_mm, axis, cortex_hu, noise) of `tissue.Composition`.
        soft_bone: label that bone becomes where no body claims it: what a soft deformation drags out of a bone.
        lean_density: (HU range,), lean mass per cm³ by HU.
        out_labels, out_hu: (z, y, x).
        volumes, masses: (labels,), voxels of each label, partial ones in part, and the same times lean density.
    """
    labels, depths, origin, voxel = template
    at, point, where, rival = np.empty(3), np.empty(3), np.empty(3), np.empty(3)
    move = np.empty(3, np.float32)
    found, weight = np.empty(8, np.int64), np.empty(8)
    for k in range(shape[0]):
        for j in range(shape[1]):
            for i in range(shape[2]):
                _transform(to_person, start[0] + spacing * i, start[1] + spacing * j, start[2] + spacing * k, at)
                a = int(np.rint((at[0] - occupied[1][0]) / occupied[2]))
                b = int(np.rint((at[1] - occupied[1][1]) / occupied[2]))
                c = int(np.rint((at[2] - occupied[1][2]) / occupied[2]))
                a = min(max(a, 0), occupied[0].shape[2] - 1)
                b = min(max(b, 0), occupied[0].shape[1] - 1)
                if not occupied[0][min(max(c, 0), occupied[0].shape[0] - 1), b, a]:
                    out_hu[k, j, i] = made_of[0][0]
                    volumes[0] += 1.0
                    continue
                point[:] = at
                if posture[0].size:
                    _shifted(posture[0], posture[1], posture[2], point, move)
                _shifted(person[0], person[1], person[2], point, move)
                inside = _index(point, person[3], origin, voxel, labels.shape, where)
                claimed, best = len(inverse_poses) == 0, 0.0
                for b in range(len(inverse_poses)):
                    near = True
                    for d in range(3):
                        near = near and boxes[b, d] <= at[d] <= boxes[b, d + 3]
                    if near:
                        _transform(inverse_poses[b], at[0], at[1], at[2], point)
                        _shifted(person[0], person[1], person[2], point, move)
                        if _index(point, person[3], origin, voxel, labels.shape, rival):
                            strength = _strength(rival, labels, depths, mine[b])
                            if strength > best:
                                claimed, inside, best = True, True, strength
                                where[:] = rival
                if inside:
                    label, value = _mixture(
                        where,
                        labels,
                        depths,
                        origin,
                        voxel,
                        made_of,
                        claimed,
                        soft_bone,
                        lean_density,
                        volumes,
                        masses,
                        found,
                        weight,
                    )
                    out_labels[k, j, i], out_hu[k, j, i] = label, value
                else:
                    out_hu[k, j, i] = made_of[0][0]
                    volumes[0] += 1.0


@njit(cache=True, fastmath=True)
def _mixture(
    where, labels, depths, origin, voxel, made_of, claimed, soft_bone, lean_density, volumes, masses, found, weight
):
    """Label and HU at a template index: the eight voxels around it, each by its share."""
    hu_of, tissue_of, threshold, cortex, axis, cortex_hu, noise = made_of
    i, j, k = int(where[0]), int(where[1]), int(where[2])
    first, same = labels[k, j, i], True
    for c in range(1, 8):
        same = same and labels[k + (c >> 2), j + ((c >> 1) & 1), i + (c & 1)] == first
    kind = tissue_of[first]
    if same and kind != _MUSCLE and kind != _BONE:
        volumes[first] += 1.0
        return first, hu_of[first]
    fx, fy, fz = where[0] - i, where[1] - j, where[2] - k
    many, depth = 0, 0.0
    for c in range(8):
        w = (fx if c & 1 else 1 - fx) * (fy if c & 2 else 1 - fy) * (fz if c & 4 else 1 - fz)
        label = np.int64(labels[k + (c >> 2), j + ((c >> 1) & 1), i + (c & 1)])
        depth += w * depths[k + (c >> 2), j + ((c >> 1) & 1), i + (c & 1)]
        if not claimed and (tissue_of[label] == _BONE or tissue_of[label] == _METAL):
            label = soft_bone
        m = 0
        while m < many and found[m] != label:
            m += 1
        if m == many:
            found[m], weight[m] = label, 0.0
            many += 1
        weight[m] += w
    x, y, z = origin[0] + voxel * where[0], origin[1] + voxel * where[1], origin[2] + voxel * where[2]
    best, value = 0, 0.0
    for m in range(many):
        label = found[m]
        volumes[label] += weight[m]
        if weight[m] > weight[best]:
            best = m
        here = np.float64(hu_of[label])
        if tissue_of[label] == _MUSCLE:
            here += fat_share(x, y, z, axis[label], threshold[label], noise, depth) * (-100.0 - here)
        elif tissue_of[label] == _BONE:
            shaft = cortex[label] > _SHELL_MM
            here = bone_hu(x, y, z, here, cortex[label], cortex_hu, depth, noise, shaft)
        entry = min(max(int(np.rint(here)) - HU_MIN, 0), len(lean_density) - 1)
        masses[label] += weight[m] * lean_density[entry]
        value += weight[m] * here
    return found[best], value
