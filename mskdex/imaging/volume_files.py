"""Reading NIfTI, NRRD and MetaImage files that others wrote, with plain errors."""

from pathlib import Path

import SimpleITK as sitk

from mskdex.errors import MskdexError
from mskdex.imaging.files import detached_data, require_kind, require_size
from mskdex.imaging.grid import require_orthogonal
from mskdex.imaging.nifti_header import check_nifti, check_nifti_voxels
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
        The volume, its array (z, y, x) or with layers (z, y, x, layer), and facts: format, header entries, files and
        the image that the array is a view of, to be kept as long as the array is used.

    Raises:
        MskdexError: not such a file, damaged, not three-dimensional, or without a usable grid.
    """
    path = Path(path)
    kind = require_kind(path, FORMATS, what)
    if kind == "nifti":
        check_nifti(path)
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
    if kind == "nifti":
        check_nifti_voxels(path)
    header = {key: reader.GetMetaData(key) for key in reader.GetMetaDataKeys()}
    try:
        image = reader.Execute()
    except RuntimeError as error:
        raise _damaged(path, error) from error
    if image.GetDimension() == 4:
        image = image[:, :, :, 0]
    volume = volume_from_sitk(image, copy=False)
    require_orthogonal(volume.world_from_voxel, str(path))
    return volume, {"format": kind, "header": header, "files": [path, *data], "image": image}


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
