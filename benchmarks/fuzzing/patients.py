"""The valid patients that are mutated, made once a process; the same bytes each time."""

import io
import itertools
import json
import sys
import tempfile
from copy import deepcopy
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import SimpleITK as sitk
from pydicom.dataset import Dataset

sys.path.insert(0, str(Path(__file__).parents[2] / "tests"))
import hospital

NAMES = hospital.NAMES
SHAPE = (12, 24, 30)
_RADIOGRAPH = (48, 60)
_ROOT = "1.2.826.0.1.3680043.8.498."


def _uids_anew() -> None:
    """The same UIDs in each process, whatever was made before."""
    count = itertools.count(100)
    hospital.generate_uid = lambda: f"{_ROOT}{next(count)}"


@dataclass(frozen=True)
class Base:
    """A valid patient.

    Attributes:
        row: of the sheet, paths relative.
        files: content by path relative to the patient's folder.
    """

    row: dict[str, Any]
    files: dict[str, bytes]

    def write(self, folder: Path, changed: dict[str, bytes | None]) -> dict[str, Any]:
        """Writes the files, some changed (None: left out), and gives the row with absolute paths."""
        for name, content in (self.files | changed).items():
            if content is not None:
                path = folder / name
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(content)
        return {k: str(folder / v) if k in ("ct", "labels", "radiograph") else v for k, v in self.row.items()}


@cache
def phantom():
    """CT and labels."""
    return hospital.phantom(SHAPE)


@cache
def slices() -> tuple[Dataset, ...]:
    """A classic series."""
    _uids_anew()
    return tuple(hospital.slice_datasets(phantom()[0]))


@cache
def enhanced() -> Dataset:
    """The same as an enhanced CT."""
    _uids_anew()
    return hospital.enhanced_ct(phantom()[0])


@cache
def seg_dataset() -> Dataset:
    """Labels as a DICOM SEG."""
    images = list(deepcopy(slices()))
    _uids_anew()
    with tempfile.TemporaryDirectory() as name:
        path = hospital.dicom_seg(Path(name, "seg.dcm"), phantom()[1], images)
        found = pydicom.dcmread(io.BytesIO(path.read_bytes()))
    fixed: dict[str, str] = {}
    for element in found.iterall():  # highdicom draws some of its own
        if element.VR == "UI" and str(element.value).startswith("1.2.826.0.1.3680043.10.511."):
            element.value = fixed.setdefault(str(element.value), f"{_ROOT}{900 + len(fixed)}")
    return found


RADIOGRAPH_CLASSES = {
    "DX": hospital.DX_CLASS,
    "CR": "1.2.840.10008.5.1.4.1.1.1",
    "XA": "1.2.840.10008.5.1.4.1.1.12.1",
    "RF": "1.2.840.10008.5.1.4.1.1.12.2",
}
"""Storage classes by modality."""


@cache
def radiograph(modality: str = "DX") -> Dataset:
    """A linear image of a modality; XA and RF have their own storage class and no PresentationIntentType."""
    _uids_anew()
    found = hospital.radiograph(hospital.radiograph_values(_RADIOGRAPH), Modality=modality)
    found.SOPClassUID = found.file_meta.MediaStorageSOPClassUID = RADIOGRAPH_CLASSES[modality]
    if modality != "DX":
        del found.PresentationIntentType
    return found


def encoded(dataset: Dataset) -> bytes:
    """A dataset as a file's content."""
    handle = io.BytesIO()
    dataset.save_as(handle, enforce_file_format=True)
    return handle.getvalue()


@cache
def base(kind: str) -> Base:
    """The valid patient of a kind of source."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        row = {"patient_id": "P01", "label_source": "phantom", "ct": "ct.nii.gz", "labels": "labels.nii.gz"}
        row["radiograph"] = "radiograph.dcm"
        ct, labels = phantom()
        (folder / "radiograph.dcm").write_bytes(encoded(radiograph(kind if kind in RADIOGRAPH_CLASSES else "DX")))
        suffix = {"nrrd": ".nrrd", "nhdr": ".nhdr", "mha": ".mha", "mhd": ".mhd", "nii": ".nii"}.get(
            kind.split()[0], ".nii.gz"
        )
        row["ct"], row["labels"] = f"ct{suffix}", f"labels{suffix}"
        write = _compressed if kind.endswith(" gzip") else hospital.write
        write(folder / row["labels"], labels)
        if kind in ("names", "slicer", "masks", "seg"):
            row["labels"] = _named_labels(kind, folder)
            row["label_source"] = "named"
        if kind in ("png", "tif", "jpg", "sheet"):
            row |= _picture(folder, "png" if kind == "sheet" else kind)
        if kind in ("classic", "enhanced", "seg"):
            row["ct"] = "ct.dcm" if kind == "enhanced" else "ct"
            if kind != "enhanced":
                hospital.save_all(list(deepcopy(slices())), folder / "ct")
            else:
                (folder / "ct.dcm").write_bytes(encoded(enhanced()))
        else:
            write(folder / row["ct"], ct)
        files = {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}
    return Base(row, files)


def _named_labels(kind: str, folder: Path) -> str:
    """Labels that carry names, in a folder that holds labels.nii.gz; their path."""
    labels = phantom()[1]
    if kind == "names":
        (folder / "labels.json").write_text(json.dumps({name: i for i, name in NAMES.items()}))
        return "labels.nii.gz"
    (folder / "labels.nii.gz").unlink()
    if kind == "slicer":
        return hospital.seg_nrrd(folder / "labels.seg.nrrd", labels).name
    if kind == "masks":
        return hospital.masks(folder / "masks", labels).name
    (folder / "labels.dcm").write_bytes(encoded(seg_dataset()))
    return "labels.dcm"


def _picture(folder: Path, suffix: str) -> dict[str, Any]:
    """The radiograph as a picture of 16 bits, as JPEG of 8; the cells of the sheet that it needs."""
    (folder / "radiograph.dcm").unlink()
    grey = radiograph().pixel_array.astype("uint16")
    if suffix == "jpg":
        grey = (40 * (np.log(65535.0) - np.log(np.maximum(grey, 1.0)))).clip(0, 255).astype("uint8")
    sitk.WriteImage(sitk.GetImageFromArray(grey), str(folder / f"radiograph.{suffix}"))
    kind = {"intensity": "processed", "grey_increases_with": "attenuation"} if suffix == "jpg" else {}
    return {
        "radiograph": f"radiograph.{suffix}",
        "sdd_mm": 1100.0,
        "pixel_mm": 0.9,
        "source_to_isocentre_mm": 950.0,
        "view": "AP",
        "orientation": "LF",
        "intensity": "linear",
        "grey_increases_with": "exposure",
    } | kind


def _compressed(path: Path, volume: hospital.Volume) -> None:
    sitk.WriteImage(hospital.volume_to_sitk(volume), str(path), useCompression=True)
