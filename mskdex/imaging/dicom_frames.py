"""The images of a CT series, one an entry: a file each, or the frames of enhanced (multi-frame) files."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from pydicom.dataset import Dataset

from mskdex.errors import MskdexError
from mskdex.io.dicom import GEOMETRY_TAGS, has_value, integer, read_header, text
from mskdex.io.files import reading, require_size

_GROUPS = {
    "PixelMeasuresSequence": ("PixelSpacing", "SliceThickness", "SpacingBetweenSlices"),
    "PlanePositionSequence": ("ImagePositionPatient",),
    "PlaneOrientationSequence": ("ImageOrientationPatient",),
    "PixelValueTransformationSequence": ("RescaleSlope", "RescaleIntercept", "RescaleType"),
    "FrameContentSequence": ("FrameAcquisitionNumber", "FrameAcquisitionDateTime", "StackID", "TemporalPositionIndex"),
    "CTImageFrameTypeSequence": ("FrameType",),
    "CTReconstructionSequence": ("ConvolutionKernel",),
    "CTXRayDetailsSequence": ("KVP",),
    "CTAcquisitionDetailsSequence": ("GantryDetectorTilt",),
}
"""Functional groups of an enhanced CT and what of each is used.

Source: DICOM PS3.3, C.7.6.16 and C.8.15.3.
"""

_AS_CLASSIC = {
    "FrameAcquisitionNumber": "AcquisitionNumber",
    "FrameAcquisitionDateTime": "AcquisitionTime",
    "FrameType": "ImageType",
    "TemporalPositionIndex": "TemporalPositionIdentifier",
}


@dataclass(frozen=True)
class Frame:
    """One image.

    Attributes:
        path: its file.
        index: its place within the file, from 0; None of a file that holds one.
        header: its tags as those of a classic CT image.
    """

    path: Path
    index: int | None
    header: Dataset

    @property
    def name(self) -> str:
        """For messages."""
        return self.path.name if self.index is None else f"frame {self.index + 1} of {self.path.name}"


def frames(files: Sequence[tuple[Path, Dataset]], max_megavoxels: float) -> list[Frame]:
    """The images of a series' files.

    Args:
        files: paths and headers.
        max_megavoxels: a file that claims more million voxels is refused.

    Raises:
        MskdexError: a file of several frames that do not say where they lie, or that claims more than allowed; a part
            of a concatenation that is missing.
    """
    found: list[Frame] = []
    parts: dict[str, dict[int, int]] = {}
    for path, header in files:
        if integer(header, "NumberOfFrames", 1) == 1 and "ImagePositionPatient" in header:
            found.append(Frame(path, None, header))
        else:
            with reading(path):
                header = read_header(path)
                found += _of_one_file(path, header, max_megavoxels)
                if has_value(header, "ConcatenationUID") and (part := integer(header, "InConcatenationNumber")):
                    own = parts.setdefault(text(header, "ConcatenationUID"), {})
                    own[part] = integer(header, "InConcatenationTotalNumber")
    for own in parts.values():
        _require_all_parts(own, files[0][0].parent)
    return found


def _require_all_parts(parts: dict[int, int], where: Path) -> None:
    """Refuses a multi-frame image that is kept in several files, a concatenation, of which some are missing.

    Source: DICOM PS3.3, C.7.6.16.2.2.4.

    Args:
        parts: by number of the part, how many there are, 0 where the file does not say.
        where: the folder, for messages.
    """
    count = max(max(parts), *parts.values())
    if missing := sorted(set(range(1, min(count, 10_000) + 1)) - set(parts)):
        msg = (
            f"{where} has {len(parts)} of the {count} files of one multi-frame image (InConcatenationNumber "
            f"{', '.join(map(str, missing[:8]))} is missing); copy or export the series again"
        )
        raise MskdexError(msg)


def _of_one_file(path: Path, header: Dataset, max_megavoxels: float) -> Iterator[Frame]:
    count = integer(header, "NumberOfFrames", 1)
    require_size(path, (count, integer(header, "Rows"), integer(header, "Columns")), 0, max_megavoxels)
    groups = header.get("PerFrameFunctionalGroupsSequence")
    if groups is None and count == 1:
        yield Frame(path, None, header)  # whatever it lacks is named where it is used
        return
    if not groups:
        msg = (
            f"{path} holds {count} frames without positions (no PerFrameFunctionalGroupsSequence), so nothing says "
            "where they lie; export the series as single images or as enhanced CT"
        )
        raise MskdexError(msg)
    if len(groups) != count:
        msg = f"{path} says that it has {count} frames, but describes {len(groups)}; export it again"
        raise MskdexError(msg)
    shared = header.get("SharedFunctionalGroupsSequence") or [Dataset()]
    for index, group in enumerate(groups):
        yield Frame(path, index, _flat(header, shared[0], group))


def _flat(header: Dataset, shared: Dataset, group: Dataset) -> Dataset:
    """The tags of one frame: the file's, those of all frames, then its own."""
    flat = Dataset()
    for tag in GEOMETRY_TAGS:
        if tag in header and tag != "NumberOfFrames":
            flat[tag] = header[tag]
    for source in (shared, group):
        for sequence, tags in _GROUPS.items():
            for item in source.get(sequence) or []:
                for tag in tags:
                    if tag in item:
                        setattr(flat, _AS_CLASSIC.get(tag, tag), item[tag].value)
        for sequence in ("RealWorldValueMappingSequence",):
            if sequence in source:
                flat[sequence] = source[sequence]
    return flat
