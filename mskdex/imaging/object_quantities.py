"""What a labelled CT says of every object: volume, weighted volume and lean mass, summed over its voxels."""

from collections.abc import Collection, Sequence
from math import nan
from typing import Any

import numpy as np

from mskdex.config.objects import Channel
from mskdex.imaging.structures import hu_histograms, mean_hu, truncated_labels
from mskdex.io.volume import Volume
from mskdex.quantities import COLUMNS, HU_MAX, HU_MIN, QUANTITIES, density


def quantity_rows(
    ct: Volume, labels: np.ndarray, channels: Sequence[Channel], cut: Collection[int] = ()
) -> list[dict[str, Any]]:
    """One row for each of `channels`, with the columns of quantities.parquet; sums run over CT voxels in float64.

    Args:
        ct: HU int16 in [HU_MIN, HU_MAX].
        labels: uint8 Channel.label, shape (z, y, x).
        channels: any whose labels are at least those of the map.
        cut: labels that are truncated, whatever the volumes say.
    """
    histograms = hu_histograms(ct.array, labels, max(c.label for c in channels))
    levels = np.arange(HU_MIN, HU_MAX + 1)
    sums = {q: histograms @ density(q, levels) * ct.voxel_volume_cm3 for q in QUANTITIES}
    truncated = truncated_labels(ct.array, labels) | set(cut)
    rows = []
    for channel in channels:
        i = channel.label
        present = bool(histograms[i].any())
        rows.append(
            {"object": channel.name}
            | {COLUMNS[q]: float(sums[q][i]) if present else nan for q in ("volume", "lean_mass", "weighted_volume")}
            | {
                "mean_hu": mean_hu(histograms[i]),
                "voxels": int(histograms[i].sum()),
                "present": present,
                "truncated": i in truncated,
            }
        )
    return rows
