"""Stage `report`: the HTML report, its tables and its figures."""

import logging
import shutil
import time
from pathlib import Path

from mskdex.config import Config
from mskdex.evaluation.points import QUANTITY_COLUMNS
from mskdex.evaluation.text import summary_text
from mskdex.io.artifacts import atomic_path, manifest, write_json
from mskdex.report import figures
from mskdex.report.montage import save_montage
from mskdex.report.page import write_index
from mskdex.report.patient_pages import patients, write_patient, write_shared
from mskdex.report.printing import print_pdf
from mskdex.report.results import Results, read_results
from mskdex.report.static import save

log = logging.getLogger("mskdex.report")


def report(results_root: Path, config: Config, out: Path) -> str:
    """Writes index.html, print.html, tables/*.csv, figures/*, patients/*.html and, where Chromium is, report.pdf;
    prints what the radiograph adds, the correlations and the path.

    summary.txt holds what was printed.

    Args:
        results_root: results.
        config: the whole config.
        out: results/report. The index is written last, so that it stands only when all else does.

    Returns:
        What was printed.

    Raises:
        MskdexError: an artifact of an earlier stage is missing or cannot be read.
    """
    started = time.time()
    results = read_results(results_root, config)
    for folder in ("tables", "figures", "patients"):
        shutil.rmtree(out / folder, ignore_errors=True)
    _figures(results, out / "figures")
    if config.report.patient_pages:
        write_shared(out / "patients")
        for patient in patients(results):
            write_patient(results, patient, out / "patients")
    folds = [f for f in results.evaluation["folds"] if f not in config.evaluation.tuning_folds]
    text = summary_text(results.agreement, results.added_value, folds, config.folds.count)
    text = f"{text}\n\nReport: {out / 'index.html'}"
    (out / "report.pdf").unlink(missing_ok=True)
    with atomic_path(out / "summary.txt") as temporary:
        temporary.write_text(text + "\n", encoding="utf-8")
    write_json(out / "report.json", manifest("report", started, patients=len(results.patients)))
    write_index(results, out)
    if not print_pdf(out / "print.html", out / "report.pdf"):
        log.info("without Chromium there is no report.pdf; print %s from a browser", out / "print.html")
    print(text)
    return text


def _figures(results: Results, folder: Path) -> None:
    for quantity in QUANTITY_COLUMNS:
        save([figures.correlation_chart(results, quantity)], f"correlation_{quantity}", folder)
    for quantity in figures.REPORTED:
        save(figures.scatter_charts(results, quantity), f"scatter_{quantity}", folder)
        save(figures.difference_charts(results, quantity), f"bland_altman_{quantity}", folder)
    for chart in [*figures.cohort_charts(results), *figures.registration_charts(results)]:
        save([chart], chart.id, folder)
    save(figures.training_charts(results), "training", folder)
    ablation = figures.ablation_chart(results)
    if ablation:
        save([ablation], ablation.id, folder)
    save_montage(results, "decompositions", folder)
