"""The radiograph as a DICOM file: digital X-ray, with the geometry a registration needs."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pydicom
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import UID, ExplicitVRLittleEndian, generate_uid

from mskdex.geometry.camera import Camera
from mskdex.io.artifacts import atomic_path
from mskdex.virtual.departments import Department

_PROCESSING = "1.2.840.10008.5.1.4.1.1.1.1.1"
_PRESENTATION = "1.2.840.10008.5.1.4.1.1.1.1"
_COMPUTED = "1.2.840.10008.5.1.4.1.1.1"
TABLE_TO_MIDDLE_MM = 100.0
"""From the middle of the patient to the table's side, which DistanceSourceToPatient is measured to."""


@dataclass(frozen=True)
class ExposureRecord:
    """What the file says of the exposure.

    Attributes:
        patient_id: id of the virtual patient.
        sex: F or M.
        age: in years.
        camera: the detector.
        source_to_patient_mm: distance from source to the middle of the patient.
        tube_voltage_kv: peak voltage.
        filtration_al_mm: aluminium in the beam.
        collimation: exposed rows and columns (first row, last row, first column, last column), None if all.
        crop: (first row, first column, rows, columns of the whole detector) of an image that shows a part of it.
    """

    patient_id: str
    sex: str
    age: float
    camera: Camera
    source_to_patient_mm: float
    tube_voltage_kv: float
    filtration_al_mm: float
    collimation: tuple[int, int, int, int] | None
    crop: tuple[int, int, int, int] | None = None


def write_radiograph(path: Path, grey: np.ndarray, record: ExposureRecord, department: Department) -> None:
    """Writes a radiograph as its department archives it: a DX image, or one of computed radiography.

    Args:
        path: file to write.
        grey: uint16 (H, W), see `console.grey_values`.
        record: what its tags say of the exposure.
        department: what its tags say of the grey values, and which it lacks.
    """
    dataset = Dataset()
    _identity(dataset, record, department)
    _geometry(dataset, record, department)
    _pixels(dataset, grey, department)
    if department.modality == "CR":
        for keyword in _NOT_OF_CR:
            dataset.pop(keyword, None)
        dataset.PatientOrientation = ""  # a plate reader does not know it
    _apply_department(dataset, department)
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.MediaStorageSOPClassUID = UID(dataset.SOPClassUID)
    dataset.file_meta.MediaStorageSOPInstanceUID = UID(dataset.SOPInstanceUID)
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    with atomic_path(path) as temporary:
        pydicom.dcmwrite(temporary, dataset, enforce_file_format=True)


_NOT_OF_CR = (
    "PresentationIntentType",
    "ImageLaterality",
    "AnatomicRegionSequence",
    "ViewCodeSequence",
    "AcquisitionContextSequence",
    "DetectorType",
    "PositionerType",
    "Grid",
    "AnodeTargetMaterial",
    "FilterMaterial",
    "FilterThicknessMinimum",
    "FilterThicknessMaximum",
    "CollimatorShape",
    "CollimatorLeftVerticalEdge",
    "CollimatorRightVerticalEdge",
    "CollimatorUpperHorizontalEdge",
    "CollimatorLowerHorizontalEdge",
    "PresentationLUTShape",
    "PixelIntensityRelationship",
    "PixelIntensityRelationshipSign",
    "BurnedInAnnotation",
    "EstimatedRadiographicMagnificationFactor",
)
"""Tags of the DX modules that the Computed Radiography information object does not have (DICOM PS3.3, A.2)."""


def _apply_department(dataset: Dataset, department: Department) -> None:
    """Leaves out what the department's files lack; writes what they have otherwise."""
    for keyword in department.lacks:
        dataset.pop(keyword, None)
    for keyword, value in department.changes.items():
        setattr(dataset, keyword, value)


def _identity(dataset: Dataset, record: ExposureRecord, department: Department) -> None:
    dataset.SOPClassUID = _sop_class(department)
    for keyword in ("SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID"):
        setattr(dataset, keyword, generate_uid(entropy_srcs=[record.patient_id, keyword, str(record.camera)]))
    dataset.Modality = department.modality
    dataset.PresentationIntentType = "FOR PRESENTATION" if department.kind == "processed" else "FOR PROCESSING"
    dataset.PatientID = record.patient_id
    dataset.PatientName = f"Virtual^{record.patient_id}"
    dataset.PatientSex = record.sex
    dataset.PatientAge = f"{round(record.age):03d}Y"
    dataset.PatientBirthDate = ""
    dataset.StudyDate, dataset.StudyTime, dataset.AccessionNumber, dataset.StudyID = "20230101", "120000", "", "1"
    dataset.ContentDate, dataset.ContentTime = "20230101", "120000"
    dataset.ReferringPhysicianName = ""
    dataset.SeriesNumber, dataset.InstanceNumber = 1, 1
    dataset.Manufacturer, dataset.ManufacturerModelName = department.manufacturer, department.model
    dataset.SoftwareVersions = department.software
    dataset.ImageType = ["ORIGINAL", "PRIMARY", ""]
    dataset.BodyPartExamined, dataset.ViewPosition, dataset.ImageLaterality = "HIP", "AP", "B"
    dataset.PatientOrientation = ["L", "F"]
    dataset.AnatomicRegionSequence = [_code("24136001", "SCT", "Hip joint")]
    dataset.ViewCodeSequence = [_code("399348003", "SCT", "antero-posterior")]
    dataset.AcquisitionContextSequence = []


