"""Mutations of DICOM CTs: elements of one image or of all, groups of an enhanced one, bytes of a header."""

from collections.abc import Callable
from copy import deepcopy
from pathlib import Path

import numpy as np
import pydicom
from pydicom.datadict import dictionary_VR
from pydicom.dataelem import DataElement, RawDataElement
from pydicom.dataset import Dataset
from pydicom.tag import Tag

from fuzzing.case import Case
from fuzzing.patients import Base, encoded, enhanced, slices
from fuzzing.values import flipped, mutated_text, packed, pick

USED = (
    "PixelSpacing",
    "ImagePositionPatient",
    "ImageOrientationPatient",
    "RescaleSlope",
    "RescaleIntercept",
    "Rows",
    "Columns",
    "BitsAllocated",
    "PixelRepresentation",
    "PixelPaddingValue",
)
TWICE = (
    "BitsStored",
    "HighBit",
    "SamplesPerPixel",
    "NumberOfFrames",
    "Modality",
    "SpacingBetweenSlices",
    "PixelAspectRatio",
    "GantryDetectorTilt",
)
"""The rest is free: no number may come of it."""

_SEEN = (
    *USED,
    *TWICE,
    "RescaleType",
    "ImageType",
    "PhotometricInterpretation",
    "SOPClassUID",
    "SOPInstanceUID",
    "SeriesInstanceUID",
    "StudyInstanceUID",
    "FrameOfReferenceUID",
    "InstanceNumber",
    "SliceThickness",
    "PatientName",
    "PatientID",
    "InstitutionName",
)
_ADDED = {
    "SpacingBetweenSlices": ("DS", "3"),
    "GantryDetectorTilt": ("DS", "0"),
    "PixelAspectRatio": ("IS", "1\\1"),
    "PixelPaddingValue": ("SS", "24"),
    "PixelPaddingRangeLimit": ("SS", "30"),
    "AcquisitionNumber": ("IS", "1"),
    "ConvolutionKernel": ("SH", "B30f"),
    "KVP": ("DS", "120"),
    "ImagesInAcquisition": ("IS", "12"),
    "TemporalPositionIdentifier": ("IS", "1"),
    "WindowCenter": ("DS", "40"),
    "WindowWidth": ("DS", "400"),
    "NumberOfFrames": ("IS", "1"),
    "PlanarConfiguration": ("US", "0"),
    "RescaleType": ("LO", "HU"),
    "SpecificCharacterSet": ("CS", "ISO_IR 100"),
    "TriggerTime": ("DS", "0"),
    "ContrastBolusAgent": ("LO", "none"),
    "LossyImageCompression": ("CS", "00"),
    "SmallestImagePixelValue": ("SS", "0"),
    "AcquisitionTime": ("TM", "101010"),
}
_BINARY = {"US": "u2", "SS": "i2", "UL": "u4", "SL": "i4", "FL": "f4", "FD": "f8"}
_OTHER_VR = ("UN", "LO", "OB", "FD", "US", "SQ", "DS", "IS", "UL", "AT", "UT", "PN")
_VALUES = {
    "Modality": ("CT", "MR", "OT", "PT", "SEG"),
    "RescaleType": ("HU", "US", "HU_MOD", "MGML", "OD", "Z_EFF"),
    "PhotometricInterpretation": ("MONOCHROME1", "MONOCHROME2", "RGB", "PALETTE COLOR"),
    "ImageType": ("DERIVED\\PRIMARY\\AXIAL", "ORIGINAL\\PRIMARY\\LOCALIZER", "DERIVED\\SECONDARY\\MPR"),
}


def classic_all(rng: np.random.Generator, base: Base, folder: Path) -> Case:
    """One element of all images alike."""
    keyword, change, what = mutation(rng, slices()[0], pick(rng, (_SEEN, _SEEN, tuple(_ADDED))))
    changed = {}
    for k in range(len(slices())):
        dataset = deepcopy(slices()[k])
        change(dataset)
        changed[_name(k)] = encoded(dataset)
    claim = claim_of(keyword)
    return _case(rng, base, folder, changed, f"all: {what}", _weaker(claim, what))


