"""A compact container of named arrays: one file, zstd, cropped and half precision where that pays."""

import json
import struct
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import zstandard

from mskdex.artifacts import atomic_path, damaged

_MAGIC = b"MSKDEX1\n"


@dataclass(frozen=True)
class Crops:
    """Images that are zero but for a rectangle, kept as those rectangles in half precision.

    Attributes:
        shape: shape of the whole array, (…, H, W).
        boxes: (images, 4) first row, first column, rows, columns of each image's rectangle.
        scales: (images,) float32; a pixel is its stored value times the scale.
        values: all rectangles' pixels one after another, float16, each image's largest magnitude 1.
    """

    shape: tuple[int, ...]
    boxes: np.ndarray
    scales: np.ndarray
    values: np.ndarray

    @classmethod
    def of(cls, array: np.ndarray) -> "Crops":
        """Crops each image to what is not zero; a value's rounding error is below 2^-11 of itself."""
        images = array.reshape(-1, *array.shape[-2:])
        boxes = np.stack([_box(image) for image in images]) if len(images) else np.zeros((0, 4), np.int32)
        scales = np.abs(images).max(axis=(-2, -1), initial=0.0).astype(np.float32)
        scales[scales == 0.0] = 1.0
        parts = [
            (image[r : r + h, c : c + w] / scale).astype(np.float16).ravel()
            for image, (r, c, h, w), scale in zip(images, boxes, scales, strict=True)
        ]
        values = np.concatenate(parts) if parts else np.zeros(0, np.float16)
        return cls(tuple(array.shape), boxes, scales, values)

    def dense(self, out: np.ndarray | None = None) -> np.ndarray:
        """The whole array, float32.

        Args:
            out: array of `shape`, already zero, to fill instead of a new one.
        """
        out = np.zeros(self.shape, np.float32) if out is None else out
        offset = 0
        for image, (r, c, h, w), scale in zip(out.reshape(-1, *self.shape[-2:]), self.boxes, self.scales, strict=True):
            crop = self.values[offset : offset + h * w].reshape(h, w)
            np.multiply(crop, scale, out=image[r : r + h, c : c + w], casting="unsafe", dtype=np.float32)
            offset += h * w
        return out


def _box(image: np.ndarray) -> np.ndarray:
    rows, columns = np.flatnonzero(image.any(axis=1)), np.flatnonzero(image.any(axis=0))
    if len(rows) == 0:
        return np.zeros(4, np.int32)
    return np.array([rows[0], columns[0], rows[-1] - rows[0] + 1, columns[-1] - columns[0] + 1], np.int32)


def write_arrays(
    path: Path, arrays: Mapping[str, np.ndarray], meta: Mapping[str, Any], *, crop: Collection[str] = ()
) -> None:
    """Writes named arrays and a JSON-able `meta`. See `read_arrays`.

    Args:
        path: the file to write, under a temporary name first.
        arrays: arrays by name.
        meta: anything that JSON holds.
        crop: names of float arrays (…, H, W) to store as `Crops`: small, and exact to 2^-11 of each value.
    """
    entries: list[dict[str, Any]] = []
    blobs: list[bytes] = []
    for name, array in arrays.items():
        parts = _cropped_parts(Crops.of(np.asarray(array))) if name in crop else {"": np.ascontiguousarray(array)}
        entries.append({"name": name, "shape": list(array.shape), "parts": []})
        for part, content in parts.items():
            entries[-1]["parts"].append({"name": part, "dtype": content.dtype.str, "shape": list(content.shape)})
            blobs.append(content.tobytes())
    header = json.dumps({"arrays": entries, "meta": meta}).encode()
    body = zstandard.ZstdCompressor(level=3).compress(b"".join(blobs))
    with atomic_path(path) as temporary:
        temporary.write_bytes(_MAGIC + struct.pack("<I", len(header)) + header + body)


def _cropped_parts(crops: Crops) -> dict[str, np.ndarray]:
    # High and low bytes apart: exponents repeat, mantissas do not, so zstd finds more this way.
    bits = crops.values.view(np.uint16)
    planes = np.stack([bits & 0xFF, bits >> 8]).astype(np.uint8)
    return {"boxes": crops.boxes.astype(np.int32), "scales": crops.scales, "values": planes}


def read_arrays(path: Path) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Reads what `write_arrays` wrote: (arrays by name, meta); cropped ones whole again, float32.

    Raises:
        MskdexError: the file is absent or damaged; see `mskdex.artifacts.damaged`.
    """
    arrays, meta = read_crops(path)
    return {n: a.dense() if isinstance(a, Crops) else a for n, a in arrays.items()}, meta


def read_crops(path: Path) -> tuple[dict[str, np.ndarray | Crops], dict[str, Any]]:
    """Like `read_arrays`, but leaves cropped arrays as `Crops`."""
    try:
        content = Path(path).read_bytes()
        if not content.startswith(_MAGIC):
            msg = "not an MSKdeX array file"
            raise ValueError(msg)
        start = len(_MAGIC) + 4
        (size,) = struct.unpack("<I", content[len(_MAGIC) : start])
        header = json.loads(content[start : start + size])
        body = zstandard.ZstdDecompressor().decompress(content[start + size :])
        return _split(header["arrays"], body), header["meta"]
    except (OSError, ValueError, KeyError, struct.error, zstandard.ZstdError) as error:
        raise damaged(path, error) from error


def _split(entries: list[dict[str, Any]], body: bytes) -> dict[str, np.ndarray | Crops]:
    arrays: dict[str, np.ndarray | Crops] = {}
    offset = 0
    for entry in entries:
        parts: dict[str, np.ndarray] = {}
        for part in entry["parts"]:
            dtype, shape = np.dtype(part["dtype"]), tuple(part["shape"])
            count = int(np.prod(shape))
            parts[part["name"]] = np.frombuffer(body, dtype, count, offset).reshape(shape)
            offset += count * dtype.itemsize
        if "" in parts:
            arrays[entry["name"]] = parts[""]
        else:
            arrays[entry["name"]] = Crops(
                tuple(entry["shape"]), parts["boxes"], parts["scales"], _joined(*parts["values"])
            )
    return arrays


def _joined(low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """Half-precision values from their low and high bytes."""
    values = high.astype(np.uint16)
    values <<= 8
    values |= low
    return values.view(np.float16)
