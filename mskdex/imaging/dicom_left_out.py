"""Files of a CT's folder that the series passes over, where they may be slices of it."""

from collections import Counter
from pathlib import Path

import numpy as np
from pydicom.dataset import Dataset

from mskdex.errors import MskdexError
from mskdex.io.dicom import integer, text
from mskdex.io.files import file_kind, quote
from mskdex.io.streams import zipped

_CT_IMAGE = "1.2.840.10008.5.1.4.1.1.2"
_LIKE_A_SLICE = (0.5, 2.0)
"""Sizes, as parts of the median file of the series, between which an unreadable file may be a damaged slice."""


def left_out(files: list[tuple[Path, Dataset]], chosen: list[tuple[Path, Dataset]]) -> list[str]:
    """What a reader should know of files beside a series that were passed over.

    Args:
        files: headers of all DICOM files of the folder.
        chosen: those of the series.

    Raises:
        MskdexError: a file carries the series' UID but another modality.
    """
    inside = {path for path, _ in chosen}
    first = chosen[0][1]
    shape = integer(first, "Rows"), integer(first, "Columns")
    alone = Counter(text(header, "SeriesInstanceUID") for _, header in files)
    notes = []
    for path, header in files:
        if path in inside or "LOCALIZER" in text(header, "ImageType").upper():
            continue
        alike = (integer(header, "Rows"), integer(header, "Columns")) == shape
        same = text(header, "SeriesInstanceUID") == text(first, "SeriesInstanceUID")
        if same and alike:
            modality = text(header, "Modality") or "unknown"
            msg = f"{path} belongs to the series, but is of modality {quote(modality, 40)}; copy or export it again"
            raise MskdexError(msg)
        lone = alone[text(header, "SeriesInstanceUID")] == 1 and integer(header, "NumberOfFrames", 1) == 1
        if alike and lone and text(header, "SOPClassUID") == _CT_IMAGE:
            notes.append(f"{path.name} was passed over: it has a series of its own, but may be a slice of this one")
    return notes + _unreadable({path for path, _ in files}, [path for path, _ in chosen])


def _unreadable(readable: set[Path], chosen: list[Path]) -> list[str]:
    """Files beside the slices that are compressed, or of no known format and about as large as a slice."""
    usual = float(np.median([path.stat().st_size for path in chosen]))
    low, high = (share * usual for share in _LIKE_A_SLICE)
    notes = []
    for folder in sorted({path.parent for path in chosen} if len(chosen) > 1 else ()):
        for path in sorted(folder.iterdir()):
            if path in readable or path.name.startswith(".") or path.is_symlink() or not path.is_file():
                continue
            size = path.stat().st_size
            if size and zipped(path):
                notes.append(f"{path.name} was passed over: it is compressed, but may be a slice; unpack it")
            elif size == 0 or (low <= size <= high and file_kind(path) == "unknown"):
                notes.append(f"{path.name} was passed over: it is no DICOM file, but may be a damaged slice")
    return notes
