"""What a patient of the second world leaves on disk: CT, labels, radiograph and truth, in files of several kinds."""

import csv
import json
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from detector import Department
from PIL import Image
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, generate_uid
from warp import Lattice

_CT, _DX = "1.2.840.10008.5.1.4.1.1.2", {"linear": "1.2.840.10008.5.1.4.1.1.1.1.1", "log": "1.2.840.10008.5.1.4.1.1.1"}
_DX_PRESENTATION = "1.2.840.10008.5.1.4.1.1.1.1"


def write_sheet(path: Path, rows: list[dict[str, object]]) -> None:
    """Writes the cohort sheet; its column `use` keeps the patients from every training."""
    marked = [row | {"use": "evaluate_only"} for row in rows]
    with path.open("w", encoding="utf-8", newline="") as handle:
        columns = list(dict.fromkeys(k for row in marked for k in row))
        writer = csv.DictWriter(handle, columns, delimiter="\t", restval="")
        writer.writeheader()
        writer.writerows(marked)


def write_ct(folder: Path, hu: np.ndarray, lattice: Lattice, kind: str, patient: str) -> str:
    """Writes a CT as `nifti`, `nrrd` or `dicom`; the path relative to the folder."""
    if kind == "dicom":
        _write_series(folder / "ct", hu, lattice, patient)
        return "ct"
    name = {"nifti": "ct.nii.gz", "nrrd": "ct.nrrd"}[kind]
    sitk.WriteImage(_image(hu, lattice), str(folder / name), True)
    return name


def write_labels(folder: Path, labels: np.ndarray, lattice: Lattice, names: dict[int, str]) -> str:
    """Writes the label map with its names beside it."""
    sitk.WriteImage(_image(labels, lattice), str(folder / "labels.nii.gz"), True)
    named = {n: i for i, n in sorted(names.items()) if (labels == i).any()}
    (folder / "labels.json").write_text(json.dumps(named, indent=1), encoding="utf-8")
    return "labels.nii.gz"


def write_radiograph(
    folder: Path, grey: np.ndarray, department: Department, sdd_mm: float, pixel_mm: float, patient: str, sex: str
) -> str:
    """Writes a radiograph as its department does."""
    if department.file == "png":
        Image.fromarray(grey).save(folder / "radiograph.png")
        return "radiograph.png"
    d = _dataset(
        _DX.get(department.kind, _DX_PRESENTATION), "CR" if department.kind == "log" else "DX", patient, "radiograph"
    )
    d.PatientSex = sex
    d.Manufacturer, d.ManufacturerModelName = department.name, f"{department.name} 2"
    d.PresentationIntentType = "FOR PRESENTATION" if department.kind == "processed" else "FOR PROCESSING"
    d.BodyPartExamined, d.ViewPosition, d.PatientOrientation = "PELVIS", "AP", ["L", "F"]
    bits = {"linear": 14, "log": 12, "processed": 12}[department.kind]
    _pixels(d, grey, bits)
    d.RescaleIntercept, d.RescaleSlope, d.RescaleType = 0, 1, "US"
    if department.kind == "linear":
        d.PixelIntensityRelationship, d.PixelIntensityRelationshipSign = "LIN", 1
        d.PhotometricInterpretation = "MONOCHROME1"
    elif department.kind == "log":
        d.PixelIntensityRelationship, d.PixelIntensityRelationshipSign = "LOG", -1
        d.RescaleIntercept, d.RescaleSlope, d.RescaleType = -200, 1, "OD"
    else:
        d.WindowCenter, d.WindowWidth, d.VOILUTFunction = 2048, 4096, "LINEAR"
    if "sdd" in department.told:
        d.DistanceSourceToDetector = round(sdd_mm)
    d.ImagerPixelSpacing = [pixel_mm, pixel_mm]
    if "kv" in department.told:
        d.KVP = round(department.tube_voltage_kv)
    d.save_as(folder / "radiograph.dcm", enforce_file_format=True)
    return "radiograph.dcm"


def _image(values: np.ndarray, lattice: Lattice) -> sitk.Image:
    image = sitk.GetImageFromArray(values)
    image.SetSpacing([float(v) for v in lattice.spacing_mm])
    image.SetOrigin([float(v) for v in lattice.origin_mm])
    return image


def _write_series(folder: Path, hu: np.ndarray, lattice: Lattice, patient: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for number, plane in enumerate(hu):
        d = _dataset(_CT, "CT", patient, "ct", number)
        d.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
        x, y, z = lattice.origin_mm
        d.ImagePositionPatient = [round(float(v), 4) for v in (x, y, z + number * lattice.spacing_mm[2])]
        d.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
        d.PixelSpacing = [float(lattice.spacing_mm[1]), float(lattice.spacing_mm[0])]
        d.SliceThickness, d.InstanceNumber = float(lattice.spacing_mm[2]), number + 1
        _pixels(d, (plane.astype(np.int32) + 1024).astype(np.uint16), 12)
        d.RescaleIntercept, d.RescaleSlope, d.RescaleType = -1024, 1, "HU"
        d.save_as(folder / f"{number:04d}.dcm", enforce_file_format=True)


def _dataset(sop_class: str, modality: str, patient: str, what: str, number: int = 0) -> Dataset:
    d = Dataset()
    d.SOPClassUID, d.Modality, d.PatientID, d.PatientName = sop_class, modality, patient, "second^world"
    d.SOPInstanceUID = generate_uid(entropy_srcs=[patient, what, str(number)])
    d.SeriesInstanceUID = generate_uid(entropy_srcs=[patient, what, "series"])
    d.StudyInstanceUID = generate_uid(entropy_srcs=[patient, what, "study"])
    d.FrameOfReferenceUID = generate_uid(entropy_srcs=[patient, what, "frame"])
    d.InstanceNumber = number + 1
    d.file_meta = FileMetaDataset()
    d.file_meta.MediaStorageSOPClassUID, d.file_meta.MediaStorageSOPInstanceUID = d.SOPClassUID, d.SOPInstanceUID
    d.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    return d


def _pixels(d: Dataset, grey: np.ndarray, bits: int) -> None:
    d.SamplesPerPixel, d.PhotometricInterpretation = 1, "MONOCHROME2"
    d.Rows, d.Columns = grey.shape
    d.BitsAllocated, d.BitsStored, d.HighBit, d.PixelRepresentation = 16, bits, bits - 1, 0
    d.PixelData = np.ascontiguousarray(grey, dtype="<u2").tobytes()
