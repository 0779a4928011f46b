"""The first screen: whether the image adds anything, whether it can be trusted, and what was left out."""

from typing import Any

import numpy as np
import pandas as pd

from mskdex.evaluation.added_value import MEAN_OF_MUSCLES, MEASURES, SHOWN_MEASURES
from mskdex.evaluation.baselines import DEMOGRAPHICS, THUMBNAIL
from mskdex.evaluation.points import QUANTITY_COLUMNS
from mskdex.evaluation.text import QUANTITY_NAMES
from mskdex.report.external_tables import external_answer
from mskdex.report.html_tables import Cell, Column, Table, words
from mskdex.report.number_format import decimals
from mskdex.report.results import Results, title

SIDES = (
    "A paired structure’s value is the mean of the left and the right statistic, not the statistic of the mean of both "
    "sides within the patient, which is another quantity (it averages errors away) and is not published here."
)
"""The one definition of sides."""


def added_value_tables(results: Results) -> list[Table]:
    """What each method adds, a table per quantity: the mean of the muscles, and every structure below it."""
    return [_table(results, quantity) for quantity in QUANTITY_COLUMNS]


def _table(results: Results, quantity: str) -> Table:
    rows = results.added_value[results.added_value["quantity"] == quantity]
    cells = {(r.method, r.structure, r.measure): r for r in rows.itertuples()}
    names = [MEAN_OF_MUSCLES, *results.object_names]
    folds = [m for m in dict.fromkeys(rows["measure"]) if m.startswith("pcc_fold_") and m != "pcc_fold_mean"]
    groups = [
        [_row(cells, m.id, m.label, n, folds) for n in names if (m.id, n, "pcc") in cells] for m in results.methods
    ]
    columns = [Column("Method"), Column("Structure")]
    columns += [Column(MEASURES[m].label, hint=MEASURES[m].description) for m in SHOWN_MEASURES]
    s = results.config.evaluation
    notes = [
        f"Below each value its {s.confidence:.0%} interval ({s.bootstrap_samples} bootstrap resamples of patients); "
        "below the mean of the folds each fold’s own; below the bias the limits of agreement, in per cent of the mean "
        "truth.",
        "“R² both” is the estimate stacked with age, sex, height and weight; a patient’s weights are fitted on the "
        "other held-out patients of the fold. “fused” is the stacked estimate of the proposed experiment.",
        SIDES,
    ]
    caption = f"{QUANTITY_NAMES[quantity].capitalize()}: what the radiograph adds to age, sex, height and weight."
    return Table(f"added_value_{quantity}", caption, columns, [g for g in groups if g], quantity, notes)


def _row(cells: dict, method: str, label: str, name: str, folds: list[str]) -> list[Cell]:
    structure = "Mean of the muscles" if name == MEAN_OF_MUSCLES else title(name)
    found = {m: cells.get((method, name, m)) for m in (*SHOWN_MEASURES, *folds, "loa_low_percent", "loa_high_percent")}
    row = [words(label, style="name"), words(structure)]
    for measure in SHOWN_MEASURES:
        places = 1 if MEASURES[measure].scale == "percent" else 2
        cell = _estimate(found[measure], places)
        if measure == "pcc_fold_mean":
            below = ", ".join(_plain(found[f], 2) for f in folds)
            cell = Cell(cell.text, cell.sort, below, cell.hint, cell.style)
        if measure == "bias_percent" and cell.style != "undefined":
            below = f"{_plain(found['loa_low_percent'], 0)} to {_plain(found['loa_high_percent'], 0)}"
            cell = Cell(cell.text, cell.sort, below, cell.hint, cell.style)
        row.append(cell)
    return row


def _estimate(row: Any, places: int) -> Cell:
    if row is None:
        return Cell("–", float("nan"), hint="does not apply to this method", style="none")
    if pd.isna(row.value):
        return Cell("–", float("nan"), hint=str(row.undefined), style="undefined")
    below = f"{decimals(row.low, places)} to {decimals(row.high, places)}" if pd.notna(row.low) else ""
    return Cell(decimals(row.value, places), float(row.value), below=below, hint=f"n = {row.n}")


def _plain(row: Any, places: int) -> str:
    return decimals(float("nan") if row is None else float(row.value), places)


def answers(results: Results) -> list[dict[str, str]]:
    """The first screen's three questions, each with its answer and the figures that it rests on."""
    return [_adds(results), _trusted(results), _left_out(results)]


def _mean_of_muscles(results: Results, method: str) -> dict[str, Any]:
    a = results.added_value
    rows = a[(a["method"] == method) & (a["quantity"] == "lean_mass_g") & (a["structure"] == MEAN_OF_MUSCLES)]
    return {str(r.measure): r for r in rows.itertuples()}


