"""DICOM segmentations: which segments they hold, of which CT, and their voxels, through highdicom."""

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import highdicom
import numpy as np
from pydicom.dataset import Dataset

from mskdex.errors import MskdexError
from mskdex.imaging.dicom_series import choose_series
from mskdex.imaging.label_vocabulary import parse_name
from mskdex.io.dicom import dicom_files, headers, read_header
from mskdex.io.files import WithinFile, file_kind, quote, reading, require_size
from mskdex.io.tilt import require_orthogonal
from mskdex.io.volume import Volume

_BINARY, _LABELMAP = "1.2.840.10008.5.1.4.1.1.66.4", "1.2.840.10008.5.1.4.1.1.66.7"
_RAS_FROM_LPS = np.diag([-1.0, -1.0, 1.0, 1.0])
_SIDE_CODES = {
    ("SCT", "7771000"): "left",
    ("SRT", "G-A101"): "left",
    ("SNM3", "G-A101"): "left",
    ("SCT", "24028007"): "right",
    ("SRT", "G-A100"): "right",
    ("SNM3", "G-A100"): "right",
}
"""Codes of laterality, DICOM PS3.16 CID 244, in both generations of SNOMED."""


@dataclass(frozen=True)
class DicomSeg:
    """A DICOM SEG.

    Attributes:
        masks: uint8 volumes by segment label, each read when it is asked for.
        empty: labels of segments without a frame.
        files: the files read.
        frame_of_reference: FrameOfReferenceUID, or None.
        series: SeriesInstanceUIDs that it says it was made of.
    """

    masks: dict[str, Callable[[], Volume]]
    empty: frozenset[str]
    files: list[Path]
    frame_of_reference: str | None
    series: frozenset[str]

    def reference_warnings(self, ct: Path | None, ct_series: str | None, root: Path | None) -> list[str]:
        """Warnings where the SEG was made of another series than the CT; none for a CT that is not DICOM.

        Args:
            ct: path of the CT.
            ct_series: its SeriesInstanceUID, where its folder has several.
            root: folder that links may lead into.

        Raises:
            MskdexError: another frame of reference, whose positions mean other places.
        """
        if ct is None or not (ct.is_dir() or file_kind(ct) == "dicom"):
            return []
        chosen = choose_series(list(headers(dicom_files(ct, root))), ct, ct_series, "ct_series", "CT")
        header = read_header(chosen[0][0], ["FrameOfReferenceUID", "SeriesInstanceUID", "SOPClassUID"])
        frame, series = header.get("FrameOfReferenceUID"), header.get("SeriesInstanceUID")
        if frame and self.frame_of_reference and str(frame) != self.frame_of_reference:
            msg = (
                f"{self.files[0]} lies in another frame of reference ({self.frame_of_reference}) than the CT "
                f"({frame}): its positions mean other places; give the segmentation of this very CT"
            )
            raise MskdexError(msg)
        if series and self.series and str(series) not in self.series:
            return ["the DICOM SEG says that it was made of another series than the CT's; check that it fits"]
        return []


def read_segmentation(path: Path, series_uid: str | None, root: Path | None, max_megavoxels: float) -> DicomSeg:
    """Opens a DICOM SEG.

    Args:
        path: the file, or a folder that holds it.
        series_uid: the series to take where a folder has several.
        root: folder that links may lead into.
        max_megavoxels: more than this many million voxels are refused before they are read.

    Raises:
        MskdexError: no segmentation, several, fractions, two segments of one name, or frames that make no regular
            volume.
    """
    file, header = _header(path, series_uid, root)
    _require_whole_labels(header, file)
    with reading(file):
        _require_plain_pixels(header, file)
    frames, rows, columns = (int(header.get(k) or 0) for k in ("NumberOfFrames", "Rows", "Columns"))
    require_size(file, (frames, rows, columns), 0, max_megavoxels)
    _require_all_frames(header, file)
    names = _names(header, file)
    with reading(file):
        masks = _masks(file, names, max_megavoxels)
        referenced = header.get("ReferencedSeriesSequence") or []
        return DicomSeg(
            masks=masks,
            empty=_without_frames(header, names),
            files=[file],
            frame_of_reference=str(header.get("FrameOfReferenceUID") or "") or None,
            series=frozenset(str(item.SeriesInstanceUID) for item in referenced if "SeriesInstanceUID" in item),
        )


def segment_names(path: Path, series_uid: str | None = None, root: Path | None = None) -> list[str]:
    """Names of a DICOM SEG's segments, sides that only a code says included, without its voxels.

    Args:
        path: the file, or a folder that holds it.
        series_uid: the series to take where a folder has several.
        root: folder that links may lead into.

    Raises:
        MskdexError: no segmentation, several, or two segments of one name.
    """
    file, header = _header(path, series_uid, root)
    return list(_names(header, file).values())


