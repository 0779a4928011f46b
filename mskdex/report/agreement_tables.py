"""Tables 1 and 2 of the paper, its supplement's, and the further statistics."""

from collections.abc import Iterable, Iterator, Sequence

import pandas as pd

from mskdex.evaluation.agreement import STATISTICS
from mskdex.evaluation.points import QUANTITY_COLUMNS
from mskdex.evaluation.summaries import MEAN_OF_SIDES
from mskdex.evaluation.text import QUANTITY_NAMES, QUANTITY_UNITS
from mskdex.report.first_screen import SIDES
from mskdex.report.html_tables import Cell, Column, Table, estimate, number, plain, probability, words
from mskdex.report.published import SOURCE, published
from mskdex.report.results import Method, Results, title

_PUBLISHED_AS = {"pcc": "pcc"}
"""The paper does not say which form its ICC has, so that stands in a table of its own."""

_SIDES = {MEAN_OF_SIDES: "both", "midline": "", "left": "left", "right": "right"}


def correlation_tables(results: Results) -> list[Table]:
    """PCC of each quantity (the paper's table 1)."""
    return [_statistic_table(results, "pcc", q, "table1_pcc") for q in QUANTITY_COLUMNS]


def reliability_tables(results: Results) -> list[Table]:
    """ICC(2,1) and ICC(1,1) of each quantity (the supplement's table 1)."""
    names = (("icc21", "supplement1_icc21"), ("icc11", "supplement1_icc11"))
    return [_statistic_table(results, statistic, q, name) for statistic, name in names for q in QUANTITY_COLUMNS]


def published_reliability_tables(results: Results) -> list[Table]:
    """The paper's ICC of each quantity, whose form it leaves open; none for a quantity that it has not."""
    tables = []
    for quantity in QUANTITY_COLUMNS:
        pairs = {n: pair for n in results.object_names if (pair := published("icc", quantity, n))}
        rows = [[words(title(n), style="name"), *(number(v, style="published") for v in p)] for n, p in pairs.items()]
        caption = f"ICC of {QUANTITY_NAMES[quantity]} as published; the paper does not say which form of ICC it is."
        labels = ["Structure", "proposed", "conventional"]
        notes = [f"{SOURCE}. Not to be read beside ICC(2,1) or ICC(1,1) as if it were the same."]
        if rows:
            tables.append(plain(f"published_icc_{quantity}", caption, labels, rows, quantity=quantity, notes=notes))
    return tables


def _statistic_table(results: Results, statistic: str, quantity: str, name: str) -> Table:
    methods = results.methods
    rows = results.agreement
    rows = rows[(rows["statistic"] == statistic) & (rows["quantity"] == quantity)]
    described = STATISTICS[statistic]
    pairs = {n: published(_PUBLISHED_AS.get(statistic, ""), quantity, n) for n in results.object_names}
    columns = [Column("Structure"), Column("Side")]
    columns += [Column(m.label, "This cohort", hint=m.kind) for m in methods]
    if any(pairs.values()):
        columns += [Column(t, "Gu et al. 2023, another data set", "published") for t in ("proposed", "conventional")]
    groups = [_object_rows(rows, n, methods, pairs[n] if any(pairs.values()) else ()) for n in results.object_names]
    level = f"{results.config.evaluation.confidence:.0%}"
    notes = [
        f"{level} intervals: percentile bootstrap over patients, {results.config.evaluation.bootstrap_samples} "
        "resamples, the same for all methods. “Both”: " + SIDES
    ]
    if any(pairs.values()):
        notes.append(f"Published values: {SOURCE}. They are no benchmark of this cohort.")
    caption = f"{described.label} of {QUANTITY_NAMES[quantity]}: {described.description}, on held-out patients."
    return Table(f"{name}_{quantity}", caption, columns, [g for g in groups if g], quantity, notes)


def _object_rows(rows: pd.DataFrame, name: str, methods: list[Method], pair: tuple | None) -> list[list[Cell]]:
    found = []
    some = rows[rows["structure"] == name]
    for side in dict.fromkeys(some["side"]):
        cells = {r.method: r for r in some[some["side"] == side].itertuples()}
        first = side in (MEAN_OF_SIDES, "midline")
        row = [Cell(title(name), title(name), style="name"), Cell(_SIDES[side], _SIDES[side], style="side")]
        row += [_mark_best(estimate(cells.get(m.id)), m, cells) for m in methods]
        if pair is None or len(pair):
            shown = pair if pair and first else (float("nan"), float("nan"))
            row += [number(v, style="published", hint=SOURCE) for v in shown]
        found.append(row)
    return found


def _mark_best(cell: Cell, method: Method, cells: dict) -> Cell:
    """Bold for the highest value of the row."""
    values = [r.value for r in cells.values() if pd.notna(r.value)]
    best = len(values) > 1 and method.id in cells and cells[method.id].value == max(values)
    return Cell(cell.text, cell.sort, cell.below, cell.hint, "strong", cell.link) if best else cell


def statistics_table(results: Results) -> list[Table]:
    """Every statistic of every method, object and side, one table per quantity."""
    labels = {m.id: m.label for m in results.methods}
    tables = []
    for quantity in QUANTITY_COLUMNS:
        rows = results.agreement[results.agreement["quantity"] == quantity]
        columns = [Column("Structure"), Column("Side"), Column("Method"), Column("n")]
        columns += [Column(_heading(s, quantity), hint=STATISTICS[s].description) for s in STATISTICS]
        content = [
            [words(title(str(name))), words(_SIDES[str(side)]), words(labels[str(method)]), *cells]
            for (method, name, side), cells in _wide(rows)
        ]
        caption = f"All statistics of agreement, {QUANTITY_NAMES[quantity]}."
        tables.append(plain(f"agreement_{quantity}", caption, columns, content, quantity=quantity))
    return tables


