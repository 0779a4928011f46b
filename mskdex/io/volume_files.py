"""Reading NIfTI, NRRD and MetaImage files that others wrote: the named file, by its content, to its checksum.

A user's file is read only; `mskdex.io.nifti` reads the project's own.
"""

from pathlib import Path

import numpy as np

from mskdex.errors import MskdexError
from mskdex.io.files import reading, require_kind, require_size
from mskdex.io.metaimage import read_metaimage_header
from mskdex.io.nifti_header import read_nifti_header
from mskdex.io.nrrd import read_nrrd_header
from mskdex.io.streams import Codec, read_array, zipped
from mskdex.io.tilt import require_orthogonal
from mskdex.io.volume import Volume

FORMATS = ("nifti", "nrrd", "metaimage")
VOXEL_MM = (0.1, 10.0)
"""No CT of a patient has smaller or larger voxels."""


def read_volume_file(
    path: Path, what: str, max_megavoxels: float, *, layers: bool = False, tilted: bool = False
) -> tuple[Volume, dict]:
    """Reads a NIfTI, NRRD or MetaImage volume in its own voxel order.

    Args:
        path: the file.
        what: for messages, "the CT" or "labels".
        max_megavoxels: more than this many million voxels are refused before they are read.
        layers: whether several values per voxel are allowed (overlapping segments of a `.seg.nrrd`).
        tilted: whether a grid that is sheared as by a tilted gantry is allowed; see `mskdex.io.tilt`.

    Returns:
        The volume, its array (z, y, x) or with layers (z, y, x, layer), slope and intercept applied, and facts: format,
        header (free entries of an NRRD), files, warnings.

    Raises:
        MskdexError: not such a file, damaged, not three-dimensional, or without a usable grid.
    """
    path = Path(path)
    with reading(path):
        kind = require_kind(path, FORMATS, what)
        if kind == "nifti":
            return _read_nifti(path, max_megavoxels, layers, tilted)
        return _read_voxels(path, kind, what, max_megavoxels, layers, tilted)


def read_plane_file(path: Path, kind: str, max_megapixels: float) -> tuple[np.ndarray, list[Path]]:
    """Reads the values of a picture in one of `FORMATS`, by its content, to its checksum.

    Args:
        path: the file.
        kind: its format.
        max_megapixels: more than this many million pixels are refused before they are read.

    Returns:
        (rows, columns), slope and intercept applied; and the files that were read.

    Raises:
        MskdexError: not such a file, damaged, or not two-dimensional.
    """
    with reading(path):
        if kind == "nifti":
            nifti = read_nifti_header(path, placed=False)
            codec: Codec = "gzip" if zipped(path) else "raw"
            data, size, components, dtype, start, skip = (
                path,
                nifti.size,
                nifti.components,
                nifti.dtype,
                0,
                nifti.offset,
            )
        else:
            header = read_nrrd_header(path) if kind == "nrrd" else read_metaimage_header(path, "a radiograph")
            data, size, components, dtype = header.data, header.size, header.components, header.dtype
            codec, start, skip = header.codec, header.start, header.skip
        require_size(data, size, dtype.itemsize * components, max_megapixels)
        if len([n for n in size if n > 1]) != 2 or components != 1:
            detail = " x ".join(map(str, size))
            msg = f"{path} is no two-dimensional grey image ({detail}, {components} values per pixel)"
            raise MskdexError(msg)
        if start < 0:
            msg = f"{data} is cut short; copy or export it again"
            raise MskdexError(msg)
        stored = read_array(data, size[::-1], dtype, codec=codec, start=start, skip=skip).squeeze()
        files = [path] if data == path else [path, data]
        return (_scaled(stored, nifti.slope, nifti.intercept) if kind == "nifti" else stored), files


