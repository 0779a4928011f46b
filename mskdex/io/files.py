"""What a file is, by its content; and refusals before any memory is taken."""

import gzip
import hashlib
import io
import logging
import os
import re
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from mskdex.errors import MskdexError

log = logging.getLogger("mskdex")

_SUFFIXES = {
    "nifti": (".nii", ".nii.gz"),
    "nrrd": (".nrrd", ".nhdr"),
    "metaimage": (".mha", ".mhd"),
    "png": (".png",),
    "tiff": (".tif", ".tiff"),
}
"""Suffixes that the readers insist on; DICOM files may be called anything."""

_SIGNATURES = (
    ("nrrd", 0, b"NRRD0"),
    ("dicom", 128, b"DICM"),
    ("png", 0, b"\x89PNG\r\n\x1a\n"),
    ("tiff", 0, b"II*\0"),
    ("tiff", 0, b"MM\0*"),
    ("tiff", 0, b"II+\0"),
    ("tiff", 0, b"MM\0+"),
    ("jpeg", 0, b"\xff\xd8\xff"),
    ("archive", 0, b"PK\x03\x04"),
    ("archive", 0, b"7z\xbc\xaf"),
    ("archive", 0, b"Rar!"),
    ("archive", 0, b"BZh"),
    ("archive", 0, b"\xfd7zXZ"),
    ("archive", 257, b"ustar"),
    ("mgh", 0, b"\0\0\0\1\0\0"),
    ("nifti", 344, b"n+1\0"),
    ("nifti", 344, b"ni1\0"),
    ("nifti", 4, b"n+2\0"),
    ("nifti", 4, b"ni2\0"),
)

_GZIP_MOST = 1032
"""Deflate expands at most about 1032 times; a header that claims more of its file lies."""


_SMALL_READ = 1 << 16
_LONG_WORD = re.compile(r"\S{600,}")
"""No path of a cohort is as long; a damaged value is."""
_ITK_PREFIX = re.compile(r"Exception thrown in SimpleITK .*?(?:ITK |itk::)ERROR: (\w+\(0x[0-9a-f]+\): )?", re.DOTALL)
"""Where in ITK's own source an error arose, and at which address: nothing to a reader, and other at each run."""


class WithinFile(io.BufferedReader):
    """A file that is asked for no more bytes than it has, whatever a damaged length says: they would take memory."""

    def __init__(self, path: Path):
        super().__init__(io.FileIO(path))
        self._size = os.fstat(self.fileno()).st_size

    def read(self, size: int | None = -1, /) -> bytes:
        """Reads up to `size` bytes, all that are left if below zero or None."""
        if size is None or size < 0 or size > _SMALL_READ:
            left = max(self._size - self.tell(), 0)
            size = left if size is None or size < 0 else min(size, left)
        return super().read(size)


def quote(value: object, most: int = 160) -> str:
    """A value of a file, or what a library says of it, as a message repeats it: one line, printable, not too long.

    Args:
        value: text or an exception; one without a message gives its type.
        most: characters that are kept.
    """
    text = _ITK_PREFIX.sub("", str(value))
    line = "".join(c if c.isprintable() else " " if c.isspace() else "?" for c in text).strip()
    line = _LONG_WORD.sub(lambda word: f"{word[0][:60]}...", line or type(value).__name__)
    return line if len(line) <= most else line[:most] + "..."


