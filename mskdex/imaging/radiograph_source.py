"""Radiographs as others deliver them: grey values, and what their tags say."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from pydicom.dataset import Dataset

from mskdex.errors import MskdexError
from mskdex.imaging.coherence import require_byte_order, require_coherent
from mskdex.imaging.radiograph_camera import CameraTags, camera_tags
from mskdex.imaging.radiograph_picture import PICTURES, read_picture
from mskdex.imaging.radiograph_tags import tag_numbers, text_of, texts_of
from mskdex.imaging.x_ray_device import device_name
from mskdex.io.dicom import dicom_files, read_dataset, read_header
from mskdex.io.dicom_pixels import stored_values
from mskdex.io.files import content_hash, quote, reading, require_kind, require_size

MODALITIES = ("CR", "DX", "XA", "RF", "RG")
_OVERLAYS = range(0x6000, 0x6020, 2)
"""Groups of overlays; element 0102 is the bit of the pixel's word that holds one."""
_GREY = ("MONOCHROME1", "MONOCHROME2")
_INTENTS = ("FOR PRESENTATION", "FOR PROCESSING")
_PRESENTATION_CLASS = "1.2.840.10008.5.1.4.1.1.1.1"
_SECONDARY_CAPTURE = "1.2.840.10008.5.1.4.1.1.7"
_PROCESSING_CLASS = "1.2.840.10008.5.1.4.1.1.1.1.1"


@dataclass(frozen=True)
class GreyTags:
    """What a file's tags say of its grey values, each "" or None where they are silent.

    Attributes:
        bits: BitsStored, or bits per pixel of a picture.
        intent: FOR PRESENTATION or FOR PROCESSING.
        relationship: PixelIntensityRelationship: LIN, LOG, DISP, ...
        sign: PixelIntensityRelationshipSign: 1 where stored values rise with exposure, -1 where they fall.
        photometric: MONOCHROME1 or MONOCHROME2.
        shape: PresentationLUTShape.
        rescale_type: unit of the values after the modality LUT.
        lossy: whether the pixels were compressed with loss.
    """

    bits: int
    intent: str = ""
    relationship: str = ""
    sign: int | None = None
    photometric: str = ""
    shape: str = ""
    rescale_type: str = ""
    lossy: bool = False


@dataclass(frozen=True)
class Source:
    """A radiograph as stored.

    Attributes:
        grey: stored values (rows, columns), before any LUT.
        tags: what its tags say of the grey values.
        camera: what they say of the camera.
        facts: what import.json records.
        dataset: the DICOM header for LUTs; None for pictures.
        warnings: what a human should know.
    """

    grey: np.ndarray
    tags: GreyTags
    camera: CameraTags
    facts: dict[str, Any]
    dataset: Dataset | None = None
    warnings: list[str] = field(default_factory=list)


def read_source(path: Path, max_megapixels: float, root: Path | None = None) -> Source:
    """Reads a radiograph.

    Args:
        path: DICOM file (or a folder with exactly one), PNG, JPEG or TIFF, or a two-dimensional MHA, NRRD or NIfTI.
        max_megapixels: more than this many million pixels are refused before they are read.
        root: folder that links within a folder may lead into.

    Raises:
        MskdexError: not a radiograph, several, in colour, or damaged.
    """
    path = Path(path)
    if path.is_dir():
        path = only_radiograph(path, root)
    kind = require_kind(path, ("dicom", *PICTURES), "the radiograph")
    with reading(path):
        found = _from_dicom(path, max_megapixels) if kind == "dicom" else _from_picture(path, kind, max_megapixels)
        require_byte_order(found.grey, path)
        require_coherent(found.grey, path, "numbers of rows and columns")
    return found


def _from_picture(path: Path, kind: str, max_megapixels: float) -> Source:
    picture = read_picture(path, kind, max_megapixels)
    facts = picture.facts
    tags = GreyTags(picture.bits, lossy=bool(facts.get("lossy")))
    return Source(picture.grey, tags, CameraTags(), facts, None, picture.warnings)


def read_tags(path: Path) -> tuple[CameraTags, tuple[int, int]]:
    """What a DICOM radiograph's header tells of its camera, and the stored (rows, columns).

    Raises:
        MskdexError: not a radiograph.
    """
    with reading(path):
        header, shape = _radiograph_header(path)
        return camera_tags(header), shape


def only_radiograph(folder: Path, root: Path | None = None) -> Path:
    """The one radiograph (CR, DX, XA, RF or RG) among the DICOM files of a folder.

    Args:
        folder: searched with the folders below it.
        root: folder that links may lead into; `folder` itself if None.

    Raises:
        MskdexError: there is none, or several, or a link leads out of `root`.
    """
    found = [f for f in dicom_files(folder, root) if text_of(read_header(f), "Modality") in MODALITIES]
    if len(found) != 1:
        names = ", ".join(f.name for f in found[:6]) or "none"
        msg = f"folder {folder} holds {len(found)} radiographs ({names}); name the one file in the sheet"
        raise MskdexError(msg)
    return found[0]


