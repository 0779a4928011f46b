"""The kinds of sources, each with its valid patient and what changes it, and how often each comes."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from fuzzing import dicom_cases, label_cases, radiograph_cases, volume_cases
from fuzzing.case import Case
from fuzzing.patients import Base, base


@dataclass(frozen=True)
class Kind:
    """A kind of source.

    Attributes:
        name: of the table.
        base: the valid patient.
        mutate: random generator, valid patient and folder to a case.
        share: how many of a round of cases.
    """

    name: str
    base: Callable[[], Base]
    mutate: Callable[[np.random.Generator, Base, Path], Case]
    share: int


KINDS = (
    Kind("classic CT, all slices", partial(base, "classic"), dicom_cases.classic_all, 8),
    Kind("classic CT, one slice", partial(base, "classic"), dicom_cases.classic_one, 8),
    Kind("classic CT, bytes", partial(base, "classic"), dicom_cases.classic_bytes, 5),
    Kind("enhanced CT", partial(base, "enhanced"), dicom_cases.enhanced_any, 10),
    Kind("NIfTI, header", partial(base, "nifti"), volume_cases.nifti_field, 12),
    Kind("NIfTI, header, not compressed", partial(base, "nii"), volume_cases.nifti_field, 3),
    Kind("NIfTI, bits of the file", partial(base, "nifti"), volume_cases.stream_bits, 5),
    Kind("NRRD, header", partial(base, "nrrd"), volume_cases.header_line, 8),
    Kind("NRRD, compressed, header", partial(base, "nrrd gzip"), volume_cases.header_line, 2),
    Kind("NRRD, bits of the voxels", partial(base, "nrrd gzip"), volume_cases.stream_bits, 2),
    Kind("MHA, header", partial(base, "mha"), volume_cases.header_line, 7),
    Kind("MHA, compressed, header", partial(base, "mha gzip"), volume_cases.header_line, 2),
    Kind("MHA, bits of the voxels", partial(base, "mha gzip"), volume_cases.stream_bits, 2),
    Kind("MHD, header", partial(base, "mhd"), volume_cases.header_line, 4),
    Kind("names in JSON", partial(base, "names"), label_cases.names_json, 6),
    Kind("3D Slicer segments", partial(base, "slicer"), label_cases.slicer_header, 5),
    Kind("folder of masks", partial(base, "masks"), label_cases.mask_folder, 4),
    Kind("NRRD, detached (NHDR), header", partial(base, "nhdr"), volume_cases.header_line, 5),
    Kind("NIfTI, bits of raw voxels", partial(base, "nii"), volume_cases.raw_bits, 2),
    Kind("NRRD, bits of raw voxels", partial(base, "nrrd"), volume_cases.raw_bits, 2),
    Kind("NHDR, bits of raw voxels", partial(base, "nhdr"), volume_cases.raw_bits, 1),
    Kind("MHA, bits of raw voxels", partial(base, "mha"), volume_cases.raw_bits, 2),
    Kind("classic CT, bits of pixels", partial(base, "classic"), dicom_cases.pixel_bits, 2),
    Kind("radiograph, DX", partial(base, "DX"), partial(radiograph_cases.dicom, modality="DX"), 8),
    Kind("radiograph, CR", partial(base, "CR"), partial(radiograph_cases.dicom, modality="CR"), 4),
    Kind("radiograph, XA", partial(base, "XA"), partial(radiograph_cases.dicom, modality="XA"), 4),
    Kind("radiograph, RF", partial(base, "RF"), partial(radiograph_cases.dicom, modality="RF"), 5),
    Kind("radiograph, DX, bits of pixels", partial(base, "DX"), radiograph_cases.pixel_bits, 2),
    Kind("radiograph, JPEG", partial(base, "jpg"), radiograph_cases.picture, 4),
    Kind("radiograph, PNG", partial(base, "png"), radiograph_cases.picture, 4),
    Kind("radiograph, TIFF", partial(base, "tif"), radiograph_cases.picture, 4),
    Kind("sheet", partial(base, "sheet"), radiograph_cases.sheet_cell, 5),
    Kind("DICOM SEG", partial(base, "seg"), label_cases.dicom_seg, 6),
)
_ROUND = [k for i in range(max(k.share for k in KINDS)) for k in KINDS if k.share > i]


def of(index: int) -> Kind:
    """The kind of a case."""
    return _ROUND[index % len(_ROUND)]


def named(name: str) -> Kind:
    """A kind by its name."""
    return next(k for k in KINDS if k.name == name)
