"""CLAIM 2024 and TRIPOD+AI, filled in with what the run knows; the rest is left to the author by name."""

import csv
from pathlib import Path
from typing import Any

from mskdex.evaluation.agreement import STATISTICS
from mskdex.report.html_tables import Cell, Table, plain, words
from mskdex.report.results import Results, title

GUIDELINES = {
    "CLAIM 2024": "Checklist for Artificial Intelligence in Medical Imaging, 2024 update (Tejani et al. 2024)",
    "TRIPOD+AI": "Transparent reporting of a prediction model, extension for AI (Collins et al. 2024)",
}
"""The items are given in this project's own words."""

TO_THE_AUTHOR = "to be answered by the author"


def checklist_tables(results: Results) -> list[Table]:
    """A table per guideline: item, what it asks, the answer or who has to give it."""
    answers = _answers(results)
    with (Path(__file__).parent / "checklists.csv").open(encoding="utf-8") as handle:
        items = list(csv.DictReader(handle))
    tables = []
    for guideline, reference in GUIDELINES.items():
        rows = []
        own = [i for i in items if i["guideline"] == guideline]
        for order, item in enumerate(own):
            answer = answers.get(item["answer"])
            shown = words(answer) if answer else Cell(TO_THE_AUTHOR, TO_THE_AUTHOR, style="author")
            rows.append([Cell(item["item"], f"{order:03d}"), words(item["section"]), words(item["asks"]), shown])
        known = sum(bool(answers.get(i["answer"])) for i in own)
        name = "checklist_" + guideline.split()[0].lower().replace("+", "_")
        caption = f"{reference}: {known} of {len(own)} items are answered from this run."
        tables.append(plain(name, caption, ["Item", "Section", "Asks for", "Answer"], rows))
    return tables


def _answers(results: Results) -> dict[str, str]:
    return _data_answers(results) | _model_answers(results) | _evaluation_answers(results)


def _data_answers(results: Results) -> dict[str, str]:
    c, p = results.config, results.patients
    sources = ", ".join(sorted(set(p["label_source"].astype(str)))) if "label_source" in p else "not recorded"
    sheet = results.sheet or "a synthesised cohort of virtual patients, not of real ones"
    missing = {k: int(p[k].isna().sum()) for k in ("sex", "age", "height_cm", "weight_kg")}
    absent = ", ".join(f"{k} in {v}" for k, v in missing.items() if v) or "no demographic value is missing"
    spacing = f"resampled to {c.ct.spacing_mm} mm" if c.ct.spacing_mm else "on its native grid"
    return {
        "sources": f"Cohort sheet: {sheet}.",
        "exclusions": f"{len(results.excluded)} patients excluded by the cohort sheet or because the radiograph could "
        "not be registered to the CT, with the reasons listed in this report; clinical criteria are for the author "
        "to add.",
        "preprocessing": f"CT in HU, {spacing}; radiographs as log attenuation; DRRs on {c.image.rows} × "
        f"{c.image.columns} pixels of {c.image.pixel_mm} mm; intensities normalised by constants of the training "
        "folds.",
        "subsets": f"Folds {_folds(results)} of {c.folds.count} were trained and tested.",
        "missing": f"Demographics: {absent}; the regression takes the training mean. Objects that the CT cuts off or "
        "that lie outside the exposed field count in no statistic, and are listed.",
        "reference": "Volume and lean mass of each object, summed over the CT's voxels within its label.",
        "reference_reason": "The CT measures in three dimensions what the radiograph shows as a projection.",
        "label_sources": f"Label source: {sources}.",
        "blinding": "The reference is computed from the CT without the radiograph's prediction.",
        "flow": f"{len(p) + len(results.excluded)} patients in the sheet, {len(results.excluded)} excluded, {len(p)} "
        f"included, {len(results.tested)} tested by a model that had not seen them.",
        "demographics": "Given in this report's section on the cohort.",
        "predictors": "One frontal radiograph of the hips and its camera. No demographics enter the image models; "
        "“fused” joins age, sex, height and weight with the estimate.",
    }


def _model_answers(results: Results) -> dict[str, str]:
    experiment = results.config.experiments.get(results.proposed)
    facts: dict[str, Any] = next((t.get("manifest", {}) for t in results.trainings.values()), {})
    answers = {
        "method": "Deep learning: decomposition of one radiograph into DRRs of each muscle and bone.",
        "software": f"mskdex {facts.get('mskdex', '')}, Python {facts.get('python', '')}, torch "
        f"{facts.get('torch', '')}.",
        "ensembling": "None: one model per fold.",
        "selection": "The weights after the last epoch; no selection on test patients.",
        "updating": "No model was updated.",
        "predictions": "Each quantity is the pixel sum of its predicted DRR.",
        "imbalance": "Not applicable: the outcomes are continuous.",
        "output": "Volume in cm³ and lean mass in g of each object; low muscle is a z-score below "
        f"{results.config.evaluation.low_muscle_z:g} of the training patients of the same sex.",
        "interpretability": "The prediction is itself an image: the decomposition of each patient is shown.",
        "availability": "The software is open (Apache-2.0); model and data are for the author to state.",
    }
    if experiment is not None:
        o, n, w = experiment.optimisation, experiment.network, experiment.losses
        objects = ", ".join(title(x) for x in results.object_names)
        adversaries = f"; inverse generator; PatchGAN discriminators on {n.discriminator_scales} scales"
        answers |= {
            "model": f"Generator {n.backbone} from radiograph to three DRRs (weighted volume, volume, lean mass) of "
            f"each of: {objects}{adversaries if w.lambda_gan else ''}.",
            "initialisation": f"Random, seed {o.seed}.",
            "training": f"{o.epochs} epochs, batch {o.batch_size}, AdamW at {o.learning_rate:g}; loss weights: "
            f"cycle {w.lambda_cyc:g}, gradient correlation {w.lambda_gc:g}, intensity sum {w.lambda_is:g}, bones "
            f"{w.lambda_bone:g}.",
        }
    return answers


def _evaluation_answers(results: Results) -> dict[str, str]:
    s = results.config.evaluation
    names = ", ".join(v.label for v in STATISTICS.values())
    accepted = results.registration["accepted"]
    answers = {
        "partitions": f"{results.config.folds.count} folds of patients, stratified by sex, by a hash of seed "
        f"{results.config.folds.seed} and the patient's number.",
        "disjoint": "Patients: no test patient was in the training set; asserted from the training manifests.",
        "metrics": f"{names}; PSNR, SSIM and gradient correlation of bones.",
        "uncertainty": f"{s.confidence:.0%} intervals from {s.bootstrap_samples} bootstrap resamples of patients; "
        "analysis of variance and paired Wilcoxon tests, Holm-corrected.",
        "internal": f"Cross-validation, folds {_folds(results)} of {results.config.folds.count}.",
        "performance": "Given in this report's tables of agreement, with intervals.",
        "failures": f"Best, median and worst patient are shown; {int((~accepted).sum())} of {len(accepted)} bone "
        "registrations were not used, each with its reason.",
    }
    if len(results.config.experiments) > 2:
        answers["ablation"] = "Ablation of the loss terms, in this report."
    return answers


def _folds(results: Results) -> str:
    return ", ".join(str(f) for f in results.evaluation.get("folds", []))
