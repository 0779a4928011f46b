"""The DICOM series that is meant, of all that a folder holds."""

from collections import defaultdict
from pathlib import Path

from pydicom.dataset import Dataset

from mskdex.errors import MskdexError
from mskdex.io.dicom import integer, text
from mskdex.io.files import quote


def choose_series(
    headers: list[tuple[Path, Dataset]], where: Path, series_uid: str | None, column: str, modality: str
) -> list[tuple[Path, Dataset]]:
    """The files of the one series that is meant.

    Args:
        headers: headers of all DICOM files of a folder.
        where: the folder, for messages.
        series_uid: the SeriesInstanceUID that the sheet names, or None.
        column: the sheet's column that names it.
        modality: of the series, CT or SEG.

    Raises:
        MskdexError: no such series, or several and none is named.
    """
    groups: dict[str, list[tuple[Path, Dataset]]] = defaultdict(list)
    for path, header in headers:
        if text(header, "Modality").strip().upper() == modality and not _localizer(header):
            groups[str(header.get("SeriesInstanceUID", "without a UID"))].append((path, header))
    if series_uid:
        if series_uid not in groups:
            msg = f"{where} has no {modality} series {series_uid}; it has {_list(groups, headers)}. Correct {column}"
            raise MskdexError(msg)
        return groups[series_uid]
    many = {uid: files for uid, files in groups.items() if modality != "CT" or _frames(files) > 1} or groups
    if not many:
        msg = f"{where} has no {modality} series; it has {_list(groups, headers)}"
        raise MskdexError(msg)
    if len(many) > 1:
        listed = _list(many, headers)
        msg = f"{where} has {len(many)} {modality} series: {listed}. Name one in the sheet's column {column}"
        raise MskdexError(msg)
    return next(iter(many.values()))


def _localizer(header: Dataset) -> bool:
    return "LOCALIZER" in text(header, "ImageType").upper().split("\\")


def _frames(files: list[tuple[Path, Dataset]]) -> int:
    return sum(integer(h, "NumberOfFrames", 1) for _, h in files)


def _list(groups: dict[str, list[tuple[Path, Dataset]]], headers: list[tuple[Path, Dataset]]) -> str:
    if not groups:
        kinds = sorted({str(h.get("Modality", "unknown")) for _, h in headers})
        return f"files of modality {quote(', '.join(kinds))}"
    return "; ".join(f"{uid} ({_frames(files)} slices)" for uid, files in sorted(groups.items())[:10])
