"""Fat that was cut out of muscle labels: holes of a label where the CT shows fat."""

from collections.abc import Sequence

import numpy as np
from scipy import ndimage

from mskdex.config.objects import Channel

_FAT_HU = (-190, -30)
"""Adipose tissue (Aubrey et al. 2014)."""

_BONE_HU = 150
"""A hole with bone in it is a bone that has no label, with its marrow; a muscle may go round it."""

_LEAST_SHARE = 0.005
_LEAST_VOXELS = 5
_SLICES = 48


def fat_cut_out(ct: np.ndarray, labels: np.ndarray, channels: Sequence[Channel]) -> list[str]:
    """Finds lean labels, as a threshold on HU makes them: volumes are then lower than those of whole muscles.

    Looks at some dozens of axial slices. What a muscle's label encloses, and no object's label holds, is a hole.

    Args:
        ct: HU, (z, y, x) in RAS order.
        labels: uint8 Channel.label, (z, y, x).
        channels: the config's.

    Returns:
        A warning that names the muscles in whose holes fat makes up a share of them that whole labels never have.
    """
    muscles = {c.label: c.name for c in channels if c.kind == "muscle"}
    counts = np.zeros((2, 256), np.int64)  # voxels, and fat in holes
    for k in range(0, len(labels), 1 + len(labels) // _SLICES):
        for label, box in enumerate(ndimage.find_objects(labels[k]), start=1):
            if box is not None and label in muscles:
                counts[:, label] += _voxels_and_fat(ct[k][box], labels[k][box], label)
    holes = [
        f"{name} ({100 * counts[1, label] / counts[0, label]:.1f} %)"
        for label, name in muscles.items()
        if counts[1, label] >= max(_LEAST_VOXELS, _LEAST_SHARE * counts[0, label])
    ]
    if not holes:
        return []
    return [
        f"the labels have holes where the CT shows fat, as a share of the muscle: {', '.join(holes)}; fat within "
        "muscle was cut out of them, so volumes are lower than those of whole muscles; give labels of whole muscles, "
        "or all patients' labels of this kind"
    ]


def _voxels_and_fat(hu: np.ndarray, ids: np.ndarray, label: int) -> tuple[int, int]:
    """Voxels of a label in a part of a slice, and voxels of fat in its holes."""
    own = np.pad(ids == label, 1)
    parts, count = ndimage.label(~own)
    voxels = int(np.count_nonzero(own))
    if count < 2:
        return voxels, 0
    parts = parts[1:-1, 1:-1]
    bony = set(np.unique(parts[hu > _BONE_HU]).tolist())
    holes = [n for n in range(2, count + 1) if n not in bony]  # the first is what lies around
    fat = (hu >= _FAT_HU[0]) & (hu < _FAT_HU[1]) & (ids == 0) & np.isin(parts, holes)
    return voxels, int(np.count_nonzero(fat))
