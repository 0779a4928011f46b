"""The report's index page."""

from pathlib import Path
from typing import Any

import pandas as pd

import mskdex
from mskdex.evaluation.decompositions import RenderedDrrs
from mskdex.evaluation.points import QUANTITY_COLUMNS
from mskdex.evaluation.text import QUANTITY_UNITS
from mskdex.io.artifacts import atomic_path
from mskdex.io.csv_files import write_csv
from mskdex.report import agreement_tables as agreement
from mskdex.report import facts, figures
from mskdex.report.charts import Chart
from mskdex.report.checklists import checklist_tables
from mskdex.report.drr_viewer import examples, predicted, viewer_payload
from mskdex.report.external_tables import external_coverage_tables, external_tables
from mskdex.report.first_screen import added_value_tables, answers
from mskdex.report.group_tables import coverage_tables, decisions_table, subgroup_tables
from mskdex.report.html_tables import Table, number, plain, words
from mskdex.report.map_tables import map_tables
from mskdex.report.number_format import significant
from mskdex.report.patient_pages import patients, patients_table, viewer_numbers
from mskdex.report.printing import write_print
from mskdex.report.published import SOURCE
from mskdex.report.results import Results, quantity_title, title
from mskdex.report.templating import asset, pack, plotly, render

SECTIONS = (
    ("summary", "Summary"),
    ("added", "Added value"),
    ("correlation", "Correlation"),
    ("reliability", "Absolute agreement"),
    ("groups", "Sub-groups"),
    ("intervals", "Intervals"),
    ("decisions", "Low muscle"),
    ("external", "External cohort"),
    ("scatter", "Prediction against CT"),
    ("tests", "Comparisons"),
    ("decompositions", "Decompositions"),
    ("maps", "Maps"),
    ("bones", "Bone images"),
    ("ablation", "Ablation"),
    ("cohort", "Cohort"),
    ("registration", "Registration"),
    ("exclusions", "Exclusions"),
    ("training", "Training"),
    ("patients", "Patients"),
    ("checklists", "Checklists"),
    ("run", "Run"),
)

_OPTIONAL = {"ablation": "ablation_table", "external": "external_tables", "maps": "map_tables"}
"""Sections that stand only where their tables do."""

_MOST_NAMED = 8


def write_index(results: Results, folder: Path) -> None:
    """Writes print.html, the tables' CSV files and, last, index.html."""
    tables, charts, ablation = _tables(results), _charts(results), figures.ablation_chart(results)
    shown = examples(results)
    every_chart = [c for c in [*_flat(charts), ablation] if isinstance(c, Chart)]
    top = {
        "title": results.config.report.title,
        "lead": _lead(results),
        "notices": _notices(results),
        "answers": answers(results),
        "cards": facts.summary(results),
    }
    write_print(folder, tables, top)
    page = render(
        "index.html.j2",
        sections=[s for s in SECTIONS if s[0] not in _OPTIONAL or tables[_OPTIONAL[s[0]]]],
        pose_note=_pose_note(results),
        objects=[{"id": n, "label": title(n)} for n in results.object_names],
        quantities=[(q, quantity_title(q)) for q in QUANTITY_COLUMNS],
        figure_quantities=[(q, quantity_title(q)) for q in figures.REPORTED],
        examples=[_example(results, *e) for e in shown],
        ablation_chart=ablation,
        ablation_note=_ablation_note(results),
        payload=pack(_payload(results, every_chart, shown)),
        plotly=plotly(),
        index_js=asset("index.js"),
        version=mskdex.__version__,
        **top,
        **tables,
        **charts,
    )
    for table in (t for t in _flat(tables) if isinstance(t, Table)):
        write_csv(folder / "tables" / f"{table.id}.csv", table.frame())
    with atomic_path(folder / "index.html") as path:
        path.write_text(page, encoding="utf-8")


def _flat(groups: dict[str, Any]) -> list[Any]:
    flat: list[Any] = []
    for group in groups.values():
        items = group if isinstance(group, list) else [group]
        flat += [item[1] if isinstance(item, tuple) else item for item in items]
    return flat


def _tables(results: Results) -> dict[str, Any]:
    return {
        "added_value_tables": added_value_tables(results),
        "subgroup_tables": subgroup_tables(results),
        "coverage_tables": coverage_tables(results),
        "decisions_table": decisions_table(results),
        "external_tables": external_tables(results),
        "external_coverage_tables": external_coverage_tables(results),
        "map_tables": map_tables(results),
        "correlation_tables": agreement.correlation_tables(results),
        "reliability_tables": agreement.reliability_tables(results),
        "published_reliability_tables": agreement.published_reliability_tables(results),
        "statistics_tables": agreement.statistics_table(results),
        "comparison_tables": agreement.comparison_tables(results),
        "bone_tables": agreement.bone_tables(results),
        "ablation_table": _ablation_table(results),
        "cohort_table": facts.cohort_table(results),
        "density_table": facts.density_table(results),
        "registration_table": facts.registration_table(results),
        "rejected_table": facts.rejected_table(results),
        "calibration_table": facts.calibration_table(results),
        "devices_table": facts.devices_table(results),
        "excluded_table": facts.excluded_table(results),
        "left_out_table": facts.left_out_table(results),
        "flagged_table": facts.flagged_table(results),
        "warnings_table": facts.warnings_table(results),
        "training_table": facts.training_table(results),
        "patients_table": patients_table(results),
        "checklist_tables": checklist_tables(results),
        "run_table": facts.run_table(results),
    }


