"""Named arrays in one safetensors file, cropped and in half precision where that pays."""

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import DTypeLike
from safetensors.numpy import load, save

from mskdex.io.artifacts import atomic_path, read_sealed
from mskdex.io.seal import KEY, sign, unsigned

_FACTS = "mskdex"
_PARTS = ("boxes", "scales", "values")


@dataclass(frozen=True)
class Crops:
    """Images that are zero but for a rectangle, kept as those rectangles, mostly in half precision.

    Attributes:
        shape: shape of the whole array, (…, H, W).
        boxes: (images, 4) first row, first column, rows, columns of each image's rectangle.
        scales: (images,) float32; a pixel is its stored value times the scale.
        values: all rectangles' pixels one after another: float16, each image's largest magnitude 1, or float32, exact.
    """

    shape: tuple[int, ...]
    boxes: np.ndarray
    scales: np.ndarray
    values: np.ndarray

    @classmethod
    def of(cls, array: np.ndarray, dtype: DTypeLike = np.float16) -> "Crops":
        """Crops each image to what is not zero; in float16 a value's rounding error is below 2^-11 of itself."""
        images = array.reshape(-1, *array.shape[-2:])
        boxes = np.stack([_box(image) for image in images]) if len(images) else np.zeros((0, 4), np.int32)
        scales = np.abs(images).max(axis=(-2, -1), initial=0.0).astype(np.float32)
        scales[(scales == 0.0) | (np.dtype(dtype) == np.float32)] = 1.0
        parts = [
            (image[r : r + h, c : c + w] / scale).astype(dtype).ravel()
            for image, (r, c, h, w), scale in zip(images, boxes, scales, strict=True)
        ]
        values = np.concatenate(parts) if parts else np.zeros(0, dtype)
        return cls(tuple(array.shape), boxes.astype(np.int32), scales, values)

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
    path: Path,
    arrays: Mapping[str, np.ndarray],
    meta: Mapping[str, Any],
    *,
    crop: Collection[str] = (),
    exact: Collection[str] = (),
) -> None:
    """Writes named arrays and a JSON-able `meta` as safetensors with a seal. See `read_arrays`.

    Args:
        path: the file to write, under a temporary name first.
        arrays: arrays by name.
        meta: anything that JSON holds.
        crop: names of float arrays (…, H, W) to store as `Crops`: small, and exact to 2^-11 of each value.
        exact: the same in float32, twice as large and without any rounding.
    """
    tensors: dict[str, np.ndarray] = {}
    shapes: dict[str, list[int]] = {}
    for name, array in arrays.items():
        if name in crop or name in exact:
            crops = Crops.of(np.asarray(array), np.float32 if name in exact else np.float16)
            shapes[name] = list(crops.shape)
            tensors |= {f"{name}.{part}": getattr(crops, part) for part in _PARTS}
        else:
            tensors[name] = np.asarray(array, order="C")
    facts = {KEY: unsigned(path), "crops": shapes, "meta": meta}
    with atomic_path(path) as temporary:
        temporary.write_bytes(save(tensors, metadata={_FACTS: json.dumps(facts)}))
        sign(temporary)


def read_arrays(path: Path) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Reads what `write_arrays` wrote: (arrays by name, meta); cropped ones whole again, float32.

    Raises:
        MskdexError: the file is absent, damaged, or not the artifact of its place; see `mskdex.io.damage`.
    """
    arrays, meta = read_crops(path)
    return {n: a.dense() if isinstance(a, Crops) else a for n, a in arrays.items()}, meta


def read_crops(path: Path) -> tuple[dict[str, np.ndarray | Crops], dict[str, Any]]:
    """Like `read_arrays`, but leaves cropped arrays as `Crops`."""
    return read_sealed(path, _parse)


def _parse(content: bytearray) -> tuple[Any, Any]:
    tensors = load(bytes(content))
    size = int.from_bytes(content[:8], "little")  # safetensors: the header's length, the header as JSON, the tensors
    facts = json.loads(json.loads(content[8 : 8 + size])["__metadata__"][_FACTS])
    arrays: dict[str, np.ndarray | Crops] = {
        name: Crops(tuple(shape), *(tensors.pop(f"{name}.{part}") for part in _PARTS))
        for name, shape in facts["crops"].items()
    }
    return facts.get(KEY), (arrays | tensors, facts["meta"])
