"""The header of a user's NRRD or NHDR file: every field used, refused, or known to be without effect.

Source: teem.sourceforge.net/nrrd/format.html (NRRD0005).
"""

import re
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from mskdex.errors import MskdexError
from mskdex.io.files import quote
from mskdex.io.streams import Codec
from mskdex.io.voxel_header import (
    LONGEST_HEADER,
    MM_PER_UNIT,
    VoxelHeader,
    data_file,
    finite,
    last_bytes,
    one_whole_number,
    printable,
    whole_numbers,
)

_TYPES = {
    "i1": "signed char|int8|int8_t",
    "u1": "uchar|unsigned char|uint8|uint8_t",
    "i2": "short|short int|signed short|signed short int|int16|int16_t",
    "u2": "ushort|unsigned short|unsigned short int|uint16|uint16_t",
    "i4": "int|signed int|int32|int32_t",
    "u4": "uint|unsigned int|uint32|uint32_t",
    "i8": "longlong|long long|long long int|signed long long|signed long long int|int64|int64_t",
    "u8": "ulonglong|unsigned long long|unsigned long long int|uint64|uint64_t",
    "f4": "float",
    "f8": "double",
}
_DTYPES = {name: code for code, names in _TYPES.items() for name in names.split("|")}
_CODECS: dict[str, Codec] = {"raw": "raw", "gzip": "gzip", "gz": "gzip"}
_TO_RAS = {
    "right-anterior-superior": (1, 1, 1),
    "ras": (1, 1, 1),
    "left-anterior-superior": (-1, 1, 1),
    "las": (-1, 1, 1),
    "left-posterior-superior": (-1, -1, 1),
    "lps": (-1, -1, 1),
}
_ALIASES = {
    "datafile": "data file",
    "lineskip": "line skip",
    "byteskip": "byte skip",
    "axismins": "axis mins",
    "axismaxs": "axis maxs",
    "centers": "centerings",
    "oldmin": "old min",
    "oldmax": "old max",
    "blocksize": "block size",
    "sampleunits": "sample units",
}
_WITHOUT_EFFECT = frozenset(
    {
        "content",
        "number",
        "min",
        "max",
        "thicknesses",
        "centerings",
        "labels",
        "axis mins",
        "axis maxs",
        "measurement frame",
        "sample units",
        "spacings",
    }
)
_USED = frozenset(
    {
        "type",
        "dimension",
        "sizes",
        "kinds",
        "endian",
        "encoding",
        "space",
        "space dimension",
        "space directions",
        "space origin",
        "space units",
        "units",
        "data file",
        "line skip",
        "byte skip",
        "old min",
        "old max",
        "block size",
    }
)


def read_nrrd_header(path: Path) -> VoxelHeader:
    """Reads and checks the header of an NRRD or NHDR file.

    Raises:
        MskdexError: names the field that is missing, damaged or contradictory.
    """
    fields, free, length = _fields(path)
    size = whole_numbers(path, "sizes", _needed(path, fields, "sizes"))
    if whole_numbers(path, "dimension", _needed(path, fields, "dimension")) != (len(size),):
        msg = f"{path} gives {len(size)} sizes for dimension {quote(fields['dimension'], 60)}; export it again"
        raise MskdexError(msg)
    if "block size" in fields:
        msg = f"{path} has a block size, so its voxels are no plain numbers; export it as 16-bit integers"
        raise MskdexError(msg)
    if old := [k for k in ("old min", "old max") if k in fields]:
        limit = f"{old[0]} {quote(fields[old[0]], 60)}"
        msg = f"{path} holds values that were quantised ({limit}); export the values themselves"
        raise MskdexError(msg)
    vectors = _vectors(path, fields, len(size)) if len(size) > 2 else None
    listed = vectors is not None and vectors[0] is None and len(size) > 1
    dtype, (data, codec, start, skip) = _dtype(path, fields), _place(path, fields, length)
    affine, warnings = _affine(path, fields, vectors[1:] if listed else vectors) if vectors else (None, ())
    voxels = size[1:] if listed else size
    if int(fields.get("byte skip", "0")) == -1:
        start = last_bytes(data, int(np.prod([float(n) for n in size])) * dtype.itemsize)
    if len(voxels) == 3 and affine is None:
        msg = f"{path} does not say its voxel size and orientation (no space directions); export it again"
        raise MskdexError(msg)
    return VoxelHeader(voxels, size[0] if listed else 1, dtype, codec, data, start, skip, affine, free, warnings)


