"""The header of a user's MHA or MHD file: every field used, refused, or known to be without effect.

Source: itk.org/Wiki/MetaIO/Documentation and ITK's MetaImage, MetaIO 2021.
"""

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
    "MET_CHAR": "i1",
    "MET_UCHAR": "u1",
    "MET_SHORT": "i2",
    "MET_USHORT": "u2",
    "MET_INT": "i4",
    "MET_UINT": "u4",
    "MET_LONG": "i4",
    "MET_ULONG": "u4",
    "MET_LONG_LONG": "i8",
    "MET_ULONG_LONG": "u8",
    "MET_FLOAT": "f4",
    "MET_DOUBLE": "f8",
}
_ALIASES = {
    "Rotation": "TransformMatrix",
    "Orientation": "TransformMatrix",
    "Position": "Offset",
    "Origin": "Offset",
    "ElementByteOrderMSB": "BinaryDataByteOrderMSB",
}
_USED = (
    "ObjectType",
    "NDims",
    "DimSize",
    "ElementType",
    "ElementSpacing",
    "TransformMatrix",
    "Offset",
    "BinaryData",
    "BinaryDataByteOrderMSB",
    "CompressedData",
    "CompressedDataSize",
    "ElementNumberOfChannels",
    "HeaderSize",
    "ElementToIntensityFunctionSlope",
    "ElementToIntensityFunctionOffset",
    "Modality",
    "DistanceUnits",
    "AnatomicalOrientation",
    "ElementDataFile",
)
_KNOWN = {name.lower(): name for name in (*_USED, *_ALIASES)}
_AXES = ("RL", "AP", "IS")


def read_metaimage_header(path: Path, what: str) -> VoxelHeader:
    """Reads and checks the header of an MHA or MHD file.

    Args:
        path: the file.
        what: "the CT" or "labels"; a CT must not say that it is of another modality.

    Raises:
        MskdexError: names the field that is missing, damaged or contradictory.
    """
    fields, length = _fields(path)
    for key, allowed in (("ObjectType", "image"), ("BinaryData", "true")):
        if fields.get(key, allowed).lower() != allowed:
            msg = f"{path}: its {key} is {quote(fields[key], 60)}; save it as a binary image"
            raise MskdexError(msg)
    modality = fields.get("Modality", "MET_MOD_OTHER").upper()
    if what == "the CT" and modality not in ("MET_MOD_CT", "MET_MOD_OTHER", "MET_MOD_UNKNOWN"):
        msg = f"{path}: its Modality is {quote(modality, 60)}, not MET_MOD_CT; name the CT"
        raise MskdexError(msg)
    _require_no_scale(path, fields)
    size = whole_numbers(path, "DimSize", _needed(path, fields, "DimSize"))
    if whole_numbers(path, "NDims", _needed(path, fields, "NDims")) != (len(size),):
        msg = f"{path} gives {len(size)} sizes for NDims {quote(fields['NDims'], 60)}; export it again"
        raise MskdexError(msg)
    components = one_whole_number(path, "ElementNumberOfChannels", fields.get("ElementNumberOfChannels", "1"))
    dtype = _dtype(path, fields)
    count = int(np.prod([float(n) for n in size])) * components * dtype.itemsize
    data, codec, start = _place(path, fields, length, count)
    if len(size) > 3:
        msg = f"{path} has {len(size)} dimensions ({fields['DimSize']}); export the one volume that is meant"
        raise MskdexError(msg)
    affine, warnings = _affine(path, fields, len(size))
    return VoxelHeader(size, components, dtype, codec, data, start, 0, affine, {}, warnings)


def _fields(path: Path) -> tuple[dict[str, str], int]:
    """The fields, ElementDataFile the last, and the header's length."""
    fields: dict[str, str] = {}
    with open(path, "rb") as handle:
        while handle.tell() < LONGEST_HEADER and (line := handle.readline(LONGEST_HEADER)):
            text = line.decode("utf-8", "replace").rstrip("\r\n")
            name, equals, value = text.partition("=")
            if not text.strip():
                continue
            key = _KNOWN.get(name.strip().lower(), name.strip())
            if not equals or not printable(text) or (key.lower() in _KNOWN and key != name.strip()):
                msg = f"{path}: its header has the line {text[:60]!r}, which is no field of MetaImage; export it again"
                raise MskdexError(msg)
            key = _ALIASES.get(key, key)
            if key in fields:
                msg = f"{path} gives {key} twice; export it again"
                raise MskdexError(msg)
            fields[key] = value.strip()
            if key == "ElementDataFile":
                return fields, handle.tell()
    msg = f"{path} cannot be read, its header has no ElementDataFile; copy or export it again"
    raise MskdexError(msg)


def _needed(path: Path, fields: Mapping[str, str], key: str) -> str:
    if not fields.get(key):
        msg = f"{path} has no {key} in its header; export it again"
        raise MskdexError(msg)
    return fields[key]


def _require_no_scale(path: Path, fields: Mapping[str, str]) -> None:
    for key, neutral in (("ElementToIntensityFunctionSlope", 1.0), ("ElementToIntensityFunctionOffset", 0.0)):
        if key in fields and finite(path, key, fields[key].split()).tolist() != [neutral]:
            msg = f"{path}: its {key} is {quote(fields[key], 60)}; export it with its values as they are meant"
            raise MskdexError(msg)


