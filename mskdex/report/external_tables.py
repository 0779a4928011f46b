"""The external cohort beside the held-out patients."""

from typing import Any

import pandas as pd

from mskdex.evaluation.added_value import MEAN_OF_MUSCLES, MEASURES
from mskdex.evaluation.points import QUANTITY_COLUMNS
from mskdex.evaluation.text import QUANTITY_NAMES
from mskdex.report.group_tables import coverage_table
from mskdex.report.html_tables import Cell, Column, Table, number, words
from mskdex.report.number_format import decimals
from mskdex.report.results import Results, title

_COLUMNS = ("pcc", "partial", "r2_gain", "left_right", "icc21", "bias_percent", "slope", "intercept_percent")


def external_tables(results: Results) -> list[Table]:
    """Every measure in patients whom no fold trained on, with that of the held-out ones; a table per quantity."""
    if results.external_added_value.empty:
        return []
    return [_table(results, quantity) for quantity in QUANTITY_COLUMNS]


def _table(results: Results, quantity: str) -> Table:
    external, held_out = (
        {(r.method, r.structure, r.measure): r for r in t[t["quantity"] == quantity].itertuples()}
        for t in (results.external_added_value, results.added_value)
    )
    names = [MEAN_OF_MUSCLES, *results.object_names]
    groups = [
        [
            [
                words(m.label, style="name"),
                words("Mean of the muscles" if n == MEAN_OF_MUSCLES else title(n)),
                *(_cell(external.get((m.id, n, c)), held_out.get((m.id, n, c)), c) for c in _COLUMNS),
            ]
            for n in names
            if (m.id, n, "pcc") in external
        ]
        for m in results.methods
    ]
    columns = [Column("Method"), Column("Structure")]
    columns += [Column(MEASURES[c].label, hint=MEASURES[c].description) for c in _COLUMNS]
    caption = (
        f"{QUANTITY_NAMES[quantity].capitalize()} in {results.external_patients} patients whom no fold trained on; "
        f"below each value its interval and that of the {len(results.tested)} held-out patients."
    )
    notes = [
        "An experiment’s prediction is the mean of those of all its trained folds’ models. Baselines are fitted on all "
        "patients of the folds, the weights of “fused” on the held-out ones; nothing is fitted on the external cohort.",
    ]
    return Table(f"external_{quantity}", caption, columns, [g for g in groups if g], quantity, notes)


def _cell(row: Any, beside: Any, measure: str) -> Cell:
    places = 1 if MEASURES[measure].scale == "percent" else 2
    if row is None or pd.isna(row.value):
        return Cell("–", float("nan"), hint="does not apply" if row is None else str(row.undefined))
    low, high, value = row.low, row.high, float(row.value)
    interval = f"{decimals(low, places)} to {decimals(high, places)}; " if pd.notna(low) else ""
    known = "–" if beside is None else decimals(float(beside.value), places)
    return Cell(decimals(value, places), value, below=f"{interval}held out {known}")


def external_coverage_tables(results: Results) -> list[Table]:
    """How many external patients the held-out patients' intervals cover, a table per quantity."""
    tables = []
    for quantity in QUANTITY_COLUMNS:
        some = results.external_coverage[results.external_coverage["quantity"] == quantity]
        if some.empty:
            continue
        caption = (
            f"{QUANTITY_NAMES[quantity].capitalize()}: how many external patients a {some['nominal'].iloc[0]:.0%} "
            "interval covers that was calibrated on the held-out patients."
        )
        tables.append(coverage_table(results, f"external_coverage_{quantity}", caption, some))
    return tables


def external_answer(results: Results) -> str:
    """A sentence for the first screen; empty where there is no external cohort."""
    a = results.external_added_value
    rows = a[(a["quantity"] == "lean_mass_g") & (a["structure"] == MEAN_OF_MUSCLES)]
    found: dict[tuple[str, str], Any] = {(str(r.method), str(r.measure)): r for r in rows.itertuples()}
    icc, slope, pcc = (found.get((results.proposed, m)) for m in ("icc21", "slope", "pcc"))
    if icc is None or slope is None or pcc is None:
        return ""
    values = [number(float(r.value), 2).text for r in (icc, slope, pcc)]
    return (
        f"In {results.external_patients} external patients: ICC {values[0]}, calibration slope {values[1]}, PCC "
        f"{values[2]}."
    )
