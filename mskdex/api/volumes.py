"""A CT, its labels, and what they say of every structure."""

from dataclasses import dataclass

import pandas as pd

from mskdex.api.arguments import AnyConfig, AnyPath, as_config, as_path
from mskdex.config.objects import Channel
from mskdex.errors import MskdexError
from mskdex.imaging import ct as ct_import
from mskdex.imaging import labels as label_import
from mskdex.imaging.ct import Ct
from mskdex.imaging.label_checks import check_structures, structure_facts
from mskdex.imaging.object_quantities import quantity_rows
from mskdex.io.volume import Volume


@dataclass(frozen=True)
class Segmentation:
    """Structures on the grid of a CT.

    Attributes:
        volume: its `array` is uint8 (z, y, x), `Channel.label` of every voxel, 0 outside; its `world_from_voxel` is
            the CT's.
        channels: the structures that have voxels, one per side, in the config's order.
        truncated: names of the channels that the edge of the CT or of the label file cuts.
        warnings: what a human should know.
    """

    volume: Volume
    channels: tuple[Channel, ...]
    truncated: frozenset[str]
    warnings: list[str]

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the channels, e.g. gluteus_maximus_left."""
        return tuple(channel.name for channel in self.channels)


def read_ct(path: AnyPath, *, series_uid: str | None = None, config: AnyConfig = None) -> Ct:
    """Reads and checks a CT.

    Args:
        path: a DICOM folder, a multi-frame DICOM file, NIfTI, NRRD, MHA or MHD.
        series_uid: SeriesInstanceUID of the series to take, where a folder has several.
        config: whose ct section is used.

    Returns:
        `volume.array` int16 HU (z, y, x) clipped to [-1024, 3071], its axes turned to RAS; `volume.world_from_voxel`
        4×4 float64 from voxel (i, j, k, 1), i along x, to RAS millimetres; `facts` and `warnings` of the import.

    Raises:
        MskdexError: says what is wrong with which file, and what to do.
    """
    return ct_import.read_ct(as_path(path, "the CT"), as_config(config).ct, series_uid)


def read_labels(path: AnyPath, ct: Ct, source: str = "named", *, config: AnyConfig = None) -> Segmentation:
    """Reads labels onto the grid of their CT, and checks that they fit it.

    Args:
        path: a label map, a folder of masks (one file per structure) or a DICOM SEG.
        ct: the CT that they were drawn on, of `read_ct`.
        source: a key of the config's label_sources, e.g. totalsegmentator or musclemap; "named" where the file itself,
            or a JSON beside it, names its structures.
        config: whose objects, label_sources and ct section are used.

    Raises:
        MskdexError: unreadable, on another grid than the CT, of another source, flipped against the CT, or with none
            of the config's structures.
    """
    settings, found = as_config(config), as_path(path, "the labels")
    channels = settings.channels
    request = label_import.LabelRequest(found, source, settings.label_sources.get(source), channels)
    labels = label_import.read_labels(request, ct.volume, settings.ct)
    structures = structure_facts(ct.volume, labels.volume, channels, labels.cut)
    try:
        pieces = check_structures(structures, ct.volume, labels.volume, channels, settings.ct)
    except MskdexError as error:
        msg = f"{found}: {error}"
        raise MskdexError(msg) from error
    truncated = frozenset(name for name, facts in structures.items() if facts["truncated"])
    present = tuple(c for c in channels if c.name in structures)
    return Segmentation(labels.volume, present, truncated, labels.warnings + pieces)


def measure(ct: Ct, labels: Segmentation) -> pd.DataFrame:
    """Volume, lean mass and weighted volume of every structure, summed over the CT's voxels.

    Args:
        ct: of `read_ct`.
        labels: of `read_labels`, on the same grid.

    Returns:
        One row per channel, indexed by its name; columns volume_cm3, lean_mass_g, weighted_volume_cm3, mean_hu, voxels,
        present and truncated (cut by the edge of the CT or of the labels). Formulas: `mskdex.quantities`.
    """
    require_one_grid(ct, labels)
    cut = {c.label for c in labels.channels if c.name in labels.truncated}
    rows = quantity_rows(ct.volume, labels.volume.array, labels.channels, cut)
    return pd.DataFrame(rows).set_index("object")


def require_one_grid(ct: Ct, labels: Segmentation) -> None:
    """Refuses labels of another CT.

    Raises:
        MskdexError: shapes or affines differ.
    """
    same = ct.volume.array.shape == labels.volume.array.shape
    if not same or abs(ct.volume.world_from_voxel - labels.volume.world_from_voxel).max() > 1e-3:
        msg = "the labels lie on another grid than the CT; read them with read_labels(path, ct) and the same ct"
        raise MskdexError(msg)
