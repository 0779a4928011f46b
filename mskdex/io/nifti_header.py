"""The header of a user's NIfTI file, 1 or 2: grid, units and scaling, each used or refused."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from nibabel.nifti1 import Nifti1Header
from nibabel.nifti2 import Nifti2Header

from mskdex.errors import MskdexError
from mskdex.io.streams import opened
from mskdex.io.tilt import ROUNDED, skew, slice_axis, unsheared

_UNITS_MM = {0: 1.0, 1: 1000.0, 2: 1.0, 3: 0.001}
"""Millimetres per unit of the low three bits of xyzt_units; 0, unknown, is what most programs write for millimetres.

Source: the NIfTI-1.1 standard, nifti1.h, NIFTI_UNITS_METER and the like.
"""

_SPACING_TOLERANCE = 1e-3
"""Relative; voxel sizes rounded to four digits differ by less, and a volume then by less than 0.3 %."""

_ROUNDED_VOXELS = 0.02
"""Half voxels up to which sform and qform agree: numbers rounded to four digits, quaternions of single precision."""

_LARGEST_OFFSET = 1 << 26
"""Header extensions of more bytes than this are no header."""


@dataclass(frozen=True)
class NiftiHeader:
    """What is used of a NIfTI header.

    Attributes:
        shape: sizes of the first three axes, i first.
        size: sizes of all axes.
        dtype: of the stored values, in the file's byte order.
        components: values a voxel (colour) of a dtype that has several.
        offset: bytes of the decompressed file before the voxels.
        slope: value = stored × slope + intercept.
        intercept: see slope.
        world_from_voxel: 4×4 RAS millimetres, as the file says it; it may be sheared.
        warnings: what a reader should know.
    """

    shape: tuple[int, ...]
    size: tuple[int, ...]
    dtype: np.dtype
    components: int
    offset: int
    slope: float
    intercept: float
    world_from_voxel: np.ndarray
    warnings: tuple[str, ...]


def read_nifti_header(path: Path, *, placed: bool = True) -> NiftiHeader:
    """Reads and checks the header of NIfTI-1 or -2, of either byte order, compressed or not, whatever its name.

    Args:
        path: the file.
        placed: whether it must say how it lies in the patient, as a picture need not.

    Raises:
        MskdexError: names the entry that is damaged, contradictory or missing.
    """
    header = _parsed(path)
    size = tuple(int(n) for n in header["dim"][1 : 1 + int(header["dim"][0])])
    dtype, components = _dtype(path, header)
    slope, intercept = _scaling(path, header)
    unit = int(header["xyzt_units"]) & 7
    if unit not in _UNITS_MM:
        msg = f"{path}: its xyzt_units name no unit of length ({unit}); export it in millimetres"
        raise MskdexError(msg)
    affine, notes = _affine(path, header) if placed else (np.array(header.get_best_affine(), float), [])
    affine[:3] *= _UNITS_MM[unit]
    if _UNITS_MM[unit] != 1:
        notes.append(f"{path.name} is in {'metres' if unit == 1 else 'micrometres'}, converted")
    offset = float(header["vox_offset"])
    least = int(header["sizeof_hdr"]) + 4
    if not least <= offset <= _LARGEST_OFFSET or offset != int(offset):
        msg = f"{path}: its voxels would begin at byte {offset:g} (vox_offset); export it again"
        raise MskdexError(msg)
    return NiftiHeader(size[:3], size, dtype, components, int(offset), slope, intercept, affine, tuple(notes))


def _parsed(path: Path) -> Nifti1Header:
    with opened(path) as handle:
        start = handle.read(540)
    kind = Nifti2Header if start[4:7] == b"n+2" or start[4:7] == b"ni2" else Nifti1Header
    if len(start) < kind.sizeof_hdr:
        msg = f"{path} cannot be read, it ends within its header; copy or export it again"
        raise MskdexError(msg)
    order = ">" if int.from_bytes(start[:4], "big") == kind.sizeof_hdr else "<"
    header = kind(start[: kind.sizeof_hdr], endianness=order, check=False)
    if int(header["sizeof_hdr"]) != kind.sizeof_hdr or not 1 <= int(header["dim"][0]) <= 7:
        msg = (
            f"{path} cannot be read, its header is damaged (sizeof_hdr {header['sizeof_hdr']}, dim[0] "
            f"{header['dim'][0]}); copy or export it again"
        )
        raise MskdexError(msg)
    if bytes(header["magic"])[:3] in (b"ni1", b"ni2"):
        msg = f"{path} keeps its voxels in another file (.hdr and .img); save it as one file (.nii or .nii.gz)"
        raise MskdexError(msg)
    return header


def _dtype(path: Path, header: Nifti1Header) -> tuple[np.dtype, int]:
    code, bits = int(header["datatype"]), int(header["bitpix"])
    try:
        dtype = np.dtype(header.get_data_dtype())
    except Exception as error:
        msg = f"{path}: its datatype {code} is none of NIfTI's; export it again"
        raise MskdexError(msg) from error
    if dtype.itemsize * 8 != bits:
        msg = f"{path}: its datatype {code} has {dtype.itemsize * 8} bits, but bitpix says {bits}; export it again"
        raise MskdexError(msg)
    if dtype.fields is not None:
        return np.dtype(np.uint8), dtype.itemsize
    if dtype.kind not in "iuf" or dtype.itemsize > 8:
        msg = f"{path} holds values of datatype {code} ({dtype.name}); export it as 16-bit integers"
        raise MskdexError(msg)
    return dtype, 1


def _scaling(path: Path, header: Nifti1Header) -> tuple[float, float]:
    """Slope and intercept; a slope of 0 says that there is none.

    Source: the NIfTI-1.1 standard, nifti1.h, scl_slope.
    """
    slope, intercept = float(header["scl_slope"]), float(header["scl_inter"])
    if not (np.isfinite(slope) and np.isfinite(intercept)):
        msg = f"{path}: its scl_slope {slope:g} and scl_inter {intercept:g} are no numbers; export it again"
        raise MskdexError(msg)
    return (slope, intercept) if slope != 0 else (1.0, 0.0)


def _affine(path: Path, header: Nifti1Header) -> tuple[np.ndarray, list[str]]:
    codes = int(header["qform_code"]), int(header["sform_code"])
    spacing = np.abs(np.array(header["pixdim"][1:4], float))
    if not np.isfinite(spacing).all() or (spacing == 0).any():
        msg = f"{path}: its voxel size is {tuple(spacing.tolist())} mm; export it again"
        raise MskdexError(msg)
    if max(codes) <= 0:
        msg = (
            f"{path} does not say how it lies in the patient (qform and sform codes are 0), so left and right are "
            f"unknown; export it again with its orientation"
        )
        raise MskdexError(msg)
    qform, sform = (_qform(path, header) if codes[0] > 0 else None), np.array(header.get_sform(), float)
    if codes[1] <= 0 and qform is not None:
        return qform, []
    columns = np.linalg.norm(sform[:3, :3], axis=0)
    if not np.isfinite(sform).all() or (columns < 1e-9).any():
        msg = f"{path}: its sform holds a column of zeros or values that are no numbers; export it again"
        raise MskdexError(msg)
    sizes = [np.linalg.norm(a[:3, :3], axis=0) for a in (sform, *_upright(sform))]
    if not any(np.allclose(size, spacing, rtol=_SPACING_TOLERANCE) for size in sizes):
        msg = (
            f"{path} says two voxel sizes: {_text(spacing)} mm (pixdim) and {_text(columns)} mm (sform); find out "
            "which is true and export it again"
        )
        raise MskdexError(msg)
    return sform, [] if qform is None else _require_alike(path, header, sform, qform)


def _qform(path: Path, header: Nifti1Header) -> np.ndarray:
    if float(header["pixdim"][0]) not in (-1.0, 0.0, 1.0):
        msg = f"{path}: its pixdim[0] is {float(header['pixdim'][0]):g}, not 1 or -1; export it again"
        raise MskdexError(msg)
    if (header["pixdim"][1:4] < 0).any():
        msg = f"{path}: its pixdim {_text(header['pixdim'][1:4])} are not positive; export it again"
        raise MskdexError(msg)
    b, c, d = (float(header[k]) for k in ("quatern_b", "quatern_c", "quatern_d"))
    if not b * b + c * c + d * d <= 1 + 1e-3:
        msg = f"{path}: its quatern_b, c and d ({b:g}, {c:g}, {d:g}) are no rotation; export it again"
        raise MskdexError(msg)
    if float(header["pixdim"][0]) == 0:
        header["pixdim"][0] = 1.0  # the standard's meaning of 0
    if (norm := np.sqrt(b * b + c * c + d * d)) > 1:
        for key, value in zip(("quatern_b", "quatern_c", "quatern_d"), (b, c, d), strict=True):
            header[key] = value / norm
    qform = np.array(header.get_qform(), float)
    if not np.isfinite(qform).all():
        msg = f"{path}: its qform holds values that are no numbers; export it again"
        raise MskdexError(msg)
    return qform


def _require_alike(path: Path, header: Nifti1Header, sform: np.ndarray, qform: np.ndarray) -> list[str]:
    """Refuses two positions of the patient; a qform cannot shear, so it may be the sform's nearest rotation."""
    left, _, right = np.linalg.svd(sform[:3, :3] / np.linalg.norm(sform[:3, :3], axis=0))
    straight = sform.copy()
    straight[:3, :3] = left @ right * np.linalg.norm(sform[:3, :3], axis=0)
    alike = (sform, straight, *_upright(sform))
    size = [max(int(n), 1) for n in header["dim"][1:4]]
    corners = np.array([[i, j, k, 1] for i in (0, size[0] - 1) for j in (0, size[1] - 1) for k in (0, size[2] - 1)])
    off = min(np.linalg.norm(corners @ (a - qform).T, axis=1).max() for a in alike)
    allowed = 0.5 * float(np.linalg.norm(sform[:3, :3], axis=0).min())
    if off > allowed:
        msg = (
            f"{path} says two positions: its sform and qform differ by up to {off:.4g} mm; find out which is true and "
            "export it again with that alone"
        )
        raise MskdexError(msg)
    if off > _ROUNDED_VOXELS * allowed:
        return [f"{path.name}: its sform and qform differ by up to {off:.2g} mm; the sform was taken"]
    return []


def _upright(sform: np.ndarray) -> tuple[np.ndarray, ...]:
    """Of the sform of a tilted gantry, the one without its shear: some programs write voxel size and qform so."""
    axis = slice_axis(sform) if skew(sform) > ROUNDED else None
    return () if axis is None else (unsheared(sform, axis),)


def _text(values: np.ndarray) -> str:
    return " x ".join(f"{v:.5g}" for v in values)
