"""Deflated DICOM files: how long they would be, before they take that memory."""

import zlib
from pathlib import Path

from mskdex.errors import MskdexError

_DEFLATED = b"1.2.840.10008.1.2.1.99"
_DEFLATED_FRAMES = "1.2.840.10008.1.2.8.1"
_CHUNK = 1 << 20
_MOST_BYTES = 1 << 28
_MOST_TIMES = 100
"""Images deflate to a half or a tenth; a file that grows a hundred times to more than `_MOST_BYTES` is none."""


def require_inflatable(path: Path) -> None:
    """Refuses a deflated DICOM file that would inflate to what no image takes.

    Raises:
        MskdexError: names the size that it would reach.
    """
    with open(path, "rb") as handle:
        start = handle.read(4096)
        at = start.find(_DEFLATED, 132)
        if start[128:132] != b"DICM" or at < 0:
            return
        handle.seek(_end_of_meta(start))
        engine, length, size = zlib.decompressobj(-15), 0, path.stat().st_size
        while (block := handle.read(_CHUNK)) and not engine.eof:
            while block and not engine.eof:
                length += len(engine.decompress(block, _CHUNK))
                block = engine.unconsumed_tail
                if length > _MOST_BYTES and length > _MOST_TIMES * size:
                    msg = f"{path}: its {size} bytes inflate to more than {length >> 20} MB; export it uncompressed"
                    raise MskdexError(msg)


def refuse_deflated_frames(path: Path, transfer_syntax: str) -> None:
    """Refuses frames that are deflated one by one (DICOM 2024d, PS3.5 A.4.13): decoders inflate them without a limit.

    Raises:
        MskdexError: says how to export the file.
    """
    if transfer_syntax == _DEFLATED_FRAMES:
        detail = f"its frames are deflated one by one ({_DEFLATED_FRAMES}), which is not read"
        msg = f"{path}: {detail}; export it uncompressed"
        raise MskdexError(msg)


def _end_of_meta(start: bytes) -> int:
    """Where the file meta information ends: its first element, (0002,0000), holds its length."""
    return 144 + int.from_bytes(start[140:144], "little") if start[132:136] == b"\x02\0\0\0" else 132