def _header(path: Path, series_uid: str | None, root: Path | None) -> tuple[Path, Dataset]:
    """The one segmentation that is meant, and its header."""
    chosen = choose_series(list(headers(dicom_files(path, root))), path, series_uid, "label_series", "SEG")
    if len(chosen) > 1:
        msg = f"{path} has {len(chosen)} segmentations in one series; name the one file in the sheet"
        raise MskdexError(msg)
    return chosen[0][0], read_header(chosen[0][0])


def _require_whole_labels(header: Dataset, file: Path) -> None:
    kind, form = str(header.get("SOPClassUID")), str(header.get("SegmentationType") or "")
    if kind not in {_BINARY, _LABELMAP}:
        msg = f"{file} is of SOP class {kind}, not a segmentation of voxels; export it as DICOM SEG or as NIfTI"
        raise MskdexError(msg)
    if header.get("ConcatenationUID") and (part := header.get("InConcatenationNumber")):
        msg = (
            f"{file} is part {part} of a segmentation that is kept in several files (ConcatenationUID), which are not "
            "joined; export it as one file"
        )
        raise MskdexError(msg)
    if form not in {"BINARY", "LABELMAP"}:
        fraction = str(header.get("SegmentationFractionalType") or "no fractional type")
        msg = (
            f"{file} has SegmentationType {form or 'blank'} ({fraction}): fractions or probabilities, not labels; "
            "export it as BINARY or LABELMAP"
        )
        raise MskdexError(msg)


def _require_plain_pixels(header: Dataset, file: Path) -> None:
    """Refuses values of the pixel module that no segmentation has; what they would mean is not defined."""
    allowed: dict[str, tuple[Any, ...]] = {
        "SamplesPerPixel": (1,),
        "PhotometricInterpretation": ("MONOCHROME2", "PALETTE COLOR"),
        "BitsAllocated": (1,) if str(header.SegmentationType) == "BINARY" else (8, 16),
        "BitsStored": (header.get("BitsAllocated"),),
        "PixelRepresentation": (0,),
    }
    for keyword, values in allowed.items():
        if header.get(keyword) not in values:
            detail = " or ".join(str(v) for v in values)
            msg = f"{file} has {keyword} {header.get(keyword)}, and a segmentation has {detail}; export it again"
            raise MskdexError(msg)
    if not header.get("FrameOfReferenceUID"):
        msg = f"{file} has no FrameOfReferenceUID, so its positions mean nothing; export it again"
        raise MskdexError(msg)


def _require_all_frames(header: Dataset, file: Path) -> None:
    """Refuses frames whose number differs from what describes them, or from the pixels of an uncompressed file."""
    with reading(file):
        frames, groups = (
            int(header.get("NumberOfFrames") or 0),
            len(header.get("PerFrameFunctionalGroupsSequence") or []),
        )
        if frames != groups:
            msg = f"{file} has {frames} frames and describes {groups}; export it again"
            raise MskdexError(msg)
        shared = next(iter(header.get("SharedFunctionalGroupsSequence") or []), Dataset())
        for number, group in enumerate(header.PerFrameFunctionalGroupsSequence or [], start=1):
            for name in ("PlanePositionSequence", "PlaneOrientationSequence", "PixelMeasuresSequence"):
                if not (group.get(name) or shared.get(name)):
                    msg = f"{file}: frame {number} has no {name}, so nothing says where it lies; export it again"
                    raise MskdexError(msg)


def _names(header: Dataset, file: Path) -> dict[int, str]:
    """Segment labels by number, the side added where only a code says it."""
    found: dict[int, str] = {}
    with reading(file):
        for item in header.get("SegmentSequence") or []:
            number = int(item.SegmentNumber)
            if number == 0:  # the background of a label map
                continue
            name = _name(item, number, file)
            if number in found:
                msg = f"{file} describes segment {number} twice, as {found[number]} and {name}; export it again"
                raise MskdexError(msg)
            if other := next((n for n, known in found.items() if known == name), None):
                msg = f"{file} has two segments named {name}, numbers {other} and {number}; give each its own name"
                raise MskdexError(msg)
            found[number] = name
    if not found:
        msg = f"{file} describes no segment; export it again"
        raise MskdexError(msg)
    return found


def _name(item: Dataset, number: int, file: Path) -> str:
    label = str(item.get("SegmentLabel") or "").strip() or f"segment {number}"
    side, coded = parse_name(label)[1], _coded_side(item)
    if side and coded and side != coded:
        msg = f"{file}: segment {number} is named {label}, but its code says {coded}; correct one of them"
        raise MskdexError(msg)
    return f"{label} {coded}" if coded and not side else label


