"""The report for paper: one page without scripts, of tables and static figures, and a PDF of it where Chromium is."""

import logging
import os
import shutil
import subprocess
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import mskdex
from mskdex.evaluation.added_value import MEAN_OF_MUSCLES
from mskdex.io.artifacts import atomic_path
from mskdex.report.html_tables import Cell, Table
from mskdex.report.templating import asset, render

log = logging.getLogger("mskdex.report")

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
"""Commands that print a page as PDF."""

MOST_ROWS = 45
"""Rows of a table on paper; the CSV has them all."""

_PRINT_SECONDS = 180

_SECTIONS = (
    ("What the image adds", ("added_value_tables",), ()),
    ("Correlation", ("correlation_tables",), ("correlation_lean_mass_g", "correlation_volume_cm3")),
    ("Absolute agreement", ("reliability_tables",), ("scatter_lean_mass_g", "bland_altman_lean_mass_g")),
    ("Sub-groups", ("subgroup_tables",), ()),
    ("Prediction intervals", ("coverage_tables",), ()),
    ("Low muscle", ("decisions_table",), ()),
    ("External cohort", ("external_tables", "external_coverage_tables"), ()),
    ("Decompositions", ("map_tables", "bone_tables"), ("decompositions",)),
    ("Ablation", ("ablation_table",), ("ablation_owis",)),
    ("Cohort", ("cohort_table", "density_table"), ("cohort_bmi_volume", "cohort_bmi_density")),
    ("Registration", ("registration_table", "calibration_table", "devices_table"), ("registration_confidence",)),
    ("Exclusions", ("excluded_table", "left_out_table", "flagged_table", "warnings_table"), ()),
    ("Training", ("training_table",), ("training",)),
    ("Reporting checklists", ("checklist_tables",), ()),
    ("Run", ("run_table",), ()),
)
"""Title, tables and figures of each section."""

_PRINTED = ("lean_mass_g", "volume_cm3", "")
"""Quantities on paper; the weighted volume is on the screen."""


def write_print(folder: Path, tables: dict[str, Any], top: dict[str, Any]) -> Path:
    """Writes print.html.

    Args:
        folder: results/report, with its figures.
        tables: the index page's, by name: tables, lists of tables, or None.
        top: title, lead, notices, answers and cards of the index page.
    """
    sections = []
    for title, names, figures in _SECTIONS:
        of = [t for name in names for t in _listed(tables[name]) if t.quantity in _PRINTED]
        pictures = [name for name in figures if (folder / "figures" / f"{name}.svg").is_file()]
        if of or pictures:
            sections.append({"title": title, "tables": [shortened(t) for t in of], "figures": pictures})
    page = render("print.html.j2", sections=sections, print_css=asset("print.css"), version=mskdex.__version__, **top)
    with atomic_path(folder / "print.html") as path:
        path.write_text(page, encoding="utf-8")
    return folder / "print.html"


def _listed(tables: Any) -> list[Table]:
    if tables is None:
        return []
    return tables if isinstance(tables, list) else [tables]


def shortened(table: Table) -> Table:
    """A long table's rows of the mean over the muscles, or its first rows, with a note of what is left out."""
    rows = [row for group in table.groups for row in group]
    if len(rows) <= MOST_ROWS:
        return table
    mean = MEAN_OF_MUSCLES.replace("_", " ").capitalize().replace("Mean of muscles", "Mean of the muscles")
    shown = [row for row in rows if any(cell.text == mean for cell in row)] or rows
    shown = shown[:MOST_ROWS]
    note = f"{len(shown)} of {len(rows)} rows; tables/{table.id}.csv has all."
    groups: list[list[list[Cell]]] = [[row] for row in shown]
    return replace(table, groups=groups, notes=[*table.notes, note])


def print_pdf(page: Path, out: Path) -> bool:
    """Prints a page as PDF with headless Chromium; whether there is one.

    Args:
        page: HTML that needs no script.
        out: PDF to write; an older one goes first.
    """
    out.unlink(missing_ok=True)
    browser = next((found for name in BROWSERS if (found := shutil.which(name))), None)
    if browser is None:
        return False
    with tempfile.TemporaryDirectory() as home:
        made = Path(home) / "report.pdf"
        command = [browser, "--headless", "--disable-gpu", "--no-pdf-header-footer", f"--user-data-dir={home}/profile"]
        command += ["--no-sandbox"] * (os.name == "posix" and os.geteuid() == 0)  # Chromium refuses root otherwise
        command += [f"--print-to-pdf={made}", page.resolve().as_uri()]
        try:
            subprocess.run(command, capture_output=True, timeout=_PRINT_SECONDS, check=True)
            with atomic_path(out) as path:
                shutil.copyfile(made, path)
        except (OSError, subprocess.SubprocessError) as error:
            log.warning("%s could not print %s (%s); print that page by hand", browser, page, error)
            return False
    return True