def _code(value: str, scheme: str, meaning: str) -> Dataset:
    code = Dataset()
    code.CodeValue, code.CodingSchemeDesignator, code.CodeMeaning = value, scheme, meaning
    return code


def _geometry(dataset: Dataset, record: ExposureRecord, department: Department) -> None:
    camera = record.camera
    step = department.sdd_step_mm
    dataset.DistanceSourceToDetector = round(step * round(camera.sdd_mm / step), 1)
    # One or the other: to be one another's ratio, as PS3.3 has it, the factor would be that of the table's side.
    if "DistanceSourceToPatient" in department.lacks:
        magnification = camera.sdd_mm / record.source_to_patient_mm
        dataset.EstimatedRadiographicMagnificationFactor = round(magnification, 4)
    else:
        dataset.DistanceSourceToPatient = round(min(record.source_to_patient_mm + TABLE_TO_MIDDLE_MM, camera.sdd_mm), 1)
    setattr(dataset, department.spacing_tag, [camera.pixel_mm, camera.pixel_mm])
    dataset.KVP = round(record.tube_voltage_kv, 1)
    dataset.FilterMaterial = "ALUMINUM"
    dataset.FilterThicknessMinimum = dataset.FilterThicknessMaximum = record.filtration_al_mm
    dataset.AnodeTargetMaterial = "TUNGSTEN"
    dataset.Grid = ["FIXED", "FOCUSED"]
    dataset.DetectorType, dataset.PositionerType = "SCINTILLATOR", "COLUMN"
    _crop(dataset, record)
    if record.collimation is not None:
        first_row, last_row, first_column, last_column = record.collimation
        dataset.CollimatorShape = "RECTANGULAR"
        dataset.CollimatorLeftVerticalEdge, dataset.CollimatorRightVerticalEdge = first_column, last_column + 2
        dataset.CollimatorUpperHorizontalEdge, dataset.CollimatorLowerHorizontalEdge = first_row, last_row + 2


def _sop_class(department: Department) -> str:
    if department.modality == "CR":
        return _COMPUTED
    return _PRESENTATION if department.kind == "processed" else _PROCESSING


def _crop(dataset: Dataset, record: ExposureRecord) -> None:
    """Where on the detector the image lies (DICOM PS3.3, DX Detector module)."""
    if record.crop is None:
        return
    row, column, rows, columns = record.crop
    pixel = record.camera.pixel_mm
    dataset.DetectorElementSpacing = [pixel, pixel]
    dataset.DetectorActiveShape, dataset.FieldOfViewShape = "RECTANGLE", "RECTANGLE"
    dataset.DetectorActiveDimensions = [round(rows * pixel, 3), round(columns * pixel, 3)]
    dataset.DetectorActiveOrigin = [0, 0]
    dataset.FieldOfViewDimensions = [round(n * pixel) for n in record.camera.shape]
    dataset.FieldOfViewOrigin = [row, column]
    dataset.FieldOfViewRotation, dataset.FieldOfViewHorizontalFlip = 0, "NO"


def _pixels(dataset: Dataset, grey: np.ndarray, department: Department) -> None:
    bits, sign = department.bits, 1 if department.inverted else -1
    dataset.SamplesPerPixel = 1
    dataset.PhotometricInterpretation = "MONOCHROME1" if department.inverted else "MONOCHROME2"
    dataset.Rows, dataset.Columns = grey.shape
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation = 16, bits, bits - 1, 0
    dataset.BurnedInAnnotation, dataset.LossyImageCompression = "NO", "00"
    dataset.PresentationLUTShape = "INVERSE" if department.inverted else "IDENTITY"
    relation = "LIN" if department.kind == "linear" else "LOG"
    dataset.PixelIntensityRelationship, dataset.PixelIntensityRelationshipSign = relation, sign
    dataset.RescaleIntercept, dataset.RescaleSlope = 0, 1
    dataset.RescaleType = "OD" if department.kind == "log" else "US"
    if department.kind == "processed":
        dataset.WindowCenter, dataset.WindowWidth = 2 ** (bits - 1), 2**bits
    dataset.PixelData = grey.astype("<u2").tobytes()