def _coded_side(item: Dataset) -> str | None:
    """The side that the modifiers of the segmented property or the anatomic region say; None without, or with both."""
    modifiers = []
    for outer, inner in (
        ("SegmentedPropertyTypeCodeSequence", "SegmentedPropertyTypeModifierCodeSequence"),
        ("AnatomicRegionSequence", "AnatomicRegionModifierSequence"),
    ):
        for region in item.get(outer) or []:
            modifiers += list(region.get(inner) or [])
        modifiers += list(item.get(inner) or [])
    codes = [(str(m.get("CodingSchemeDesignator")), str(m.get("CodeValue"))) for m in modifiers]
    sides = {_SIDE_CODES[c] for c in codes if c in _SIDE_CODES}
    return sides.pop() if len(sides) == 1 else None


def _without_frames(header: Dataset, names: dict[int, str]) -> frozenset[str]:
    """Segments that no frame of a binary SEG refers to."""
    if str(header.SegmentationType) == "LABELMAP":
        return frozenset()
    groups = [
        *(header.get("PerFrameFunctionalGroupsSequence") or []),
        *(header.get("SharedFunctionalGroupsSequence") or []),
    ]
    used = {int(item.ReferencedSegmentNumber) for g in groups for item in g.get("SegmentIdentificationSequence") or []}
    if strange := used - set(names):
        msg = f"its frames refer to segment {min(strange)}, which it does not describe"
        raise ValueError(msg)
    return frozenset(name for number, name in names.items() if number not in used)


def _masks(file: Path, names: dict[int, str], max_megavoxels: float) -> dict[str, Callable[[], Volume]]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            with WithinFile(file) as handle:
                segmentation = highdicom.seg.segread(handle)
            geometry = segmentation.get_volume_geometry()
        except MemoryError:
            raise
        except Exception as error:
            raise _irregular(file, error) from error
    _require_all_pixels(segmentation, file)
    if geometry is None:
        msg = (
            f"{file}: its frames do not make a regular volume (positions are missing or uneven, or directions or pixel "
            "sizes differ); export it again"
        )
        raise MskdexError(msg)
    if np.prod([float(n) for n in geometry.spatial_shape]) > max_megavoxels * 1e6:
        detail = " x ".join(str(n) for n in geometry.spatial_shape)
        msg = f"{file}: its frames span {detail} voxels, more than ct.max_megavoxels; export it again"
        raise MskdexError(msg)
    labelmap = str(segmentation.SegmentationType) == "LABELMAP"
    whole = lru_cache(maxsize=1)(lambda: _volume(segmentation, file, combine_segments=True))

    def reader(number: int) -> Callable[[], Volume]:
        def read() -> Volume:
            if labelmap:
                found = whole()
                return Volume((found.array == number).astype(np.uint8), found.world_from_voxel)
            return _volume(segmentation, file, combine_segments=False, only=[number])

        return read

    return {name: reader(number) for number, name in names.items()}


def _require_all_pixels(segmentation: highdicom.seg.Segmentation, file: Path) -> None:
    """Refuses pixels that are not as many as frames, rows and columns say, where they are not compressed."""
    if segmentation.file_meta.TransferSyntaxUID.is_compressed:
        return
    count = int(segmentation.NumberOfFrames) * int(segmentation.Rows) * int(segmentation.Columns)
    expected = -(-count * int(segmentation.BitsAllocated) // 8)
    have = len(segmentation.PixelData)
    if have != expected + expected % 2:
        msg = f"{file} has {have} bytes of pixels instead of {expected}: its frames, rows or columns are wrong"
        raise MskdexError(msg)


def _volume(
    segmentation: highdicom.seg.Segmentation, file: Path, *, combine_segments: bool, only: list[int] | None = None
) -> Volume:
    """highdicom's affine takes (slice, row, column) to LPS; the project's takes (column, row, slice) to RAS."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            found = segmentation.get_volume(combine_segments=combine_segments, segment_numbers=only)
        except MemoryError:
            raise
        except Exception as error:
            raise _irregular(file, error) from error
    affine = (_RAS_FROM_LPS @ found.affine)[:, [2, 1, 0, 3]]
    array = found.array.reshape(found.array.shape[:3])
    affine, _ = require_orthogonal(affine, array.shape, file)
    return Volume(array if combine_segments else (array > 0).astype(np.uint8), affine)


def _irregular(path: Path, error: Exception) -> MskdexError:
    return MskdexError(f"{path}: its frames cannot be read as a regular volume ({quote(error)}); export it again")
