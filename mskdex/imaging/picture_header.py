"""What a picture's header says of its pixels beside their grey values, and what of it contradicts the sheet."""

import re
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from mskdex.errors import MskdexError
from mskdex.io.files import WithinFile

_SAMPLE_BITS, _COMPRESSION, _SAMPLES, _STRIP_BYTES, _TILE_BYTES, _SAMPLE_FORMAT = 258, 259, 277, 279, 325, 339
_DESCRIPTION, _STRIP_OFFSETS, _TILE_OFFSETS = 270, 273, 324
_DEFLATED = (8, 32946)
_CHUNK = 1 << 20
_UNSIGNED = 1
_PNG_DEPTH_AT = 24
_SAME = 0.01
"""Sizes that differ by less than this share are the same."""


def sample_bits(image: Image.Image, path: Path) -> int | None:
    """Bits of one value in a TIFF or PNG; None where the format has 8 alone, or does not say."""
    if image.format == "PNG":
        with open(path, "rb") as handle:
            return handle.read(_PNG_DEPTH_AT + 1)[_PNG_DEPTH_AT]
    stored = _tag(image, _SAMPLE_BITS)
    return int(stored[0]) if isinstance(stored, tuple) and stored else None


def is_unsigned(image: Image.Image) -> bool:
    """Whether a TIFF says that its integers are unsigned; Pillow takes those of 32 bits for signed ones."""
    form = _tag(image, _SAMPLE_FORMAT)
    return _tag(image, _SAMPLE_BITS) is not None and (form is None or tuple(np.atleast_1d(form)) == (_UNSIGNED,))


def require_one_image(image: Image.Image, path: Path) -> None:
    """Refuses a TIFF of ImageJ whose one page stands for many, which lie behind it without pages of their own.

    Raises:
        MskdexError: names the number of images.

    Source: ImageJ, ij.io.FileInfo.nImages, written as "images=n" into ImageDescription.
    """
    found = re.search(r"^images=(\d+)\s*$", str(_tag(image, _DESCRIPTION) or ""), re.MULTILINE | re.ASCII)
    if found and int(found[1]) > 1:
        msg = f"{path} holds {int(found[1])} images (its ImageDescription says so); export the one that is meant"
        raise MskdexError(msg)


