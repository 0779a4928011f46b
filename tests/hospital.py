"""Input files as a hospital would deliver them, made from a small phantom."""

import gzip
from copy import deepcopy
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import SimpleITK as sitk
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, generate_uid

from mskdex.config import Config
from mskdex.io.volume import Volume, volume_to_sitk
from mskdex.pipeline.settings import ImportStage, import_stage

IDS = {"pelvis": (1, 2), "femur": (3, 4), "sacrum": (5,), "gluteus_maximus": (6, 7)}
CHANNELS = (
    "pelvis_left",
    "pelvis_right",
    "femur_left",
    "femur_right",
    "sacrum",
    "gluteus_maximus_left",
    "gluteus_maximus_right",
)
"""The phantom's structures in the order of their ids, from 1."""
SMALL_STRUCTURES = {"min_volume_ratio": 0.0}
"""The config's ct section for the phantom."""

SECRETS = (b"Mustermann", b"Erika", b"HOSP-4711", b"19500102", b"ACC-0815", b"Sample General")
"""What the DICOM files' tags say of the patient and the hospital."""

CT_CLASS = "1.2.840.10008.5.1.4.1.1.2"
DX_CLASS = "1.2.840.10008.5.1.4.1.1.1.1.1"


def phantom(shape: tuple[int, int, int] = (20, 30, 40), spacing_mm: tuple[float, float, float] = (2.0, 2.5, 3.0)):
    """A trunk with two hip bones, femurs, a sacrum and two muscles; RAS, HU int16 and ids uint8.

    No two octants are alike, so that any flip shows.
    """
    z, y, x = np.meshgrid(*(np.linspace(-1, 1, n) for n in shape), indexing="ij")
    hu = np.full(shape, -1000, np.int16)
    body = (x / 0.9) ** 2 + (y / 0.8) ** 2 < 1
    hu[body] = (40 + 10 * z + 5 * x)[body]
    ids = np.zeros(shape, np.uint8)
    parts = {
        1: (-0.45, 0.1, 0.3),
        2: (0.45, 0.1, 0.3),
        3: (-0.5, 0.05, -0.55),
        4: (0.5, 0.05, -0.55),
        5: (0, -0.4, 0.35),
    }
    for i, (cx, cy, cz) in parts.items():
        inside = ((x - cx) / 0.16) ** 2 + ((y - cy) / 0.25) ** 2 + ((z - cz) / 0.38) ** 2 < 1
        ids[inside], hu[inside] = i, 300 + 40 * i
    for i, cx in ((6, -0.42), (7, 0.42)):
        inside = (((x - cx) / 0.2) ** 2 + ((y + 0.45) / 0.2) ** 2 + (z / 0.5) ** 2 < 1) & (ids == 0)
        ids[inside], hu[inside] = i, 50 + i
    affine = np.diag([*spacing_mm, 1.0])
    affine[:3, 3] = (-40.0, -30.0, 100.0)
    return Volume(hu, affine), Volume(ids, affine)


def settings(**changes: Any) -> ImportStage:
    """Settings of the import with the phantom's ids as label source "phantom"; changes by section.

    The phantom's structures are a hundred times smaller than a patient's, so their volumes are not checked.
    """
    ct = SMALL_STRUCTURES | changes.pop("ct", {})
    config = Config.model_validate({"label_sources": {"phantom": IDS}, "ct": ct, **changes})
    return import_stage(config, "phantom").model_copy(update={"label_sources": config.label_sources})


def write(path: Path, volume: Volume, orientation: str = "RAS") -> Path:
    """Writes a volume in any format that SimpleITK writes, its voxels in another order if asked."""
    image = volume_to_sitk(volume)
    if orientation != "RAS":
        image = sitk.DICOMOrient(image, orientation)
    sitk.WriteImage(image, str(path))
    return path


def _dataset(sop_class: str, modality: str) -> Dataset:
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.SOPClassUID, dataset.SOPInstanceUID = sop_class, generate_uid()
    dataset.file_meta.MediaStorageSOPClassUID = sop_class
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    dataset.Modality = modality
    dataset.PatientName, dataset.PatientID, dataset.PatientBirthDate = "Mustermann^Erika", "HOSP-4711", "19500102"
    dataset.AccessionNumber, dataset.InstitutionName = "ACC-0815", "Sample General Hospital"
    dataset.StudyInstanceUID, dataset.SeriesInstanceUID = generate_uid(), generate_uid()
    dataset.FrameOfReferenceUID = generate_uid()
    return dataset


def _pixels(dataset: Dataset, pixels: np.ndarray, bits: int | None = None) -> None:
    dataset.Rows, dataset.Columns = pixels.shape[-2:]
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.BitsAllocated = pixels.dtype.itemsize * 8
    dataset.BitsStored = bits or dataset.BitsAllocated
    dataset.HighBit = dataset.BitsStored - 1
    dataset.PixelRepresentation = int(pixels.dtype.kind == "i")
    dataset.PixelData = pixels.tobytes()


