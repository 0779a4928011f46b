"""What is asked of a label file, and what comes of it."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mskdex.anatomy import LabelSource
from mskdex.config.objects import Channel
from mskdex.io.volume import Volume


@dataclass(frozen=True)
class LabelRequest:
    """What is read from where.

    Attributes:
        path: label map, folder of masks, or DICOM SEG.
        source_name: the sheet's label_source.
        source: its keys, or None where it is read by name.
        channels: the config's.
        series_uid: the DICOM SEG to take where a folder has several.
        root: folder that links may lead into.
        ct: the CT that the labels belong to, or None; a DICOM SEG says which series and frame of reference it is of.
        ct_series: the SeriesInstanceUID of the CT, where its folder has several.
    """

    path: Path
    source_name: str
    source: LabelSource | None
    channels: Sequence[Channel]
    series_uid: str | None = None
    root: Path | None = None
    ct: Path | None = None
    ct_series: str | None = None


@dataclass(frozen=True)
class Labels:
    """Labels on the CT's grid.

    Attributes:
        volume: uint8, Channel.label where a structure is, else 0.
        facts: what import.json records; `absent` and `unused` of `mskdex.imaging.label_findings.Findings` among it.
        warnings: what a human should know.
        cut: labels that the label file's own edge cuts, within the CT.
    """

    volume: Volume
    facts: dict[str, Any]
    warnings: list[str]
    cut: frozenset[int] = frozenset()


def cut_warnings(request: LabelRequest, cut: set[int]) -> list[str]:
    """A warning that names the structures which the label file's own edge cuts."""
    names = [c.name for c in request.channels if c.label in cut]
    if not names:
        return []
    return [
        f"the labels cover a part of the CT, and their edge cuts {', '.join(names)}, which counts as truncated; give "
        "labels of the whole CT"
    ]
