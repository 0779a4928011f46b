"""A volume in RAS millimetres, read from and written to NIfTI."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from mskdex.errors import MskdexError
from mskdex.io.nifti import read_nifti, require_one_owner, write_nifti

if TYPE_CHECKING:
    import SimpleITK as sitk

_RAS_FROM_LPS = np.diag([-1.0, -1.0, 1.0, 1.0])


@dataclass(frozen=True)
class Volume:
    """A 3-D image on a regular grid.

    Attributes:
        array: shape (z, y, x).
        world_from_voxel: 4×4 float64; takes the voxel index (i, j, k, 1), i along x, to RAS millimetres.
    """

    array: np.ndarray
    world_from_voxel: np.ndarray

    @property
    def spacing_mm(self) -> tuple[float, float, float]:
        """Voxel size along x, y, z in mm."""
        sx, sy, sz = np.linalg.norm(self.world_from_voxel[:3, :3], axis=0)
        return float(sx), float(sy), float(sz)

    @property
    def voxel_volume_cm3(self) -> float:
        """Volume of one voxel in cm³."""
        return float(abs(np.linalg.det(self.world_from_voxel[:3, :3]))) / 1000.0


def volume_from_sitk(image: "sitk.Image", *, copy: bool = True) -> Volume:
    """Takes an ITK image (LPS) to a `Volume` (RAS); the voxel order is kept.

    Without `copy` the array is a read-only view that lives no longer than `image`.
    """
    import SimpleITK as sitk

    affine = np.eye(4)
    direction = np.array(image.GetDirection()).reshape(3, 3)
    affine[:3, :3] = direction * np.array(image.GetSpacing())
    affine[:3, 3] = image.GetOrigin()
    array = sitk.GetArrayFromImage(image) if copy else sitk.GetArrayViewFromImage(image)
    return Volume(array, _RAS_FROM_LPS @ affine)


def volume_to_sitk(volume: Volume) -> "sitk.Image":
    """Takes a `Volume` (RAS) to an ITK image (LPS); the voxel order is kept."""
    import SimpleITK as sitk

    affine = _RAS_FROM_LPS @ volume.world_from_voxel
    spacing = np.linalg.norm(affine[:3, :3], axis=0)
    image = sitk.GetImageFromArray(volume.array)
    image.SetSpacing(spacing.tolist())
    image.SetOrigin(affine[:3, 3].tolist())
    image.SetDirection((affine[:3, :3] / spacing).ravel().tolist())
    return image


def read_volume(path: Path) -> Volume:
    """Reads a volume that this project wrote (NIfTI, RAS).

    Raises:
        MskdexError: the file is absent, damaged, or not the artifact of its place; see `mskdex.io.damage`.
    """
    return Volume(*read_nifti(path))


def read_labelled(ct: Path, labels: Path) -> tuple[Volume, np.ndarray]:
    """Reads an imported CT and its label map (z, y, x).

    Raises:
        MskdexError: the two are of different patients, or lie on different grids.
    """
    volume, label_volume = read_volume(ct), read_volume(labels)
    require_one_owner(ct, labels)
    if volume.array.shape != label_volume.array.shape or not np.allclose(
        volume.world_from_voxel, label_volume.world_from_voxel, atol=1e-3
    ):
        msg = f"{labels} lies on another grid than {ct}; delete both and import the patient again"
        raise MskdexError(msg)
    return volume, label_volume.array


def write_volume(path: Path, volume: Volume, *, of: str | None = None) -> None:
    """Writes a volume as compressed NIfTI, under a temporary name first.

    Args:
        path: .nii.gz.
        volume: int16, uint8 or float32.
        of: whose it is, "patient V0001", where the path does not say.
    """
    write_nifti(path, volume.array, volume.world_from_voxel, of=of)
