"""Mutations of NIfTI, NRRD and MetaImage files: fields, lines and bits."""

import gzip
import re
from pathlib import Path

import numpy as np
from nibabel.nifti1 import header_dtype

from fuzzing.case import Case
from fuzzing.patients import Base
from fuzzing.values import flipped, mutated_number, mutated_text, pick

_NIFTI_USED = ("dim", "datatype", "vox_offset", "scl_slope", "scl_inter", "xyzt_units", "qform_code", "sform_code")
_NIFTI_TWICE = (
    "bitpix",
    "pixdim",
    "quatern_b",
    "quatern_c",
    "quatern_d",
    "qoffset_x",
    "qoffset_y",
    "qoffset_z",
    "srow_x",
    "srow_y",
    "srow_z",
    "magic",
    "sizeof_hdr",
)
_OFTEN = (*_NIFTI_USED, *_NIFTI_TWICE) * 2

NRRD_LINES = {
    "type": ("short", "unsigned short", "int16", "uchar", "float", "int", "block", "unsigned char", "signed char"),
    "dimension": ("2", "3", "4"),
    "space": (
        "left-posterior-superior",
        "RAS",
        "LPS",
        "LAS",
        "right-anterior-superior",
        "scanner-xyz",
        "left-anterior-superior",
    ),
    "sizes": (),
    "space directions": (),
    "space origin": (),
    "kinds": ("domain domain domain", "list domain domain", "domain domain time", "space space space"),
    "endian": ("big", "little"),
    "encoding": ("raw", "gzip", "gz", "ascii", "bzip2", "hex"),
    "data file": (),
}
NRRD_MORE = (
    'space units: "cm" "cm" "cm"',
    'space units: "mm" "mm" "mm"',
    'units: "m" "m" "m"',
    "old min: 0",
    "old max: 100",
    "line skip: 1",
    "byte skip: 2",
    "byte skip: -1",
    "spacings: 1 1 1",
    "spacings: 2 2.5 3",
    "measurement frame: (1,0,0) (0,1,0) (0,0,1)",
    "thicknesses: 1 1 1",
    "content: x",
    "min: 0",
    "max: 1",
    "number: 5",
    "centerings: cell cell cell",
    "axis mins: 0 0 0",
    'sample units: "HU"',
    "# a comment",
    "key:=value",
    "nonsense",
    "space dimension: 3",
    "space dimension: 4",
    "block size: 2",
    "centers: node node node",
    'labels: "a" "b" "c"',
)
_NRRD_FREE = (
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
    "centers",
    "#",
)
MHA_LINES = {
    "ObjectType": ("Image", "Tube"),
    "NDims": ("2", "3", "4"),
    "BinaryData": ("True", "False"),
    "BinaryDataByteOrderMSB": ("True", "False"),
    "CompressedData": ("True", "False"),
    "TransformMatrix": ("1 0 0 0 1 0 0 0 1", "-1 0 0 0 -1 0 0 0 1", "0 1 0 1 0 0 0 0 1", "0 0 0 0 0 0 0 0 0"),
    "Offset": (),
    "CenterOfRotation": (),
    "AnatomicalOrientation": ("RAI", "LPI", "LPS", "RAS"),
    "ElementSpacing": (),
    "DimSize": (),
    "ElementType": ("MET_SHORT", "MET_USHORT", "MET_UCHAR", "MET_FLOAT", "MET_CHAR"),
    "ElementDataFile": ("LOCAL", "LIST", "ct.raw", "../x.raw"),
    "CompressedDataSize": (),
}
MHA_MORE = (
    "ElementToIntensityFunctionSlope = 2",
    "ElementToIntensityFunctionOffset = 100",
    "HeaderSize = 4",
    "HeaderSize = -1",
    "Modality = MET_MOD_MR",
    "Modality = MET_MOD_CT",
    "DistanceUnits = cm",
    "DistanceUnits = mm",
    "ElementSize = 9 9 9",
    "ElementNumberOfChannels = 3",
    "ElementNumberOfChannels = 1",
    "Comment = x",
    "ElementMin = 5",
    "ElementMax = 7",
    "Rotation = 1 0 0 0 1 0 0 0 1",
    "Position = 0 0 0",
    "ElementByteOrderMSB = True",
    "Nonsense",
    "Name = x",
    "ID = 5",
    "Color = 1 0 0 1",
)
_MHA_FREE = (
    "CenterOfRotation",
    "ElementSize",
    "Comment",
    "ElementMin",
    "ElementMax",
    "Name",
    "ID",
    "Color",
    "CompressedDataSize",
)
_TWICE = {"AnatomicalOrientation", "spacings", "space dimension"}


