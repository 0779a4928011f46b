"""Whose labels a file holds, by its content: by names, or by the ids that occur."""

from pathlib import Path

import numpy as np

from mskdex.anatomy import LABEL_SOURCES, NAMED
from mskdex.errors import MskdexError
from mskdex.imaging.label_json import words_in
from mskdex.imaging.label_names import names_beside, names_in, strip_suffix
from mskdex.io.files import file_kind
from mskdex.io.volume_files import read_volume_file

TOTALSEGMENTATOR, MUSCLEMAP = "totalsegmentator", "musclemap"
_TOTAL_NAMES = {
    "hip_left": 77,
    "hip_right": 78,
    "femur_left": 75,
    "sacrum": 25,
    "gluteus_maximus_left": 80,
    "iliopsoas_left": 88,
    "autochthon_left": 86,
    "urinary_bladder": 21,
}
"""Some names of TotalSegmentator's task `total` with their ids in version 2."""
_TOTAL_HIGHEST = 117
_FIRST_VERSION = range(90, 105)
"""Ids that version 1 gives to structures of the hip and thigh (sacrum 92, gluteus muscles 94 to 99), version 2 to head
and ribs. Its highest id is 104."""
_MOST_IDS = 512
"""A volume with more values than this is no label map."""
_SHARE = 0.75
"""So much of a source's ids must occur: parts of a patient may lie outside the scan."""


def label_source(path: Path) -> str:
    """The label source of a file: totalsegmentator, musclemap, named where it carries names, or "" where unknown.

    Raises:
        MskdexError: it cannot be read.
    """
    if path.is_file() and file_kind(path) == "dicom":
        return NAMED
    names = _names(path)
    if names is None:
        return NAMED if path.is_dir() else _by_ids(ids_in(path) or frozenset())
    found = {strip_suffix(n): ids for n, ids in names.items()}
    by_masks = path.is_dir() and found.keys() >= _TOTAL_NAMES.keys()
    by_ids = all(found.get(name) == (i,) for name, i in _TOTAL_NAMES.items())
    return TOTALSEGMENTATOR if by_masks or by_ids else NAMED


def _names(path: Path) -> dict[str, tuple[int, ...]] | None:
    """The file's own names; None without, and where the JSON beside it is about other things, as in BIDS."""
    try:
        return names_in(path)
    except MskdexError:
        if words_in(names_beside(path)):
            return None
        raise


def ids_in(path: Path, max_megavoxels: float = 2000) -> frozenset[int] | None:
    """The ids of a label map; None of a volume whose values are none: negative, fractions, too many, or never 0.

    Raises:
        MskdexError: it cannot be read.
    """
    volume, _ = read_volume_file(path, "a volume", max_megavoxels, layers=True, tilted=True)
    found: set[int] = set()
    for part in volume.array:
        values = np.unique(part)
        if values[0] < 0 or values[-1] > np.iinfo(np.int32).max or (values != np.rint(values)).any():
            return None
        found.update(int(v) for v in values)
        if len(found) > _MOST_IDS:
            return None
    return frozenset(found) if 0 in found else None


def _by_ids(present: frozenset[int]) -> str:
    if _has(MUSCLEMAP, present):
        return MUSCLEMAP
    if not _has(TOTALSEGMENTATOR, present) or max(present) > _TOTAL_HIGHEST:
        return ""
    if max(present) < _FIRST_VERSION.stop and present & set(_FIRST_VERSION):
        msg = "its ids may be those of TotalSegmentator's version 1 or 2, in which they mean different structures"
        raise MskdexError(msg)
    return TOTALSEGMENTATOR


def _has(source: str, present: frozenset[int]) -> bool:
    ids = {int(i) for keys in LABEL_SOURCES[source].values() for i in keys}  # type: ignore[arg-type]
    return len(ids & present) >= _SHARE * len(ids)
