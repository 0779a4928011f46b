"""A DICOM image's stored values: decoded by pydicom's plug-ins, else by GDCM; limits come first."""

import struct
import tempfile
import warnings
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate, generate_frames, get_frame
from pydicom.pixels import pixel_array
from pydicom.uid import (
    JPEGBaseline8Bit,
    JPEGExtended12Bit,
    JPEGLossless,
    JPEGLosslessSV1,
    SecondaryCaptureImageStorage,
    generate_uid,
)

from mskdex.errors import MskdexError
from mskdex.io.dicom import integer
from mskdex.io.files import quote

_MOST_PIXELS = 1 << 28
_OF_SEVERAL_KINDS = frozenset({JPEGBaseline8Bit, JPEGExtended12Bit, JPEGLossless, JPEGLosslessSV1})
"""Syntaxes of which plug-ins read some bit depths only."""

_STARTS, _END = (b"\xff\xd8", b"\xff\x4f"), b"\xff\xd9"
"""The first marker of JPEG and JPEG-LS (SOI) or JPEG 2000 (SOC), and the last of all of them (EOI, EOC), which their
pixels never hold."""

_PIXEL_TAGS = (
    "SamplesPerPixel",
    "PhotometricInterpretation",
    "PlanarConfiguration",
    "NumberOfFrames",
    "Rows",
    "Columns",
    "BitsAllocated",
    "BitsStored",
    "HighBit",
    "PixelRepresentation",
    "PixelData",
)


def stored_values(dataset: Dataset, path: Path, frame: int | None = None, *, all_bits: bool = False) -> np.ndarray:
    """Decodes the pixels, whatever their transfer syntax: the stored values before any LUT.

    Args:
        dataset: read whole.
        path: its file, for messages.
        frame: the one to decode, from 0; all if None.
        all_bits: keep what the bits beyond BitsStored hold, which otherwise count as empty.

    Returns:
        (rows, columns) or (frames, rows, columns), the stored integer type.

    Raises:
        MskdexError: no pixels, cut short, or a transfer syntax that no installed decoder reads.
    """
    if "PixelData" not in dataset or not dataset.PixelData:
        floats = [k for k in ("FloatPixelData", "DoubleFloatPixelData") if k in dataset]
        detail = f"holds {floats[0]}, no integers; export it as a CT or radiograph" if floats else "has no pixel data"
        msg = f"{path} {detail}{'' if floats else '; copy or export it again'}"
        raise MskdexError(msg)
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            _require_size(dataset, path, frame)
            try:
                found = pixel_array(dataset, raw=True, index=frame, correct_unused_bits=not all_bits)
                if any("RLE segment" in str(w.message) for w in caught):  # of another length than the rows and columns
                    msg = f"the pixels of {path} are damaged: a run-length segment has another length; copy it again"
                    raise MskdexError(msg)
                return found
            except (MskdexError, MemoryError):
                raise
            except Exception as error:
                uid = dataset.file_meta.TransferSyntaxUID
                unknown = uid.is_encapsulated and isinstance(error, NotImplementedError)
                if not unknown and uid not in _OF_SEVERAL_KINDS:
                    raise  # a plug-in reads all of the syntax, so the file is damaged: GDCM would fill what it lacks
                return _by_gdcm(dataset, frame)
    except (MskdexError, MemoryError):
        raise
    except Exception as error:
        syntax = getattr(getattr(dataset, "file_meta", None), "TransferSyntaxUID", None)
        detail = f", transfer syntax {syntax.name}" if syntax is not None else ""
        msg = f"the pixels of {path} cannot be decoded ({quote(error)}{detail}); copy or export it again"
        raise MskdexError(msg) from error


