"""Whether the images of a series are one stack of slices of one kind, or several that share the series."""

from collections import Counter, defaultdict
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np

from mskdex.errors import MskdexError
from mskdex.imaging.dicom_frames import Frame
from mskdex.io.dicom import text
from mskdex.io.files import quote

_TELLS_APART = {
    "AcquisitionNumber": "acquisition number",
    "TemporalPositionIdentifier": "time point",
    "StackID": "stack",
    "NominalPercentageOfCardiacPhase": "cardiac phase",
    "TriggerTime": "trigger time",
    "ConvolutionKernel": "kernel",
    "KVP": "kV",
    "FilterType": "filter",
    "ContrastBolusAgent": "contrast agent",
    "ImageType": "image type",
    "SliceThickness": "slice thickness",
    "AcquisitionTime": "acquisition time",
    "ContentTime": "content time",
    "FrameOfReferenceUID": "frame of reference",
    "StudyInstanceUID": "study",
}
"""Tags by which two stacks of one series differ, the plainest first."""

_ONE_A_SERIES = ("ImageType", "ConvolutionKernel", "KVP", "StackID")
"""Tags that no two slices of one volume differ in, wherever they lie."""

_ONE_A_SCAN = ("StudyInstanceUID", "FrameOfReferenceUID")
"""Tags that anonymisers sometimes write anew for each slice."""

_PASSES = ("AcquisitionNumber", "TemporalPositionIdentifier", "NominalPercentageOfCardiacPhase")
"""Tags that change from one part of a scan to the next, but not to and fro."""

_CHOOSE = "put the files of the one that is meant into a folder of their own and name that as ct"


def require_one_kind(frames: Sequence[Frame], where: Path) -> list[str]:
    """Refuses slices of different patients or kinds in one series: kernel, kV, image type.

    Returns:
        What a reader should know: slices of two studies or frames of reference.

    Raises:
        MskdexError: names the values and how many slices have each.
    """
    people = list(_groups(frames, "PatientID").values())
    if len(people) > 1:
        one, other = (frames[group[0]].path.name for group in people[:2])
        msg = f"{where} holds slices of {len(people)} PatientIDs in one series, e.g. {one} and {other}; {_CHOOSE}"
        raise MskdexError(msg)
    for tag in _ONE_A_SERIES:
        groups = {value: members for value, members in _groups(frames, tag).items() if value}
        if len(groups) > 1:
            msg = f"{where} holds {_groups_text(groups, tag, frames)} in one series; {_CHOOSE}"
            raise MskdexError(msg)
    return [
        f"slices have {len(groups)} values of {tag}: their positions may not belong together; look at the CT"
        for tag in _ONE_A_SCAN
        if len(groups := _groups(frames, tag)) > 1
    ]


def require_apart(frames: Sequence[Frame], along: np.ndarray, where: Path) -> None:
    """Refuses two slices at one position, and says what tells them apart.

    Args:
        frames: in order.
        along: their positions along the normal in mm.
        where: the folder, for messages.

    Raises:
        MskdexError: names both acquisitions, or the copies of one image.
    """
    same = np.flatnonzero(np.diff(along) < 0.01)
    if same.size == 0:
        return
    ids = Counter((text(f.header, "SOPInstanceUID"), f.index) for f in frames)
    copies = [k for k, n in ids.items() if n > 1 and k[0]]
    if copies:
        one, other = [f.path.name for f in frames if (text(f.header, "SOPInstanceUID"), f.index) == copies[0]][:2]
        msg = (
            f"{where} holds {len(copies)} images twice, under the same SOPInstanceUID (e.g. {one} and {other}); keep "
            "one copy of the series in the folder"
        )
        raise MskdexError(msg)
    if np.ptp(along) < 0.01:
        msg = (
            f"{where}: all its {len(frames)} slices lie at one position, {along[0]:.4g} mm along their normal: their "
            "ImagePositionPatient was overwritten, or it is one slice taken many times; export the series again"
        )
        raise MskdexError(msg)
    positions = ", ".join(f"{v:.4g}" for v in along[same][:6]) + (", ..." if same.size > 6 else "")
    start = f"{where} has {same.size + 1} or more slices at one position, at {positions} mm"
    for tag in _TELLS_APART:
        groups = _groups(frames, tag)
        if 1 < len(groups) < len(frames) and _each_apart(groups, frames, along):
            msg = f"{start}: the series holds {_groups_text(groups, tag, frames)}; {_CHOOSE}"
            raise MskdexError(msg)
    one, other = frames[same[0]], frames[same[0] + 1]
    files = len({f.path for f in frames})
    differ = [
        f"{name} {_tag_text(one, tag)} and {_tag_text(other, tag)}"
        for tag, name in _TELLS_APART.items()
        if text(one.header, tag) != text(other.header, tag)
    ]
    apart = f"{', '.join(differ)}, of {one.name} and {other.name}" if differ else f"e.g. {one.name} and {other.name}"
    split = f"; the series is split over {files} multi-frame files" if one.index is not None and files > 1 else ""
    start += f", and no tag groups them ({apart}){split}"
    msg = f"{start}: two scans or reconstructions may share the series; {_CHOOSE}"
    raise MskdexError(msg)


def require_one_acquisition(frames: Sequence[Frame], where: Path) -> None:
    """Refuses acquisitions whose slices lie between each other's: two scans, not the parts of one.

    Args:
        frames: in order along the normal.
        where: the folder, for messages.

    Raises:
        MskdexError: names both.
    """
    for tag in _PASSES:
        values = [text(f.header, tag) for f in frames]
        changes = sum(a != b for a, b in pairwise(values))
        groups = _groups(frames, tag)
        if changes >= len(groups):
            msg = f"{where}: slices of {_groups_text(groups, tag, frames)} lie between each other; {_CHOOSE}"
            raise MskdexError(msg)


def _tag_text(frame: Frame, tag: str) -> str:
    return quote(text(frame.header, tag) or "blank", 40)


def _groups(frames: Sequence[Frame], tag: str) -> dict[str, list[int]]:
    found: dict[str, list[int]] = defaultdict(list)
    for k, frame in enumerate(frames):
        found[text(frame.header, tag)].append(k)
    return dict(found)


def _each_apart(groups: dict[str, list[int]], frames: Sequence[Frame], along: np.ndarray) -> bool:
    return all((np.diff(np.sort(along[members])) >= 0.01).all() for members in groups.values()) and bool(frames)


def _groups_text(groups: dict[str, list[int]], tag: str, frames: Sequence[Frame]) -> str:
    """The groups in words, each with what else tells it from the others."""
    others = [t for t in _TELLS_APART if t != tag and not t.endswith("UID") and len(_groups(frames, t)) > 1]
    notes = []
    for value, members in sorted(groups.items())[:4]:
        more = [
            f"{_TELLS_APART[t]} {quote(values.pop() or 'blank', 40)}"
            for t in others
            if len(values := {text(frames[k].header, t) for k in members}) == 1
        ]
        example = frames[members[0]].name
        about = ", ".join([f"{len(members)} slices", *more, f"e.g. {example}"])
        notes.append(f"{_TELLS_APART[tag]} {quote(value or 'blank', 40)} ({about})")
    rest = f" and {len(groups) - 4} more" if len(groups) > 4 else ""
    return f"{len(groups)} stacks: " + " and ".join(notes) + rest
