"""A patient's DRRs, CT and predicted, as sheets that the page's viewer shows."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import numpy as np
import pandas as pd

from mskdex.evaluation.decompositions import RenderedDrrs, read_decomposition
from mskdex.evaluation.maps import PosedDrrs, on_grid, truth_path
from mskdex.evaluation.text import QUANTITY_UNITS
from mskdex.quantities import COLUMNS, QUANTITIES
from mskdex.report.results import Results
from mskdex.report.sprites import close_sheet, sheet, sheets_of_three

Images = Mapping[str, np.ndarray]
"""A patient's DRRs by channel name, (3, H, W) in the order of `QUANTITIES`."""


NOMINAL, REGISTERED, TRUE = "nominal pose", "registered pose", "radiograph’s posture"
"""Where the CT's DRR of an object stands."""


def reference(rendered: RenderedDrrs, posed: PosedDrrs | None = None) -> Images:
    """What predictions are shown beside: the truth in the radiograph's posture where it is given, on the same grid.

    Elsewhere objects stand at their registered pose where there is one, else at the nominal pose.
    """
    found = {**rendered.drr, **rendered.aligned}
    own = posed.drr if posed else {}
    placed = {n: on_grid(own[n], posed.camera, rendered.stack.camera) for n in found.keys() & own.keys() if posed}
    return found | placed


def poses(rendered: RenderedDrrs, posed: PosedDrrs | None) -> dict[str, str]:
    """Where each object of `reference` stands."""
    placed = dict.fromkeys(rendered.drr, NOMINAL) | dict.fromkeys(rendered.aligned, REGISTERED)
    return placed | dict.fromkeys(placed.keys() & (posed.drr.keys() if posed else set()), TRUE)


def posed_truth(results: Results, patient: str) -> PosedDrrs | None:
    """A patient's true DRRs; None where they are not known."""
    path = truth_path(results.truth_root, patient)
    return None if path is None else PosedDrrs.read(path)


def predicted(results: Results, rendered: RenderedDrrs) -> dict[str, Images]:
    """Predicted DRRs of the patient by method, of experiments that left them."""
    found: dict[str, Images] = {}
    patient = rendered.stack.patient
    fold = results.patients["fold"].loc[patient]
    for method in results.methods:
        path = results.root / "experiments" / method.id / f"fold{fold}" / "decompositions" / f"{patient}.safetensors"
        if method.kind == "experiment" and path.is_file():
            found[method.label] = read_decomposition(path, rendered.stack)
    return found


def viewer_payload(
    results: Results, rendered: RenderedDrrs, images: Mapping[str, Images], numbers: dict[str, Any], *, exact: bool
) -> dict[str, Any]:
    """What the page's viewer needs: sheets per quantity, channels, fixed ranges, numbers.

    Args:
        results: the results.
        rendered: the patient's rendered DRRs.
        images: from `predicted`.
        numbers: by channel and quantity, truth and predictions.
        exact: whether predictions are kept without loss, which costs five times the space.
    """
    channels, pixels = rendered.stack.channels, results.config.report.image_pixels
    posed = posed_truth(results, rendered.stack.patient)
    truth, stands = reference(rendered, posed), poses(rendered, posed)
    columns = [COLUMNS[q] for q in QUANTITIES]
    ranges = [[results.ranges[c.object][column] for c in channels] for column in columns]

    def stacked(drr: Images) -> np.ndarray:
        return np.stack([drr[c.name] for c in channels], axis=1)

    drawn = sheet if exact else close_sheet
    true = sheets_of_three(stacked(truth), ranges, pixels)
    sheets = {
        column: {
            "truth": asdict(true[q]),
            "predicted": {m: asdict(drawn(stacked(drr)[q], ranges[q], pixels)) for m, drr in images.items()},
        }
        for q, column in enumerate(columns)
    }
    return {
        "sheets": sheets,
        "channels": [
            {"name": c.name, "object": c.object, "pose": stands[c.name], "same": stands[c.name] != NOMINAL}
            for c in channels
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
    files = [folder / f"fold{fold[p]}" / "decompositions" / f"{p}.safetensors" for p in errors.index]
    errors = errors[[file.is_file() for file in files]]
    places = {"Best": 0, "Median": (len(errors) - 1) // 2, "Worst": len(errors) - 1}
    chosen: dict[int, str] = {}
    for label, place in places.items():
        chosen.setdefault(place, label)
    return [(label, str(errors.index[i]), float(errors.iloc[i])) for i, label in chosen.items() if len(errors)]