def _heading(statistic: str, quantity: str) -> str:
    unit = QUANTITY_UNITS[quantity] if STATISTICS[statistic].scale == "unit" else ""
    return f"{STATISTICS[statistic].label} {unit}".strip()


def _wide(rows: pd.DataFrame) -> Iterator[tuple[tuple, list[Cell]]]:
    for key, group in rows.groupby(["method", "structure", "side"], sort=False):
        by_name = {r.statistic: r for r in group.itertuples()}
        places = {
            s: 3 if STATISTICS[s].scale == "ratio" else 1 if STATISTICS[s].scale == "percent" else None
            for s in STATISTICS
        }
        n = int(group["n"].max())
        yield tuple(key), [Cell(str(n), n), *(estimate(by_name[s], places[s]) for s in STATISTICS)]  # type: ignore[arg-type]


def comparison_tables(results: Results) -> list[Table]:
    """Tests of the proposed method against every other method, one table per quantity."""
    return [_comparison_table(results, quantity) for quantity in QUANTITY_COLUMNS]


def _comparison_table(results: Results, quantity: str) -> Table:
    labels = {m.id: m.label for m in results.methods}
    rows = []
    for r in results.tests.itertuples():
        own, _, measure = str(r.measure).partition(" ")
        if own != quantity:
            continue
        shown = {
            "absolute error": f"absolute error ({QUANTITY_UNITS[quantity]})",
            "psnr_db": "PSNR (dB)",
            "ssim": "SSIM",
        }
        rows.append(
            [
                words(title(str(r.structure)), style="name"),
                words(shown[measure]),
                words(labels.get(str(r.against), r.against)),
                Cell(str(r.n), r.n),
                number(r.mean_proposed, None),
                number(r.mean_against, None),
                number(r.anova_f, 2),
                *(probability(p) for p in (r.anova_p, r.anova_p_holm, r.wilcoxon_p, r.wilcoxon_p_holm)),
            ]
        )
    labelled = [
        "Structure",
        "Measure",
        "Against",
        "n",
        f"Mean, {results.proposed}",
        "Mean, other",
        "ANOVA F",
        "ANOVA p",
        "ANOVA p, Holm",
        "Wilcoxon p",
        "Wilcoxon p, Holm",
    ]
    caption = (
        f"{results.proposed} against every other method on the same patients: one-way analysis of variance as in the "
        "paper, and the paired Wilcoxon test that the design calls for; Holm's correction over the objects."
    )
    return plain(f"tests_{quantity}", caption, labelled, rows, quantity=quantity)


def bone_tables(results: Results) -> list[Table]:
    """PSNR, SSIM and GC of predicted bones against bones rendered at their registered pose."""
    tables = []
    methods = [m for m in results.methods if m.id in set(results.images["method"])]
    for quantity in QUANTITY_COLUMNS:
        rows = results.images[results.images["quantity"] == quantity]
        names = [n for n in results.object_names if n in set(rows["structure"])]
        columns = [Column("Structure"), Column("n")]
        measures = (("psnr_db", "PSNR (dB)", 1), ("ssim", "SSIM", 3), ("gc", "GC", 3))
        for _, label, _ in measures:
            columns += [Column(m.label, label) for m in methods]
        for _, label, _ in measures[:2]:
            columns += [Column(t, f"{label}, Gu et al. 2023", "published") for t in ("proposed", "conventional")]
        content = [_bone_row(rows[rows["structure"] == n], n, quantity, methods, measures) for n in names]
        caption = (
            f"Likeness of predicted bones to the bones rendered at their registered pose, {QUANTITY_NAMES[quantity]}: "
            "mean ± standard deviation over patients, on the data set's fixed intensity range."
        )
        notes = [f"Published values: {SOURCE}."]
        tables.append(plain(f"bones_{quantity}", caption, columns, content, quantity=quantity, notes=notes))
    return tables


def _bone_row(rows: pd.DataFrame, name: str, quantity: str, methods: list[Method], measures: tuple) -> list[Cell]:
    row = [words(title(name)), *over_patients(rows, methods, measures)]
    for measure, _, places in measures[:2]:
        pair = published(measure, quantity, name) or (float("nan"), float("nan"))
        row += [number(v, places, style="published", hint=SOURCE) for v in pair]
    return row


def over_patients(
    rows: pd.DataFrame, methods: Sequence[Method], measures: Iterable[tuple[str, str, int]]
) -> list[Cell]:
    """Number of patients, then mean ± standard deviation over them of each measure by each method.

    Args:
        rows: method, patient_id and the measures; what a patient has several rows of, as two sides, is averaged first.
        methods: of the columns.
        measures: column of `rows`, its heading, and decimal places.
    """
    patients = rows["patient_id"].nunique()
    cells = [Cell(str(patients), patients)]
    for measure, _, places in measures:
        for m in methods:
            of = rows[rows["method"] == m.id].replace(float("inf"), float("nan"))
            values = of.groupby("patient_id")[measure].mean().dropna()
            spread = f"± {number(values.std(), places).text}" if len(values) > 1 else ""
            cells.append(number(values.mean() if len(values) else float("nan"), places, below=spread))
    return cells
