"""Stage `quantities`: what the CT says of every object, summed over its voxels."""

from collections.abc import Collection, Sequence
from math import nan
from pathlib import Path
from typing import Any

import numpy as np

from mskdex.config.objects import Channel
from mskdex.errors import MskdexError
from mskdex.imaging.structures import hu_histograms, mean_hu, truncated_labels
from mskdex.io.artifacts import read_json, write_rows
from mskdex.io.volume import Volume, read_labelled
from mskdex.quantities import COLUMNS, HU_MAX, HU_MIN, QUANTITIES, density


def quantities(ct: Path, labels: Path, channels: Sequence[Channel], out: Path, imported: Path | None = None) -> None:
    """Writes quantities.parquet, one row for each of `channels`.

    Columns: object (Channel.name), volume_cm3, lean_mass_g, weighted_volume_cm3, mean_hu, voxels, present,
    truncated. An absent object has present False, no voxels and NaN.

    Args:
        ct: ct.nii.gz of the import.
        labels: labels.nii.gz of the import.
        channels: the config's.
        out: quantities.parquet.
        imported: import.json of the import, which knows what the label file's own edge cuts, or None.

    Raises:
        MskdexError: the two files do not belong together, or the labels are of more objects.
    """
    volume, ids = read_labelled(ct, labels)
    if (highest := int(ids.max(initial=0))) > (known := max(c.label for c in channels)):
        msg = f"{labels} holds label {highest}, the config's objects have 1 to {known}; import the patient again"
        raise MskdexError(msg)
    structures = read_json(imported)["structures"] if imported else {}
    cut = {c.label for c in channels if structures.get(c.name, {}).get("truncated")}
    write_rows(out, quantity_rows(volume, ids, channels, cut))


def quantity_rows(
    ct: Volume, labels: np.ndarray, channels: Sequence[Channel], cut: Collection[int] = ()
) -> list[dict[str, Any]]:
    """The rows that `quantities` writes; sums run over CT voxels in float64.

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