def _charts(results: Results) -> dict[str, Any]:
    return {
        "correlation_charts": [(q, figures.correlation_chart(results, q)) for q in QUANTITY_COLUMNS],
        "cohort_charts": figures.cohort_charts(results),
        "registration_charts": figures.registration_charts(results),
        "training_charts": figures.training_charts(results),
    }


def _ablation_table(results: Results) -> Table | None:
    table = figures.ablation_table(results)
    if len(table) < 2:
        return None
    names = results.object_names
    rows = [
        [
            words(r.experiment),
            number(r.lambda_is, 0),
            words("yes" if r.bone_loss else "no"),
            number(r.pcc, 3),
            number(r.published, 3, style="published", hint=SOURCE),
            *(number(getattr(r, n), 3) for n in names),
        ]
        for r in table.itertuples()
    ]
    labels = ["Experiment", "λ of the intensity sum", "Bone loss", "Mean PCC", "Gu et al. 2023", *map(title, names)]
    caption = "PCC of lean mass of each experiment: mean of the muscles (the paper's table 2), and each structure's."
    notes = [
        f"Published: {SOURCE}, one fold; of the paper's cells per structure only the mean of the muscles is at hand."
    ]
    return plain("table2_ablation", caption, labels, rows, notes=notes)


def _ablation_note(results: Results) -> str:
    if results.config.evaluation.tuning_folds:
        folds = ", ".join(map(str, results.config.evaluation.tuning_folds))
        return f"On the folds kept for choosing loss weights ({folds}), which enter no other table."
    return (
        "On the reported folds: choose no loss weight from this table. Name folds in evaluation.tuning_folds to keep "
        "them for that, apart from every result."
    )


def _pose_note(results: Results) -> str:
    if len(results.maps):
        return "What stands beside the predictions is the truth in the radiograph’s own posture."
    return (
        "Muscles are rendered from the CT at the nominal pose, so their position may differ from the radiograph’s; "
        "accepted bones are at their registered pose."
    )


def _lead(results: Results) -> str:
    folds = results.evaluation.get("folds", [])
    which = f"fold {folds[0]}" if len(folds) == 1 else f"folds {', '.join(map(str, folds))}"
    return (
        f"Volume and lean mass of {len(results.object_names)} muscles and bones, predicted from one radiograph and "
        f"compared with the CT in {len(results.tested)} patients of {which}, whom the models had not seen."
    )


def _notices(results: Results) -> list[str]:
    notices = [results.config.report.notice] if results.config.report.notice else []
    if results.config.cohort.sheet is None:
        notices.append(
            "These are virtual patients, synthesised by the workflow: the figures say nothing about patients."
        )
    if results.warnings:
        notices.append(
            f"The import warned about {len(results.warnings)} of {len(results.patients)} patients: "
            f"{_some(list(results.warnings))}. The section Exclusions and the patients' pages say of what."
        )
    for gap in results.evaluation.get("missing", []):
        notices.append(
            f"Experiment {gap['experiment']} has no predictions for fold {gap['fold']}: its cells rest on fewer "
            "patients."
        )
    rows = results.agreement[results.agreement["statistic"] == "mae"]
    empty = [title(n) for n in results.object_names if (rows.loc[rows["structure"] == n, "n"] == 0).all()]
    if empty:
        notices.append(f"{', '.join(empty)}: complete in no tested patient, so agreement is undefined, not zero.")
    if len(results.tested) < 30:
        notices.append(f"{len(results.tested)} tested patients are few: read the intervals, not the values.")
    return notices


def _some(patients: list[str]) -> str:
    more = len(patients) - _MOST_NAMED
    return ", ".join(patients[:_MOST_NAMED]) + (f" and {more} more" if more > 0 else "")


def _example(results: Results, label: str, patient: str, error: float) -> dict[str, str]:
    link = f"patients/{patient}.html" if results.config.report.patient_pages else ""
    return {"label": label, "patient": patient, "link": link, "note": f"mean relative error {error:.1%}"}


def _payload(results: Results, charts: list[Chart], shown: list[tuple[str, str, float]]) -> dict[str, Any]:
    viewers = []
    wanted = {patient for _, patient, _ in shown}
    known = {p.id: p for p in patients(results) if p.id in wanted} if shown else {}
    for _, patient, _ in shown:
        rendered = RenderedDrrs.read(results.root / "patients", patient, results.channel_names)
        numbers = viewer_numbers(results, known[patient])
        viewers.append(viewer_payload(results, rendered, predicted(results, rendered), numbers, exact=True))
    return {
        "objects": [
            {
                "id": n,
                "label": title(n),
                "channels": [{"name": c["name"], "side": c["side"]} for c in results.objects if c["object"] == n],
            }
            for n in results.object_names
        ],
        "methods": [{"id": m.id, "label": m.label, "kind": m.kind, "colour": m.colour} for m in results.methods],
        "units": QUANTITY_UNITS,
        "ranges": results.ranges,
        "patients": results.tested,
        "points": {q: _columns(results, figures.counted(results, q)) for q in QUANTITY_COLUMNS},
        "charts": {c.id: c.payload() for c in charts},
        "viewers": viewers,
    }


def _columns(results: Results, points: pd.DataFrame) -> dict[str, Any]:
    """By channel: truth, and the prediction by method, in the order of the tested patients."""
    found: dict[str, Any] = {}
    for channel, rows in points.groupby("channel", sort=False):
        truth = rows.drop_duplicates("patient_id").set_index("patient_id")["truth"].reindex(results.tested)
        found[str(channel)] = {"truth": [significant(v) for v in truth], "predicted": {}}
        for method, some in rows.groupby("method", sort=False):
            values = some.set_index("patient_id")["predicted"].reindex(results.tested)
            found[str(channel)]["predicted"][str(method)] = [significant(v) for v in values]
    return found
