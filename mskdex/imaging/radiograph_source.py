"""Radiographs as others deliver them: grey values, and what their tags say."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk
from pydicom.dataset import Dataset

from mskdex.errors import MskdexError
from mskdex.imaging.dicom import dicom_files, number, numbers, read_dataset, read_header
from mskdex.imaging.dicom_pixels import stored_values
from mskdex.imaging.files import content_hash, require_kind, require_size

MODALITIES = ("CR", "DX", "XA", "RF", "RG")
_OTHER_VIEWS = ("LL", "RL", "LLO", "LLD", "RLO", "RLD", "LATERAL", "LAT")
_PICTURES = ("png", "tiff", "metaimage", "nrrd", "nifti")


@dataclass(frozen=True)
class Source:
    """A radiograph as stored.

    Attributes:
        grey: stored values as float32 (rows, columns), before any LUT.
        tags: facts that the tags give, absent where the file is silent: sdd_mm, source_to_isocentre_mm,
            magnification, pixel_mm (row, column), view, orientation, laterality, relationship, sign, photometric,
            presentation, bits.
        where: which tag each number came from.
        facts: what import.json records.
        dataset: the DICOM header for LUTs; None for pictures.
    """

    grey: np.ndarray
    tags: dict[str, Any]
    where: dict[str, str]
    facts: dict[str, Any]
    dataset: Dataset | None = None
    warnings: list[str] = field(default_factory=list)


def read_source(path: Path, max_megapixels: float, root: Path | None = None) -> Source:
    """Reads a radiograph.

    Args:
        path: DICOM file (or a folder with exactly one), 16-bit PNG or TIFF, or a two-dimensional MHA, NRRD or NIfTI.
        max_megapixels: more than this many million pixels are refused before they are read.
        root: folder that links within a folder may lead into.

    Raises:
        MskdexError: not a radiograph, several, damaged, or of a view that is not AP or PA.
    """
    path = Path(path)
    if path.is_dir():
        path = _only_radiograph(path, root)
    kind = require_kind(path, ("dicom", *_PICTURES), "the radiograph")
    if kind == "dicom":
        return _from_dicom(path, max_megapixels)
    return _from_picture(path, max_megapixels)


def read_tags(path: Path) -> tuple[dict[str, Any], dict[str, str], tuple[int, int]]:
    """What a DICOM radiograph's header tells: `tags` and `where` of `Source`, and the stored (rows, columns).

    Raises:
        MskdexError: not a radiograph, or of a view that is not AP or PA.
    """
    header, shape = _radiograph_header(path)
    return *_tags(header, path), shape


def _only_radiograph(folder: Path, root: Path | None) -> Path:
    found = [f for f in dicom_files(folder, root) if str(read_header(f).get("Modality")) in MODALITIES]
    if len(found) != 1:
        names = ", ".join(f.name for f in found[:6]) or "none"
        msg = f"folder {folder} holds {len(found)} radiographs ({names}); name the one file in the sheet"
        raise MskdexError(msg)
    return found[0]


def _radiograph_header(path: Path) -> tuple[Dataset, tuple[int, int]]:
    header = read_header(path)
    modality = str(header.get("Modality", "unknown"))
    if modality not in MODALITIES:
        msg = f"{path} is of modality {modality}, not a radiograph ({', '.join(MODALITIES)}); correct the sheet"
        raise MskdexError(msg)
    if int(header.get("SamplesPerPixel", 1)) != 1:
        msg = f"{path} is a colour image; export the radiograph itself, not a screen capture"
        raise MskdexError(msg)
    if int(header.get("NumberOfFrames") or 1) > 1:
        msg = f"{path} has {header.NumberOfFrames} frames; export the one frame that is meant"
        raise MskdexError(msg)
    return header, (int(header.get("Rows") or 0), int(header.get("Columns") or 0))


def _from_dicom(path: Path, max_megapixels: float) -> Source:
    header, shape = _radiograph_header(path)
    require_size(path, shape, 1, max_megapixels)
    bits = int(header.get("BitsStored") or header.get("BitsAllocated") or 16)
    if bits <= 8:
        msg = f"{path} has {bits} bits per pixel, a display copy; export the original with 10 bits or more"
        raise MskdexError(msg)
    dataset = read_dataset(path)
    grey = stored_values(dataset, path)
    if grey.shape != shape:
        msg = f"{path} decodes to {grey.shape} pixels instead of {shape}; copy or export it again"
        raise MskdexError(msg)
    tags, where = _tags(header, path)
    facts = {"format": "dicom", "modality": str(header.Modality), "bits": bits, "sha256": content_hash([path])}
    return Source(grey, tags | {"bits": bits}, where, facts, dataset, _warnings(header))


def _tags(header: Dataset, path: Path) -> tuple[dict[str, Any], dict[str, str]]:
    tags: dict[str, Any] = {}
    where: dict[str, str] = {}
    for key, keyword in (
        ("sdd_mm", "DistanceSourceToDetector"),
        ("source_to_isocentre_mm", "DistanceSourceToPatient"),
        ("magnification", "EstimatedRadiographicMagnificationFactor"),
    ):
        value = number(header, keyword)
        if value is not None and value > 0:
            tags[key], where[key] = value, f"tag {keyword}"
    _pixel_tags(header, tags, where)
    view = str(header.get("ViewPosition") or "").upper().strip()
    if view in _OTHER_VIEWS:
        msg = f"{path} is a {view} view; the pipeline needs an AP or PA radiograph"
        raise MskdexError(msg)
    if view in {"AP", "PA"}:
        tags["view"], where["view"] = view, "tag ViewPosition"
    towards = [str(v).strip().upper() for v in (header.get("PatientOrientation") or [])]
    if len(towards) == 2 and all(towards) and {towards[0][0], towards[1][0]} & set("LR") and {
        towards[0][0], towards[1][0],
    } & set("FH"):  # fmt: skip
        tags["orientation"], where["orientation"] = towards[0][0] + towards[1][0], "tag PatientOrientation"
    side = str(header.get("ImageLaterality") or header.get("Laterality") or "").upper()
    if side in {"L", "R"}:
        tags["laterality"], where["laterality"] = side, "tag ImageLaterality or Laterality"
    for key, keyword in (
        ("relationship", "PixelIntensityRelationship"),
        ("photometric", "PhotometricInterpretation"),
        ("presentation", "PresentationIntentType"),
    ):
        if text := str(header.get(keyword) or "").strip().upper():
            tags[key] = text
    sign = number(header, "PixelIntensityRelationshipSign")
    if sign in (1.0, -1.0):
        tags["sign"] = int(sign)
    return tags, where


def _pixel_tags(header: Dataset, tags: dict[str, Any], where: dict[str, str]) -> None:
    """Pixel size at the detector: ImagerPixelSpacing; PixelSpacing if nothing says that it was calibrated."""
    imager, plain = numbers(header, "ImagerPixelSpacing", 2), numbers(header, "PixelSpacing", 2)
    calibration = str(header.get("PixelSpacingCalibrationType") or "").upper()
    if imager is not None and imager.min() > 0:
        tags["pixel_mm"], where["pixel_mm"] = tuple(imager), "tag ImagerPixelSpacing"
    elif plain is not None and plain.min() > 0 and not calibration:
        tags["pixel_mm"], where["pixel_mm"] = tuple(plain), "tag PixelSpacing"
    elif plain is not None and plain.min() > 0 and calibration == "GEOMETRY" and "magnification" in tags:
        tags["pixel_mm"] = tuple(plain * tags["magnification"])
        where["pixel_mm"] = "tag PixelSpacing (GEOMETRY) times EstimatedRadiographicMagnificationFactor"


def _warnings(header: Dataset) -> list[str]:
    found = []
    for keyword in ("PositionerPrimaryAngle", "PositionerSecondaryAngle"):
        angle = number(header, keyword)
        if angle is not None and abs(angle) > 1:
            found.append(f"{keyword} is {angle:g} degrees; the nominal pose leaves it out, registration must find it")
    return found


def _from_picture(path: Path, max_megapixels: float) -> Source:
    reader = sitk.ImageFileReader()
    reader.SetFileName(str(path))
    try:
        reader.ReadImageInformation()
        size = reader.GetSize()
        require_size(path, size, 1, max_megapixels)
        if len([n for n in size if n > 1]) != 2 or reader.GetNumberOfComponents() != 1:
            msg = (
                f"{path} is no two-dimensional grey image ({' x '.join(map(str, size))}, "
                f"{reader.GetNumberOfComponents()} values per pixel)"
            )
            raise MskdexError(msg)
        image = reader.Execute()
    except RuntimeError as error:
        msg = f"{path} cannot be read, it is damaged or incomplete; copy or export it again"
        raise MskdexError(msg) from error
    grey = sitk.GetArrayFromImage(image).squeeze()
    if grey.dtype.itemsize < 2:
        msg = f"{path} has 8 bits per pixel, a display copy; export the original with 16 bits"
        raise MskdexError(msg)
    if not np.isfinite(grey).all():
        msg = f"{path} has pixels that are no number (NaN or infinite); export it again"
        raise MskdexError(msg)
    facts = {"format": path.suffix.lstrip(".").lower(), "sha256": content_hash([path])}
    return Source(grey, {"bits": 16}, {}, facts)