def require_all_bytes(image: Image.Image, path: Path) -> None:
    """Refuses a TIFF without the sizes of its strips, and an uncompressed one whose strips hold other than its rows.

    Raises:
        MskdexError: the directory is damaged, or width or height are wrong.
    """
    if getattr(image, "tag_v2", None) is None or _tag(image, _TILE_BYTES) is not None:
        return
    counts, bits = _tag(image, _STRIP_BYTES), _tag(image, _SAMPLE_BITS)
    if counts is None:
        msg = f"{path} has no StripByteCounts, which every TIFF has: its directory is damaged; copy or export it again"
        raise MskdexError(msg)
    if bits is None or (_tag(image, _COMPRESSION) or 1) != 1:
        return
    row = -(-image.width * int(_tag(image, _SAMPLES) or 1) * int(np.atleast_1d(bits)[0]) // 8)
    have = int(np.sum(np.atleast_1d(counts)))
    if have != row * image.height:
        msg = (
            f"{path}: its header claims {image.width} x {image.height} pixels, which are {row * image.height} bytes, "
            f"and its strips hold {have}; export it again"
        )
        raise MskdexError(msg)


def require_strip_checksums(image: Image.Image, path: Path) -> None:
    """Compares the checksum of each deflated strip or tile of a TIFF, which libtiff passes over.

    Raises:
        MskdexError: a strip is damaged.
    """
    if _tag(image, _COMPRESSION) not in _DEFLATED:
        return
    with WithinFile(path) as handle:
        for offsets, counts in ((_STRIP_OFFSETS, _STRIP_BYTES), (_TILE_OFFSETS, _TILE_BYTES)):
            begins, sizes = (np.atleast_1d(_tag(image, t) or ()) for t in (offsets, counts))
            for begin, size in zip(begins.tolist(), sizes.tolist(), strict=False):
                handle.seek(int(begin))
                _require_checksum(handle.read(int(size)), path)


def _require_checksum(packed: bytes, path: Path) -> None:
    engine = zlib.decompressobj()
    try:
        while packed and not engine.eof:
            engine.decompress(packed, _CHUNK)
            packed = engine.unconsumed_tail
    except zlib.error:
        packed = b""
    if not engine.eof:
        msg = f"{path} is damaged: the checksum of its deflated pixels is wrong; copy it again"
        raise MskdexError(msg)


def display_facts(image: Image.Image) -> dict[str, Any]:
    """What import.json records: how grey values are meant for display, and the sides of a pixel to each other.

    Returns:
        `display`, the PNG chunk or profile that makes values other than linear in light, None without one; and
        `oblong`, height over width of a pixel, None where they are alike or not said.
    """
    gamma = image.info.get("gamma")
    display = None
    if "srgb" in image.info:
        display = "sRGB"
    elif gamma is not None and abs(float(gamma) - 1) > _SAME:
        display = f"gamma {float(gamma):.4g}"
    across, down = (float(n) for n in image.info.get("dpi") or image.info.get("aspect") or (1, 1))
    said = np.isfinite([across, down]).all() and min(across, down) > 0  # 0 / 0, which is no number, is not said
    oblong = across / down if said else 1.0
    return {"display": display, "oblong": None if abs(oblong - 1) < _SAME else round(oblong, 4)}


def grid_facts(spacing: tuple[float, ...], direction: tuple[float, ...]) -> dict[str, Any]:
    """The same of a two-dimensional volume: its pixel size in mm where one is given, and how its axes point.

    Args:
        spacing: of the header, columns before rows; 1 and 1 stand for none.
        direction: 2×2, by rows.
    """
    sizes = [float(s) for s in spacing[:2]]
    given = np.isfinite(sizes).all() and not np.allclose(sizes, 1.0)
    along = np.reshape(direction, (len(spacing), -1))[:2, :2]
    return {
        "header_pixel_mm": sizes[::-1] if given else None,
        "header_axes": None if np.allclose(along, np.eye(2), atol=1e-3) else along.round(3).ravel().tolist(),
    }


def _tag(image: Image.Image, number: int) -> Any:
    tags = getattr(image, "tag_v2", None)
    return None if tags is None else tags.get(number)


def header_doubts(facts: dict[str, Any], pixel_mm: tuple[float, float], *, absolute: bool) -> list[str]:
    """Warnings where the header of a picture contradicts what the sheet or the config says.

    Args:
        facts: of `display_facts` or `grid_facts`.
        pixel_mm: height and width that were taken.
        absolute: whether grey values were taken as linear or log.
    """
    notes = []
    if absolute and facts.get("display"):
        notes.append(
            f"its header says that its grey values are made for display ({facts['display']}), which are neither linear "
            "nor log; they were taken as the sheet or the config says: check intensity"
        )
    if facts.get("oblong"):
        notes.append(
            f"its header says that pixels are oblong (height {facts['oblong']:g} times their width); they were taken "
            "as square: check the picture's resolution, and export it with square pixels"
        )
    said = facts.get("header_pixel_mm")
    if said and not np.allclose(said, pixel_mm, rtol=_SAME):
        notes.append(
            f"its header says pixels of {said[0]:g} x {said[1]:g} mm, {pixel_mm[0]:g} x {pixel_mm[1]:g} mm were taken: "
            "check pixel_mm, which is the size at the detector"
        )
    if facts.get("header_axes"):
        notes.append(
            f"its header turns or mirrors its axes (direction {facts['header_axes']}), and pixels were taken as they "
            "are stored: look at the image, and give orientation in the sheet where it is not L and F"
        )
    return notes
