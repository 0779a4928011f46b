"""Connected pieces of each label, and voxels that lie far from the structure they are labelled as."""

from dataclasses import dataclass

import numpy as np
import SimpleITK as sitk

from mskdex.io.volume import Volume

_FAR = 0.25
"""A piece is far from the largest one beyond this share of that one's longest side."""

_SAMPLES = 4000
"""Voxels of the largest piece to which distances are measured: some millimetres apart."""

_MOST_PIECES = 1000
"""Pieces whose distance is measured, the largest first."""


@dataclass(frozen=True)
class Pieces:
    """The connected pieces (26 neighbours) of one label.

    Attributes:
        sizes: voxels of each, the largest first.
        far_voxels: voxels of those that lie far from the largest.
        farthest_mm: distance of the farthest of these from it, 0 without one.
    """

    sizes: list[int]
    far_voxels: int
    farthest_mm: float


def label_pieces(labels: Volume) -> dict[int, Pieces]:
    """The pieces of every label that occurs.

    Args:
        labels: uint8 ids, (z, y, x).
    """
    array = _cropped(labels.array)
    if not array.size:
        return {}
    boxes = sitk.LabelShapeStatisticsImageFilter()
    boxes.Execute(sitk.GetImageFromArray(array))
    found: dict[int, Pieces] = {}
    for label in boxes.GetLabels():
        i, j, k, width, height, depth = boxes.GetBoundingBox(label)
        part = array[k : k + depth, j : j + height, i : i + width] == label
        joined = sitk.GetArrayFromImage(sitk.ConnectedComponent(sitk.GetImageFromArray(part.astype(np.uint8)), True))
        found[label] = _measured(joined, np.array(labels.spacing_mm[::-1]))
    return found


def _cropped(labels: np.ndarray) -> np.ndarray:
    used = np.flatnonzero(labels.any(axis=(1, 2)))
    if not used.size:
        return labels[:0]
    labels = labels[used[0] : used[-1] + 1]
    rows = np.flatnonzero(labels.any(axis=(0, 2)))
    labels = labels[:, rows[0] : rows[-1] + 1]
    columns = np.flatnonzero(labels.any(axis=(0, 1)))
    return np.ascontiguousarray(labels[:, :, columns[0] : columns[-1] + 1])


def _measured(joined: np.ndarray, spacing_mm: np.ndarray) -> Pieces:
    """Sizes of pieces numbered from 1, and how far they lie from the largest."""
    sizes = np.bincount(joined.ravel())[1:]
    order = np.argsort(sizes, kind="stable")[::-1]
    if sizes.size < 2:
        return Pieces(sizes.tolist(), 0, 0.0)
    largest = _places(np.flatnonzero(joined == order[0] + 1), joined.shape, spacing_mm)
    reach = _FAR * float((np.ptp(largest, axis=0) + spacing_mm).max())
    largest = largest[:: 1 + len(largest) // _SAMPLES]
    others = np.flatnonzero((joined > 0) & (joined != order[0] + 1))
    numbers, first = np.unique(joined.ravel()[others], return_index=True)
    biggest = np.argsort(sizes[numbers - 1], kind="stable")[::-1][:_MOST_PIECES]
    at = _places(others[first[biggest]], joined.shape, spacing_mm)
    away = np.array([np.linalg.norm(largest - place, axis=1).min() for place in at])
    far = away > reach
    voxels = int(sizes[numbers[biggest][far] - 1].sum())
    return Pieces(sizes[order].tolist(), voxels, float(away[far].max()) if far.any() else 0.0)


def _places(flat: np.ndarray, shape: tuple[int, ...], spacing_mm: np.ndarray) -> np.ndarray:
    """Places of voxels in mm, (n, 3)."""
    return np.stack(np.unravel_index(flat, shape), axis=1) * spacing_mm
