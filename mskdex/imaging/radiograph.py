"""A radiograph as the pipeline keeps it: log attenuation, exposed field, camera."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mskdex.errors import MskdexError
from mskdex.geometry.camera import Camera
from mskdex.io.artifacts import read_json
from mskdex.io.nifti import read_nifti, require_one_owner, write_nifti


@dataclass(frozen=True)
class Radiograph:
    """A radiograph in the camera's frame: rows downwards, columns along the camera's +x.

    Attributes:
        image: log attenuation, float32 (H, W): in nepers with air near 0, or on a relative scale.
        field: True where exposed and unmarked, bool (H, W).
        camera: the camera that took it.
        camera_from_ct: nominal pose, 4×4, from RAS millimetres.
        view: "AP" or "PA".
        scale: "absolute" (nepers) or "relative" (standardised by soft tissue and bone).
    """

    image: np.ndarray
    field: np.ndarray
    camera: Camera
    camera_from_ct: np.ndarray
    view: str
    scale: str = "absolute"


def read_radiograph(patient_dir: Path) -> Radiograph:
    """Reads an imported patient's radiograph.nii.gz, field.nii.gz and camera.json.

    Raises:
        MskdexError: a file is absent, damaged or another patient's, or their shapes differ.
    """
    patient_dir = Path(patient_dir)
    image = read_nifti(patient_dir / "radiograph.nii.gz")[0]
    field = read_nifti(patient_dir / "field.nii.gz")[0] > 0
    require_one_owner(patient_dir / "radiograph.nii.gz", patient_dir / "field.nii.gz")
    content = read_json(patient_dir / "camera.json")
    camera = Camera.from_dict(content)
    if not image.shape == field.shape == tuple(camera.shape):
        msg = f"{patient_dir}: radiograph, field and camera have different shapes; delete import.json and import again"
        raise MskdexError(msg)
    pose = np.array(content["camera_from_ct"], dtype=np.float64)
    return Radiograph(image, field, camera, pose, content["view"], content.get("radiograph_scale", "absolute"))


def write_image(path: Path, array: np.ndarray, pixel_mm: float, *, of: str | None = None) -> None:
    """Writes a 2-D image (H, W), float32 or uint8, as NIfTI with its pixel size; `of` as of `write_nifti`."""
    write_nifti(path, array, np.diag([pixel_mm, pixel_mm, 1.0, 1.0]), of=of)
