"""A patient's DRRs, CT and predicted, as sheets that the page's viewer shows."""

from dataclasses import asdict
from typing import Any

import numpy as np
import pandas as pd

from mskdex.evaluation.decompositions import Rendered, read_decomposition
from mskdex.evaluation.text import QUANTITY_UNITS
from mskdex.imaging.quantities import COLUMNS, QUANTITIES
from mskdex.report.data import Results
from mskdex.report.sprites import sheet


def reference(rendered: Rendered) -> np.ndarray:
    """The CT's DRRs, (3, N, H, W): bones at their registered pose where there is one, all else at the nominal pose."""
    images = rendered.drr.copy()
    for i, name in enumerate(rendered.stack.objects):
        if name in rendered.aligned:
            images[:, i] = rendered.aligned[name]
    return images


def predicted(results: Results, rendered: Rendered) -> dict[str, np.ndarray]:
    """Predicted DRRs of the patient by method, (3, N, H, W), of experiments that left them."""
    found = {}
    patient = rendered.stack.patient
    fold = results.patients["fold"].loc[patient]
    for method in results.methods:
        path = results.root / "experiments" / method.id / f"fold{fold}" / "decompositions" / f"{patient}.zst"
        if method.kind == "experiment" and path.is_file():
            found[method.label] = read_decomposition(path, rendered.stack)
    return found


def viewer_payload(
    results: Results, rendered: Rendered, images: dict[str, np.ndarray], numbers: dict[str, Any]
) -> dict[str, Any]:
    """What the page's viewer needs: sheets per quantity, channels, fixed ranges, numbers.

    Args:
        results: the results.
        rendered: the patient's rendered DRRs.
        images: from `predicted`.
        numbers: by channel and quantity, truth and predictions.
    """
    pixels, truth = results.config.report.image_pixels, reference(rendered)
    sheets = {}
    for q, quantity in enumerate(QUANTITIES):
        column = COLUMNS[quantity]
        ranges = [results.ranges[c.object][column] for c in rendered.stack.channels]
        sheets[column] = {
            "truth": asdict(sheet(truth[q], ranges, pixels)),
            "predicted": {m: asdict(sheet(drr[q], ranges, pixels)) for m, drr in images.items()},
        }
    aligned = set(rendered.aligned)
    return {
        "sheets": sheets,
        "channels": [
            {"name": c.name, "object": c.object, "aligned": c.name in aligned} for c in rendered.stack.channels
        ],
        "ranges": results.ranges,
        "units": QUANTITY_UNITS,
        "numbers": numbers,
    }


def relative_errors(results: Results) -> pd.Series:
    """Mean relative error of the muscles' lean mass of each patient by the proposed method, sorted.

    Muscles may be missing from a cohort: then it is over all objects.
    """
    p = results.points
    rows = p[
        (p["method"] == results.proposed) & (p["quantity"] == "lean_mass_g") & p["left_out"].isna() & (p["truth"] > 0)
    ]
    muscles = rows[rows["kind"] == "muscle"]
    rows = muscles if len(muscles) else rows
    errors = (rows["predicted"] - rows["truth"]).abs() / rows["truth"]
    return errors.groupby(rows["patient_id"]).mean().dropna().sort_values()


def examples(results: Results) -> list[tuple[str, str, float]]:
    """(label, patient, relative error) of the best, the median and the worst patient that left a decomposition."""
    fold = results.patients["fold"]
    folder = results.root / "experiments" / results.proposed
    errors = relative_errors(results)
    errors = errors[[(folder / f"fold{fold[p]}" / "decompositions" / f"{p}.zst").is_file() for p in errors.index]]
    places = {"Best": 0, "Median": (len(errors) - 1) // 2, "Worst": len(errors) - 1}
    chosen: dict[int, str] = {}
    for label, place in places.items():
        chosen.setdefault(place, label)
    return [(label, str(errors.index[i]), float(errors.iloc[i])) for i, label in chosen.items() if len(errors)]
