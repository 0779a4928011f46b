"""What the headers of NRRD and MetaImage files have in common: fields of text, then voxels here or in another file."""

import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from mskdex.errors import MskdexError
from mskdex.io.files import quote
from mskdex.io.numerals import plain_float, plain_int
from mskdex.io.streams import Codec

LONGEST_HEADER = 1 << 20
"""Bytes; a header of text is shorter."""

MM_PER_UNIT = {"mm": 1.0, "millimeter": 1.0, "millimetre": 1.0, "cm": 10.0, "m": 1000.0, "um": 1e-3, "µm": 1e-3}


@dataclass(frozen=True)
class VoxelHeader:
    """A header that was read and checked.

    Attributes:
        size: voxels along each axis, the fastest first; values a voxel are not an axis.
        components: values a voxel.
        dtype: of the file, in its byte order.
        codec: how the voxels are compressed.
        data: the file that holds them.
        start: bytes of it before them.
        skip: bytes of the decompressed stream before them.
        world_from_voxel: 4×4 RAS millimetres, None where the header does not have three axes.
        fields: free entries, e.g. those of a 3D Slicer segmentation.
        warnings: what a reader should know.
    """

    size: tuple[int, ...]
    components: int
    dtype: np.dtype
    codec: Codec
    data: Path
    start: int
    skip: int
    world_from_voxel: np.ndarray | None
    fields: Mapping[str, str] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()


def existing(path: Path) -> Path:
    """The path, or the one on disk whose name has the same letters in another Unicode form; else the path itself."""
    if path.exists():
        return path
    forms = (Path(unicodedata.normalize(form, str(path))) for form in ("NFC", "NFD"))
    return next((p for p in forms if p.exists()), path)


def data_file(path: Path, name: str) -> Path:
    """The file of voxels that a header names.

    Raises:
        MskdexError: a list of files, or one that is absent or lies outside the header's own folder, links followed.
    """
    if name.upper().startswith("LIST") or "%" in name:
        msg = f"{path} lists several data files; save it as one file (.nrrd, .mha or .nii.gz)"
        raise MskdexError(msg)
    data = existing(path.parent / name)
    if not data.resolve().is_relative_to(path.parent.resolve()):
        msg = f"{path} points to data outside its folder ({quote(name, 60)}); put both files into one folder"
        raise MskdexError(msg)
    if not data.is_file():
        msg = f"{path} points to {quote(name, 60)}, which does not exist; copy both files"
        raise MskdexError(msg)
    return data


def printable(line: str) -> bool:
    """Whether a line of a header is text alone; Python takes some control characters for blanks, others do not."""
    return all(c.isprintable() or c == "\t" for c in line)


def whole_numbers(path: Path, key: str, text: str) -> tuple[int, ...]:
    """The whole numbers of a field.

    Raises:
        MskdexError: anything else.
    """
    try:
        return tuple(plain_int(word) for word in text.split())
    except ValueError as error:
        raise _no_number(path, key, text) from error


def one_whole_number(path: Path, key: str, text: str) -> int:
    """The one whole number of a field.

    Raises:
        MskdexError: anything else.
    """
    found = whole_numbers(path, key, text)
    if len(found) != 1:
        msg = f"{path}: its {key} is {text[:60]!r}, where one number is needed; export it again"
        raise MskdexError(msg)
    return found[0]


def finite(path: Path, key: str, words: list[str]) -> np.ndarray:
    """The finite numbers of a field.

    Raises:
        MskdexError: anything else.
    """
    try:
        found = np.array([plain_float(word) for word in words])
    except ValueError as error:
        raise _no_number(path, key, " ".join(words)) from error
    if not np.isfinite(found).all():
        raise _no_number(path, key, " ".join(words))
    return found


def last_bytes(data: Path, count: int) -> int:
    """Where the last `count` bytes of a file begin; below zero where it is shorter."""
    return data.stat().st_size - count


def _no_number(path: Path, key: str, text: str) -> MskdexError:
    return MskdexError(f"{path}: its {key} is {text[:60]!r}, where numbers are needed; export it again")