def nifti_field(rng: np.random.Generator, base: Base, folder: Path) -> Case:
    """A header entry changed, or bits of it, in the CT, the labels or both alike."""
    part, names = _part(rng, base)
    number = int(rng.integers(1 << 32))
    changed, what, claim, contradicts = {}, "", "", False
    for name in names:
        own = np.random.default_rng(number)
        content = _unzipped(base.files[name])
        header = np.frombuffer(content[:348], header_dtype.newbyteorder("<")).copy()
        if own.random() < 0.2:
            start, places = flipped(own, content[:348], 0, 348)
            fields = sorted({_field_at(p) for p in places})
            what = f"bits of {', '.join(fields)} flipped at {places}"
        else:
            fields = [pick(own, (*_OFTEN, *header_dtype.names))]
            entry = header[fields[0]].reshape(-1).view()
            if entry.dtype.kind == "S":
                header[fields[0]] = own.bytes(entry.dtype.itemsize)
            else:
                at = int(own.integers(entry.size)) if fields[0] not in ("dim", "pixdim") else int(own.integers(5))
                before = entry[at].item()
                entry[at] = mutated_number(own, entry[at], entry.dtype)
                header[fields[0]] = entry.reshape(header[fields[0]].shape)
                what = f"{fields[0]}[{at}] {before:g} -> {entry[at].item():g}"
            start = header.tobytes()
            what = what or f"{fields[0]} of random bytes"
        claim = _claim(fields, _NIFTI_USED, _NIFTI_TWICE)
        contradicts = start[:348] != content[:348] and any(f.startswith("pixdim") for f in fields)
        changed[name] = _zipped(start + content[348:]) if name.endswith("gz") else start + content[348:]
    if "pixdim" in what:
        contradicts = _pixdim_differs(base, changed)
    return Case(base.write(folder, changed), f"{part}: {what}", claim, part, contradicts=contradicts)


def stream_bits(rng: np.random.Generator, base: Base, folder: Path) -> Case:
    """Bits anywhere in a compressed file flipped, or its end cut off."""
    name = pick(rng, [base.row["ct"], base.row["labels"]])
    content = base.files[name]
    low = _header_end(name, content)
    if rng.random() < 0.1:
        at = int(rng.integers(len(content)))
        return Case(base.write(folder, {name: content[:at]}), f"{name} cut at {at}", "stream", "both")
    found, places = flipped(rng, content, low, len(content))
    return Case(base.write(folder, {name: found}), f"{name}: bits at {places} of {len(content)}", "stream", "both")


def raw_bits(rng: np.random.Generator, base: Base, folder: Path) -> Case:
    """Bits of uncompressed voxels of the CT or the labels, which have no checksum: they are read as they stand."""
    part = pick(rng, ("ct", "ct", "labels"))
    header = base.row[part]
    name = next((n for n in (f"{Path(header).stem}.raw",) if n in base.files), header)
    content = base.files[name]
    low = 0 if name.endswith(".raw") else 352 if name.endswith(".nii") else _header_end(name, content)
    found, places = flipped(rng, content, low, len(content))
    what = f"{name}: bits at {places} of {len(content)}"
    return Case(base.write(folder, {name: found}), what, "raw", part)


def header_line(rng: np.random.Generator, base: Base, folder: Path) -> Case:
    """A line of a text header changed, left out, doubled, put in, or a bit of it flipped; CT, labels or both alike."""
    part, names = _part(rng, base)
    number = int(rng.integers(1 << 32))
    changed, what, key = {}, "", ""
    for name in names:
        own = np.random.default_rng(number)
        content = base.files[name]
        end = _header_end(name, content)
        lines = content[:end].decode("latin-1").rstrip("\n").split("\n")
        lines, what, key = _other_lines(own, lines, name.endswith(("nrrd", "nhdr")))
        tail = "\n\n" if name.endswith(("nrrd", "nhdr")) else "\n"
        changed[name] = ("\n".join(lines) + tail).encode("utf-8", "replace") + content[end:]
    claim = "free" if key in (*_NRRD_FREE, *_MHA_FREE) else "twice" if key in _TWICE else "used"
    contradicts = key in _TWICE and not re.search(
        r"^bits|2 2.5 3|dimension: 3|without|twice|-> '\s*'|-> '\s*(LPI|RAS)\s*'", what
    )
    contradicts = contradicts and not _rounded_spacings(what)
    if claim == "used" and what == """with 'space units: "mm" "mm" "mm"'""":
        claim = "twice"  # ITK wants the line after that of the space, and millimetres change nothing
    if claim == "used" and all(_same_words(c, base.files[n]) for n, c in changed.items()):
        claim = "twice"  # blanks, or small and capital letters
    return Case(base.write(folder, changed), f"{part}: {what}", claim, part, contradicts=contradicts)


