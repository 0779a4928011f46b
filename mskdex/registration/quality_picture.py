"""The picture for quality control: segmentation, bone outlines before and after, checkerboard."""

import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from mskdex.config.objects import Channel
from mskdex.drr.density import Density, render_density
from mskdex.imaging.radiograph import Radiograph
from mskdex.io.artifacts import atomic_path
from mskdex.io.volume import Volume
from mskdex.registration.bodies import RigidBody, find_bodies
from mskdex.registration.fixed_image import FixedImage

_COLOURS = ("#ffb000", "#22c1c3", "#fe6100", "#a684ff", "#48d858", "#ff7ab6")
_PIXEL_MM = 1.6
_OUTLINE_MM = 1.0
_LINE = 200
"""Letters that fit the picture's width."""


def draw(
    ct: Volume,
    labels: np.ndarray,
    radiograph: Radiograph,
    poses: Mapping[str, Mapping[str, Any]],
    channels: Sequence[Channel],
    out: Path,
) -> None:
    """Draws the quality-control picture of one patient.

    Args:
        ct, labels: the CT and its labels.
        radiograph: as imported.
        poses: "bodies" of pose.json.
        channels: the cohort's objects.
        out: PNG to write.
    """
    bodies = find_bodies(ct.array, labels, ct.world_from_voxel, channels)
    view = FixedImage(radiograph.image, radiograph.field, radiograph.camera).at(_PIXEL_MM)
    figure = Figure(figsize=(15, 4.4), dpi=80, layout="constrained")
    axes = figure.subplots(1, 5)
    _slices(axes[0], axes[1], ct, labels, radiograph.view)
    drrs = _drrs(bodies, poses, view)
    _overlay(axes[2], view, {n: d["start"] for n, d in drrs.items()}, "start")
    _overlay(axes[3], view, {n: d["end"] for n, d in drrs.items() if "end" in d}, "registered")
    _checkerboard(axes[4], view, [d["end"] for d in drrs.values() if "end" in d])
    caption = "\n".join(textwrap.fill(line, _LINE, subsequent_indent="    ") for line in _lines(poses))
    figure.supxlabel(caption, fontsize=8, x=0.01, ha="left")
    with atomic_path(out) as temporary:
        FigureCanvasAgg(figure).print_png(temporary)


def _drrs(
    bodies: Mapping[str, RigidBody], poses: Mapping[str, Mapping[str, Any]], view: FixedImage
) -> dict[str, dict[str, np.ndarray]]:
    images: dict[str, dict[str, np.ndarray]] = {}
    for name, entry in poses.items():
        if name in bodies:
            density = Density.of(bodies[name].excess, bodies[name].world_from_voxel)
            given = {"start": entry["start"], "end": entry["camera_from_ct"]}
            images[name] = {
                key: render_density(density, view.camera, np.array(pose), step_mm=2.0)
                for key, pose in given.items()
                if pose is not None
            }
    return images


def _slices(coronal: Axes, axial: Axes, ct: Volume, labels: np.ndarray, direction: str) -> None:
    depth = int(np.median(np.nonzero(labels)[1])) if labels.any() else ct.array.shape[1] // 2
    height = int(np.median(np.nonzero(labels)[0])) if labels.any() else ct.array.shape[0] // 2
    sx, sy, sz = ct.spacing_mm
    cuts = (
        (coronal, ct.array[::-1, depth], labels[::-1, depth], sz / sx, "CT, coronal"),
        (axial, ct.array[height, ::-1], labels[height, ::-1], sy / sx, "CT, axial"),
    )
    for axes, image, mask, aspect, title in cuts:
        axes.imshow(image[:, ::-1], cmap="gray", vmin=-150, vmax=450, aspect=aspect, interpolation="nearest")
        shown = np.ma.masked_equal(mask[:, ::-1], 0)
        axes.imshow(shown, cmap="tab20", vmin=1, vmax=20, alpha=0.45, aspect=aspect, interpolation="nearest")
        _plain(axes, f"{title} (as the {direction} view)")


def _overlay(axes: Axes, view: FixedImage, drrs: Mapping[str, np.ndarray], title: str) -> None:
    axes.imshow(_shown(view), cmap="gray", vmin=0, vmax=1)
    for number, (_, drr) in enumerate(sorted(drrs.items())):
        if (drr > _OUTLINE_MM).any():
            axes.contour(drr, [_OUTLINE_MM], colors=[_COLOURS[number % len(_COLOURS)]], linewidths=0.9)
    _plain(axes, title if drrs else f"{title}: none")


def _checkerboard(axes: Axes, view: FixedImage, drrs: Sequence[np.ndarray]) -> None:
    shown = _shown(view)
    if drrs:
        total = np.sum(drrs, axis=0)
        scaled = np.clip(total / max(float(np.percentile(total, 99.5)), 1e-6), 0, 1)
        row, column = np.indices(shown.shape) // 16
        shown = np.where((row + column) % 2 == 0, shown, scaled)
    axes.imshow(shown, cmap="gray", vmin=0, vmax=1)
    _plain(axes, "checkerboard: radiograph, DRR")


def _shown(view: FixedImage) -> np.ndarray:
    values = view.image[view.field]
    low, high = np.percentile(values, [1, 99.7]) if values.size else (0.0, 1.0)
    return np.where(view.field, np.clip((view.image - low) / max(high - low, 1e-6), 0, 1), 0.0)


def _plain(axes: Axes, title: str) -> None:
    axes.set_title(title, fontsize=9)
    axes.set_xticks([])
    axes.set_yticks([])


def _lines(poses: Mapping[str, Mapping[str, Any]]) -> list[str]:
    lines = []
    for name, entry in poses.items():
        if entry["accepted"]:
            spread = f"± {entry['sd_mm']:.1f} mm, {entry['sd_deg']:.1f}°" if entry["sd_mm"] is not None else ""
            lines.append(f"{name}: registered, confidence {entry['confidence']:.2f} {spread}")
        else:
            lines.append(f"{name}: not registered: {entry['reason']}")
    return lines