def _fields(path: Path) -> tuple[dict[str, str], dict[str, str], int]:
    """Fields, free key/value pairs, and the header's length; ends at an empty line, or with the file of an NHDR."""
    with open(path, "rb") as handle:
        start = handle.read(LONGEST_HEADER)
    end = re.search(rb"\r?\n\r?\n", start)
    text = (start[: end.start()] if end else start).decode("utf-8", "replace")
    fields: dict[str, str] = {}
    free: dict[str, str] = {}
    for line in (row.removesuffix("\r") for row in text.split("\n")[1:]):
        if line.startswith("#") or not line.strip():
            continue
        name, colon, value = line.partition(":")
        if name.strip().lower() in ("data file", "datafile") and value.strip().upper().startswith("LIST"):
            data_file(path, value.strip())  # refuses it; the lines after it are names of files
        if colon and value.startswith("="):
            key, target, value = name, free, value[1:].replace("\\n", "\n").replace("\\\\", "\\")
        else:
            key, target, value = _field_name(path, name, line, bool(colon)), fields, value.strip()
        if key in target:
            msg = f"{path} gives {key} twice; export it again"
            raise MskdexError(msg)
        if target is fields and key in _USED and not value:
            msg = f"{path}: its {key} is blank; export it again"
            raise MskdexError(msg)
        target[key] = value
    if end is None and "data file" not in fields:
        msg = f"{path} cannot be read, its header has no end; copy or export it again"
        raise MskdexError(msg)
    return fields, free, end.end() if end else len(start)


def _field_name(path: Path, name: str, line: str, has_colon: bool) -> str:
    key = " ".join(name.lower().split())
    key = _ALIASES.get(key.replace(" ", ""), key)
    if not has_colon or not printable(line) or key not in _WITHOUT_EFFECT | _USED:
        msg = f"{path}: its header has the line {line[:60]!r}, which is no field of NRRD; export it again"
        raise MskdexError(msg)
    return key


def _needed(path: Path, fields: Mapping[str, str], key: str) -> str:
    if not fields.get(key):
        msg = f"{path} has no {key} in its header; export it again"
        raise MskdexError(msg)
    return fields[key]


def _dtype(path: Path, fields: Mapping[str, str]) -> np.dtype:
    name = " ".join(_needed(path, fields, "type").lower().split())
    if name not in _DTYPES:
        msg = f"{path} holds values of type {quote(name, 60)}; export it as 16-bit integers"
        raise MskdexError(msg)
    dtype = np.dtype(_DTYPES[name])
    if dtype.itemsize == 1:
        return dtype
    order = _needed(path, fields, "endian").lower()
    if order not in ("little", "big"):
        msg = f"{path}: its endian is {quote(order, 60)}, not little or big; export it again"
        raise MskdexError(msg)
    return dtype.newbyteorder("<" if order == "little" else ">")


def _place(path: Path, fields: Mapping[str, str], length: int) -> tuple[Path, Codec, int, int]:
    """The file of voxels, its codec, the bytes before its stream and the bytes of the stream before the voxels."""
    encoding = _needed(path, fields, "encoding").lower()
    if encoding not in _CODECS:
        msg = f"{path} has the encoding {quote(encoding, 60)}; save it with raw or gzip"
        raise MskdexError(msg)
    codec = _CODECS[encoding]
    detached = fields.get("data file")
    data, start = (data_file(path, detached), 0) if detached else (path, length)
    lines, skip = (one_whole_number(path, k, fields.get(k) or "0") for k in ("line skip", "byte skip"))
    if not 0 <= lines <= 1000 or not -1 <= skip <= LONGEST_HEADER or (skip == -1 and codec != "raw"):
        msg = f"{path}: its line skip {lines} or byte skip {skip} cannot be; export it again"
        raise MskdexError(msg)
    if lines:
        with open(data, "rb") as handle:
            handle.seek(start)
            for _ in range(lines):
                handle.readline(LONGEST_HEADER)
            start = handle.tell()
    return data, codec, start, max(skip, 0)


