"""Images small enough to embed: DRRs as sheets of grey tiles, radiographs and QC pictures."""

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

LEVELS = 85
"""Steps between zero and the fixed intensity range, 1.2 % each: finer ones would mostly store a network's noise."""

_GREY_PER_LEVEL = 255 // LEVELS
_LOSSLESS: Any = {"lossless": True, "method": 3, "quality": 50}


@dataclass(frozen=True)
class Sheet:
    """Tiles of equal size, row by row, in one image.

    Attributes:
        uri: data URI.
        rows: rows of pixels of a tile.
        columns: columns of pixels of a tile.
        across: tiles side by side.
        colour: which of red, green and blue holds the tiles; all of them in a grey image.
    """

    uri: str
    rows: int
    columns: int
    across: int
    colour: int = 0


def shrink(images: np.ndarray, pixels: int) -> np.ndarray:
    """Averages (…, H, W) over blocks so that the longer side has at most `pixels`; the edge that is over is cropped."""
    factor = -(-max(images.shape[-2:]) // pixels)
    if factor == 1:
        return images
    rows, columns = (n // factor * factor for n in images.shape[-2:])
    blocks = images[..., :rows, :columns].reshape(*images.shape[:-2], rows // factor, factor, columns // factor, factor)
    return np.asarray(blocks.mean(axis=(-3, -1)))


def sheet(images: np.ndarray, ranges: Sequence[float], pixels: int) -> Sheet:
    """A sheet of (N, H, W) images in `LEVELS` steps without loss, each from 0 to its range, to which it is clipped."""
    shares = _shares(images, ranges, pixels)
    image = Image.fromarray(_canvas(np.round(shares * LEVELS) * _GREY_PER_LEVEL))
    return _sheet_of(_uri(image, "WEBP", **_LOSSLESS), shares)


def close_sheet(images: np.ndarray, ranges: Sequence[float], pixels: int) -> Sheet:
    """As `sheet`, but compressed as photographs are: a fifth as large where a network's noise is in the images, with
    an error of about 0.4 % of the range."""
    shares = _shares(images, ranges, pixels)
    image = Image.fromarray(_canvas(np.round(shares * 255)))
    return _sheet_of(_uri(image, "WEBP", quality=80, method=4), shares)


def sheets_of_three(images: np.ndarray, ranges: Sequence[Sequence[float]], pixels: int) -> list[Sheet]:
    """As `sheet` for three sets of images that are alike, (3, N, H, W): the colours of one picture, a third smaller."""
    shares = [_shares(own, limits, pixels) for own, limits in zip(images, ranges, strict=True)]
    colours = [_canvas(np.round(own * LEVELS) * _GREY_PER_LEVEL) for own in shares]
    uri = _uri(Image.fromarray(np.stack(colours, axis=-1)), "WEBP", **_LOSSLESS)
    return [_sheet_of(uri, own, colour) for colour, own in enumerate(shares)]


def _shares(images: np.ndarray, ranges: Sequence[float], pixels: int) -> np.ndarray:
    images = shrink(np.asarray(images, dtype=np.float32), pixels)
    scale = np.maximum(np.asarray(ranges, dtype=np.float32), np.finfo(np.float32).tiny)[:, None, None]
    return np.asarray(np.clip(images / scale, 0.0, 1.0))


def _sheet_of(uri: str, shares: np.ndarray, colour: int = 0) -> Sheet:
    count, rows, columns = shares.shape
    return Sheet(uri, rows, columns, _across(count), colour)


def _across(count: int) -> int:
    return int(np.ceil(np.sqrt(count)))


def _canvas(grey: np.ndarray) -> np.ndarray:
    count, rows, columns = grey.shape
    across = _across(count)
    down = -(-count // across)
    canvas = np.zeros((down * across, rows, columns), np.uint8)
    canvas[:count] = grey
    return canvas.reshape(down, across, rows, columns).transpose(0, 2, 1, 3).reshape(down * rows, across * columns)


def radiograph_uri(log_attenuation: np.ndarray, field: np.ndarray, pixels: int = 512) -> str:
    """A radiograph as it is read: dense is bright, from the 1st to the 99.5th percentile of the exposed field."""
    exposed = log_attenuation[field] if field.any() else log_attenuation
    low, high = np.percentile(exposed, [1.0, 99.5])
    grey = np.clip((log_attenuation - low) / max(high - low, 1e-6), 0, 1) * 255
    image = Image.fromarray(shrink(grey, pixels).astype(np.uint8))
    return _uri(image, "WEBP", quality=65, method=4)


def picture_uri(path: Path, pixels: int = 1000) -> str | None:
    """A picture file, scaled down to at most so many pixels; None where there is no such file."""
    if not path.is_file():
        return None
    with Image.open(path) as image:
        small = image.convert("RGB")
        small.thumbnail((pixels, pixels), Image.Resampling.LANCZOS)
        return _uri(small, "WEBP", quality=40, method=4)


def _uri(image: Image.Image, kind: str, **options: object) -> str:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return f"data:image/{kind.lower()};base64,{base64.b64encode(buffer.getvalue()).decode()}"
