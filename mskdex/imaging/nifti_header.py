"""What ITK does not check of a NIfTI file: voxel size, orientation, length and numbers."""

import gzip
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mskdex.errors import MskdexError

_CHUNK = 1 << 22
_FLOATS = {16: "f4", 64: "f8"}


@dataclass(frozen=True)
class NiftiHeader:
    """The entries that are checked.

    Attributes:
        order: byte order, "<" or ">".
        shape: sizes along the file's own axes.
        datatype: NIfTI code.
        bytes_per_voxel: of one value.
        spacing_mm: of the first three axes.
        codes: qform and sform code.
        offset: where the voxels begin.
    """

    order: str
    shape: tuple[int, ...]
    datatype: int
    bytes_per_voxel: int
    spacing_mm: tuple[float, ...]
    codes: tuple[int, ...]
    offset: int

    @property
    def length(self) -> int:
        """Bytes of the uncompressed file."""
        count = 1
        for n in self.shape:
            count *= max(n, 1)
        return self.offset + self.bytes_per_voxel * count


def check_nifti(path: Path) -> None:
    """Refuses what ITK would read without a word.

    ITK replaces a zero voxel size by 1 mm, guesses an unknown orientation, fills what a short file lacks by zeros
    and turns NaN into 0.

    Raises:
        MskdexError: names the file and what is wrong with it.
    """
    with open(path, "rb") as handle:
        zipped = handle.read(2) == b"\x1f\x8b"
    header = read_nifti_header(path, zipped)
    if not all(np.isfinite(s) and abs(s) > 1e-6 for s in header.spacing_mm) and header.codes[1] <= 0:
        msg = f"{path}: its voxel size is {header.spacing_mm} mm; export it again"
        raise MskdexError(msg)
    if max(header.codes) <= 0:
        msg = (
            f"{path} does not say how it lies in the patient (qform and sform codes are 0), so left and right are "
            f"unknown; export it again with its orientation"
        )
        raise MskdexError(msg)


def check_nifti_voxels(path: Path) -> None:
    """Refuses a file that is cut short or holds numbers that are none; call it once the claimed size is known sane.

    Raises:
        MskdexError: says how much is missing, or how many voxels are NaN or infinite.
    """
    with open(path, "rb") as handle:
        zipped = handle.read(2) == b"\x1f\x8b"
    header = read_nifti_header(path, zipped)
    floats = header.datatype in _FLOATS
    if zipped and not floats and _length_told(path) == header.length % 2**32:
        return
    if not zipped and not floats:
        found = path.stat().st_size
    else:
        found = 0
        bad = 0
        for chunk in _chunks(path, zipped):
            if floats:
                bad += _not_finite(chunk, found, header)
            found += len(chunk)
        if bad:
            msg = f"{path} has {bad} voxels that are no number (NaN or infinite); replace them (-1024 in a CT)"
            raise MskdexError(msg)
    if found < header.length:
        msg = f"{path} is cut short: {found} bytes of {header.length}; copy it again"
        raise MskdexError(msg)


def read_nifti_header(path: Path, zipped: bool) -> NiftiHeader:
    """Reads the header of NIfTI-1 or -2, of either byte order.

    Raises:
        MskdexError: too short to be one.
    """
    try:
        with gzip.open(path) if zipped else open(path, "rb") as handle:
            start = handle.read(544)
        order = "<" if struct.unpack("<i", start[:4])[0] in (348, 540) else ">"
        (size,) = struct.unpack(order + "i", start[:4])
        if size == 540:
            dims, (datatype, bits) = (
                struct.unpack(order + "8q", start[16:80]),
                struct.unpack(order + "2h", start[12:16]),
            )
            spacing, codes = struct.unpack(order + "3d", start[112:136]), struct.unpack(order + "2i", start[344:352])
            (offset,) = struct.unpack(order + "q", start[168:176])
        else:
            dims, (datatype, bits) = (
                struct.unpack(order + "8h", start[40:56]),
                struct.unpack(order + "2h", start[70:74]),
            )
            spacing, codes = struct.unpack(order + "3f", start[80:92]), struct.unpack(order + "2h", start[252:256])
            (offset,) = struct.unpack(order + "f", start[108:112])
    except (OSError, EOFError, zlib.error, struct.error) as error:
        msg = f"{path} cannot be read, its header is damaged or incomplete; copy or export it again"
        raise MskdexError(msg) from error
    shape = tuple(int(d) for d in dims[1 : 1 + max(0, int(dims[0]))])
    return NiftiHeader(order, shape, datatype, bits // 8, spacing, codes, int(offset))


def _length_told(path: Path) -> int:
    """The length that the end of a gzip file gives, modulo 2**32."""
    with open(path, "rb") as handle:
        handle.seek(-4, 2)
        return int.from_bytes(handle.read(4), "little")


def _chunks(path: Path, zipped: bool) -> Iterator[bytes]:
    try:
        with gzip.open(path) if zipped else open(path, "rb") as handle:
            while chunk := handle.read(_CHUNK):
                yield chunk
    except (OSError, EOFError, zlib.error):
        return


def _not_finite(chunk: bytes, at: int, header: NiftiHeader) -> int:
    """Values of a chunk that are not finite; chunks begin at multiples of 8 of the file, voxels at the offset."""
    skip = max(0, header.offset - at)
    if skip == 0:
        skip = (header.offset - at) % header.bytes_per_voxel
    body = chunk[skip:]
    body = body[: len(body) // header.bytes_per_voxel * header.bytes_per_voxel]
    values = np.frombuffer(body, header.order + _FLOATS[header.datatype])
    return int(values.size - np.count_nonzero(np.isfinite(values)))