def classic_one(rng: np.random.Generator, base: Base, folder: Path) -> Case:
    """One element of one image; its number must not go unlike the others' in silence."""
    k = pick(rng, (0, len(slices()) - 1, *range(len(slices()))))
    if rng.random() < 0.06:
        return _case(rng, base, folder, {_name(k): None}, f"without slice {k + 1} of {len(slices())}", "twice", True)
    keyword, change, what = mutation(rng, slices()[k], pick(rng, (_SEEN, _SEEN, tuple(_ADDED))))
    dataset = deepcopy(slices()[k])
    change(dataset)
    claim = "free" if claim_of(keyword) == "free" else "twice"
    return _case(rng, base, folder, {_name(k): encoded(dataset)}, f"slice {k + 1}: {what}", claim)


def classic_bytes(rng: np.random.Generator, base: Base, folder: Path) -> Case:
    """Bits of one image's header flipped, or the file cut."""
    k = int(rng.integers(len(slices())))
    content = base.files[_name(k)]
    changed, what, claim = mutated_bytes(rng, content)
    claim = "twice" if claim == "used" else claim
    return _case(rng, base, folder, {_name(k): changed}, f"slice {k + 1}: {what}", claim)


def pixels_at(content: bytes) -> int:
    """Where the value of PixelData begins in a file of explicit little-endian syntax."""
    return content.index(b"\xe0\x7f\x10\x00") + 12


def pixel_bits(rng: np.random.Generator, base: Base, folder: Path) -> Case:
    """Bits of one image's uncompressed pixels, which have no checksum: they are read as they stand."""
    k = int(rng.integers(len(slices())))
    content = base.files[_name(k)]
    found, places = flipped(rng, content, pixels_at(content), len(content))
    row = base.write(folder, {_name(k): found})
    return Case(row, f"slice {k + 1}: bits at {places} of {len(content)}", "raw", "ct")


def enhanced_any(rng: np.random.Generator, base: Base, folder: Path) -> Case:
    """An element of an enhanced CT: of the file, of what its frames share, of one frame; or a group itself."""
    how = rng.random()
    if how < 0.15:
        changed, what, claim = mutated_bytes(rng, base.files["ct.dcm"])
        return _case(rng, base, folder, {"ct.dcm": changed}, what, "twice" if claim == "used" else claim)
    dataset = deepcopy(enhanced())
    where = pick(rng, ("file", "shared", "shared", "frame", "frame"))
    if where == "file":
        keyword, change, what = mutation(rng, dataset, pick(rng, (_SEEN, tuple(_ADDED), ("NumberOfFrames",))))
        change(dataset)
        claim = claim_of(keyword)
    else:
        sequence = dataset[f"{'Shared' if where == 'shared' else 'PerFrame'}FunctionalGroupsSequence"].value
        group = pick(rng, list(sequence))
        keyword, what = _in_group(rng, group, where)
        claim = _weaker(claim_of(keyword), what if where == "shared" else " as VR ")
    return _case(rng, base, folder, {"ct.dcm": encoded(dataset)}, f"{where}: {what}", claim)


def _in_group(rng: np.random.Generator, group: Dataset, where: str) -> tuple[str, str]:
    names = [e.keyword for e in group]
    name = pick(rng, names)
    how = rng.random()
    if where == "frame" and how < 0.25:
        items = enhanced().SharedFunctionalGroupsSequence[0]
        name = pick(rng, [e.keyword for e in items])
        setattr(group, name, [deepcopy(items[name].value[0])])
    elif how < 0.35:
        del group[name]
        return name, f"without {name}"
    elif how < 0.42:
        group[name].value = []
        return name, f"{name} empty"
    elif how < 0.48:
        group[name].value = [group[name].value[0], deepcopy(group[name].value[0])]
        return "free", f"{name} with its item twice"
    item = group[name].value[0]
    keyword, change, what = mutation(rng, item, tuple(e.keyword for e in item))
    change(item)
    return keyword, f"{name} {what}"


