"""Stage `quantities`: what the CT says of every object, summed over its voxels."""

from collections.abc import Sequence
from pathlib import Path

from mskdex.config.objects import Channel
from mskdex.errors import MskdexError
from mskdex.imaging.label_extent import recorded_cuts
from mskdex.imaging.object_quantities import quantity_rows
from mskdex.io.artifacts import write_rows
from mskdex.io.volume import read_labelled


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
    write_rows(out, quantity_rows(volume, ids, channels, recorded_cuts(imported, channels)))