def slice_datasets(volume: Volume, intercept: float = -1024.0, slope: float = 1.0, **tags: Any) -> list[Dataset]:
    """The slices of a volume (along k) as CT Image datasets of one series."""
    affine = np.diag([-1.0, -1.0, 1.0, 1.0]) @ volume.world_from_voxel
    spacing = np.linalg.norm(affine[:3, :3], axis=0)
    direction = affine[:3, :3] / spacing
    series, study, frame = generate_uid(), generate_uid(), generate_uid()
    found = []
    for k, plane in enumerate(volume.array):
        dataset = _dataset(CT_CLASS, "CT")
        dataset.SeriesInstanceUID, dataset.StudyInstanceUID, dataset.FrameOfReferenceUID = series, study, frame
        dataset.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
        dataset.InstanceNumber = k + 1
        dataset.PixelSpacing = [float(spacing[1]), float(spacing[0])]
        dataset.SliceThickness = float(spacing[2])
        dataset.ImageOrientationPatient = [float(round(v, 9)) for v in direction[:, :2].T.ravel()]
        dataset.ImagePositionPatient = [float(round(v, 6)) for v in (affine @ [0, 0, k, 1])[:3]]
        dataset.RescaleSlope, dataset.RescaleIntercept, dataset.RescaleType = slope, intercept, "HU"
        _pixels(dataset, np.rint((plane - intercept) / slope).astype(np.int16))
        for key, value in tags.items():
            setattr(dataset, key, value)
        found.append(dataset)
    return found


def save_all(datasets: list[Dataset], folder: Path) -> Path:
    """Saves datasets under names that do not sort as the slices lie."""
    folder.mkdir(parents=True, exist_ok=True)
    for i, dataset in enumerate(datasets):
        dataset.save_as(folder / f"IM{(i * 7919) % 10007:05d}", enforce_file_format=True)
    return folder


def radiograph_values(shape: tuple[int, int] = (64, 80)) -> np.ndarray:
    """Log attenuation with air beside a tapering body and no symmetry."""
    y, x = np.meshgrid(np.linspace(-1, 1, shape[0]), np.linspace(-1, 1, shape[1]), indexing="ij")
    body = 3.0 * np.sqrt(np.clip(1 - (x / (0.7 + 0.2 * y)) ** 2, 0, 1))
    return body * (1 + 0.2 * y) + 0.8 * ((x + 0.3) ** 2 + (y - 0.2) ** 2 < 0.03) * (body > 0)


def radiograph(attenuation: np.ndarray | None = None, air: float = 50000.0, **tags: Any) -> Dataset:
    """A linear DX image of `attenuation`, grey values rising with exposure; a tag of None is left out."""
    values = radiograph_values() if attenuation is None else attenuation
    dataset = _dataset(DX_CLASS, "DX")
    _pixels(dataset, np.rint(air * np.exp(-values)).astype(np.uint16))
    defaults: dict[str, Any] = {
        "PhotometricInterpretation": "MONOCHROME1",
        "PixelIntensityRelationship": "LIN",
        "PixelIntensityRelationshipSign": 1,
        "PresentationIntentType": "FOR PROCESSING",
        "DistanceSourceToDetector": 1100.0,
        "DistanceSourceToPatient": 950.0,
        "ImagerPixelSpacing": [0.9, 0.9],
        "ViewPosition": "AP",
        "PatientOrientation": ["L", "F"],
    }
    for key, value in (defaults | tags).items():
        if value is not None:
            setattr(dataset, key, value)
    return dataset


def save(dataset: Dataset, path: Path) -> Path:
    dataset.save_as(path, enforce_file_format=True)
    return path


def patient(folder: Path) -> dict[str, Any]:
    """A whole patient on disk, NIfTI and DICOM; the row of the sheet."""
    folder.mkdir(parents=True, exist_ok=True)
    ct, labels = phantom()
    return {
        "patient_id": "P01",
        "ct": str(write(folder / "ct.nii.gz", ct)),
        "labels": str(write(folder / "labels.nii.gz", labels)),
        "label_source": "phantom",
        "radiograph": str(save(radiograph(), folder / "radiograph.dcm")),
    }


def distinct_patient(folder: Path, number: int) -> dict[str, Any]:
    """As `patient`, but CT, labels, radiograph and PatientID are those of patient `number` alone."""
    row = patient(folder)
    ct, labels = phantom()
    ct.array[0, 0, :] = -1000 + 8 * number
    muscle = np.argwhere(labels.array == 6)
    labels.array[tuple(muscle[number])] = 0
    write(folder / "ct.nii.gz", ct)
    write(folder / "labels.nii.gz", labels)
    values = radiograph_values()
    values[20:40, 30:50] += 0.01 * number
    save(radiograph(values, PatientID=f"HOSP-{number:04d}"), folder / "radiograph.dcm")
    return row | {"patient_id": f"P{number:02d}"}