def mutation(
    rng: np.random.Generator, valid: Dataset, keywords: tuple[str, ...]
) -> tuple[str, Callable[[Dataset], None], str]:
    """An element's mutation: its keyword, what does it to a dataset, and words."""
    keyword = pick(rng, keywords)
    tag = Tag(keyword)
    vr, raw = (valid[tag].VR, _raw(valid[tag])) if tag in valid else _added(keyword)
    how = rng.random()
    if how < 0.1 and tag in valid:
        return keyword, lambda d: d.__delitem__(tag), f"without {keyword}"
    if how < 0.2:
        value, told = b"", "blank"
    elif how < 0.28:
        vr = pick(rng, _OTHER_VR)
        value, told = raw, f"as VR {vr}"
    elif vr in _BINARY:
        value = packed(rng, _BINARY[vr], raw)
        told = f"{raw.hex()} -> {value.hex()}"
    else:
        text = mutated_text(rng, raw.decode("latin-1").strip(" \0"), _VALUES.get(keyword, ()))
        value, told = text.encode("utf-8", "replace"), f"{raw.decode('latin-1')!r} -> {text[:60]!r}"
    value += b" " * (len(value) % 2)
    element = RawDataElement(tag, vr, len(value), value, 0, False, True)
    return keyword, lambda d: d.__setitem__(tag, element), f"{keyword} {told}"


def _added(keyword: str) -> tuple[str, bytes]:
    vr, text = _ADDED.get(keyword, (dictionary_VR(Tag(keyword)).split(" ")[0], "1"))
    return vr, np.array(int(text), "<" + _BINARY[vr]).tobytes() if vr in _BINARY else text.encode()


def _raw(element: DataElement) -> bytes:
    if element.VR in _BINARY:
        return np.array(element.value, "<" + _BINARY[element.VR]).tobytes()
    value = element.value
    return "\\".join(
        str(v) for v in ([value] if isinstance(value, str) or not hasattr(value, "__iter__") else value)
    ).encode()


def mutated_bytes(rng: np.random.Generator, content: bytes) -> tuple[bytes, str, str]:
    """Bits of what lies before the pixels; the claim is that of the elements that read otherwise."""
    if rng.random() < 0.08:
        at = int(rng.integers(len(content)))
        return content[:at], f"cut at {at} of {len(content)}", "twice"
    low = 128 if rng.random() < 0.95 else 0
    found, places = flipped(rng, content, low, content.index(b"\xe0\x7f\x10\x00"))
    keywords = differing(content, found)
    claims = {claim_of(k) for k in keywords}
    claim = next((c for c in ("open", "twice", "used") if c in claims), "free")
    return found, f"bits at {places}: {', '.join(sorted(keywords))[:80]}", claim


def differing(one: bytes, other: bytes) -> set[str]:
    import io
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            parsed = [pydicom.dcmread(io.BytesIO(c), force=True) for c in (one, other)]
            parts = [{**{e.tag: e for e in d.file_meta}, **{e.tag: e for e in d}} for d in parsed]
        except Exception:
            return {"unreadable"}
    names = set()
    for tag in parts[0].keys() | parts[1].keys():
        elements = [p.get(tag) for p in parts]
        if None in elements or elements[0].value != elements[1].value:
            names.add(pydicom.datadict.keyword_for_tag(tag) or str(tag))
    return names


def _weaker(claim: str, what: str) -> str:
    """Bytes under another VR may be read as they are or be refused, but change nothing.

    UN is read as the tag's own VR: DICOM PS3.5, 6.2.2. Values of pixels are US or SS, so that both are their own.
    """
    own = what.endswith(" UN") or ("PixelPadding" in what and what.endswith((" US", " SS")))
    return "twice" if claim == "used" and " as VR " in what and not own else claim


def claim_of(keyword: str) -> str:
    if keyword in ("unreadable", "PixelData", "TransferSyntaxUID") or keyword.endswith("Sequence"):
        return "open"
    return "used" if keyword in USED else "twice" if keyword in TWICE else "free"


def _case(rng, base: Base, folder: Path, changed: dict, what: str, claim: str, contradicts: bool = False) -> Case:
    settings = {"ct": {"resample_labels": True}} if rng.random() < 0.5 else {}
    return Case(base.write(folder, changed), what, claim, "ct", settings, contradicts)


def _name(k: int) -> str:
    return f"ct/IM{(k * 7919) % 10007:05d}"