def _radiograph_header(path: Path) -> tuple[Dataset, tuple[int, int]]:
    header = read_header(path)
    modality = text_of(header, "Modality") or "unknown"
    if modality not in MODALITIES:
        allowed = ", ".join(MODALITIES)
        msg = f"{path} is of modality {quote(modality, 40)}, not a radiograph ({allowed}); correct the sheet"
        raise MskdexError(msg)
    photometric = text_of(header, "PhotometricInterpretation").upper()
    if (tag_numbers(header, "SamplesPerPixel", 1).first or 1) != 1 or photometric not in {*_GREY, ""}:
        detail = quote(photometric, 40) if photometric else "several samples per pixel"
        msg = f"{path} is a colour image ({detail}); export the radiograph itself in grey, not a screen capture"
        raise MskdexError(msg)
    frames = tag_numbers(header, "NumberOfFrames", 1).first or 1
    if frames > 1:
        msg = f"{path} has {frames:g} frames; export the one frame that is meant"
        raise MskdexError(msg)
    rows, columns = (tag_numbers(header, k, 1).first or 0 for k in ("Rows", "Columns"))
    return header, (int(rows), int(columns))


def _from_dicom(path: Path, max_megapixels: float) -> Source:
    header, shape = _radiograph_header(path)
    require_size(path, shape, 1, max_megapixels)
    dataset = read_dataset(path)
    grey = _words(dataset, path)
    if grey.shape != shape:
        msg = f"{path} decodes to {grey.shape} pixels instead of {shape}; copy or export it again"
        raise MskdexError(msg)
    tags = _grey_tags(header)
    facts = {
        "format": "dicom",
        "modality": text_of(header, "Modality"),
        "device_profile": device_name(header),
        "bits": tags.bits,
        "lossy": tags.lossy,
        "sha256": content_hash([path]),
    }
    burnt_in = text_of(header, "BurnedInAnnotation").upper()
    facts["burned_in_annotation"] = burnt_in or None
    facts["device"] = _device(header)
    warnings = ["tag BurnedInAnnotation is YES: text in the image may name the patient"] if burnt_in == "YES" else []
    if f"{text_of(header, 'SOPClassUID')}.".startswith(f"{_SECONDARY_CAPTURE}."):
        warnings.append("it is a secondary capture, which a program made of another image; use the X-ray unit's own")
    return Source(grey, tags, camera_tags(header), facts, dataset, warnings + _passed_over(header))


def _device(header: Dataset) -> str | None:
    """Maker and model of the X-ray unit; None where the header has neither."""
    named = " ".join(text_of(header, k) for k in ("Manufacturer", "ManufacturerModelName")).split()
    return quote(" ".join(named), 80) if named else None


def _passed_over(header: Dataset) -> list[str]:
    """Values of tags on grey values that mean nothing."""
    notes = []
    intent, sign = (text_of(header, k) for k in ("PresentationIntentType", "PixelIntensityRelationshipSign"))
    if intent and intent.upper() not in _INTENTS:
        named = f"{_INTENTS[1]} nor {_INTENTS[0]}"
        notes.append(f"tag PresentationIntentType is {quote(intent, 40)}, neither {named}; passed over")
    if sign and tag_numbers(header, "PixelIntensityRelationshipSign", 1).first not in (1.0, -1.0):
        notes.append(f"tag PixelIntensityRelationshipSign is {quote(sign, 40)}, neither 1 nor -1; passed over")
    return notes


def _words(dataset: Dataset, path: Path) -> np.ndarray:
    """Decoded words, whole unless overlays lie above BitsStored: wrong tags may hide grey values there."""
    overlaid = any((group, 0x0102) in dataset and dataset[group, 0x0102].value for group in _OVERLAYS)
    signed = bool(tag_numbers(dataset, "PixelRepresentation", 1).first)
    return stored_values(dataset, path, all_bits=not overlaid and not signed)


def _grey_tags(header: Dataset) -> GreyTags:
    bits = next((v for k in ("BitsStored", "BitsAllocated") if (v := tag_numbers(header, k, 1).first)), 16)
    sign = tag_numbers(header, "PixelIntensityRelationshipSign", 1).first
    by_class = dict(zip((_PRESENTATION_CLASS, _PROCESSING_CLASS), _INTENTS, strict=True))
    intent = text_of(header, "PresentationIntentType").upper()
    return GreyTags(
        bits=int(bits),
        intent=intent if intent in _INTENTS else by_class.get(text_of(header, "SOPClassUID"), ""),
        relationship=text_of(header, "PixelIntensityRelationship").upper(),
        sign=int(sign) if sign in (1.0, -1.0) else None,
        photometric=text_of(header, "PhotometricInterpretation").upper(),
        shape=text_of(header, "PresentationLUTShape").upper(),
        rescale_type=" ".join(texts_of(header, "RescaleType")).upper(),
        lossy=text_of(header, "LossyImageCompression") == "01",
    )
