"""The segments that a 3D Slicer segmentation (`.seg.nrrd`) describes in its header."""

import re
import unicodedata
from dataclasses import dataclass
from pathlib import Path

from mskdex.errors import MskdexError
from mskdex.io.files import quote

_HEADER_MOST = 1 << 22
_REPRESENTATIONS = ("Segmentation_SourceRepresentation", "Segmentation_MasterRepresentation")
"""What the voxels are, by Slicer 5 and before."""


@dataclass(frozen=True)
class Segment:
    """A segment: voxels of one value in one layer.

    Attributes:
        number: n of `SegmentN_...`.
        name: SegmentN_Name, or its ID where it has none.
        value: SegmentN_LabelValue.
        layer: SegmentN_Layer.
    """

    number: int
    name: str
    value: int
    layer: int


def read_segments(path: Path) -> list[Segment]:
    """The segments of an NRRD file, by their numbers; none for an ordinary NRRD.

    Source: 3D Slicer, "Segmentation file format" in its developer documentation.

    Raises:
        MskdexError: two segments of one name, two of the same voxels, values that are no numbers, or fractions.
    """
    entries: dict[int, dict[str, str]] = {}
    for key, value in _key_values(path):
        if key in _REPRESENTATIONS and "fractional" in value.lower():
            msg = f"{path} is a {quote(value, 60)} ({key}): shares of voxels, not segments; export a binary labelmap"
            raise MskdexError(msg)
        if match := re.fullmatch(r"Segment(\d{1,6})_(\w+)", key):
            entries.setdefault(int(match.group(1)), {})[match.group(2)] = value.strip()
    found = [_segment(n, entries[n], path) for n in sorted(entries) if {"Name", "ID"} & set(entries[n])]
    for i, segment in enumerate(found):
        for other in found[:i]:
            _require_different(other, segment, path)
    return found


def _key_values(path: Path) -> list[tuple[str, str]]:
    with open(path, "rb") as handle:
        start = handle.read(_HEADER_MOST).replace(b"\r\n", b"\n")
    text = start.split(b"\n\n")[0].decode("utf-8", "replace")
    pairs = (line.split(":=", 1) for line in text.split("\n") if ":=" in line and not line.startswith("#"))
    return [(key, value) for key, value in pairs]


def _segment(number: int, entries: dict[str, str], path: Path) -> Segment:
    name = unicodedata.normalize("NFC", entries.get("Name") or entries.get("ID", "")).strip()
    value, layer = entries.get("LabelValue", "1"), entries.get("Layer", "0")
    if not re.fullmatch(r"\d{1,9}", layer) or not re.fullmatch(r"\d{1,9}", value) or int(value) == 0:
        detail = f"label value {quote(value, 60)!r} in layer {quote(layer, 60)!r}"
        msg = (
            f"{path}: segment {number}, {quote(name, 60)}, has {detail}; both must be whole numbers, the value from 1 "
            "on; save the segmentation again"
        )
        raise MskdexError(msg)
    return Segment(number, name, int(value), int(layer))


def _require_different(one: Segment, other: Segment, path: Path) -> None:
    if one.name == other.name:
        msg = f"{path}: segments {one.number} and {other.number} are both named {one.name}; give each its own name"
        raise MskdexError(msg)
    if (one.layer, one.value) == (other.layer, other.value):
        msg = (
            f"{path}: segments {one.name} and {other.name} have the same voxels (layer {one.layer}, label value "
            f"{one.value}); save the segmentation again"
        )
        raise MskdexError(msg)