def _vectors(path: Path, fields: Mapping[str, str], axes: int) -> list[np.ndarray | None] | None:
    """The direction of each axis, None for one that is none of space; None where the header has no directions."""
    if "space directions" not in fields:
        return None
    pattern = r"\([^()]*\)|none|\?\?\?"
    words = re.findall(pattern, fields["space directions"])
    if re.sub(pattern, "", fields["space directions"]).strip():
        given = quote(fields["space directions"])
        msg = f"{path}: its space directions are {given!r}, no vectors in brackets; export it again"
        raise MskdexError(msg)
    found = [finite(path, "space directions", w.strip("()").split(",")) if w.startswith("(") else None for w in words]
    kinds = fields.get("kinds", "").split() or ["domain"] * axes
    if len(found) != axes or len(kinds) != axes:
        msg = f"{path} gives {len(found)} space directions and {len(kinds)} kinds for {axes} axes; export it again"
        raise MskdexError(msg)
    if axes > 3 and any(v is not None and v.size > 3 for v in found):
        msg = f"{path} has {axes} dimensions ({fields['sizes']}), one of them time; export the one volume that is meant"
        raise MskdexError(msg)
    for vector, kind in zip(found, kinds, strict=True):
        if vector is not None and (vector.size != 3 or kind.lower() not in ("domain", "space", "???", "none")):
            detail = f"{quote(kind, 60)} with the direction {vector.tolist()}"
            msg = f"{path} has an axis of kind {detail}; export a volume in space"
            raise MskdexError(msg)
    return found


def _affine(
    path: Path, fields: Mapping[str, str], vectors: list[np.ndarray | None]
) -> tuple[np.ndarray | None, tuple[str, ...]]:
    if len(vectors) != 3 or any(v is None for v in vectors):
        return None, ()
    space = " ".join(fields.get("space", "").lower().split())
    if space not in _TO_RAS:
        detail = f"its space is {quote(space, 60)}" if space else "it names no space"
        msg = f"{path} does not say how it lies in the patient ({detail}, not RAS, LAS or LPS); export it again"
        raise MskdexError(msg)
    directions = np.array(vectors).T
    axes = len(whole_numbers(path, "sizes", fields["sizes"]))
    _require_no_contradiction(path, fields, directions, axes)
    scale = _scale(path, fields, axes)
    affine = np.eye(4)
    affine[:3, :3] = directions * scale
    warnings = [] if scale == 1 else [f"{path.name} is in units of {scale:g} mm, converted"]
    if "space origin" in fields:
        inside = re.fullmatch(r"\(([^()]*)\)", fields["space origin"])
        origin = finite(path, "space origin", inside.group(1).split(",") if inside else [])
        if origin.size != 3:
            msg = f"{path}: its space origin {quote(fields['space origin'])} are not three numbers; export it again"
            raise MskdexError(msg)
        affine[:3, 3] = origin * scale
    else:
        warnings.append(f"{path.name} gives no space origin; its first voxel is taken to lie at 0")
    return np.diag([*_TO_RAS[space], 1.0]) @ affine, tuple(warnings)


def _require_no_contradiction(path: Path, fields: Mapping[str, str], directions: np.ndarray, axes: int) -> None:
    """Refuses fields that must not stand beside `space` and `space directions`, unless they say the same."""
    if fields.get("space dimension", "3") != "3":
        msg = f"{path}: its space dimension is {quote(fields['space dimension'], 40)}, not 3; export it again"
        raise MskdexError(msg)
    if "spacings" not in fields:
        return
    _require_count(path, "spacings", len(fields["spacings"].split()), axes)
    said = finite(path, "spacings", [w for w in fields["spacings"].split() if w.lower() != "nan"])
    sizes = np.linalg.norm(directions, axis=0)
    if said.size and (said.size != 3 or not np.allclose(np.abs(said), sizes, rtol=1e-3)):
        msg = (
            f"{path} says two voxel sizes: {quote(fields['spacings'], 40)} (spacings) and "
            f"{' x '.join(f'{s:.5g}' for s in sizes)} (space directions); find out which is true and export it again"
        )
        raise MskdexError(msg)


def _require_count(path: Path, key: str, given: int, wanted: int) -> None:
    if given != wanted:
        msg = f"{path} gives {given} {key} for {wanted} axes; export it again"
        raise MskdexError(msg)


def _scale(path: Path, fields: Mapping[str, str], axes: int) -> float:
    """Millimetres per unit; where no unit is given it is the millimetre, as of every program for images of patients."""
    units = set()
    for key, count in (("space units", 3), ("units", axes)):
        if key not in fields:
            continue
        quoted = re.findall(r'"([^"]*)"', fields[key])
        bare = re.sub(r'"[^"]*"', " ", fields[key]).lower().split()
        if set(bare) - {"none", "???"}:
            msg = f"{path}: its {key} are {quote(fields[key], 60)}, no words in quotes; export it again"
            raise MskdexError(msg)
        _require_count(path, key, len(quoted) + len(bare), count)
        units |= {w.strip().lower() for w in quoted}
    units -= {"", "none", "???"}
    if len(units) > 1 or not units <= set(MM_PER_UNIT):
        msg = f"{path} has the units {', '.join(sorted(units))}; export it in mm"
        raise MskdexError(msg)
    return MM_PER_UNIT[units.pop()] if units else 1.0
