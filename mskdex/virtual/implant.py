"""A metal hip in a template: head, neck, stem and cup."""

import numpy as np

from mskdex.deformation.template import Template, Tissue, label_depth
from mskdex.virtual.solids import Points, capsule, ellipsoid

_HEAD_MM, _CUP_MM, _SHELL_MM = 16.0, 27.0, 4.0
_STEM_LENGTH_MM, _STEM_RADII_MM = 130.0, (9.0, 5.0)


def with_implant(template: Template, side: str) -> Template:
    """The template with a total hip replacement on one side.

    Args:
        template: a body with femur_{side} and the centre of its head.
        side: "left" or "right".
    """
    head = template.heads_mm[side]
    axes = [template.origin_mm[d] + template.voxel_mm * np.arange(template.labels.shape[2 - d]) for d in range(3)]
    points: Points = (axes[0][None, None, :], axes[1][None, :, None], axes[2][:, None, None])
    labels = template.labels.copy()
    femur = labels == template.label(f"femur_{side}")
    top, tip = (_shaft_centre(femur, axes, head[2] - drop) for drop in (45.0, _STEM_LENGTH_MM))
    labels[femur & (ellipsoid(points, head, (_CUP_MM,) * 3) > 0)] = template.label("cartilage")
    stem = np.maximum(capsule(points, head, top, (7.0, 8.0)), capsule(points, top, tip, _STEM_RADII_MM))
    ball = ellipsoid(points, head, (_HEAD_MM,) * 3)
    shell = _SHELL_MM / 2.0 - np.abs(np.sqrt(sum((p - c) ** 2 for p, c in zip(points, head, strict=True))) - _CUP_MM)
    inward = -np.sign(head[0])
    cup = np.minimum(shell, 0.8 * inward * (points[0] - head[0]) + 0.5 * (points[2] - head[2]) + 4.0)
    count = len(template.names)
    labels[cup > 0], labels[np.maximum(stem, ball) > 0] = count, count + 1
    tissues = np.r_[template.tissues, [Tissue.METAL] * 2]
    depth = label_depth(labels, tissues, template.voxel_mm)
    names = (*template.names, f"cup_{side}", f"stem_{side}")
    return Template(labels, template.origin_mm, template.voxel_mm, names, tissues, depth, template.heads_mm)


def _shaft_centre(femur: np.ndarray, axes: list[np.ndarray], z_mm: float) -> np.ndarray:
    k = int(np.argmin(np.abs(axes[2] - z_mm)))
    y, x = np.nonzero(femur[k])
    return np.array([axes[0][x].mean(), axes[1][y].mean(), axes[2][k]])
