"""The radiograph as a DICOM file: digital X-ray, with the geometry a registration needs."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pydicom
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import UID, ExplicitVRLittleEndian, generate_uid

from mskdex import __version__
from mskdex.geometry.camera import Camera
from mskdex.io.artifacts import atomic_path

_PROCESSING = "1.2.840.10008.5.1.4.1.1.1.1.1"
_PRESENTATION = "1.2.840.10008.5.1.4.1.1.1.1"
_LINEAR_BITS, _LOG_BITS = 16, 12
LOG_DECADES = (2**_LOG_BITS - 1) / 1000.0
"""Decades of exposure that the grey range of a log image spans: a grey value is a thousandth of optical density, which
RescaleType OD says. DX knows no other type than US, CR does; without it nothing would tell the scale."""
TABLE_TO_MIDDLE_MM = 100.0
"""From the middle of the patient to the table's side, which DistanceSourceToPatient is measured to."""


@dataclass(frozen=True)
class Format:
    """How the exposure is stored.

    Attributes:
        logarithmic: grey values are the log of exposure.
        inverted: MONOCHROME1, values rise with exposure; else MONOCHROME2, they rise with attenuation.
        presentation: processed for display.
    """

    logarithmic: bool
    inverted: bool
    presentation: bool


@dataclass(frozen=True)
class Taken:
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
    """

    patient_id: str
    sex: str
    age: float
    camera: Camera
    source_to_patient_mm: float
    tube_voltage_kv: float
    filtration_al_mm: float
    collimation: tuple[int, int, int, int] | None


def write_radiograph(path: Path, exposure: np.ndarray, taken: Taken, stored: Format) -> None:
    """Writes the exposure of a detector as a DX image.

    Args:
        path: file to write.
        exposure: float32 (H, W), 1 in the open beam.
        taken: what its tags say.
        stored: which grey values.
    """
    grey, bits = _grey_values(exposure, stored)
    dataset = Dataset()
    _identity(dataset, taken, stored)
    _geometry(dataset, taken)
    _pixels(dataset, grey, bits, stored)
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.MediaStorageSOPClassUID = UID(dataset.SOPClassUID)
    dataset.file_meta.MediaStorageSOPInstanceUID = UID(dataset.SOPInstanceUID)
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    with atomic_path(path) as temporary:
        pydicom.dcmwrite(temporary, dataset, enforce_file_format=True)


def _grey_values(exposure: np.ndarray, stored: Format) -> tuple[np.ndarray, int]:
    bits = _LOG_BITS if stored.logarithmic or stored.presentation else _LINEAR_BITS
    most = 2**bits - 1
    if stored.presentation:
        attenuation = -np.log10(np.maximum(exposure, 1e-4))
        grey = most / (1.0 + np.exp(-(attenuation - np.median(attenuation)) / 0.25))
    elif stored.logarithmic:
        grey = most * (0.05 - np.log10(np.maximum(exposure, 1e-6)) / LOG_DECADES)
    else:
        grey = most * (1.0 - 0.8 * exposure)
    grey = np.clip(np.rint(grey), 0, most).astype(np.uint16)
    return (most - grey if stored.inverted else grey), bits


def _identity(dataset: Dataset, taken: Taken, stored: Format) -> None:
    dataset.SOPClassUID = _PRESENTATION if stored.presentation else _PROCESSING
    for keyword in ("SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID"):
        setattr(dataset, keyword, generate_uid(entropy_srcs=[taken.patient_id, keyword, str(taken.camera)]))
    dataset.Modality = "DX"
    dataset.PresentationIntentType = "FOR PRESENTATION" if stored.presentation else "FOR PROCESSING"
    dataset.PatientID = taken.patient_id
    dataset.PatientName = f"Virtual^{taken.patient_id}"
    dataset.PatientSex = taken.sex
    dataset.PatientAge = f"{round(taken.age):03d}Y"
    dataset.PatientBirthDate = ""
    dataset.StudyDate, dataset.StudyTime, dataset.AccessionNumber, dataset.StudyID = "20230101", "120000", "", "1"
    dataset.ContentDate, dataset.ContentTime = "20230101", "120000"
    dataset.ReferringPhysicianName = ""
    dataset.SeriesNumber, dataset.InstanceNumber = 1, 1
    dataset.Manufacturer, dataset.ManufacturerModelName = "MSKdeX", "virtual patient"
    dataset.SoftwareVersions = __version__
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


def _geometry(dataset: Dataset, taken: Taken) -> None:
    camera = taken.camera
    magnification = camera.sdd_mm / taken.source_to_patient_mm
    dataset.DistanceSourceToDetector = round(camera.sdd_mm, 1)
    dataset.DistanceSourceToPatient = round(min(taken.source_to_patient_mm + TABLE_TO_MIDDLE_MM, camera.sdd_mm), 1)
    dataset.EstimatedRadiographicMagnificationFactor = round(magnification, 4)
    dataset.ImagerPixelSpacing = [camera.pixel_mm, camera.pixel_mm]
    dataset.KVP = round(taken.tube_voltage_kv, 1)
    dataset.FilterMaterial = "ALUMINUM"
    dataset.FilterThicknessMinimum = dataset.FilterThicknessMaximum = taken.filtration_al_mm
    dataset.AnodeTargetMaterial = "TUNGSTEN"
    dataset.Grid = ["FIXED", "FOCUSED"]
    dataset.DetectorType, dataset.PositionerType = "SCINTILLATOR", "COLUMN"
    if taken.collimation is not None:
        first_row, last_row, first_column, last_column = taken.collimation
        dataset.CollimatorShape = "RECTANGULAR"
        dataset.CollimatorLeftVerticalEdge, dataset.CollimatorRightVerticalEdge = first_column, last_column + 2
        dataset.CollimatorUpperHorizontalEdge, dataset.CollimatorLowerHorizontalEdge = first_row, last_row + 2


def _pixels(dataset: Dataset, grey: np.ndarray, bits: int, stored: Format) -> None:
    dataset.SamplesPerPixel = 1
    dataset.PhotometricInterpretation = "MONOCHROME1" if stored.inverted else "MONOCHROME2"
    dataset.Rows, dataset.Columns = grey.shape
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation = 16, bits, bits - 1, 0
    dataset.BurnedInAnnotation, dataset.LossyImageCompression = "NO", "00"
    dataset.PresentationLUTShape = "INVERSE" if stored.inverted else "IDENTITY"
    dataset.PixelIntensityRelationship = "LOG" if stored.logarithmic or stored.presentation else "LIN"
    dataset.PixelIntensityRelationshipSign = 1 if stored.inverted else -1
    dataset.RescaleIntercept, dataset.RescaleSlope = 0, 1
    dataset.RescaleType = "OD" if stored.logarithmic and not stored.presentation else "US"
    if stored.presentation:
        dataset.WindowCenter, dataset.WindowWidth = 2 ** (bits - 1), 2**bits
    dataset.PixelData = grey.tobytes()
