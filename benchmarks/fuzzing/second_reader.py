"""What a mutated file says, read by other code than the project's: nibabel, SimpleITK, and few lines on pydicom's tags.

It is asked only about files that the project took, and says None where it cannot read one.
"""

import warnings
from pathlib import Path

import nibabel
import numpy as np
import pydicom
import SimpleITK as sitk

Grid = tuple[np.ndarray, np.ndarray]
"""Array (z, y, x) in RAS order and world from voxel."""

_FLIP = np.diag([-1.0, -1.0, 1.0, 1.0])
_IDS_BY_NAME = {
    "pelvis_left": 1,
    "pelvis_right": 2,
    "femur_left": 3,
    "femur_right": 4,
    "sacrum": 5,
    "gluteus_maximus_left": 6,
    "gluteus_maximus_right": 7,
}


def volume(path: Path) -> Grid | None:
    """A CT or label map on its grid in RAS order."""
    try:
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            if path.is_dir() or path.suffix == ".dcm":
                return canonical(*_dicom(path))
            if path.name.endswith((".nii", ".nii.gz")):
                return canonical(*_nifti(path))
            image = sitk.ReadImage(str(path))
            if image.GetDimension() != 3 or image.GetNumberOfComponentsPerPixel() != 1:
                return None
            affine = np.eye(4)
            affine[:3, :3] = np.array(image.GetDirection()).reshape(3, 3) * image.GetSpacing()
            affine[:3, 3] = image.GetOrigin()
            return canonical(sitk.GetArrayFromImage(image).astype(float), _FLIP @ affine)
    except Exception:
        return None


def hounsfield(array: np.ndarray) -> np.ndarray:
    """As the project keeps HU."""
    return np.clip(np.rint(array), -1024, 3071)


def on_grid(labels: Grid, shape: tuple[int, ...], affine: np.ndarray, channels: dict[str, int]) -> np.ndarray | None:
    """A label map of the phantom's ids on the CT's grid with the project's ids; None where voxels do not coincide."""
    array, own = labels
    out = np.zeros(shape, np.uint8)
    at = np.argwhere(array != 0)
    index = np.c_[at[:, ::-1], np.ones(len(at))] @ (np.linalg.inv(affine) @ own).T
    index = index[:, 2::-1]
    inside = (index > -0.5).all(axis=1) & (index < np.array(shape) - 0.5).all(axis=1)
    table = np.zeros(65536, np.uint8)
    for name, i in _IDS_BY_NAME.items():
        table[i] = channels.get(name, 0)
    values = array[tuple(at.T)]
    if values.size and (values.min() < 0 or values.max() > 65535 or not inside[table[values.astype(int)] > 0].all()):
        return None
    near = np.rint(index[inside]).astype(int)
    out[tuple(near.T)] = table[values[inside].astype(int)]
    return out


def canonical(array: np.ndarray, affine: np.ndarray) -> Grid:
    """Axes to RAS order."""
    image = nibabel.as_closest_canonical(nibabel.Nifti1Image(array.transpose(2, 1, 0), affine))
    return np.asarray(image.dataobj).transpose(2, 1, 0), image.affine


def _nifti(path: Path) -> Grid:
    image = nibabel.load(path)
    scale = {1: 1000.0, 3: 0.001}.get(int(image.header["xyzt_units"]) & 7, 1.0)
    affine = image.affine.copy()
    affine[:3] *= scale
    return np.squeeze(image.get_fdata()).transpose(2, 1, 0), affine


def _dicom(path: Path) -> Grid:
    files = sorted(p for p in path.rglob("*") if p.is_file()) if path.is_dir() else [path]
    planes = [plane for file in files for plane in _planes(pydicom.dcmread(file, force=True))]
    across = planes[0][2]
    normal = np.cross(across[0], across[1])
    planes.sort(key=lambda p: float(p[1] @ normal))
    affine = np.eye(4)
    spacing = planes[0][3]
    affine[:3, 0], affine[:3, 1] = across[0] * spacing[1], across[1] * spacing[0]
    affine[:3, 2] = (planes[-1][1] - planes[0][1]) / (len(planes) - 1)
    affine[:3, 3] = planes[0][1]
    return np.array([p[0] for p in planes]), _FLIP @ affine


def _planes(dataset: pydicom.Dataset) -> list[tuple[np.ndarray, ...]]:
    count = int(dataset.get("NumberOfFrames") or 1)
    kind = np.dtype(f"<{'i' if int(dataset.PixelRepresentation) else 'u'}{int(dataset.BitsAllocated) // 8}")
    stored = np.frombuffer(dataset.PixelData, kind).astype(np.int64)
    stored = stored[: count * dataset.Rows * dataset.Columns].reshape(count, dataset.Rows, dataset.Columns)
    padding = dataset.get("PixelPaddingValue")
    found = []
    for k in range(count):
        groups = [dataset]
        if "PerFrameFunctionalGroupsSequence" in dataset:
            for group in (
                *(dataset.get("SharedFunctionalGroupsSequence") or []),
                dataset.PerFrameFunctionalGroupsSequence[k],
            ):
                groups += [item for element in group if element.VR == "SQ" for item in element.value]

        def said(keyword: str, groups: list = groups) -> np.ndarray:
            value = next(g[keyword].value for g in reversed(groups) if keyword in g)
            return np.array(value, float)

        hu = stored[k] * float(said("RescaleSlope")) + float(said("RescaleIntercept"))
        if padding is not None:
            hu[stored[k] == int(np.array(int(padding)).astype(kind))] = -1024
        across = said("ImageOrientationPatient").reshape(2, 3)
        found.append((hu, said("ImagePositionPatient"), across, said("PixelSpacing")))
    return found
