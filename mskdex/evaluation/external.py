"""An external cohort: patients whom no fold trains on, predicted by every trained fold's model."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from mskdex.config.evaluation import EvaluationSettings
from mskdex.evaluation.added_value import added_value_table
from mskdex.evaluation.baselines import DEMOGRAPHICS_THUMBNAIL, Fold, predict_baselines
from mskdex.evaluation.coverage import COLUMNS as COVERAGE_COLUMNS
from mskdex.evaluation.coverage import coverage_of_new
from mskdex.evaluation.guards import check_disjoint, training_patients
from mskdex.evaluation.points import COLUMNS_OF_POINTS, Cohort, complete_points
from mskdex.evaluation.stacking import ALONE, FUSED, fuse_new
from mskdex.evaluation.thumbnails import Thumbnails
from mskdex.io.artifacts import read_parquet
from mskdex.io.stack import require_same

log = logging.getLogger("mskdex.evaluate")

EXTERNAL_PREDICTIONS = "external.parquet"
"""Predictions of a fold's model beside its own test patients'."""

_KEYS = ["patient_id", "channel", "quantity"]


@dataclass(frozen=True)
class External:
    """Tables of the external cohort; all empty where there is none.

    Attributes:
        points: as `points.parquet`; the fold is -1.
        added_value: as `added_value.parquet`, without the folds' own.
        coverage: of intervals that were calibrated on the held-out patients.
    """

    points: pd.DataFrame
    added_value: pd.DataFrame
    coverage: pd.DataFrame


NOBODY = External(
    pd.DataFrame(columns=list(COLUMNS_OF_POINTS)),
    pd.DataFrame(
        columns=["method", "quantity", "structure", "kind", "measure", "value", "low", "high", "n", "undefined"]
    ),
    pd.DataFrame(columns=list(COVERAGE_COLUMNS)),
)


def mean_of_models(
    experiments_root: Path, experiments: Sequence[str], folds: Sequence[int], outside: Cohort
) -> pd.DataFrame:
    """Predictions of the external patients: the mean of those by the models of all trained folds.

    Args:
        experiments_root: results/experiments.
        experiments: names of the experiments.
        folds: folds that were trained and are reported.
        outside: the external cohort.

    Returns:
        method, patient_id, channel, quantity, predicted, visible.

    Raises:
        MskdexError: a model has seen one of them, or was made for other objects.
    """
    parts = []
    for experiment in experiments if len(outside.folds) else ():
        for fold in folds:
            path = experiments_root / experiment / f"fold{fold}" / EXTERNAL_PREDICTIONS
            if not path.is_file():
                log.warning("experiment %s, fold %d has not predicted the external patients", experiment, fold)
                continue
            table = read_parquet(path).astype({"patient_id": str})
            where = f"experiment {experiment}, fold {fold}"
            require_same(list(table["channel"].unique()), outside.names, f"{where}: {path}", "the cohort")
            seen = training_patients(path.with_name("train.json"))
            check_disjoint(seen, table["patient_id"], f"{where}: external patients were trained on")
            parts.append(table[table["patient_id"].isin(outside.folds.index)].assign(method=experiment))
    if not parts:
        return pd.DataFrame(columns=["method", *_KEYS, "predicted", "visible"])
    every = pd.concat(parts, ignore_index=True)
    means: pd.DataFrame = every.groupby(["method", *_KEYS], sort=False)[["predicted", "visible"]].mean().reset_index()
    return means


def external_tables(
    predicted: pd.DataFrame,
    held_out: pd.DataFrame,
    proposed: str,
    inside: Cohort,
    outside: Cohort,
    thumbnails: Thumbnails,
    people: pd.DataFrame,
    settings: EvaluationSettings,
) -> External:
    """Evaluates the external cohort with the measures of the held-out patients.

    Baselines are fitted on all patients of the folds; the weights of what is stacked with demographics and the errors
    that calibrate the intervals are those of the held-out patients.

    Args:
        predicted: from `mean_of_models`.
        held_out: completed points of the reported folds.
        proposed: the experiment that `FUSED` is made of.
        inside: patients of the folds.
        outside: the external cohort.
        thumbnails: radiographs of both.
        people: sex, scale and device of both, indexed by patient_id.
        settings: section `evaluation` of the config.

    Raises:
        MskdexError: a person is in both cohorts.
    """
    if predicted.empty:
        return NOBODY
    check_disjoint(inside.persons, outside.persons, "persons both in a fold and in the external cohort")
    baselines = _baselines(inside, outside, thumbnails)
    number = int(outside.folds.iloc[0])
    given = pd.concat([predicted, baselines], ignore_index=True).assign(fold=number)
    alone = complete_points(given, outside, settings.min_visible_fraction)
    points, joined = _with_demographics(held_out, alone, proposed, inside.truth)
    added = added_value_table(points, joined, outside.patients, settings, outside.persons)
    added = added[~added["measure"].str.startswith("pcc_fold_")].reset_index(drop=True)
    methods = [m for m in (proposed, FUSED) if m in set(points["method"])]
    return External(points, added, coverage_of_new(held_out, points, methods, people))


def _baselines(inside: Cohort, outside: Cohort, thumbnails: Thumbnails) -> pd.DataFrame:
    fold = Fold(list(inside.folds.index), list(outside.folds.index), Fold.parts_of(inside.folds, inside.persons))
    truth, patients = pd.concat([inside.truth, outside.truth]), pd.concat([inside.patients, outside.patients])
    return predict_baselines(truth, patients, thumbnails, fold)


def _with_demographics(
    held_out: pd.DataFrame, points: pd.DataFrame, proposed: str, truth: pd.DataFrame
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The points with those of `FUSED` after the proposed experiment's, and every method joined with demographics."""
    known = set(held_out["method"])
    joined = {m: fuse_new(held_out, points, m, truth) for m in dict.fromkeys(points["method"]) if m not in ALONE}
    joined = {m: table for m, table in joined.items() if m in known and len(table)}
    parts = []
    for method, rows in points.groupby("method", sort=False):
        parts.append(rows)
        if method == proposed and proposed in joined:
            parts.append(joined[proposed].assign(method=FUSED))
    both = [t.assign(method=FUSED) for m, t in joined.items() if m == proposed]
    both.append(points[points["method"] == DEMOGRAPHICS_THUMBNAIL])
    return pd.concat(parts, ignore_index=True), pd.concat([*joined.values(), *both], ignore_index=True)
