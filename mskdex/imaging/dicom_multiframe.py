"""DICOM segmentations, which hold a volume a segment in one file, through highdicom."""

import warnings
from pathlib import Path

import highdicom
import numpy as np

from mskdex.errors import MskdexError
from mskdex.imaging.dicom import dicom_files, headers, read_header
from mskdex.imaging.dicom_series import choose_series
from mskdex.imaging.files import require_size
from mskdex.imaging.tilt import require_orthogonal
from mskdex.imaging.volume import Volume

_RAS_FROM_LPS = np.diag([-1.0, -1.0, 1.0, 1.0])


def read_segmentation(
    path: Path, series_uid: str | None, root: Path | None, max_megavoxels: float
) -> tuple[dict[str, Volume], list[Path]]:
    """Reads a DICOM SEG, segment by segment.

    Args:
        path: the file, or a folder that holds it.
        series_uid: the series to take where a folder has several.
        root: folder that links may lead into.
        max_megavoxels: more than this many million voxels are refused before they are read.

    Returns:
        Masks (uint8) by segment label, and the files read.

    Raises:
        MskdexError: no segmentation, several, two segments of one name, or frames that make no regular volume.
    """
    chosen = choose_series(list(headers(dicom_files(path, root))), path, series_uid, "label_series", "SEG")
    if len(chosen) > 1:
        msg = f"{path} has {len(chosen)} segmentations in one series; name the one file in the sheet"
        raise MskdexError(msg)
    file = chosen[0][0]
    header = read_header(file)
    frames, rows, columns = (int(header.get(k) or 0) for k in ("NumberOfFrames", "Rows", "Columns"))
    require_size(file, (frames, rows, columns), 0, max_megavoxels)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            segmentation = highdicom.seg.segread(file)
            masks = {
                n: segmentation.get_volume(segment_numbers=[n], combine_segments=False)
                for n in segmentation.segment_numbers
            }
            names = {n: str(segmentation.get_segment_description(n).segment_label).strip() for n in masks}
        except Exception as error:
            raise _irregular(file, error) from error
    if twice := {n for n in names.values() if list(names.values()).count(n) > 1}:
        msg = f"{file} has several segments named {', '.join(sorted(twice))}; give each its own name"
        raise MskdexError(msg)
    return {names[n]: _volume(mask, file, binary=True) for n, mask in masks.items()}, [file]


def _volume(found: highdicom.Volume, path: Path, *, binary: bool = False) -> Volume:
    """highdicom's affine takes (slice, row, column) to LPS; the project's takes (column, row, slice) to RAS."""
    array = found.array
    if binary:
        array = (array.reshape(array.shape[:3]) > 0).astype(np.uint8)
    affine = (_RAS_FROM_LPS @ found.affine)[:, [2, 1, 0, 3]]
    affine, _ = require_orthogonal(affine, array.shape[:3], path)
    return Volume(array, affine)


def _irregular(path: Path, error: Exception) -> MskdexError:
    reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
    return MskdexError(f"{path}: its frames do not make a regular volume ({reason}); export it again")
