"""Voxels out of a user's file: as many bytes as its header claims, read to the stream's own checksum."""

import gzip
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Literal, cast

import numpy as np

from mskdex.errors import MskdexError

Codec = Literal["raw", "gzip", "zlib"]
_CHUNK = 1 << 18
"""Bytes at a time: what is decompressed stays in the processor's cache until it is copied."""


def zipped(path: Path) -> bool:
    """Whether a file is a gzip stream by its first bytes, whatever its name."""
    with open(path, "rb") as handle:
        return handle.read(2) == b"\x1f\x8b"


@contextmanager
def opened(path: Path) -> Iterator[IO[bytes]]:
    """A file for reading, decompressed where its content is gzip."""
    with gzip.open(path) if zipped(path) else open(path, "rb") as handle:
        yield cast("IO[bytes]", handle)


def read_array(
    path: Path, shape: tuple[int, ...], dtype: np.dtype, *, codec: Codec, start: int, skip: int
) -> np.ndarray:
    """Reads an array that ends where its file ends; a compressed stream is read to its checksum.

    Args:
        path: the file.
        shape: of the array, the last axis fastest.
        dtype: of the file, in its byte order; the array is in the machine's.
        codec: how the bytes are compressed.
        start: bytes of the file before the stream.
        skip: bytes of the decompressed stream before the array.

    Raises:
        MskdexError: fewer or more bytes than `shape` claims, or a stream that is damaged.
    """
    out = np.empty(shape, dtype)
    target = out.reshape(-1).view(np.uint8).data
    try:
        with open(path, "rb") as handle:
            handle.seek(start)
            found = _fill(_decompressed(handle, codec), target, skip)
    except (OSError, EOFError, zlib.error) as error:
        reason = "the checksum itself is missing" if isinstance(error, EOFError) else str(error)
        msg = f"{path} is damaged: its compressed voxels cannot be read to their checksum ({reason}); copy it again"
        raise MskdexError(msg) from error
    if found != len(target):
        how = "is cut short" if found < len(target) else "holds more than its header claims"
        more = " and more" if found > len(target) else ""
        msg = f"{path} {how}: {min(found, len(target))} bytes of {len(target)}{more}; copy or export it again"
        raise MskdexError(msg)
    return out if dtype.isnative else out.byteswap(inplace=True).view(dtype.newbyteorder("="))


def _fill(stream: Iterator[bytes], target: memoryview, skip: int) -> int:
    """Fills `target` from what follows the first `skip` bytes; the bytes found, at most one chunk too many."""
    at = -skip
    try:
        for chunk in stream:
            body = chunk[-at:] if at < 0 else chunk
            begin = max(at, 0)
            at += len(chunk)
            if at > len(target):
                return at
            if at > 0:
                target[begin : begin + len(body)] = body
    except EOFError:
        if at >= len(target):
            raise
    return max(at, 0)


def _decompressed(handle: IO[bytes], codec: Codec) -> Iterator[bytes]:
    """The stream in chunks; zlib itself compares CRC-32 and length, or Adler-32, where a compressed one ends."""
    if codec == "raw":
        yield from iter(lambda: handle.read(_CHUNK), b"")
        return
    bits = {"gzip": 31, "zlib": 47}[codec]  # 47: zlib or gzip by its first bytes, as ITK reads MetaImage
    engine = zlib.decompressobj(bits)
    while block := handle.read(_CHUNK):
        while block:
            if engine.eof:  # a gzip file may be several streams, one after the other, and end in zeros
                if codec == "gzip" and not block.strip(b"\0"):
                    break
                if codec == "zlib":
                    msg = "bytes follow its end"
                    raise zlib.error(msg)
                engine = zlib.decompressobj(bits)
            yield engine.decompress(block, _CHUNK)
            block = engine.unused_data if engine.eof else engine.unconsumed_tail
    if not engine.eof:
        yield engine.flush()
    if not engine.eof:
        raise EOFError
