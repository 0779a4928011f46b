"""Names of the segments of a DICOM SEG, read without its frames."""

import warnings
from pathlib import Path

from pydicom.dataset import Dataset
from pydicom.filereader import read_partial

from mskdex.errors import MskdexError
from mskdex.imaging.files import file_kind

_SEGMENT_SEQUENCE = 0x00620002
_SEGMENTATION = "SEG"


def segment_labels(path: Path, series_uid: str | None = None) -> list[str]:
    """Labels of all segments.

    Args:
        path: the file, or a folder that holds it.
        series_uid: the series to take where a folder has several.

    Raises:
        MskdexError: a file that is not DICOM, or cut off before its segments.
    """
    files = [path] if path.is_file() else sorted(p for p in path.rglob("*") if _is_dicom(p))
    found: list[str] = []
    for file in files:
        header = _read(file)
        if header.get("Modality") == _SEGMENTATION and series_uid in (None, header.get("SeriesInstanceUID")):
            found += [str(s.get("SegmentLabel", "")).strip() for s in header.get("SegmentSequence") or ()]
    return found


def _is_dicom(path: Path) -> bool:
    return not path.name.startswith(".") and path.is_file() and path.stat().st_size > 0 and file_kind(path) == "dicom"


def _read(path: Path) -> Dataset:
    def behind(tag: int, *_: object) -> bool:
        return tag > _SEGMENT_SEQUENCE

    try:
        with open(path, "rb") as handle, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            header = read_partial(handle, stop_when=behind, force=True)
            _ = header.get("Modality"), header.get("SegmentSequence")
            return header
    except Exception as error:  # pydicom raises whatever a damaged element leads to
        msg = f"{path} cannot be read as DICOM ({error}); copy or export it again"
        raise MskdexError(msg) from error