def _rounded_spacings(what: str) -> bool:
    """Whether a line of spacings is the volume's but for rounding, of which the import passes over a thousandth."""
    said = re.search(r"spacings: ([-+.\de]+) ([-+.\de]+) ([-+.\de]+)'", what)
    try:
        return said is not None and np.allclose([float(v) for v in said.groups()], [2.0, 2.5, 3.0], rtol=1e-3)
    except ValueError:
        return False


def _other_lines(rng: np.random.Generator, lines: list[str], nrrd: bool) -> tuple[list[str], str, str]:
    mark, known, more = (": ", NRRD_LINES, NRRD_MORE) if nrrd else (" = ", MHA_LINES, MHA_MORE)
    first = 1 if nrrd else 0
    at = int(rng.integers(first, len(lines)))
    key, _, value = lines[at].partition(mark.rstrip() if nrrd else mark)
    key = "#" if key.startswith("#") else key.strip()
    how = rng.random()
    if how < 0.55:
        other = mutated_text(rng, value.strip(), known.get(key, ()))
        return (
            [*lines[:at], f"{key}{mark}{other}", *lines[at + 1 :]],
            f"{key}: {value.strip()!r} -> {other[:60]!r}",
            key,
        )
    if how < 0.65:
        return lines[:at] + lines[at + 1 :], f"without {key}", key
    if how < 0.72:
        return [*lines[:at], lines[at], *lines[at:]], f"{key} twice", key
    if how < 0.9:
        new = pick(rng, more)
        new = mutated_text(rng, new) if rng.random() < 0.3 else new
        key = new.split(":")[0].split(" = ")[0] if not new.startswith("#") else "#"
        return [*lines[:at], new, *lines[at:]], f"with {new[:60]!r}", key
    line, _ = flipped(rng, lines[at].encode("latin-1"), 0, len(lines[at]))
    return [*lines[:at], line.decode("latin-1"), *lines[at + 1 :]], f"bits of {lines[at]!r} -> {line!r}", key


def _part(rng: np.random.Generator, base: Base) -> tuple[str, list[str]]:
    ct, labels = base.row["ct"], base.row["labels"]
    return pick(rng, (("ct", [ct]), ("labels", [labels]), ("both", [ct, labels]), ("both", [ct, labels])))


def _same_words(one: bytes, other: bytes) -> bool:
    return one.lower().split() == other.lower().split()


def _claim(fields: list[str], used: tuple[str, ...], twice: tuple[str, ...]) -> str:
    if any(f in twice for f in fields):
        return "twice"
    return "used" if any(f in used for f in fields) else "free"


def _pixdim_differs(base: Base, changed: dict[str, bytes]) -> bool:
    for name, content in changed.items():
        one, other = (np.frombuffer(_unzipped(c)[76:92], "<f4")[1:4].astype(float) for c in (base.files[name], content))
        with np.errstate(all="ignore"):
            if not np.allclose(np.abs(one), np.abs(other), rtol=3e-3):
                return True
    return False


def _field_at(place: int) -> str:
    return next(n for n in reversed(header_dtype.names) if header_dtype.fields[n][1] <= place)


def _header_end(name: str, content: bytes) -> int:
    if name.endswith((".nrrd", ".nhdr")):
        at = content.find(b"\n\n")
        return at + 2 if at >= 0 else len(content)
    if name.endswith((".mha", ".mhd")):
        return content.index(b"\n", content.index(b"ElementDataFile")) + 1
    return 0


def _unzipped(content: bytes) -> bytes:
    return gzip.decompress(content) if content[:2] == b"\x1f\x8b" else content


def _zipped(content: bytes) -> bytes:
    return gzip.compress(content, 1, mtime=0)