def enhanced_ct(volume: Volume) -> Dataset:
    """A volume as one Enhanced CT object, its frames in reverse order."""
    slices = slice_datasets(volume)[::-1]
    dataset = deepcopy(slices[0])
    dataset.SOPClassUID = dataset.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.2.1"
    for keyword in ("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "RescaleSlope", "RescaleType"):
        delattr(dataset, keyword)
    del dataset.RescaleIntercept
    shared, measures, plane, rescale = Dataset(), Dataset(), Dataset(), Dataset()
    measures.PixelSpacing, measures.SliceThickness = slices[0].PixelSpacing, slices[0].SliceThickness
    plane.ImageOrientationPatient = slices[0].ImageOrientationPatient
    rescale.RescaleSlope, rescale.RescaleIntercept, rescale.RescaleType = 1.0, -1024.0, "HU"
    shared.PixelMeasuresSequence, shared.PlaneOrientationSequence = [measures], [plane]
    shared.PixelValueTransformationSequence = [rescale]
    dataset.SharedFunctionalGroupsSequence = [shared]
    frames = []
    for item in slices:
        frame, position = Dataset(), Dataset()
        position.ImagePositionPatient = item.ImagePositionPatient
        frame.PlanePositionSequence = [position]
        frames.append(frame)
    dataset.PerFrameFunctionalGroupsSequence = frames
    dataset.NumberOfFrames = len(slices)
    dataset.PixelData = b"".join(s.PixelData for s in slices)
    return dataset


NAMES = {
    1: "hip_left",
    2: "Right hip bone",
    3: "femur_left",
    4: "femur_R",
    5: "sacrum",
    6: "Left Gluteus Maximus muscle",
    7: "gluteus_maximus-right",
}
"""Names of the phantom's structures as different people spell them."""


def masks(folder: Path, labels: Volume, suffix: str = ".nii.gz") -> Path:
    """One mask file per structure."""
    folder.mkdir(parents=True)
    for i, name in NAMES.items():
        write(folder / f"{name}{suffix}", Volume((labels.array == i).astype(np.uint8), labels.world_from_voxel))
    return folder


def seg_nrrd(path: Path, labels: Volume, *, layers: bool = False, crop: bool = False) -> Path:
    """A 3D Slicer segmentation: names in the header; overlapping segments in layers; cropped to what is used."""
    order = sorted(NAMES)
    array = labels.array
    image = volume_to_sitk(labels)
    if layers:
        stacked = np.stack([np.where(array == i, 1, 0) for i in order], axis=-1).astype(np.uint8)
        image = sitk.GetImageFromArray(stacked, isVector=True)
        image.CopyInformation(volume_to_sitk(labels))
    for n, i in enumerate(order):
        entries = {"ID": f"s{i}", "Name": NAMES[i], "LabelValue": 1 if layers else i, "Layer": n if layers else 0}
        for key, value in entries.items():
            image.SetMetaData(f"Segment{n}_{key}", str(value))
    if crop:
        used = [np.flatnonzero(array.any(axis=tuple(a for a in range(3) if a != axis)))[[0, -1]] for axis in (2, 1, 0)]
        keys = {k: image.GetMetaData(k) for k in image.GetMetaDataKeys()}
        image = image[tuple(slice(int(a), int(b) + 1) for a, b in used)]
        for key, value in keys.items():
            image.SetMetaData(key, value)
    sitk.WriteImage(image, str(path))
    return path


def dicom_seg(path: Path, labels: Volume, sources: list[Dataset]) -> Path:
    """A DICOM SEG of the phantom's labels, made by highdicom; empty frames are left out."""
    import highdicom
    from pydicom.sr.codedict import codes

    for source in sources:
        source.PatientSex, source.StudyDate, source.StudyTime, source.StudyID = "F", "20200101", "000000", "1"
        source.ReferringPhysicianName = ""
    described = [
        highdicom.seg.SegmentDescription(
            segment_number=n,
            segment_label=NAMES[i],
            segmented_property_category=codes.SCT.Organ,
            segmented_property_type=codes.SCT.Bone,
            algorithm_type=highdicom.seg.SegmentAlgorithmTypeValues.MANUAL,
        )
        for n, i in enumerate(sorted(NAMES), start=1)
    ]
    pixels = np.stack([labels.array == i for i in sorted(NAMES)], axis=-1).astype(np.uint8)
    found = highdicom.seg.Segmentation(
        sources,
        pixels,
        highdicom.seg.SegmentationTypeValues.BINARY,
        described,
        generate_uid(),
        1,
        generate_uid(),
        1,
        "maker",
        "model",
        "1",
        "serial",
        omit_empty_frames=True,
    )
    found.save_as(path)
    return path


def leaks(folder: Path) -> list[tuple[str, bytes]]:
    """Files whose names or bytes carry a secret, decompressed where they are compressed."""
    found = []
    for path in folder.rglob("*"):
        if path.is_file():
            content = path.read_bytes()
            if content[:2] == b"\x1f\x8b":
                content += gzip.decompress(content)
            if path.suffix == ".parquet":
                content += pd.read_parquet(path).to_csv().encode()
            found += [(path.name, s) for secret in SECRETS for s in _spelt(secret) if s in content]
            found += [(path.name, secret) for secret in SECRETS if secret.decode() in path.name]
    return found


def _spelt(secret: bytes) -> set[bytes]:
    return {secret, secret.upper(), secret.lower(), secret.decode().encode("utf-16-le")}