def _adds(results: Results) -> dict[str, str]:
    question = "Does the image add anything?"
    found = _mean_of_muscles(results, results.proposed)
    gain = found.get("r2_gain")
    if gain is None or pd.isna(gain.value):
        why = "no demographics are known" if gain is None else gain.undefined
        return {"question": question, "answer": "Cannot be said", "note": f"R² gained is undefined: {why}."}
    if pd.isna(gain.low):
        answer = "Cannot be said"
    else:
        answer = "Yes" if gain.low > 0 else "It makes it worse" if gain.high < 0 else "Not shown"
    others = {m: _mean_of_muscles(results, m).get("pcc") for m in (DEMOGRAPHICS, THUMBNAIL)}
    beside = f"demographics {_plain(others[DEMOGRAPHICS], 2)}, thumbnail ridge {_plain(others[THUMBNAIL], 2)}"
    note = (
        f"{results.proposed} with demographics adds {decimals(gain.value, 2)} to the R² of the muscles’ lean mass that "
        f"demographics have alone ({_interval(gain)}); partial correlation {_plain(found.get('partial'), 2)}. "
        f"PCC {_plain(found.get('pcc'), 2)}; {beside}."
    )
    return {"question": question, "answer": answer, "note": note}


def _trusted(results: Results) -> dict[str, str]:
    found = _mean_of_muscles(results, results.proposed)
    icc, bias = found["icc21"], found["bias_percent"]
    answer = f"ICC(2,1) {_plain(icc, 2)}"
    limits = f"{_plain(found['loa_low_percent'], 0)} to {_plain(found['loa_high_percent'], 0)} %"
    note = (
        f"Lean mass, mean of the muscles: ICC {_interval(icc)}; bias {_plain(bias, 1)} % of the mean truth, 95 % of "
        f"the differences within {limits}; calibration slope {_plain(found['slope'], 2)} (1 is ideal); PCC "
        f"within women {_defined(found.get('pcc_women'))}, within men {_defined(found.get('pcc_men'))}. "
        f"{_covered(results)} Tested on {len(results.tested)} patients. {external_answer(results)}".rstrip()
    )
    return {"question": "Can I trust it?", "answer": answer, "note": note}


def _defined(row: Any) -> str:
    return "undefined" if row is None or pd.isna(row.value) else decimals(float(row.value), 2)


def _covered(results: Results) -> str:
    c = results.coverage
    own = c[(c["method"] == results.proposed) & (c["quantity"] == "lean_mass_g") & (c["group"] == "all")]
    own = own[own["structure"] == MEAN_OF_MUSCLES]
    if own.empty or not own["n"].iloc[0]:
        return "Too few patients for prediction intervals."
    row = own.iloc[0]
    return f"{row['nominal']:.0%} intervals held the truth in {row['covered']:.0%}."


def _left_out(results: Results) -> dict[str, str]:
    points = results.points[results.points["method"] == results.proposed]
    pairs = points.drop_duplicates(["patient_id", "channel"])
    out = int(pairs["left_out"].notna().sum())
    rejected = int((~results.registration["accepted"]).sum())
    missing = results.evaluation.get("missing", [])
    by_sheet, by_pair = (int((results.excluded["by"] == who).sum()) for who in ("sheet", "registration"))
    parts = [
        f"{by_sheet} patients excluded by the cohort sheet",
        f"{by_pair} whose radiograph and CT do not belong together",
        f"{len(results.patients) - len(results.tested)} of {len(results.patients)} in folds that were not tested",
        f"{out} of {len(pairs)} structures of tested patients (absent, cut off or outside the detector)",
        f"{rejected} of {len(results.registration)} registrations not used",
    ]
    if results.calibration is not None and len(results.calibration):
        flagged = int(results.calibration["flags"].fillna("").astype(bool).sum())
        parts.append(f"{flagged} of {len(results.calibration)} radiographs flagged by their grey values, kept")
    parts += [f"{len(missing)} trainings without predictions"] * bool(missing)
    share = out / len(pairs) if len(pairs) else float("nan")
    answer = f"{len(results.excluded)} patients, {share:.0%} of structures" if np.isfinite(share) else "everything"
    return {"question": "What was left out?", "answer": answer, "note": "; ".join(parts) + ". See Exclusions."}


def _interval(row: Any) -> str:
    if pd.isna(row.low):
        return "interval undefined"
    return f"{decimals(row.low, 2)} to {decimals(row.high, 2)}"
