"""Stage `evaluate`: predictions against the CT, beside the baselines."""

import logging
import time
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from mskdex.config.evaluation import EvaluationSettings
from mskdex.errors import MskdexError
from mskdex.evaluation.added_value import added_value_table
from mskdex.evaluation.baselines import BASELINES
from mskdex.evaluation.comparators import read_comparator
from mskdex.evaluation.coverage import coverage_table
from mskdex.evaluation.decisions import decision_table
from mskdex.evaluation.decompositions import bone_likeness, intensity_ranges
from mskdex.evaluation.differences import difference_table
from mskdex.evaluation.external import external_tables, mean_of_models
from mskdex.evaluation.guards import training_patients
from mskdex.evaluation.maps import map_likeness
from mskdex.evaluation.model_calibration import ERRORS, FUSION, held_out_errors, models
from mskdex.evaluation.points import Cohort, baseline_points, complete_points, trained_points
from mskdex.evaluation.stacking import FUSED, with_demographics
from mskdex.evaluation.subgroups import subgroup_table, with_examinations
from mskdex.evaluation.summaries import agreement_table, tests_table
from mskdex.evaluation.text import summary_text
from mskdex.evaluation.thumbnails import Thumbnails
from mskdex.io.artifacts import manifest, write_json, write_parquet

log = logging.getLogger("mskdex.evaluate")


def evaluate(
    experiments_root: Path,
    experiments: Sequence[str],
    folds_trained: Sequence[int],
    cohort_dir: Path,
    patients_root: Path,
    settings: EvaluationSettings,
    out: Path,
    truth_root: Path | None = None,
) -> str:
    """Writes the evaluation's tables (Parquet), ranges.json and evaluate.json.

    The tables: added_value, differences, agreement, coverage, subgroups, decisions, images, maps, tests, points and
    tuning; of patients whom no fold trains on external_points, external_added_value and external_coverage; and
    errors.parquet and fusion.json, which the prediction of new radiographs takes.

    Args:
        experiments_root: results/experiments.
        experiments: names of the experiments.
        folds_trained: folds that were trained.
        cohort_dir: results/cohort, with quantities.parquet.
        patients_root: results/patients.
        settings: section `evaluation` of the config.
        out: folder to write to, results/evaluation.
        truth_root: results/virtual, with the true images of virtual patients; None where patients are real.

    Returns:
        What the radiograph adds and the table of Pearson correlations as text; they are printed too.

    Raises:
        MskdexError: nothing was predicted, or a leak guard finds a patient on both sides of a fold.
    """
    started = time.time()
    cohort, outside = Cohort.read(cohort_dir), Cohort.read(cohort_dir, external=True)
    predicted, missing = trained_points(experiments_root, experiments, folds_trained, cohort)
    for experiment, fold in missing:
        log.warning("experiment %s has no predictions for fold %d; its tables rest on fewer patients", experiment, fold)
    folds = [f for f in folds_trained if f in set(predicted["fold"])]
    everybody = [*cohort.folds.index, *outside.folds.index]
    thumbnails = Thumbnails.read(patients_root, everybody, cohort.names, settings.thumbnail_pixels)
    further = [baseline_points(cohort, folds, thumbnails), *_comparators(settings, cohort, experiments)]
    alone = complete_points(pd.concat([predicted, *further], ignore_index=True), cohort, settings.min_visible_fraction)
    proposed = settings.proposed if settings.proposed in set(predicted["method"]) else predicted["method"].iloc[0]
    settings = settings.model_copy(update={"proposed": proposed})
    points, joined = with_demographics(alone, proposed, cohort.truth, cohort.folds, cohort.persons)
    reported = [f for f in folds if f not in settings.tuning_folds]
    results, joined = (t[t["fold"].isin(reported)] for t in (points, joined))
    if results.empty:
        msg = f"evaluation.tuning_folds {list(settings.tuning_folds)} leaves no trained fold to report; train another"
        raise MskdexError(msg)
    ranges = intensity_ranges(patients_root, _trained_on(cohort.folds, reported), cohort.names)
    tested = predicted[["method", "fold", "patient_id"]].drop_duplicates()
    folders = _folders(experiments_root, tested)
    images = bone_likeness(folders, patients_root, tested, ranges, cohort.names)
    maps = map_likeness(folders, patients_root, truth_root, tested, ranges, cohort.names)
    agreement = agreement_table(results, settings, cohort.persons)
    added = added_value_table(results, joined, cohort.patients, settings, cohort.persons)
    methods = [m for m in (proposed, FUSED) if m in set(results["method"])]
    sexes, scales = cohort.sexes, pd.Series(thumbnails.scales, index=list(thumbnails.patients))
    people = with_examinations(pd.concat([cohort.patients, outside.patients]), scales, patients_root)
    covered = coverage_table(results, methods, sexes, scales, cohort.persons, people["device"])
    new = mean_of_models(experiments_root, experiments, reported, outside)
    external = external_tables(new, results, proposed, cohort, outside, thumbnails, people, settings)
    write_parquet(out / ERRORS, held_out_errors(results, joined, experiments, people))
    write_json(out / FUSION, {"models": models(results, _trained(experiments_root, predicted), cohort)})
    write_parquet(out / "external_points.parquet", external.points)
    write_parquet(out / "external_added_value.parquet", external.added_value)
    write_parquet(out / "external_coverage.parquet", external.coverage)
    write_parquet(out / "coverage.parquet", covered)
    write_parquet(out / "decisions.parquet", decision_table(results, cohort, settings))
    write_parquet(out / "subgroups.parquet", subgroup_table(results, methods, people))
    write_parquet(out / "points.parquet", points)
    write_parquet(out / "added_value.parquet", added)
    differences = difference_table(results, joined, cohort.patients, settings, cohort.persons)
    write_parquet(out / "differences.parquet", differences)
    write_parquet(out / "agreement.parquet", agreement)
    write_parquet(out / "images.parquet", images)
    write_parquet(out / "maps.parquet", maps[maps["fold"].isin(reported)].reset_index(drop=True))
    shown = images[images["fold"].isin(reported)]
    write_parquet(out / "tests.parquet", tests_table(results, shown, settings, cohort.persons))
    tuned = points[points["fold"].isin(settings.tuning_folds)]
    tuning = agreement_table(tuned, settings, cohort.persons) if len(tuned) else agreement.iloc[:0]
    write_parquet(out / "tuning.parquet", tuning)
    write_json(out / "ranges.json", ranges)
    write_json(out / "evaluate.json", _facts(started, settings, folds, missing, results))
    text = summary_text(agreement, added, reported, int(cohort.folds.nunique()))
    print(text)
    return text


