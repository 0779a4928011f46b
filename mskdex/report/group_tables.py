"""Agreement and calibration by group, what the intervals cover, and how well low muscle is found."""

import pandas as pd

from mskdex.evaluation.added_value import MEAN_OF_MUSCLES
from mskdex.evaluation.decisions import RISKS
from mskdex.evaluation.points import QUANTITY_COLUMNS
from mskdex.evaluation.subgroups import MEASURES
from mskdex.evaluation.text import QUANTITY_NAMES
from mskdex.report.html_tables import Cell, Column, Table, number, plain, words
from mskdex.report.results import Results, title

_LABELS = {
    "pcc": "PCC",
    "icc21": "ICC(2,1)",
    "bias_percent": "Bias %",
    "slope": "Slope",
    "intercept_percent": "Intercept %",
}


def subgroup_tables(results: Results) -> list[Table]:
    """Agreement and calibration of each group, a table per quantity."""
    tables = []
    for quantity in QUANTITY_COLUMNS:
        some = results.subgroups[results.subgroups["quantity"] == quantity]
        groups = []
        for (method, group), of in some.groupby(["method", "group"], sort=False):
            rows = []
            for name, cells in _mean_first(of).groupby("structure", sort=False):
                values = cells.set_index("measure")["value"]
                shown = [number(values[m], 1 if m.endswith("percent") else 2) for m in MEASURES]
                n = int(cells["n"].max())
                rows.append(
                    [
                        words(_label(results, str(method))),
                        words(group),
                        words(_structure(str(name))),
                        Cell(str(n), n),
                        *shown,
                    ]
                )
            groups.append(rows)
        caption = (
            f"{QUANTITY_NAMES[quantity].capitalize()} in sub-groups: calibration is the regression of the truth on the "
            "prediction (slope 1 and intercept 0 are ideal); bias and intercept in per cent of the mean truth."
        )
        columns = [Column(c) for c in ("Method", "Group", "Structure", "n", *(_LABELS[m] for m in MEASURES))]
        tables.append(Table(f"subgroups_{quantity}", caption, columns, groups, quantity))
    return tables


def coverage_tables(results: Results) -> list[Table]:
    """Measured coverage of the prediction intervals, a table per quantity."""
    tables = []
    for quantity in QUANTITY_COLUMNS:
        some = results.coverage[results.coverage["quantity"] == quantity]
        nominal = f"{some['nominal'].iloc[0]:.0%}" if len(some) else "nominal"
        caption = (
            f"{QUANTITY_NAMES[quantity].capitalize()}: how many of the held-out patients a {nominal} interval covers, "
            "each calibrated on the other held-out patients of the fold."
        )
        tables.append(coverage_table(results, f"coverage_{quantity}", caption, some))
    return tables


def coverage_table(results: Results, name: str, caption: str, rows: pd.DataFrame) -> Table:
    """Coverage of one quantity's intervals, a group of rows for every method and group of patients."""
    labels = ("Method", "Group", "Structure", "Intervals", "Too few for one", "Covered %", "Mean width %")
    groups = [
        [_coverage_row(results, record) for record in _mean_first(of).to_dict("records")]
        for _, of in rows.groupby(["method", "group"], sort=False)
    ]
    quantity = str(rows["quantity"].iloc[0]) if len(rows) else ""
    return Table(name, caption, [Column(label) for label in labels], groups, quantity)


def _mean_first(rows: pd.DataFrame) -> pd.DataFrame:
    """The rows of the mean over the muscles before those of the structures."""
    return rows.sort_values("structure", key=lambda names: names != MEAN_OF_MUSCLES, kind="stable")


def decisions_table(results: Results) -> Table:
    """How well each method finds patients with low muscle."""
    s = results.config.evaluation
    groups = results.decisions.groupby(["method", "index"], sort=False)
    rows = [_decision_row(results, str(m), str(i), cells) for (m, i), cells in groups]
    labels = ["Method", "Index", "n", "Low", "Left out", "AUC", f"Sensitivity at {s.specificity:.0%} specificity"]
    labels += [f"Net benefit at {risk:.0%}" for risk in RISKS]
    caption = (
        f"Finding low muscle: a z-score of the hip’s lean mass below {s.low_muscle_z:g} of the training patients of "
        "the same sex. Below each net benefit, that of treating everybody."
    )
    note = (
        "The index is the lean mass of the hip’s muscles that this cohort has, both sides. Cut-offs of AWGS and EWGSOP "
        "are for appendicular lean mass and are not applied to it."
    )
    return plain("decisions", caption, labels, rows, notes=[note])


def _decision_row(results: Results, method: str, index: str, cells: pd.DataFrame) -> list[Cell]:
    found = {str(record["measure"]): record for record in cells.to_dict("records")}
    auc = found["auc"]
    below = "" if pd.isna(auc["low"]) else f"{number(auc['low'], 2).text} to {number(auc['high'], 2).text}"
    counts = [Cell(str(auc[c]), auc[c]) for c in ("n", "low_muscle", "left_out")]
    name = index.replace("_per_height2", " per height²").replace("_", " ").capitalize()
    row = [words(_label(results, method)), words(name), *counts, number(auc["value"], 2, below=below)]
    row.append(number(found["sensitivity"]["value"], 2))
    for risk in RISKS:
        ours, everybody = (found[f"{what}_{risk:.0%}"]["value"] for what in ("net_benefit", "treat_all"))
        row.append(number(ours, 2, below=f"all: {number(everybody, 2).text}"))
    return row


def _coverage_row(results: Results, record: dict) -> list[Cell]:
    counts = [Cell(str(record[c]), record[c]) for c in ("n", "without")]
    names = [words(_label(results, record["method"])), words(record["group"]), words(_structure(record["structure"]))]
    return [*names, *counts, number(100 * record["covered"], 0), number(record["width_percent"], 0)]


def _structure(name: str) -> str:
    return "Mean of the muscles" if name == MEAN_OF_MUSCLES else title(name)


def _label(results: Results, method: str) -> str:
    return next((m.label for m in results.methods if m.id == method), method)
