"""Whether labels fit the CT and the anatomy: by HU, by side, by number of pieces."""

from collections.abc import Collection, Sequence
from typing import Any

import numpy as np

from mskdex.config.imaging import CtSettings
from mskdex.config.objects import Channel
from mskdex.errors import MskdexError
from mskdex.imaging.label_holes import fat_cut_out
from mskdex.imaging.label_pieces import label_pieces
from mskdex.imaging.label_places import check_places
from mskdex.imaging.structures import hu_histograms, mean_hu, median_hu, truncated_labels
from mskdex.imaging.usual_volumes import USUAL_VOLUMES_CM3
from mskdex.io.volume import Volume

_BONE_HU = 150
_FLIPS = {"from left to right": 2, "from front to back": 1, "upside down": 0}
_BRIGHT_HU = 100
"""Muscle has 35 to 70 HU, with contrast agent some tens more."""

_IN_PIECES = 0.9
"""Share of a structure in its largest piece below which it is told to be in pieces."""

_FIT_GAIN = 1.5
"""A flip or shift explains a bad fit if it puts this many times more of the bone labels on bone."""
_SHIFT_GRID = 48
_SHIFT_LEAST_STEPS = 2
_SHIFT_LEAST_VOXELS = 50


def structure_facts(
    ct: Volume, labels: Volume, channels: Sequence[Channel], cut: Collection[int] = ()
) -> dict[str, dict[str, Any]]:
    """Voxels, volume, HU, pieces, voxels far away and truncation of every channel that is present, by its name.

    Args:
        ct: HU int16 in RAS order.
        labels: uint8 Channel.label, on the same grid.
        channels: the config's.
        cut: labels that the label file's own edge cuts.

    Returns:
        By channel: voxels, volume_cm3, mean_hu, median_hu, pieces (connected, how many), largest_piece (its share of
        the voxels), far_voxels and farthest_mm (away from the largest piece), truncated (cut by an edge of the CT).
    """
    histograms = hu_histograms(ct.array, labels.array, len(channels))
    truncated = truncated_labels(ct.array, labels.array) | set(cut)
    pieces = label_pieces(labels)
    return {
        c.name: {
            "voxels": int(histograms[c.label].sum()),
            "volume_cm3": float(histograms[c.label].sum() * ct.voxel_volume_cm3),
            "mean_hu": round(mean_hu(histograms[c.label]), 2),
            "median_hu": median_hu(histograms[c.label]),
            "pieces": len(pieces[c.label].sizes),
            "largest_piece": round(pieces[c.label].sizes[0] / sum(pieces[c.label].sizes), 4),
            "far_voxels": pieces[c.label].far_voxels,
            "farthest_mm": round(pieces[c.label].farthest_mm, 1),
            "truncated": c.label in truncated,
        }
        for c in channels
        if histograms[c.label].any()
    }


def check_structures(
    facts: dict[str, dict[str, Any]], ct: Volume, labels: Volume, channels: Sequence[Channel], settings: CtSettings
) -> list[str]:
    """Refuses labels that cannot belong to this CT.

    Args:
        facts: of `structure_facts`.
        ct: HU int16 in RAS order.
        labels: uint8 Channel.label, on the same grid.
        channels: the config's.
        settings: the config's ct section.

    Returns:
        Warnings: structures in several pieces or with voxels far away, muscle that is too bright or whose fat was cut
        out, a patient upside down or front to back.

    Raises:
        MskdexError: bone labels that are not on bone or lie beside it, muscle labels on bone or air, left and right
            swapped, a volume that no patient has.
    """
    _check_volumes(facts, channels, settings)
    _check_hu(facts, ct, labels, channels, settings)
    _check_shift(ct, labels, channels)
    flipped = check_places(labels, channels)
    bright = [c.name for c in channels if c.kind == "muscle" and facts.get(c.name, {}).get("median_hu", 0) > _BRIGHT_HU]
    warning = f"the median of {', '.join(bright)} is above {_BRIGHT_HU} HU, more than muscle has with contrast agent: "
    warning += "slope or intercept may be wrong, or the labels lie on something else"
    return (
        flipped
        + [warning] * bool(bright)
        + fat_cut_out(ct.array, labels.array, channels)
        + [
            f"{name} is in {f['pieces']} pieces, the largest with {100 * f['largest_piece']:.0f} % of it"
            for name, f in facts.items()
            if f["largest_piece"] < _IN_PIECES
        ]
        + [
            f"{name} has voxels far from the rest of it ({f['far_voxels']}, up to {f['farthest_mm']:.0f} mm away), "
            "which count in its volume and mass; look at them, and remove what is not of it"
            for name, f in facts.items()
            if f["far_voxels"] and f["largest_piece"] >= _IN_PIECES  # else its pieces are told already
        ]
    )


