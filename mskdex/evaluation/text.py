"""The table of correlations as plain text, for the terminal."""

import pandas as pd

from mskdex.evaluation.baselines import DEMOGRAPHICS, TRAINING_MEAN
from mskdex.evaluation.summaries import headline, muscle_mean

METHOD_NAMES = {DEMOGRAPHICS: "age, sex, height, weight", TRAINING_MEAN: "mean of training"}
"""How the baselines are called in tables; an experiment is called by its own name."""

QUANTITY_NAMES = {"lean_mass_g": "lean mass", "volume_cm3": "volume", "weighted_volume_cm3": "weighted volume"}
QUANTITY_UNITS = {"lean_mass_g": "g", "volume_cm3": "cm³", "weighted_volume_cm3": "cm³"}


def method_name(method: str) -> str:
    """A method's name in tables."""
    return METHOD_NAMES.get(method, method)


def correlation_table(agreement: pd.DataFrame, folds: list[int], fold_count: int) -> str:
    """Pearson correlations per object for lean mass and volume, methods side by side.

    Args:
        agreement: table of agreement.
        folds: folds that were tested.
        fold_count: folds of the cohort.

    Returns:
        Lines of text; a paired object's cell is the mean of its sides, "–" is undefined.
    """
    rows = headline(agreement, "pcc")
    means = muscle_mean(agreement)
    methods = list(dict.fromkeys(rows["method"]))
    patients = int(rows["n"].max()) if len(rows) else 0
    tested = f"fold {folds[0]}" if len(folds) == 1 else f"{len(folds)} folds"
    lines = []
    for quantity in ("lean_mass_g", "volume_cm3"):
        title = f"Pearson correlation of {QUANTITY_NAMES[quantity]} with the CT"
        lines += ["", f"{title} ({tested} of {fold_count}, up to {patients} held-out patients)"]
        lines.append("  " + "structure".ljust(22) + "".join(method_name(m).rjust(_width(m)) for m in methods))
        some = rows[rows["quantity"] == quantity]
        for name in dict.fromkeys(some["structure"]):
            cells = some[some["structure"] == name].set_index("method")["value"]
            lines.append(_line(name.replace("_", " "), cells, methods))
        cells = means[means["quantity"] == quantity].set_index("method")["value"]
        lines.append(_line("mean of the muscles", cells, methods))
    notes = "–: undefined (the report says why). A pair's correlation is the mean of left and right."
    return "\n".join([*lines[1:], "", notes])


def _width(method: str) -> int:
    return max(len(method_name(method)), 8) + 2


def _line(name: str, cells: pd.Series, methods: list[str]) -> str:
    values = [cells.get(m, float("nan")) for m in methods]
    shown = [f"{v:.3f}" if v == v else "–" for v in values]
    return "  " + name.ljust(22) + "".join(s.rjust(_width(m)) for s, m in zip(shown, methods, strict=True))