def no_memory(path: Path) -> MskdexError:
    """The error about a file that may be whole, but for which there was not enough memory."""
    return MskdexError(f"{path} does not fit into the memory that is left; give the job more, or crop the image")


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Whatever goes wrong while a user's file is read ends as one sentence that names it; the traceback is logged.

    Raises:
        MskdexError: an error of that kind as it is, any other exception as "cannot be read".
    """
    try:
        yield
    except MskdexError:
        raise
    except MemoryError as error:
        raise no_memory(path) from error
    except Exception as error:
        log.debug("while %s was read", path, exc_info=True)
        detail = f"{type(error).__name__}: {quote(error)}" if str(error).strip() else type(error).__name__
        msg = f"{path} cannot be read, it is damaged or not as its format demands ({detail}); copy or export it again"
        raise MskdexError(msg) from error


def file_kind(path: Path) -> str:
    """The format of a file by its first bytes.

    Returns:
        nifti, nrrd, metaimage, dicom, png, tiff, jpeg, mgh (FreeSurfer), archive or unknown.

    Raises:
        MskdexError: unreadable, empty, or no file.
    """
    path = Path(path)
    if path.exists() and not path.is_file():  # a pipe would be waited for without end
        msg = f"{path} is {'a folder' if path.is_dir() else 'a pipe or device'}, not a file; correct the path"
        raise MskdexError(msg)
    start = _start(path)
    if not start:
        msg = f"{path} is empty (0 bytes); copy it again"
        raise MskdexError(msg)
    if start[:2] == b"\x1f\x8b":
        inside = _gunzipped_start(path)
        damaged = not inside and path.name.lower().endswith(_SUFFIXES["nifti"])
        kind = "nifti" if damaged else _signature(inside)
        return kind if kind in ("nifti", "mgh") else "archive"
    kind = _signature(start)
    if kind == "unknown" and re.match(rb"\s*(ObjectType|NDims)\s*=", start):
        return "metaimage"
    if kind == "unknown" and _bare_dicom(start):
        return "dicom"
    return kind


def require_kind(path: Path, allowed: Iterable[str], what: str) -> str:
    """The format of a file, which must be one of `allowed` and agree with the file's suffix.

    Raises:
        MskdexError: another format, or a suffix that hides it.
    """
    allowed = tuple(allowed)
    kind = file_kind(path)
    if kind == "archive":
        msg = f"{path} is an archive; unpack it and name the file or folder in it"
        raise MskdexError(msg)
    if kind not in allowed:
        found = "of no known format, or damaged" if kind == "unknown" else f"a {kind.upper()} file"
        msg = f"{path} is {found}; {what} may be {', '.join(a.upper() for a in allowed)}"
        raise MskdexError(msg)
    suffixes = _SUFFIXES.get(kind)
    if suffixes and not path.name.lower().endswith(suffixes):
        msg = f"{path} is a {kind.upper()} file by its content; rename it to end in {' or '.join(suffixes)}"
        raise MskdexError(msg)
    return kind


def require_size(path: Path, shape: Iterable[int], bytes_per_voxel: int, max_megavoxels: float) -> None:
    """Refuses a header that claims more than allowed, or more than its file can hold.

    Raises:
        MskdexError: names the claim and the limit.
    """
    count = 1
    for n in shape:
        count *= int(n)
    size = Path(path).stat().st_size
    detail = " x ".join(str(int(n)) for n in shape)
    if count <= 0:
        msg = f"{path}: its header claims {detail} voxels; export it again"
        raise MskdexError(msg)
    if count > max_megavoxels * 1e6:
        msg = (
            f"{path}: its header claims {detail} voxels, more than {max_megavoxels:g} million; "
            f"crop it, or raise max_megavoxels or max_megapixels in config.yaml"
        )
        raise MskdexError(msg)
    if count * bytes_per_voxel > size * _GZIP_MOST + 65536:
        msg = f"{path}: its header claims {detail} voxels, which {size} bytes cannot hold; the file is damaged"
        raise MskdexError(msg)


def content_hash(paths: Iterable[Path]) -> str:
    """SHA-256 of the files' contents, in the order given; names do not count."""
    digest = hashlib.sha256()
    for path in paths:
        with open(path, "rb") as handle:
            digest.update(hashlib.file_digest(handle, "sha256").digest())
    return digest.hexdigest()


def _start(path: Path, count: int = 1024) -> bytes:
    try:
        with open(path, "rb") as handle:
            return handle.read(count)
    except OSError as error:
        msg = f"{path} cannot be read ({error.strerror}); correct the path or its permissions"
        raise MskdexError(msg) from error


def _gunzipped_start(path: Path) -> bytes:
    try:
        with gzip.open(path) as handle:
            return handle.read(1024)
    except (OSError, EOFError, zlib.error):
        return b""


def _signature(start: bytes) -> str:
    return next((kind for kind, at, mark in _SIGNATURES if start[at : at + len(mark)] == mark), "unknown")


def _bare_dicom(start: bytes) -> bool:
    """DICOM without preamble: begins with an element of group 2 or 8, its VR or a short length after it."""
    if len(start) < 132 or start[:2] not in {b"\x02\0", b"\x08\0", b"\0\x08"} or start[3] > 1:
        return False
    explicit = start[4:6].isalpha() and start[4:6].isupper()
    return explicit or int.from_bytes(start[4:8], "little") < 1024
