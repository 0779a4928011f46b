"""Reading NIfTI, NRRD and MetaImage files that others wrote, with plain errors."""

import gzip
import struct
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from mskdex.errors import MskdexError
from mskdex.imaging.files import detached_data, require_kind, require_size
from mskdex.imaging.grid import require_orthogonal
from mskdex.imaging.volume import Volume, volume_from_sitk

FORMATS = ("nifti", "nrrd", "metaimage")
_IO = {"nifti": "NiftiImageIO", "nrrd": "NrrdImageIO", "metaimage": "MetaImageIO"}


def read_volume_file(path: Path, what: str, max_megavoxels: float, *, layers: bool = False) -> tuple[Volume, dict]:
    """Reads a NIfTI, NRRD or MetaImage volume in its own voxel order.

    Args:
        path: the file.
        what: for messages, "the CT" or "labels".
        max_megavoxels: more than this many million voxels are refused before they are read.
        layers: whether several values per voxel are allowed (overlapping segments of a `.seg.nrrd`).

    Returns:
        The volume, its array (z, y, x) or with layers (z, y, x, layer), and facts: format and header entries.

    Raises:
        MskdexError: not such a file, damaged, not three-dimensional, or without a usable grid.
    """
    path = Path(path)
    kind = require_kind(path, FORMATS, what)
    if kind == "nifti":
        _check_nifti(path)
    data = detached_data(path, kind) if kind != "nifti" else []
    reader = sitk.ImageFileReader()
    reader.SetImageIO(_IO[kind])
    reader.SetFileName(str(path))
    try:
        reader.ReadImageInformation()
    except RuntimeError as error:
        raise _damaged(path, error) from error
    shape = _shape(path, reader, layers)
    bytes_per_voxel = _bytes_per_voxel(reader.GetPixelID())
    require_size(data[0] if data else path, shape, bytes_per_voxel * reader.GetNumberOfComponents(), max_megavoxels)
    header = {key: reader.GetMetaData(key) for key in reader.GetMetaDataKeys()}
    try:
        image = reader.Execute()
    except RuntimeError as error:
        raise _damaged(path, error) from error
    if image.GetDimension() == 4:
        image = image[:, :, :, 0]
    volume = volume_from_sitk(image)
    require_orthogonal(volume.world_from_voxel, str(path))
    return volume, {"format": kind, "header": header, "files": [path, *data]}


def _shape(path: Path, reader: sitk.ImageFileReader, layers: bool) -> tuple[int, ...]:
    size = reader.GetSize()
    told = " x ".join(str(n) for n in size)
    if len(size) > 3 and any(n > 1 for n in size[3:]):
        msg = f"{path} has {len(size)} dimensions ({told}); extract the one volume that is meant"
        raise MskdexError(msg)
    if len(size) < 3 or min(size[:3]) < 2:
        msg = f"{path} is a single slice ({told}); a whole volume is needed"
        raise MskdexError(msg)
    if reader.GetNumberOfComponents() > 1 and not layers:
        msg = f"{path} has {reader.GetNumberOfComponents()} values per voxel (colour?); export it with one"
        raise MskdexError(msg)
    if min(reader.GetSpacing()[:3]) <= 0:
        msg = f"{path}: its voxel size is {reader.GetSpacing()[:3]} mm; export it again"
        raise MskdexError(msg)
    return tuple(size)


def _check_nifti(path: Path) -> None:
    """ITK replaces a zero voxel size by 1 mm, reads past a short file and guesses an unknown orientation."""
    opener = gzip.open if _is_gzip(path) else open
    with opener(path, "rb") as handle:
        start = handle.read(544)
    order = "<" if struct.unpack("<i", start[:4])[0] in (348, 540) else ">"
    if struct.unpack(order + "i", start[:4])[0] == 540:
        spacing = struct.unpack(order + "3d", start[112:136])
        codes = struct.unpack(order + "2i", start[344:352])
        dims, bits = struct.unpack(order + "8q", start[16:80]), struct.unpack(order + "h", start[14:16])[0]
        offset = struct.unpack(order + "q", start[168:176])[0]
    else:
        spacing = struct.unpack(order + "3f", start[80:92])
        codes = struct.unpack(order + "2h", start[252:256])
        dims, bits = struct.unpack(order + "8h", start[40:56]), struct.unpack(order + "h", start[72:74])[0]
        offset = int(struct.unpack(order + "f", start[108:112])[0])
    if not all(np.isfinite(s) and abs(s) > 1e-6 for s in spacing) and codes[1] <= 0:
        msg = f"{path}: its voxel size is {spacing} mm; export it again"
        raise MskdexError(msg)
    if max(codes) <= 0:
        msg = (
            f"{path} does not say how it lies in the patient (qform and sform codes are 0), so left and right are "
            f"unknown; export it again with its orientation"
        )
        raise MskdexError(msg)
    if opener is open:
        needed = offset + bits // 8 * int(np.prod([max(d, 1) for d in dims[1 : 1 + max(0, dims[0])]], dtype=object))
        if path.stat().st_size < needed:
            msg = f"{path} is cut short: {path.stat().st_size} bytes of {needed}; copy it again"
            raise MskdexError(msg)


def _is_gzip(path: Path) -> bool:
    with open(path, "rb") as handle:
        return handle.read(2) == b"\x1f\x8b"


def _bytes_per_voxel(pixel_id: int) -> int:
    if pixel_id in (sitk.sitkInt8, sitk.sitkUInt8, sitk.sitkVectorUInt8, sitk.sitkVectorInt8):
        return 1
    if pixel_id in (sitk.sitkInt16, sitk.sitkUInt16, sitk.sitkVectorUInt16, sitk.sitkVectorInt16):
        return 2
    return 4


def _damaged(path: Path, error: Exception) -> MskdexError:
    text = str(error)
    if "orthonormal" in text:
        msg = f"{path}: its axes are not at right angles (gantry tilt?); correct the tilt first, or export it again"
        return MskdexError(msg)
    reason = text.strip().splitlines()[-1].split("): ", 1)[-1].strip()
    return MskdexError(f"{path} cannot be read, it is damaged or incomplete ({reason}); copy or export it again")
