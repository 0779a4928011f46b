"""Stage `evaluate`: predictions against the CT, beside the baselines."""

import logging
import time
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from mskdex.config.evaluation import EvaluationSettings
from mskdex.errors import MskdexError
from mskdex.evaluation.baselines import BASELINES
from mskdex.evaluation.comparators import read_comparator
from mskdex.evaluation.decompositions import bone_likeness, intensity_ranges
from mskdex.evaluation.points import Cohort, baseline_points, complete_points, trained_points
from mskdex.evaluation.summaries import agreement_table, tests_table
from mskdex.evaluation.text import correlation_table
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
) -> str:
    """Writes agreement, images, tests, points and tuning (Parquet), ranges.json and evaluate.json.

    Args:
        experiments_root: results/experiments.
        experiments: names of the experiments.
        folds_trained: folds that were trained.
        cohort_dir: results/cohort, with quantities.parquet.
        patients_root: results/patients.
        settings: section `evaluation` of the config.
        out: folder to write to, results/evaluation.

    Returns:
        The table of Pearson correlations as text; it is printed too.

    Raises:
        MskdexError: nothing was predicted, or a leak guard finds a patient on both sides of a fold.
    """
    started = time.time()
    cohort = Cohort.read(cohort_dir)
    predicted, missing = trained_points(experiments_root, experiments, folds_trained, cohort)
    for experiment, fold in missing:
        log.warning("experiment %s has no predictions for fold %d; its tables rest on fewer patients", experiment, fold)
    folds = [f for f in folds_trained if f in set(predicted["fold"])]
    everything = [predicted, baseline_points(cohort, folds), *_comparators(settings, cohort, experiments)]
    points = complete_points(pd.concat(everything, ignore_index=True), cohort, settings.min_visible_fraction)
    results = points[points["fold"].isin(folds) & ~points["fold"].isin(settings.tuning_folds)]
    if results.empty:
        msg = f"evaluation.tuning_folds {list(settings.tuning_folds)} leaves no trained fold to report; train another"
        raise MskdexError(msg)
    ranges = intensity_ranges(patients_root, cohort.folds.index, cohort.names)
    images = _images(experiments_root, predicted, patients_root, ranges, cohort.names)
    agreement = agreement_table(results, settings)
    write_parquet(out / "points.parquet", points)
    write_parquet(out / "agreement.parquet", agreement)
    write_parquet(out / "images.parquet", images)
    reported = images[~images["fold"].isin(settings.tuning_folds)]
    write_parquet(out / "tests.parquet", tests_table(results, reported, settings))
    tuned = points[points["fold"].isin(settings.tuning_folds)]
    write_parquet(out / "tuning.parquet", agreement_table(tuned, settings) if len(tuned) else agreement.iloc[:0])
    write_json(out / "ranges.json", ranges)
    write_json(out / "evaluate.json", _facts(started, settings, folds, missing, results))
    reported_folds = sorted(int(f) for f in results["fold"].unique())
    text = correlation_table(agreement, reported_folds, int(cohort.folds.nunique()))
    print(text)
    return text


def _comparators(settings: EvaluationSettings, cohort: Cohort, experiments: Sequence[str]) -> list[pd.DataFrame]:
    for name in settings.comparators:
        if name in (*experiments, *BASELINES):
            msg = f"evaluation.comparators.{name}: an experiment or baseline has this name; choose another"
            raise MskdexError(msg)
    return [read_comparator(name, Path(path), cohort) for name, path in settings.comparators.items()]


def _images(
    experiments_root: Path,
    predicted: pd.DataFrame,
    patients_root: Path,
    ranges: dict[str, dict[str, float]],
    objects: Sequence[str],
) -> pd.DataFrame:
    tested = predicted[["method", "fold", "patient_id"]].drop_duplicates()
    folders = {
        (str(method), int(fold)): experiments_root / str(method) / f"fold{int(fold)}" / "decompositions"
        for method, fold in tested[["method", "fold"]].drop_duplicates().itertuples(index=False)
    }
    return bone_likeness(folders, patients_root, tested, ranges, objects)


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
