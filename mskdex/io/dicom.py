"""DICOM files: finding them, reading their headers and pixels, with plain errors."""

import os
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from pydicom.datadict import dictionary_VR
from pydicom.dataset import Dataset
from pydicom.valuerep import STR_VR

from mskdex.errors import MskdexError
from mskdex.io.dicom_deflate import refuse_deflated_frames, require_inflatable
from mskdex.io.files import WithinFile, file_kind, quote, reading
from mskdex.io.numerals import plain_float

pydicom.config.settings.reading_validation_mode = pydicom.config.IGNORE

GEOMETRY_TAGS = (
    "SOPClassUID",
    "SOPInstanceUID",
    "SeriesInstanceUID",
    "Modality",
    "ImageType",
    "Rows",
    "Columns",
    "PixelSpacing",
    "ImagePositionPatient",
    "ImageOrientationPatient",
    "SamplesPerPixel",
    "BitsAllocated",
    "NumberOfFrames",
    "SliceThickness",
    "SpacingBetweenSlices",
    "GantryDetectorTilt",
    "SeriesNumber",
    "RescaleType",
    "RescaleSlope",
    "RescaleIntercept",
    "BitsStored",
    "HighBit",
    "PixelRepresentation",
    "PhotometricInterpretation",
    "PixelAspectRatio",
    "InstanceNumber",
    "ImagesInAcquisition",
    "AcquisitionNumber",
    "AcquisitionTime",
    "ContentTime",
    "ConvolutionKernel",
    "KVP",
    "FilterType",
    "ContrastBolusAgent",
    "TemporalPositionIdentifier",
    "NominalPercentageOfCardiacPhase",
    "TriggerTime",
    "FrameOfReferenceUID",
    "StudyInstanceUID",
    "PatientID",
    "PixelPaddingValue",
)
"""What is read of every file of a folder; the PatientID is compared and never told."""

_DIRECTORY = "1.2.840.10008.1.3.10"
"""SOP class of a DICOMDIR, whatever its file is called."""


def dicom_files(path: Path, root: Path | None = None) -> list[Path]:
    """All DICOM files of a folder and the folders below, sorted by name; or the one file itself.

    Args:
        path: folder or file.
        root: folder that links may lead into; the folder itself if None.

    Raises:
        MskdexError: a link that leads out of `root`, or no DICOM file.
    """
    path = Path(path)
    if path.is_file():
        return [path]
    allowed = (root or path).resolve()
    found = []
    for folder, folders, names in os.walk(path):
        folders.sort()
        for name in [*folders, *names]:
            item = Path(folder, name)
            if item.is_symlink() and not item.resolve().is_relative_to(allowed):
                msg = f"{item} is a link that leads out of {allowed}; copy the file there or set cohort.data_root"
                raise MskdexError(msg)
        found += [Path(folder, n) for n in sorted(names) if n.upper() != "DICOMDIR" and not n.startswith(".")]
    kinds = {f: file_kind(f) for f in found if f.is_file() and f.stat().st_size > 0}
    if "dicom" not in kinds.values():
        packed = next((f.name for f, kind in kinds.items() if kind == "archive"), None)
        detail = f" but archives, as {quote(packed, 80)}; unpack them" if packed else ""
        msg = f"folder {path} has no DICOM file{detail or '; name the folder that holds the series'}"
        raise MskdexError(msg)
    return [f for f, kind in kinds.items() if kind == "dicom"]


def read_header(path: Path, tags: Sequence[str] | None = None) -> Dataset:
    """Reads a file's header, or some of its tags, without the pixels.

    Raises:
        MskdexError: not a DICOM file, or cut off within the header.
    """
    wanted: list[Any] | None = list(tags) if tags else None
    return _read(path, stop_before_pixels=True, specific_tags=wanted)


def read_dataset(path: Path) -> Dataset:
    """Reads a file whole; its pixels are decoded by `stored_values`.

    Raises:
        MskdexError: not a DICOM file, or damaged.
    """
    return _read(path)


def headers(files: Sequence[Path], tags: Sequence[str] = GEOMETRY_TAGS) -> Iterator[tuple[Path, Dataset]]:
    """The headers of many files, one after the other; a DICOMDIR is passed over."""
    for path in files:
        header = read_header(path, tags)
        if str(header.file_meta.get("MediaStorageSOPClassUID", "")) != _DIRECTORY:
            yield path, header


def number(dataset: Dataset, keyword: str) -> float | None:
    """A tag's value as a finite number; None where it is absent, blank, none, or cannot be read."""
    try:
        result = _as_float(dataset.get(keyword))
    except Exception:  # a value is decoded when it is asked for, and then raises whatever is wrong with it
        return None
    return result if np.isfinite(result) else None


def numbers(dataset: Dataset, keyword: str, count: int) -> np.ndarray | None:
    """A tag's values as `count` finite numbers; None where they are not."""
    try:
        value = spelt(keyword, dataset.get(keyword))
        result = np.array([_as_float(v) for v in (value.split("\\") if isinstance(value, str) else value)])
    except Exception:  # as above
        return None
    known = result.size == count and np.isfinite(result).all() and not isinstance(value, bytes)
    return result if known else None


def _as_float(value: Any) -> float:
    """A value as a number; of a decimal string what it spells, which pydicom keeps, by the rules of DICOM."""
    said = getattr(value, "original_string", None) or value
    return plain_float(said) if isinstance(said, str) else float(said)


def text(dataset: Dataset, keyword: str) -> str:
    """A tag's value as text, several joined by a backslash; empty where it is absent or cannot be read."""
    try:
        value = spelt(keyword, dataset.get(keyword))
        return "" if value is None else "\\".join(str(v) for v in ([value] if isinstance(value, str) else value))
    except TypeError:
        return str(value)
    except Exception:  # as above
        return ""


def spelt(keyword: str, value: Any) -> Any:
    """A tag's value; the text that bytes spell where the tag is one of text, whatever its representation says (OB, OW).

    Args:
        keyword: the tag's.
        value: as pydicom gives it.
    """
    if not isinstance(value, bytes) or dictionary_VR(keyword) not in STR_VR:
        return value
    return value.decode("latin-1").strip("\0 ")


def has_value(dataset: Dataset, keyword: str) -> bool:
    """Whether a tag has a value, be it one that cannot be read."""
    try:
        value = dataset.get(keyword)
    except Exception:  # as above
        return True
    return value is not None and bool(str(value).strip())


def integer(dataset: Dataset, keyword: str, absent: int = 0) -> int:
    """A tag's value as a whole number; `absent` where it is none."""
    value = number(dataset, keyword)
    return absent if value is None or value != int(value) else int(value)


def _read(path: Path, **how: Any) -> Dataset:
    with reading(path):
        require_inflatable(path)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with WithinFile(path) as handle:
                dataset = pydicom.dcmread(handle, force=True, **how)
            meta = getattr(dataset, "file_meta", None)
            known = meta is not None and str(meta.get("MediaStorageSOPClassUID", "")) == _DIRECTORY
            known = known or any(dataset.get(tag) for tag in ("SOPClassUID", "Modality"))
    if not known:
        msg = f"{path} cannot be read as DICOM (it names neither modality nor class); copy or export it again"
        raise MskdexError(msg)
    if not meta or "TransferSyntaxUID" not in meta:
        dataset.ensure_file_meta()
        dataset.file_meta.TransferSyntaxUID = pydicom.uid.ImplicitVRLittleEndian
    refuse_deflated_frames(path, str(dataset.file_meta.TransferSyntaxUID))
    return dataset
