"""The paper's figure 4: decompositions side by side, as a static picture."""

from pathlib import Path

import matplotlib as mpl
import pandas as pd
from matplotlib.figure import Figure

from mskdex.artifacts import atomic_path
from mskdex.evaluation.decompositions import Rendered
from mskdex.imaging.quantities import COLUMNS, QUANTITIES
from mskdex.report.data import Results, title
from mskdex.report.decompositions import examples, predicted, reference


def save_montage(results: Results, name: str, folder: Path, quantity: str = "volume") -> None:
    """Writes {name}.svg, {name}.png and {name}.csv: best, median and worst patient, CT and predicted, object by object."""
    rows, sums = [], []
    shown = examples(results)
    for label, patient, _ in shown:
        rendered = Rendered.read(results.root / "patients", patient)
        images = {"CT": reference(rendered), **predicted(results, rendered)}
        for source, drr in images.items():
            rows.append((f"{label}\n{source}", drr[QUANTITIES.index(quantity)]))
            sums += [
                {"patient": patient, "which": label, "source": source, "object": c.name, "sum": float(drr[q, i].sum()),
                 "quantity": COLUMNS[QUANTITIES[q]]}
                for i, c in enumerate(rendered.stack.channels) for q in range(len(QUANTITIES))
            ]  # fmt: skip
    if not rows:
        return
    channels = [c for c in results.objects if c["side"] != "right"]
    indices = [i for i, c in enumerate(results.objects) if c["side"] != "right"]
    with mpl.rc_context({"font.size": 7, "svg.fonttype": "none", "svg.hashsalt": "mskdex"}):
        figure = Figure(figsize=(0.9 * len(channels) + 0.7, 0.95 * len(rows)), layout="constrained", dpi=160)
        grid = figure.subplots(len(rows), len(channels), squeeze=False)
        for across, (axes_row, (label, drr)) in enumerate(zip(grid, rows, strict=True)):
            for axes, channel, i in zip(axes_row, channels, indices, strict=True):
                top = results.ranges[channel["object"]][COLUMNS[quantity]]
                axes.imshow(drr[i], cmap="inferno", vmin=0, vmax=top, interpolation="nearest")
                axes.set_xticks([])
                axes.set_yticks([])
                if across == 0:
                    axes.set_title(title(channel["object"]).replace(" ", "\n", 1), fontsize=6)
            axes_row[0].set_ylabel(label, fontsize=6)
        for suffix, more in ((".svg", {"metadata": {"Date": None}}), (".png", {})):
            with atomic_path(folder / f"{name}{suffix}") as path:
                figure.savefig(path, **more)
    with atomic_path(folder / f"{name}.csv") as path:
        pd.DataFrame(sums).to_csv(path, index=False)
