"""The lean mass of every object of one radiograph as one picture."""

from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from mskdex.api.prediction import Prediction
from mskdex.imaging.enlarge import drawn_factor, enlarged
from mskdex.quantities import QUANTITIES

_DOTS_PER_INCH = 110


def write_picture(path: Path, prediction: Prediction) -> None:
    """Writes the picture as PNG."""
    _figure(prediction).savefig(path, dpi=_DOTS_PER_INCH)


def picture(prediction: Prediction) -> np.ndarray:
    """The picture's pixels, uint8 (rows, columns, 3), red, green and blue."""
    figure = _figure(prediction)
    figure.set_dpi(_DOTS_PER_INCH)
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return np.ascontiguousarray(np.asarray(canvas.buffer_rgba())[..., :3])


def draw_objects(figure: Any, prediction: Prediction, fontsize: float = 8) -> None:
    """Draws the lean mass of every object into a figure or sub-figure, one scale for all."""
    channels = prediction.channels
    rows, columns = _layout(len(channels))
    mass = prediction.drr[QUANTITIES.index("lean_mass")]
    images = enlarged(mass, drawn_factor(mass.shape))
    for number, axes in enumerate(figure.subplots(rows, columns, squeeze=False).flat):
        axes.axis("off")
        if number < len(mass):
            axes.imshow(images[number], cmap="gray", vmin=0, vmax=float(images.max()) or 1.0)
            name = channels[number].name.replace("_", " ")
            axes.set_title(f"{name}\n{mass[number].sum():.0f} g", fontsize=fontsize)


def _figure(prediction: Prediction) -> Figure:
    rows, columns = _layout(len(prediction.channels))
    figure = Figure(figsize=(2 * columns, 2.3 * rows), layout="constrained")
    FigureCanvasAgg(figure)
    draw_objects(figure, prediction)
    return figure


def _layout(count: int) -> tuple[int, int]:
    columns = min(6, count)
    return -(-count // columns), columns