def _check_volumes(facts: dict[str, dict[str, Any]], channels: Sequence[Channel], settings: CtSettings) -> None:
    """Refuses volumes far beyond or below the usual ones; what the field cuts may be as small as it likes."""
    for channel in channels:
        usual, found = USUAL_VOLUMES_CM3.get(channel.object), facts.get(channel.name)
        if usual is None or found is None:
            continue
        ratio, whole = found["volume_cm3"] / usual, not found["truncated"]
        if settings.max_volume_ratio is not None and ratio > settings.max_volume_ratio:
            limit = f"more than ct.max_volume_ratio {settings.max_volume_ratio:g} times"
        elif whole and ratio < settings.min_volume_ratio:
            limit = f"less than ct.min_volume_ratio {settings.min_volume_ratio:g} times"
        else:
            continue
        msg = (
            f"label {channel.name} has {found['volume_cm3']:.3g} cm3, {limit} the usual {usual:g} cm3 (of the Visible "
            "Human Male): the voxel size is wrong, or the label means another structure; correct the header or "
            "label_sources, or set the limit for a phantom or an animal"
        )
        raise MskdexError(msg)


def _check_hu(
    facts: dict[str, dict[str, Any]], ct: Volume, labels: Volume, channels: Sequence[Channel], settings: CtSettings
) -> None:
    soft = settings.max_muscle_median_hu
    for channel in channels:
        if channel.name not in facts:
            continue
        median = facts[channel.name]["median_hu"]
        if channel.kind == "bone" and median < settings.min_bone_median_hu:
            limit = f"below {settings.min_bone_median_hu:g}, so it is not bone"
        elif channel.kind == "muscle" and not -soft <= median <= soft:
            limit = f"beyond {soft:g}, so it is not muscle"
        else:
            continue
        advice = _flip_advice(ct, labels, channels) or (
            "labels and CT do not belong together, are shifted, or the id means another structure; look at both in a "
            "viewer, or correct label_sources (the limits are ct.min_bone_median_hu and ct.max_muscle_median_hu)"
        )
        msg = f"label {channel.name} has a median of {median:.0f} HU, {limit}: {advice}"
        raise MskdexError(msg)


def _flip_advice(ct: Volume, labels: Volume, channels: Sequence[Channel]) -> str | None:
    bones = np.isin(labels.array, [c.label for c in channels if c.kind == "bone"])
    dense = ct.array > _BONE_HU
    if not bones.any():
        return None
    as_is = int(np.count_nonzero(bones & dense))
    for words, axis in _FLIPS.items():
        if int(np.count_nonzero(np.flip(bones, axis) & dense)) > _FIT_GAIN * max(as_is, 1):
            return f"the labels fit the CT when flipped {words}; correct the label file's orientation"
    return None


def _check_shift(ct: Volume, labels: Volume, channels: Sequence[Channel]) -> None:
    """Refuses bone labels that a shift would put on much more bone: the header's position is wrong.

    The overlap of labels and dense voxels at every shift is their cross-correlation, taken on a coarse grid.
    """
    step = [1 + n // _SHIFT_GRID for n in ct.array.shape]
    coarse = tuple(slice(None, None, s) for s in step)
    bones = np.isin(labels.array[coarse], [c.label for c in channels if c.kind == "bone"])
    dense = ct.array[coarse] > _BONE_HU
    if bones.sum() < _SHIFT_LEAST_VOXELS:
        return
    shape = [2 * n for n in bones.shape]
    axes = (0, 1, 2)
    spectrum = np.fft.rfftn(dense, shape, axes) * np.conj(np.fft.rfftn(bones, shape, axes))
    overlap = np.fft.irfftn(spectrum, shape, axes)
    best = np.array(np.unravel_index(np.argmax(overlap), overlap.shape))
    shift = np.where(best >= np.array(bones.shape), best - shape, best)
    if np.abs(shift).max() < _SHIFT_LEAST_STEPS or overlap.max() < _FIT_GAIN * max(overlap[0, 0, 0], 1.0):
        return
    mm = [float(v) for v in (shift * step)[::-1] * np.array(ct.spacing_mm)]
    msg = (
        f"the bone labels fit the CT better when shifted by ({', '.join(f'{v:.0f}' for v in mm)}) mm to the right, "
        f"front and top: their position is wrong; make labels of this very CT, or correct the label file's header"
    )
    raise MskdexError(msg)