def _read_nifti(path: Path, max_megavoxels: float, layers: bool, tilted: bool) -> tuple[Volume, dict]:
    header = read_nifti_header(path)
    _require_volume(path, header.size, header.components, layers=layers and header.components == 1)
    require_size(path, header.shape, header.dtype.itemsize, max_megavoxels)
    affine, notes = _grid(path, header.world_from_voxel, header.shape[::-1], tilted)
    codec: Codec = "gzip" if zipped(path) else "raw"
    stored = read_array(path, header.shape[::-1], header.dtype, codec=codec, start=0, skip=header.offset)
    array = _scaled(stored, header.slope, header.intercept)
    return Volume(array, affine), {
        "format": "nifti",
        "header": {},
        "files": [path],
        "warnings": [*header.warnings, *notes],
    }


def _read_voxels(
    path: Path, kind: str, what: str, max_megavoxels: float, layers: bool, tilted: bool
) -> tuple[Volume, dict]:
    header = read_nrrd_header(path) if kind == "nrrd" else read_metaimage_header(path, what)
    _require_volume(path, header.size, header.components, layers=layers)
    bytes_per_voxel = header.dtype.itemsize * header.components
    require_size(header.data, header.size, bytes_per_voxel, max_megavoxels)
    shape = header.size[::-1] if header.components == 1 else (*header.size[::-1], header.components)
    if header.world_from_voxel is None:
        msg = f"{path} does not say how its axes lie in space; export it again"
        raise MskdexError(msg)
    affine, notes = _grid(path, header.world_from_voxel, shape[:3], tilted)
    if header.start < 0:
        msg = f"{header.data} is cut short; copy or export it again"
        raise MskdexError(msg)
    array = read_array(header.data, shape, header.dtype, codec=header.codec, start=header.start, skip=header.skip)
    files = [path] if header.data == path else [path, header.data]
    return Volume(array, affine), {
        "format": kind,
        "header": header.fields,
        "files": files,
        "warnings": [*header.warnings, *notes],
    }


def _require_volume(path: Path, size: tuple[int, ...], components: int, *, layers: bool) -> None:
    detail = " x ".join(str(n) for n in size)
    if len(size) > 3 and any(n > 1 for n in size[3:]):
        msg = f"{path} has {len(size)} dimensions ({detail}); extract the one volume that is meant"
        raise MskdexError(msg)
    if len(size) < 3 or min(size[:3]) == 1:
        msg = f"{path} is a single slice ({detail}); a whole volume is needed"
        raise MskdexError(msg)
    if len(size) > 3 and size[3:] != (1,) * len(size[3:]):
        msg = f"{path}: its header claims {detail} voxels; export it again"
        raise MskdexError(msg)
    if components < 1 or (components > 1 and not layers):
        msg = f"{path} has {components} values per voxel (colour?); export it with one"
        raise MskdexError(msg)


def _grid(path: Path, affine: np.ndarray, shape: tuple[int, ...], tilted: bool) -> tuple[np.ndarray, list[str]]:
    affine, warnings = require_orthogonal(affine, shape, path, tilted=tilted)
    require_voxel_size(Volume(np.empty(0), affine).spacing_mm, path)
    return affine, warnings


def require_voxel_size(spacing_mm: tuple[float, ...], path: Path) -> None:
    """Refuses a voxel size that no CT of a patient has.

    Raises:
        MskdexError: a size outside `VOXEL_MM`.
    """
    if not all(VOXEL_MM[0] <= s <= VOXEL_MM[1] for s in spacing_mm):
        msg = (
            f"{path}: its voxels are {' x '.join(f'{s:.4g}' for s in spacing_mm)} mm; {VOXEL_MM[0]} to "
            f"{VOXEL_MM[1]:g} mm are possible (is it in another unit?); export it again"
        )
        raise MskdexError(msg)


def _scaled(stored: np.ndarray, slope: float, intercept: float) -> np.ndarray:
    """Slope and intercept applied plane by plane, so that no copy in double precision is held."""
    if slope == 1 and intercept == 0:
        return stored
    whole = stored.dtype.kind in "iu" and stored.dtype.itemsize <= 2
    if whole and slope == 1 and intercept == int(intercept) and abs(intercept) < 1 << 30:
        return stored.astype(np.int32) + np.int32(intercept)
    out = np.empty(stored.shape, np.float32 if whole else np.float64)
    for k, plane in enumerate(stored):
        out[k] = plane * np.float64(slope) + intercept
    return out