def _by_gdcm(dataset: Dataset, frame: int | None) -> np.ndarray:
    """Decodes a copy that holds the pixel tags alone, without a rescale, which ITK would apply."""
    copy = Dataset()
    for tag in _PIXEL_TAGS:
        if tag in dataset:
            copy.add_new(dataset[tag].tag, dataset[tag].VR, dataset[tag].value)  # the element itself would be shared
    frames = integer(dataset, "NumberOfFrames", 1)
    if frame is not None and frames > 1:
        copy.PixelData = encapsulate([get_frame(dataset.PixelData, frame, number_of_frames=frames)])
        copy.NumberOfFrames = frames = 1
    copy["PixelData"].VR, copy["PixelData"].is_undefined_length = "OB", True
    copy.file_meta = FileMetaDataset()
    copy.file_meta.TransferSyntaxUID = dataset.file_meta.TransferSyntaxUID
    copy.SOPClassUID = copy.file_meta.MediaStorageSOPClassUID = SecondaryCaptureImageStorage
    copy.SOPInstanceUID = copy.file_meta.MediaStorageSOPInstanceUID = generate_uid()
    if integer(dataset, "SamplesPerPixel", 1) == 1:
        copy.PhotometricInterpretation = "MONOCHROME2"  # ITK would turn the values of MONOCHROME1 round
    copy.Modality, copy.StudyInstanceUID, copy.SeriesInstanceUID = "OT", generate_uid(), generate_uid()
    reader = sitk.ImageFileReader()
    reader.SetImageIO("GDCMImageIO")
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "pixels.dcm")
        copy.save_as(file, enforce_file_format=True)
        reader.SetFileName(str(file))
        found = sitk.GetArrayFromImage(reader.Execute())
    shape = (frames, integer(dataset, "Rows"), integer(dataset, "Columns"))
    found = found[None] if found.ndim == 2 else found
    if found.shape[:3] != shape:
        msg = f"GDCM decodes {found.shape} instead of {shape} values"
        raise ValueError(msg)
    return found[0] if frames == 1 else found


def _require_size(dataset: Dataset, path: Path, frame: int | None) -> None:
    """Refuses compressed frames that claim another size than the tags: a decoder would take that memory."""
    rows, columns = integer(dataset, "Rows"), integer(dataset, "Columns")
    if rows * columns * max(integer(dataset, "SamplesPerPixel", 1), 1) > _MOST_PIXELS or rows * columns <= 0:
        msg = f"{path}: its header claims {rows} x {columns} pixels; export it again"
        raise MskdexError(msg)
    if not dataset.file_meta.TransferSyntaxUID.is_encapsulated:
        _require_no_more(dataset, path, rows, columns)
        return
    count = integer(dataset, "NumberOfFrames", 1)
    if frame is None:
        streams = generate_frames(dataset.PixelData, number_of_frames=count)
    else:
        streams = iter([get_frame(dataset.PixelData, frame, number_of_frames=count)])
    for stream in streams:
        if stream[:2] in _STARTS and _END not in stream:
            msg = f"the compressed pixels of {path} are cut short: their end is missing; copy it again"
            raise MskdexError(msg)
        found = _codestream_size(stream)
        if found is not None and found != (rows, columns):
            msg = (
                f"{path}: its compressed pixels claim {found[0]} x {found[1]}, its header {rows} x {columns}; "
                "export it again"
            )
            raise MskdexError(msg)


def _require_no_more(dataset: Dataset, path: Path, rows: int, columns: int) -> None:
    """Refuses uncompressed pixels beyond those that the header claims; less than a row of zeros is padding."""
    row = columns * max(integer(dataset, "SamplesPerPixel", 1), 1) * integer(dataset, "BitsAllocated") // 8
    stated = row * rows * max(integer(dataset, "NumberOfFrames", 1), 1)
    more = dataset.PixelData[stated:]
    if stated and len(more) > 1 and (len(more) >= row or more.strip(b"\0")):
        msg = (
            f"{path} holds {len(dataset.PixelData)} bytes of pixels, its header claims {rows} x {columns}, which are "
            f"{stated}; export it again"
        )
        raise MskdexError(msg)


def _codestream_size(frame: bytes) -> tuple[int, int] | None:
    """Rows and columns that a JPEG, JPEG-LS or JPEG 2000 frame claims; None of another or a damaged one.

    Source: ITU-T T.81 B.2.2 (SOFn), T.87 C.2.2 (SOF55), T.800 A.5.1 (SIZ).
    """
    at = frame.find(b"\xff\x4f\xff\x51", 0, 4096)  # JPEG 2000: SOC and SIZ, perhaps within the boxes of JP2
    if at >= 0 and len(frame) >= at + 24:
        width, height, left, top = struct.unpack(">4I", frame[at + 8 : at + 24])
        return height - top, width - left
    at = 2 if frame[:2] == b"\xff\xd8" else len(frame)
    while at + 9 <= len(frame) and frame[at] == 0xFF:
        marker = frame[at + 1]
        if (0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC)) or marker == 0xF7:
            return struct.unpack(">2H", frame[at + 5 : at + 9])
        at += 2 + int.from_bytes(frame[at + 2 : at + 4], "big") if marker != 0xFF else 1
    return None
