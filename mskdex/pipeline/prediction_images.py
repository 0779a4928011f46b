"""The decomposition of one radiograph as files: one NIfTI per quantity, and a picture."""

from pathlib import Path

import numpy as np

from mskdex.api.prediction import Prediction
from mskdex.io.artifacts import atomic_path
from mskdex.io.nifti import write_nifti
from mskdex.quantities import QUANTITIES


def write_images(out: Path, name: str, prediction: Prediction, pixel_mm: float) -> None:
    """Writes {name}.{quantity}.nii.gz, a slice per object with pixels in cm³ or g, and {name}.png."""
    for q, quantity in enumerate(QUANTITIES):
        path = out / f"{name}.{quantity}.nii.gz"
        write_nifti(path, prediction.drr[q].astype(np.float32), np.diag([-pixel_mm, -pixel_mm, 1.0, 1.0]))
    with atomic_path(out / f"{name}.png") as temporary:
        _write_panel(temporary, prediction)


def _write_panel(path: Path, prediction: Prediction) -> None:
    """Lean mass of every object, one scale for all."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    channels = prediction.channels
    columns = min(6, len(channels))
    rows = -(-len(channels) // columns)
    figure = Figure(figsize=(2 * columns, 2.3 * rows), layout="constrained")
    FigureCanvasAgg(figure)
    mass = prediction.drr[QUANTITIES.index("lean_mass")]
    for number, axes in enumerate(figure.subplots(rows, columns, squeeze=False).flat):
        axes.axis("off")
        if number < len(mass):
            axes.imshow(mass[number], cmap="gray", vmin=0, vmax=float(mass.max()) or 1.0)
            name = channels[number].name.replace("_", " ")
            axes.set_title(f"{name}\n{mass[number].sum():.0f} g", fontsize=8)
    figure.savefig(path, dpi=110)