def _dtype(path: Path, fields: Mapping[str, str]) -> np.dtype:
    name = _needed(path, fields, "ElementType").upper()
    if name not in _TYPES:
        msg = f"{path} holds values of ElementType {quote(name, 60)}; export it as MET_SHORT"
        raise MskdexError(msg)
    return np.dtype(_TYPES[name]).newbyteorder(">" if _true(path, fields, "BinaryDataByteOrderMSB") else "<")


def _true(path: Path, fields: Mapping[str, str], key: str) -> bool:
    word = fields.get(key, "False").lower()
    if word not in ("true", "false", "1", "0"):
        msg = f"{path}: its {key} is {quote(word, 60)}, not True or False; export it again"
        raise MskdexError(msg)
    return word in ("true", "1")


def _place(path: Path, fields: Mapping[str, str], length: int, count: int) -> tuple[Path, Codec, int]:
    """The file of voxels, its codec and the bytes before them, of which there are `count` when decompressed."""
    codec: Codec = "zlib" if _true(path, fields, "CompressedData") else "raw"
    name = _needed(path, fields, "ElementDataFile")
    local = name.upper() == "LOCAL"
    data = path if local else data_file(path, name)
    skip = one_whole_number(path, "HeaderSize", fields.get("HeaderSize", "0"))
    if skip == -1 and codec == "raw":
        return data, codec, last_bytes(data, count)
    if not 0 <= skip <= LONGEST_HEADER:
        msg = f"{path}: its HeaderSize {skip} cannot be; export it again"
        raise MskdexError(msg)
    return data, codec, skip + (length if local else 0)


def _affine(path: Path, fields: Mapping[str, str], axes: int) -> tuple[np.ndarray | None, tuple[str, ...]]:
    if axes != 3:
        return None, ()
    for key, lacking in (("ElementSpacing", "voxel size"), ("TransformMatrix", "orientation")):
        if key not in fields:
            msg = f"{path} does not say its {lacking} (no {key}); export it again"
            raise MskdexError(msg)
    spacing, matrix = (finite(path, k, fields[k].split()) for k in ("ElementSpacing", "TransformMatrix"))
    offset = finite(path, "Offset", fields.get("Offset", "0 0 0").split())
    if (spacing.size, matrix.size, offset.size) != (3, 9, 3) or (spacing <= 0).any():
        msg = (
            f"{path}: its ElementSpacing {spacing.tolist()}, TransformMatrix {matrix.tolist()} or Offset "
            f"{offset.tolist()} cannot be; export it again"
        )
        raise MskdexError(msg)
    _require_one_size(path, fields, spacing)
    directions = matrix.reshape(3, 3)  # a row an axis
    norms = np.linalg.norm(directions, axis=1)
    if np.abs(norms - 1).max() > 2e-3:
        msg = f"{path}: the rows of its TransformMatrix have lengths {norms.round(4).tolist()}, not 1; export it again"
        raise MskdexError(msg)
    scale = _scale(path, fields)
    affine = np.eye(4)
    affine[:3, :3], affine[:3, 3] = (directions / norms[:, None]).T * spacing * scale, offset * scale
    warnings = [] if scale == 1 else [f"{path.name} is in units of {scale:g} mm, converted"]
    if "Offset" not in fields:
        warnings.append(f"{path.name} gives no Offset; its first voxel is taken to lie at 0")
    warnings += _orientation_warning(path, fields, directions)
    return np.diag([-1.0, -1.0, 1.0, 1.0]) @ affine, tuple(warnings)


def _require_one_size(path: Path, fields: Mapping[str, str], spacing: np.ndarray) -> None:
    """ElementSize is a voxel's own extent: along the slices' normal it may be other than their distance, not within."""
    if "ElementSize" in fields:
        size = finite(path, "ElementSize", fields["ElementSize"].split())
        if size.size != 3 or not np.allclose(size[:2], spacing[:2], rtol=1e-3):
            msg = (
                f"{path} says two voxel sizes: ElementSize {size.tolist()} and ElementSpacing {spacing.tolist()}; find "
                "out which is true and export it again"
            )
            raise MskdexError(msg)


def _scale(path: Path, fields: Mapping[str, str]) -> float:
    unit = fields.get("DistanceUnits", "mm").lower()
    if unit in ("?", "unknown"):
        return 1.0
    if unit not in MM_PER_UNIT:
        msg = f"{path}: its DistanceUnits are {quote(unit, 60)}; export it in mm"
        raise MskdexError(msg)
    return MM_PER_UNIT[unit]


def _orientation_warning(path: Path, fields: Mapping[str, str], lps: np.ndarray) -> list[str]:
    """AnatomicalOrientation names where axes come from, or, of some programs, where they go to: either may agree."""
    stated = fields.get("AnatomicalOrientation", "").upper()
    if stated in ("", "???", "UNKNOWN"):
        return []
    ends = [(int(np.abs(row).argmax()), bool(row[np.abs(row).argmax()] > 0)) for row in lps]
    come, go = ("".join(_AXES[axis][up ^ start] for axis, up in ends) for start in (True, False))
    if stated in (come, go):
        return []
    return [
        f"{path.name} has the AnatomicalOrientation {quote(stated, 40)}, its TransformMatrix says {come}; the matrix "
        "is taken"
    ]
