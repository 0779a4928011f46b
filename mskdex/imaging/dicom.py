"""DICOM files: finding them, reading their headers and pixels, with plain errors."""

import os
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from pydicom.dataset import Dataset

from mskdex.errors import MskdexError
from mskdex.imaging.files import file_kind

pydicom.config.settings.reading_validation_mode = pydicom.config.IGNORE

GEOMETRY_TAGS = (
    "SOPClassUID", "SOPInstanceUID", "SeriesInstanceUID", "Modality", "ImageType", "Rows", "Columns", "PixelSpacing",
    "ImagePositionPatient", "ImageOrientationPatient", "SamplesPerPixel", "BitsAllocated", "NumberOfFrames",
    "SliceThickness", "GantryDetectorTilt", "SeriesNumber", "RescaleType",
)  # fmt: skip
"""What is read of every file of a folder; names and ids of patients are not."""


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
    found = [f for f in found if f.is_file() and f.stat().st_size > 0 and file_kind(f) == "dicom"]
    if not found:
        msg = f"folder {path} has no DICOM file; name the folder that holds the series"
        raise MskdexError(msg)
    return found


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


def stored_values(dataset: Dataset, path: Path) -> np.ndarray:
    """Decodes the pixels, whatever their transfer syntax: the stored values before any LUT.

    Returns:
        (rows, columns) or (frames, rows, columns), the stored integer type.

    Raises:
        MskdexError: no pixels, cut short, or a transfer syntax that no installed decoder reads.
    """
    if "PixelData" not in dataset:
        msg = f"{path} has no pixel data; copy or export it again"
        raise MskdexError(msg)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return dataset.pixel_array
    except Exception as error:
        syntax = getattr(getattr(dataset, "file_meta", None), "TransferSyntaxUID", None)
        told = f", transfer syntax {syntax.name}" if syntax is not None else ""
        msg = f"the pixels of {path} cannot be decoded ({_first_line(error)}{told}); copy or export it again"
        raise MskdexError(msg) from error


def headers(files: Sequence[Path], tags: Sequence[str] = GEOMETRY_TAGS) -> Iterator[tuple[Path, Dataset]]:
    """The headers of many files, one after the other."""
    for path in files:
        yield path, read_header(path, tags)


def number(dataset: Dataset, keyword: str) -> float | None:
    """A tag's value as a finite number; None where it is absent, blank or none."""
    value = dataset.get(keyword)
    try:
        result = float(value)
    except (TypeError, ValueError):
        return None
    return result if np.isfinite(result) else None


def numbers(dataset: Dataset, keyword: str, count: int) -> np.ndarray | None:
    """A tag's values as `count` finite numbers; None where they are not."""
    value = dataset.get(keyword)
    try:
        result = np.array([float(v) for v in value])
    except (TypeError, ValueError):
        return None
    return result if result.size == count and np.isfinite(result).all() else None


def _read(path: Path, **how: Any) -> Dataset:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            dataset = pydicom.dcmread(path, force=True, **how)
            _ = [dataset.get(tag) for tag in ("SOPClassUID", "Modality", "Rows")]
    except Exception as error:
        msg = f"{path} cannot be read as DICOM ({_first_line(error)}); copy or export it again"
        raise MskdexError(msg) from error
    if "SOPClassUID" not in dataset and "Modality" not in dataset:
        msg = f"{path} cannot be read as DICOM (it names neither modality nor class); copy or export it again"
        raise MskdexError(msg)
    if not getattr(dataset, "file_meta", None) or "TransferSyntaxUID" not in dataset.file_meta:
        dataset.ensure_file_meta()
        dataset.file_meta.TransferSyntaxUID = pydicom.uid.ImplicitVRLittleEndian
    return dataset


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
