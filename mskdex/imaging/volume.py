"""A volume in RAS millimetres, read from and written to NIfTI."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from mskdex.artifacts import atomic_path

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


def volume_from_sitk(image: sitk.Image) -> Volume:
    """Takes an ITK image (LPS) to a `Volume` (RAS); the voxel order is kept."""
    affine = np.eye(4)
    direction = np.array(image.GetDirection()).reshape(3, 3)
    affine[:3, :3] = direction * np.array(image.GetSpacing())
    affine[:3, 3] = image.GetOrigin()
    return Volume(sitk.GetArrayFromImage(image), _RAS_FROM_LPS @ affine)


def volume_to_sitk(volume: Volume) -> sitk.Image:
    """Takes a `Volume` (RAS) to an ITK image (LPS); the voxel order is kept."""
    affine = _RAS_FROM_LPS @ volume.world_from_voxel
    spacing = np.linalg.norm(affine[:3, :3], axis=0)
    image = sitk.GetImageFromArray(volume.array)
    image.SetSpacing(spacing.tolist())
    image.SetOrigin(affine[:3, 3].tolist())
    image.SetDirection((affine[:3, :3] / spacing).ravel().tolist())
    return image


def read_volume(path: Path) -> Volume:
    """Reads a volume that this project wrote (NIfTI, RAS)."""
    return volume_from_sitk(sitk.ReadImage(str(path)))


def write_volume(path: Path, volume: Volume) -> None:
    """Writes a volume as compressed NIfTI, under a temporary name first."""
    with atomic_path(path) as temporary:
        sitk.WriteImage(volume_to_sitk(volume), str(temporary), useCompression=True, compressionLevel=1)
