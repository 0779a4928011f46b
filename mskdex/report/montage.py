"""The paper's figure 4: decompositions side by side, as a static picture."""

from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from mskdex.evaluation.decompositions import RenderedDrrs
from mskdex.evaluation.maps import PosedDrrs, on_grid
from mskdex.imaging.enlarge import DRAWN_PIXELS, drawn_factor, enlarged
from mskdex.io.artifacts import atomic_path
from mskdex.io.csv_files import write_csv
from mskdex.quantities import COLUMNS, QUANTITIES
from mskdex.report.drr_viewer import Images, examples, posed_truth, predicted, reference
from mskdex.report.results import Results, title
from mskdex.report.sprites import LEVELS, shrink

_GAP = 2
_STYLE: Any = {"font.size": 9, "svg.fonttype": "none", "svg.hashsalt": "mskdex"}


def save_montage(results: Results, name: str, folder: Path, quantity: str = "volume") -> None:
    """Writes {name}.svg, {name}.png and {name}.csv: best, median and worst patient, CT and predicted.

    Paired objects are shown on the left side only; the CSV holds the sums of all. Images smaller than `DRAWN_PIXELS`
    are drawn enlarged, but the true ones of virtual patients with the detail that they have.
    """
    q, rows, sums = QUANTITIES.index(quantity), [], []
    shown = [c for c in results.objects if c["side"] != "right"]
    for label, patient, _ in examples(results):
        rendered = RenderedDrrs.read(results.root / "patients", patient, results.channel_names)
        posed = posed_truth(results, patient)
        for source, drr in {"CT": reference(rendered, posed), **predicted(results, rendered)}.items():
            fine = posed if source == "CT" else None
            images = np.stack([drawn(drr, c["name"], rendered, fine)[q] for c in shown])
            rows.append((f"{label}, {source}", shrink(images, 2 * DRAWN_PIXELS)))
            sums += [{"patient": patient, "which": label, "source": source, **s} for s in _sums(results, drr)]
    if not rows:
        return
    objects = [c["object"] for c in shown]
    ranges = np.array([results.ranges[n][COLUMNS[quantity]] for n in objects])
    with mpl.rc_context(_STYLE):
        figure = _figure([title(n) for n in objects], rows, ranges, _note(rendered.stack.camera.shape))
        for suffix, metadata in ((".svg", {"Date": None}), (".png", None)):
            with atomic_path(folder / f"{name}{suffix}") as path:
                figure.savefig(path, metadata=metadata)
    write_csv(folder / f"{name}.csv", pd.DataFrame(sums))


def drawn(drr: Images, name: str, rendered: RenderedDrrs, fine: PosedDrrs | None) -> np.ndarray:
    """An object's DRRs with pixels enough to be drawn, (3, H, W), still per pixel of the stack's grid.

    Args:
        drr: on the stack's grid.
        name: of the object's channel.
        rendered: whose grid it is.
        fine: true images that are taken instead, where they have the object.
    """
    own = rendered.stack.camera
    factor = drawn_factor(own.shape)
    if fine is None or name not in fine.drr:
        return enlarged(drr[name], factor) * factor**2
    grid = own.resized((own.shape[0] * factor, own.shape[1] * factor), own.pixel_mm / factor)
    return on_grid(fine.drr[name], fine.camera, grid) * factor**2


def _note(shape: tuple[int, int]) -> str:
    """What the figure says of images with too few pixels; nothing of others."""
    if drawn_factor(shape) == 1:
        return ""
    return f"Predicted on {shape[0]} × {shape[1]} pixels and drawn enlarged, which adds no detail."


def _sums(results: Results, drr: Images) -> list[dict[str, Any]]:
    return [
        {"object": name, "quantity": COLUMNS[quantity], "sum": float(drr[name][q].sum())}
        for name in results.channel_names
        for q, quantity in enumerate(QUANTITIES)
    ]


def _figure(titles: list[str], rows: list[tuple[str, np.ndarray]], ranges: np.ndarray, note: str) -> Figure:
    count, height, width = rows[0][1].shape
    canvas = np.full((len(rows) * (height + _GAP) - _GAP, count * (width + _GAP) - _GAP), np.nan)
    for down, (_, images) in enumerate(rows):
        for across, image in enumerate(images / np.maximum(ranges, 1e-12)[:, None, None]):
            top, left = down * (height + _GAP), across * (width + _GAP)
            canvas[top : top + height, left : left + width] = np.round(image.clip(0.0, 1.0) * LEVELS) / LEVELS
    inches = 0.96
    figure = Figure(
        figsize=(inches * count + 1.2, inches * height / width * len(rows) + 0.5), layout="constrained", dpi=150
    )
    axes = figure.subplots()
    axes.imshow(canvas, cmap="inferno", vmin=0, vmax=1, interpolation="nearest")
    axes.set_xticks([(i + 0.5) * (width + _GAP) for i in range(count)], [t.replace(" ", "\n", 1) for t in titles])
    axes.set_yticks([(i + 0.5) * (height + _GAP) for i in range(len(rows))], [label for label, _ in rows])
    axes.set_xlabel(note)
    axes.tick_params(length=0, top=False, labeltop=True, bottom=False, labelbottom=False)
    axes.spines[:].set_visible(False)
    return figure
