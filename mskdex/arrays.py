"""A compact container of named arrays: one file, zstd, cropped and half precision where that pays."""

import json
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import zstandard

from mskdex.artifacts import atomic_path
from mskdex.errors import MskdexError

_MAGIC = b"MSKDEX1\n"


def write_arrays(path: Path, arrays: Mapping[str, np.ndarray], meta: Mapping[str, Any]) -> None:
    """Writes named arrays and a JSON-able `meta`. See `read_arrays`."""
    blobs, entries = [], []
    for name, array in arrays.items():
        array = np.ascontiguousarray(array)
        entries.append({"name": name, "dtype": array.dtype.str, "shape": array.shape})
        blobs.append(array.tobytes())
    header = json.dumps({"arrays": entries, "meta": meta}).encode()
    body = zstandard.ZstdCompressor(level=3).compress(b"".join(blobs))
    with atomic_path(path) as temporary:
        temporary.write_bytes(_MAGIC + struct.pack("<I", len(header)) + header + body)


def read_arrays(path: Path) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Reads what `write_arrays` wrote: (arrays by name, meta).

    Raises:
        MskdexError: the file is absent, truncated or not such a container.
    """
    try:
        content = Path(path).read_bytes()
        if not content.startswith(_MAGIC):
            msg = "not an MSKdeX array file"
            raise ValueError(msg)
        start = len(_MAGIC) + 4
        (size,) = struct.unpack("<I", content[len(_MAGIC) : start])
        header = json.loads(content[start : start + size])
        body = zstandard.ZstdDecompressor().decompress(content[start + size :])
        arrays, offset = {}, 0
        for entry in header["arrays"]:
            dtype, shape = np.dtype(entry["dtype"]), tuple(entry["shape"])
            count = int(np.prod(shape))
            arrays[entry["name"]] = np.frombuffer(body, dtype, count, offset).reshape(shape)
            offset += count * dtype.itemsize
        return arrays, header["meta"]
    except (OSError, ValueError, KeyError, struct.error, zstandard.ZstdError) as error:
        msg = f"{path} cannot be read ({error}); delete it and run the same command again, it will be made anew"
        raise MskdexError(msg) from error
