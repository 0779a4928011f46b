"""Radiographs as pictures: PNG, JPEG and TIFF by Pillow, MHA, NRRD and NIfTI by their headers."""

import warnings
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk
from PIL import Image, ImageOps, UnidentifiedImageError

from mskdex.errors import MskdexError
from mskdex.imaging.picture_header import (
    display_facts,
    grid_facts,
    is_unsigned,
    require_all_bytes,
    require_one_image,
    require_strip_checksums,
    sample_bits,
)
from mskdex.io.files import WithinFile, content_hash, quote, reading, require_size
from mskdex.io.nifti_header import read_nifti_header
from mskdex.io.volume_files import read_plane_file

PICTURES = ("png", "jpeg", "tiff", "metaimage", "nrrd", "nifti")
"""Formats by content; the first three are read by Pillow."""
_BY_PILLOW = PICTURES[:3]
_GREY_MODES = ("L", "I", "I;16", "I;16B", "I;16L", "F")
_COLOUR_MODES = ("RGB", "RGBA", "LA", "P", "PA")
_ORIENTATION, _PHOTOMETRIC, _COMPRESSION = 0x0112, 262, 259
_WHITE_IS_ZERO = 0

_ALIKE = 16
"""Decoders of JPEG round otherwise by some steps of 255."""


@dataclass(frozen=True)
class Picture:
    """A picture's grey values.

    Attributes:
        grey: (rows, columns) as displayed, black low, turned as its orientation tag says.
        bits: per pixel, 8 or more.
        facts: what import.json records.
        warnings: what a human should know.
    """

    grey: np.ndarray
    bits: int
    facts: dict[str, Any]
    warnings: list[str]


def read_picture(path: Path, kind: str, max_megapixels: float) -> Picture:
    """Reads a grey picture of one page.

    Args:
        path: the file.
        kind: one of `PICTURES`.
        max_megapixels: more than this many million pixels are refused before they are decoded.

    Raises:
        MskdexError: colour, several pages, too large, damaged, or with pixels that are no number.
    """
    with reading(path):
        found = _by_pillow(path, max_megapixels) if kind in _BY_PILLOW else _by_header(path, kind, max_megapixels)
    if not np.isfinite(found.grey).all():
        msg = f"{path} has pixels that are no number (NaN or infinite); export it again"
        raise MskdexError(msg)
    return found


def _require_checksums(path: Path) -> None:
    """Compares the checksum of each chunk of a PNG, which Pillow passes over where the pixels are.

    Source: W3C, PNG (Third Edition), 5.3.
    """
    with WithinFile(path) as handle:
        handle.seek(8)
        while (head := handle.read(8))[4:] != b"IEND":
            body = handle.read(int.from_bytes(head[:4], "big"))
            if int.from_bytes(handle.read(4), "big") != zlib.crc32(head[4:] + body) or len(head) < 8:
                name = quote(head[4:].decode("latin-1"), 8)
                msg = f"{path} is damaged: the checksum of its chunk {name} is wrong; copy it again"
                raise MskdexError(msg)


def _by_pillow(path: Path, max_megapixels: float) -> Picture:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            opened = Image.open(path)
        except UnidentifiedImageError as error:
            msg = (
                f"{path} cannot be read: it is damaged, or of a kind that is not read (several values per pixel, 12 or "
                "64 bits); save it in grey of 8 or 16 bits without an alpha channel"
            )
            raise MskdexError(msg) from error
        except Image.DecompressionBombError as error:
            msg = f"{path}: its header claims more pixels than any radiograph has ({error}); crop or export it again"
            raise MskdexError(msg) from error
        with opened as image:
            require_size(path, image.size[::-1], 1, max_megapixels)
            if image.format == "PNG":
                _require_checksums(path)
            if (pages := int(getattr(image, "n_frames", 1))) > 1:
                msg = f"{path} has {pages} pages; export the one that is meant"
                raise MskdexError(msg)
            require_one_image(image, path)
            require_all_bytes(image, path)
            require_strip_checksums(image, path)
            bits_of_one = sample_bits(image, path)
            turned = int(image.getexif().get(_ORIENTATION, 1) or 1)
            _require_turnable(image, turned, path)
            upright = ImageOps.exif_transpose(image)
            grey, bits, notes = _grey_of(upright, path, bits_of_one)
            if image.format == "JPEG" and image.mode in ("L", "RGB"):
                _require_one_reading(image, path)
            if grey.dtype == np.int32 and bits == 32 and is_unsigned(image):
                grey = grey.view(np.uint32)
            if _stored_white_low(image) and grey.dtype.itemsize == 2:
                grey = np.iinfo(grey.dtype).max - grey
            lossy = image.format == "JPEG"
            shown_as = display_facts(image)
    facts = shown_as | {
        "format": str(opened.format or "").lower(),
        "bits": bits,
        "turned_by_orientation_tag": turned,
        "lossy": lossy,
    }
    if turned != 1:
        notes.append(f"its orientation tag is {turned}: the picture was turned accordingly before anything else")
    return Picture(grey, bits, facts | {"sha256": content_hash([path])}, notes)