def _trained(experiments_root: Path, predicted: pd.DataFrame) -> dict[tuple[str, int], tuple[str, ...]]:
    """Patients whom the model of each experiment and fold has seen."""
    pairs = predicted[["method", "fold"]].drop_duplicates().itertuples(index=False)
    return {
        (str(m), int(f)): training_patients(experiments_root / str(m) / f"fold{int(f)}" / "train.json")
        for m, f in pairs
    }


def _trained_on(folds: pd.Series, reported: Sequence[int]) -> list[str]:
    """Patients of the training set of any reported fold."""
    return [str(p) for p, own in folds.items() if any(fold != own for fold in reported)]


def _comparators(settings: EvaluationSettings, cohort: Cohort, experiments: Sequence[str]) -> list[pd.DataFrame]:
    for name in settings.comparators:
        if name in (*experiments, *BASELINES, FUSED):
            msg = f"evaluation.comparators.{name}: another method has this name; choose another"
            raise MskdexError(msg)
    return [read_comparator(name, Path(path), cohort) for name, path in settings.comparators.items()]


def _folders(experiments_root: Path, tested: pd.DataFrame) -> dict[tuple[str, int], Path]:
    """Folder of the decompositions of every method and fold."""
    pairs = tested[["method", "fold"]].drop_duplicates().itertuples(index=False)
    return {(str(m), int(f)): experiments_root / str(m) / f"fold{int(f)}" / "decompositions" for m, f in pairs}


def _facts(
    started: float, settings: EvaluationSettings, folds: list[int], missing: list[tuple[str, int]], points: pd.DataFrame
) -> dict:
    return manifest(
        "evaluate",
        started,
        settings=settings.model_dump(mode="json"),
        folds=folds,
        missing=[{"experiment": e, "fold": f} for e, f in missing],
        methods=list(dict.fromkeys(points["method"])),
        patients=int(points["patient_id"].nunique()),
    )
