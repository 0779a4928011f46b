"""The project's own NIfTI files: written whole, and checked to the last byte when read.

ITK is not asked: it compresses at its slowest level, says nothing when a disk is full, and reads a file that has been
cut short as zeros.
"""

import gzip
import struct
import zlib
from pathlib import Path

import numpy as np

from mskdex.artifacts import atomic_path, damaged

_CODES = {"u1": 2, "i2": 4, "f4": 16}
_DTYPES = {code: np.dtype(f"<{name}") for name, code in _CODES.items()}
_HEADER = 352


def write_nifti(path: Path, array: np.ndarray, world_from_voxel: np.ndarray) -> None:
    """Writes an image as compressed NIfTI-1, under a temporary name first. The same image gives the same bytes.

    Run-length deflate takes half the time of the ordinary one for a tenth more bytes.

    Args:
        path: .nii.gz.
        array: int16, uint8 or float32, (z, y, x) or (y, x).
        world_from_voxel: 4×4, voxel index (i, j, k, 1), i along x, to RAS millimetres.
    """
    deflate = zlib.compressobj(1, zlib.DEFLATED, 31, 9, zlib.Z_RLE)
    with atomic_path(path) as temporary, open(temporary, "wb") as handle:
        handle.write(deflate.compress(_header(array, world_from_voxel)))
        for plane in array:
            handle.write(deflate.compress(np.ascontiguousarray(plane, plane.dtype.newbyteorder("<")).data))
        handle.write(deflate.flush())


def read_nifti(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Reads what `write_nifti` wrote: array and world_from_voxel.

    Raises:
        MskdexError: the file is absent, or damaged anywhere; see `mskdex.artifacts.damaged`.
    """
    try:
        with gzip.open(path) as handle:
            header = handle.read(_HEADER)
            if len(header) < _HEADER:
                msg = "it ends within its header"
                raise ValueError(msg)
            dims = struct.unpack_from("<8h", header, 40)
            shape = dims[dims[0] : 0 : -1]
            array = np.empty(shape, _DTYPES[struct.unpack_from("<h", header, 70)[0]])
            rows = array.data.cast("B")
            if handle.readinto(rows) != array.nbytes or handle.read(1):  # the end is where the checksum is checked
                msg = "its voxels are not as many as its header says"
                raise ValueError(msg)
    except (OSError, EOFError, ValueError, KeyError, struct.error, zlib.error) as error:
        raise damaged(path, error) from error
    affine = np.eye(4)
    affine[:3] = np.array(struct.unpack_from("<12f", header, 280)).reshape(3, 4)
    return array, affine


def _header(array: np.ndarray, affine: np.ndarray) -> bytes:
    """A NIfTI-1 header, the affine in its sform.

    Source: the NIfTI-1.1 standard, nifti1.h.
    """
    sizes = [*array.shape[::-1], 1, 1, 1, 1, 1][:7]
    spacing = np.linalg.norm(affine[:3, :3], axis=0)
    header = bytearray(_HEADER)
    struct.pack_into("<i", header, 0, 348)
    struct.pack_into("<8h", header, 40, array.ndim, *sizes)
    struct.pack_into("<2h", header, 70, _CODES[array.dtype.str.lstrip("<|=")], array.dtype.itemsize * 8)
    struct.pack_into("<8f", header, 76, 1.0, *spacing, 0, 0, 0, 0)
    struct.pack_into("<3f", header, 108, float(_HEADER), 1.0, 0.0)
    header[123] = 2  # millimetres
    struct.pack_into("<2h", header, 252, 0, 1)
    struct.pack_into("<12f", header, 280, *affine[:3].ravel())
    header[344:348] = b"n+1\0"
    return bytes(header)