def _require_one_reading(image: Image.Image, path: Path) -> None:
    """Refuses a JPEG that Pillow and ITK decode otherwise: it has no checksum, and both pass over what is damaged."""
    own = np.asarray(image).astype(np.int16)
    reader = sitk.ImageFileReader()
    reader.SetImageIO("JPEGImageIO")
    reader.SetFileName(str(path))
    try:
        other = sitk.GetArrayFromImage(reader.Execute()).astype(np.int16)
    except RuntimeError:
        other = np.empty(0, np.int16)
    if own.shape != other.shape or np.abs(own - other).max() > _ALIKE:
        msg = f"{path} is damaged: two decoders read its pixels otherwise; copy or export it again"
        raise MskdexError(msg)


def _require_turnable(image: Image.Image, turned: int, path: Path) -> None:
    """Pillow 13 mixes up the rows of an uncompressed TIFF that is to be turned by 90 degrees."""
    tags = getattr(image, "tag_v2", None)
    if tags is not None and turned > 4 and tags.get(_COMPRESSION, 1) == 1:
        msg = f"{path} is stored on its side (orientation tag {turned}) without compression; save it upright"
        raise MskdexError(msg)


def _stored_white_low(image: Image.Image) -> bool:
    """A TIFF whose zero is white; Pillow turns such 8-bit pictures itself, 16-bit ones not."""
    tags = getattr(image, "tag_v2", None)
    return tags is not None and tags.get(_PHOTOMETRIC) == _WHITE_IS_ZERO


def _grey_of(image: Image.Image, path: Path, bits: int | None) -> tuple[np.ndarray, int, list[str]]:
    if image.mode in _GREY_MODES:
        grey = np.asarray(image)
        return grey, bits or 8 * grey.dtype.itemsize, []
    if image.mode not in _COLOUR_MODES:
        msg = f"{path} is no grey image (mode {image.mode}); export the radiograph itself in grey"
        raise MskdexError(msg)
    if (bits or 8) > 8:  # of which Pillow reads 8
        msg = f"{path} stores its pixels as colours of {bits} bits; export it in grey, with one value per pixel"
        raise MskdexError(msg)
    rgba = np.asarray(image.convert("RGBA"))
    if rgba[..., 3].min() < 255:
        msg = f"{path} has transparent pixels; export the radiograph itself in grey, without an alpha channel"
        raise MskdexError(msg)
    colours = rgba[..., :3].astype(np.int16)
    if np.ptp(colours, axis=-1).max() > _grey_tolerance(image):
        msg = f"{path} is a colour image; export the radiograph itself in grey, not a screen capture or photograph"
        raise MskdexError(msg)
    return rgba[..., 1].copy(), 8, ["its pixels are stored as colours that are all grey; read as 8-bit grey values"]


def _grey_tolerance(image: Image.Image) -> int:
    """JPEG rounds the colours of a grey picture apart by a few steps."""
    return 4 if image.format == "JPEG" else 0


def _by_header(path: Path, kind: str, max_megapixels: float) -> Picture:
    grey, files = read_plane_file(path, kind, max_megapixels)
    suffix = "".join(path.suffixes[-2:] if path.name.lower().endswith(".gz") else path.suffixes[-1:])
    facts = {"format": suffix.lstrip(".").lower()} | grid_facts(*_grid(path, kind))
    return Picture(grey, 8 * grey.dtype.itemsize, facts | {"sha256": content_hash(files)}, [])


def _grid(path: Path, kind: str) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Spacing and direction of a picture's header in LPS, as ITK has them, which opens a NIfTI file's twin instead."""
    if kind == "nifti":
        columns = read_nifti_header(path, placed=False).world_from_voxel[:3, :3]
        spacing = np.linalg.norm(columns, axis=0)
        direction = np.diag([-1.0, -1.0, 1.0]) @ columns / np.where(spacing > 0, spacing, 1.0)
        return tuple(spacing.tolist()), tuple(direction.ravel().tolist())
    reader = sitk.ImageFileReader()
    reader.SetFileName(str(path))
    try:
        reader.ReadImageInformation()
    except RuntimeError as error:
        msg = f"{path} cannot be read, it is damaged or incomplete; copy or export it again"
        raise MskdexError(msg) from error
    return reader.GetSpacing(), reader.GetDirection()
