"""The decomposition of one radiograph as files: one NIfTI per quantity, and a picture."""

from pathlib import Path

import numpy as np

from mskdex.api.prediction import Prediction
from mskdex.io.artifacts import atomic_path
from mskdex.io.nifti import write_nifti
from mskdex.quantities import QUANTITIES


def write_images(out: Path, name: str, prediction: Prediction, pixel_mm: float) -> None:
    """Writes {name}.{quantity}.nii.gz, a slice per object with pixels in cm³ or g, and {name}.png."""
    from mskdex.clinic.lean_mass_picture import write_picture

    for q, quantity in enumerate(QUANTITIES):
        path = out / f"{name}.{quantity}.nii.gz"
        write_nifti(path, prediction.drr[q].astype(np.float32), np.diag([-pixel_mm, -pixel_mm, 1.0, 1.0]))
    with atomic_path(out / f"{name}.png") as temporary:
        write_picture(temporary, prediction)
