"""Labels laid on the CT's grid, and the structures that the label file's own edge cuts."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from mskdex.config.imaging import CtSettings
from mskdex.config.objects import Channel
from mskdex.errors import MskdexError
from mskdex.io.artifacts import read_json
from mskdex.io.tilt import ROUNDED, skew
from mskdex.io.volume import Volume
from mskdex.io.volume_grid import embed, grid_difference, resample_onto, same_lattice_offset

_ENDS = (("left", "right"), ("back", "front"), ("bottom", "top"))
"""Low and high end of each axis in RAS order."""

_ROUND_END_SHARE = 0.5
"""A rounded end's cross-section is at most a third of that two slices further in; a cut one's is about the same."""


def to_ct_grid(volume: Volume, ct: Volume, path: Path, settings: CtSettings) -> tuple[Volume, list[str]]:
    """Brings labels in RAS order to the CT's grid: as they are, as a part of it, or resampled if allowed.

    Raises:
        MskdexError: another grid, and resampling is not allowed.
    """
    if skew(volume.world_from_voxel) > ROUNDED:
        laid = resample_onto(volume, ct, nearest=True, outside=0)
        return laid, [f"{path.name} lay on the grid of a tilted gantry and was resampled (nearest voxel)"]
    difference = grid_difference(volume, ct)
    if difference is None:
        return Volume(volume.array, ct.world_from_voxel), []
    part = embed(volume, ct)
    if part is not None and part[1] == 0:
        return part[0], _beyond(volume, ct)
    if settings.resample_labels:
        laid = resample_onto(volume, ct, nearest=True, outside=0)
        return laid, [f"{path.name} lay on another grid ({difference}) and was resampled (nearest voxel)"]
    lost = (
        f" and {part[1]} labelled voxels lie outside the CT" if part is not None else _fraction_of_a_voxel(volume, ct)
    )
    msg = (
        f"{path} lies on another grid than the CT: {difference}{lost}; make labels of this very CT, or set "
        f"ct.resample_labels: true if the positions in both headers are right"
    )
    raise MskdexError(msg)


def _beyond(volume: Volume, ct: Volume) -> list[str]:
    """That labels on the CT's lattice reach beyond it: made of a CT that had more slices, rows or columns."""
    offset = same_lattice_offset(volume, ct) or (0, 0, 0)
    notes = []
    for start, have, want, ends in zip(offset, volume.array.shape[::-1], ct.array.shape[::-1], _ENDS, strict=True):
        notes += [f"{n} at the {end}" for n, end in zip((-start, start + have - want), ends, strict=True) if n > 0]
    if not notes:
        return []
    return [
        f"labels reach beyond the CT by voxels ({', '.join(notes)}): the CT may lack slices or be cropped; look at it"
    ]


def cut_by_own_edge(volume: Volume, ct: Volume, *, leaves_out_empty: bool) -> set[int]:
    """Labels that a face of the label volume cuts where the CT goes on beyond that face.

    Args:
        volume: uint8 in RAS order, on its own grid.
        ct: the CT in RAS order.
        leaves_out_empty: whether the format crops volumes to what is labelled (3D Slicer, DICOM SEG). A structure
            that ends at a face is then no sign of a cut, unless its cross-section there is as large as further in.
    """
    found: set[int] = set()
    if skew(volume.world_from_voxel) > ROUNDED:  # its grid is not the CT's resampled one, whose padding shows the edge
        return found
    for axis in range(3):
        for end, beyond in ((0, -1), (-1, volume.array.shape[axis])):
            if _inside(volume, ct, axis, beyond):
                found |= _cut_at(volume.array, axis, end, leaves_out_empty=leaves_out_empty)
    return found


def recorded_cuts(imported: Path | None, channels: Sequence[Channel]) -> set[int]:
    """Labels that the import found truncated, by what the CT shows or by the label file's own edge.

    Args:
        imported: its import.json; None gives none.
        channels: the config's.
    """
    structures = read_json(imported)["structures"] if imported else {}
    return {c.label for c in channels if structures.get(c.name, {}).get("truncated")}


def _inside(volume: Volume, ct: Volume, axis: int, index: int) -> bool:
    """Whether the slice `index` of `volume` along an array axis lies within the CT along that axis."""
    middle = (np.array(volume.array.shape) - 1) / 2
    middle[axis] = index
    at = np.linalg.solve(ct.world_from_voxel, volume.world_from_voxel @ np.append(middle[::-1], 1.0))[2 - axis]
    return bool(-0.5 < at < ct.array.shape[axis] - 0.5)


def _cut_at(labels: np.ndarray, axis: int, end: int, *, leaves_out_empty: bool) -> set[int]:
    face = np.bincount(np.take(labels, end, axis).ravel(), minlength=256)
    deeper = end + 2 if end == 0 else end - 2
    if leaves_out_empty and labels.shape[axis] > 2:
        within = np.bincount(np.take(labels, deeper, axis).ravel(), minlength=256)
        face[face <= _ROUND_END_SHARE * within] = 0
    return set(np.flatnonzero(face).tolist()) - {0}


def _fraction_of_a_voxel(volume: Volume, ct: Volume) -> str:
    """How far a cut-out with the CT's voxel size lies off the CT's grid; empty where the voxels differ."""
    if not np.allclose(volume.world_from_voxel[:3, :3], ct.world_from_voxel[:3, :3], atol=2e-3 * min(ct.spacing_mm)):
        return ""
    offset = np.linalg.solve(ct.world_from_voxel, volume.world_from_voxel[:, 3])[:3]
    off = offset - np.rint(offset)
    return f", off its grid by ({', '.join(f'{v:.2f}' for v in off)}) voxels to the right, front and top"
