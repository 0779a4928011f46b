"""Low muscle found from the radiograph: ROC, sensitivity at a fixed specificity, and net benefit.

The index is the lean mass of all muscles of the hip that the cohort has, both sides together, and the same per squared
height. It is an index of its own: cut-offs for appendicular lean mass (AWGS, EWGSOP) do not apply to it.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from mskdex.config.evaluation import EvaluationSettings
from mskdex.evaluation.agreement import interval, person_resamples
from mskdex.evaluation.points import Cohort

LEAST_REFERENCE = 10
"""Training patients of a sex that a z-score needs; tested patients of a sex with fewer are left out."""

RISKS = (0.1, 0.2, 0.3, 0.4, 0.5)
"""Threshold probabilities of the decision curve."""

INDICES = {"hip_lean_mass": "g", "hip_lean_mass_per_height2": "g/m²"}
COLUMNS = ("method", "index", "measure", "value", "low", "high", "n", "low_muscle", "left_out", "undefined")


@dataclass(frozen=True)
class Scores:
    """z-scores of tested patients by a method.

    Attributes:
        truth: (patients,) of the CT's index.
        predicted: (patients,) of the predicted index.
        persons: (patients,) whose row it is.
        folds: (patients,).
        left_out: tested patients without a z-score.
    """

    truth: np.ndarray
    predicted: np.ndarray
    persons: np.ndarray
    folds: np.ndarray
    left_out: int


def decision_table(points: pd.DataFrame, cohort: Cohort, settings: EvaluationSettings) -> pd.DataFrame:
    """How well each method finds the patients whose index is low.

    Low is a z-score below `settings.low_muscle_z`; its reference are the CTs of the fold's training patients of the
    same sex.

    Args:
        points: completed points of the reported folds.
        cohort: the cohort's tables.
        settings: section `evaluation` of the config.

    Returns:
        `COLUMNS`: `auc` with its interval, `sensitivity` at `settings.specificity`, and the net benefit of the method
        and of treating everybody at each of `RISKS`.
    """
    rows: list[dict[str, Any]] = []
    muscles = [c["name"] for c in cohort.objects if c["kind"] == "muscle"]
    each = cohort.truth[[(name, "lean_mass_g") for name in muscles]].to_numpy(np.float64)
    total = pd.Series(each.sum(axis=1), cohort.truth.index)
    for index in INDICES:
        whole = _scaled(total, cohort, index)
        for method, own in points.groupby("method", sort=False):
            if (scores := _scores(own, muscles, whole, cohort, index)) is not None:
                rows += [{"method": method, "index": index, **row} for row in _measures(scores, settings)]
    return pd.DataFrame(rows, columns=list(COLUMNS))


def _scaled(lean_mass_g: pd.Series, cohort: Cohort, index: str) -> pd.Series:
    if index == "hip_lean_mass":
        return lean_mass_g
    absent = pd.Series(np.nan, cohort.patients.index)
    height = pd.to_numeric(cohort.patients.get("height_cm", absent), errors="coerce").reindex(lean_mass_g.index) / 100.0
    return lean_mass_g / height**2


def _scores(rows: pd.DataFrame, muscles: list[str], whole: pd.Series, cohort: Cohort, index: str) -> Scores | None:
    """None where a method does not predict every muscle of anybody; the index is of whole muscles, so is the sum."""
    some = rows[(rows["quantity"] == "lean_mass_g") & rows["channel"].isin(muscles) & rows["left_out"].isna()]
    some = some.assign(predicted=some["predicted"] / some["visible"].astype(np.float64).clip(0.0, 1.0).fillna(1.0))
    sums = some.groupby("patient_id")["predicted"].agg(["sum", "count"])
    complete = _scaled(sums.loc[sums["count"] == len(muscles), "sum"], cohort, index).dropna()
    if complete.empty:
        return None
    folds = rows.drop_duplicates("patient_id").set_index("patient_id")["fold"].astype(int)
    found = {}
    for patient in map(str, complete.index):
        reference = _reference(patient, int(folds[patient]), whole, cohort)
        if reference is not None and np.isfinite(whole[patient]):
            mean, spread = reference
            found[patient] = ((whole[patient] - mean) / spread, (complete[patient] - mean) / spread)
    names = list(found)
    truth, predicted = np.array(list(found.values())).reshape(-1, 2).T
    return Scores(truth, predicted, cohort.persons[names].to_numpy(), folds[names].to_numpy(), len(folds) - len(names))


def _reference(patient: str, fold: int, whole: pd.Series, cohort: Cohort) -> tuple[float, float] | None:
    """Mean and standard deviation of the training patients of the same sex, or None where they are too few."""
    sex = cohort.sexes.get(patient)
    same = cohort.sexes.reindex(whole.index) == sex
    known = whole[(cohort.folds.reindex(whole.index) != fold) & same].dropna()
    if pd.isna(sex) or len(known) < LEAST_REFERENCE or not known.std() > 0:
        return None
    return float(known.mean()), float(known.std())


def _measures(s: Scores, settings: EvaluationSettings) -> Iterator[dict[str, Any]]:
    is_low = s.truth < settings.low_muscle_z
    common = {"n": len(is_low), "low_muscle": int(is_low.sum()), "left_out": s.left_out, "low": np.nan, "high": np.nan}
    reason = None if 0 < is_low.sum() < len(is_low) else f"{is_low.sum()} of {len(is_low)} patients are low"
    score = -s.predicted
    value, ends = np.nan, (np.nan, np.nan)
    if reason is None:
        value = auc(is_low, score)
        counts = person_resamples(s.persons, settings.bootstrap_samples, settings.seed).astype(int)
        ends = interval(np.array([auc(np.repeat(is_low, c), np.repeat(score, c)) for c in counts]), settings.confidence)
    yield common | {"measure": "auc", "value": value, "low": ends[0], "high": ends[1], "undefined": reason}
    found = sensitivity_at(is_low, score, settings.specificity) if reason is None else np.nan
    yield common | {"measure": "sensitivity", "value": found, "undefined": reason}
    risk = low_risk(s, settings.low_muscle_z)
    undefined = None if np.isfinite(risk).any() else "too few patients to say a risk"
    for limit in RISKS:
        known = np.isfinite(risk)
        ours = net_benefit(is_low[known], risk[known] >= limit, limit) if known.any() else np.nan
        everybody = net_benefit(is_low[known], np.ones(known.sum(), bool), limit) if known.any() else np.nan
        yield common | {"measure": f"net_benefit_{limit:.0%}", "value": ours, "undefined": undefined}
        yield common | {"measure": f"treat_all_{limit:.0%}", "value": everybody, "undefined": undefined}


def auc(is_low: np.ndarray, score: np.ndarray) -> float:
    """Area under the ROC curve: the probability that a low patient has the higher score, ties count half.

    Returns:
        NaN where all or no patients are low.

    Source: Hanley and McNeil 1982.
    """
    low, others = int(is_low.sum()), int((~is_low).sum())
    if low == 0 or others == 0:
        return float("nan")
    return float((stats.rankdata(score)[is_low].sum() - low * (low + 1) / 2) / (low * others))


def sensitivity_at(is_low: np.ndarray, score: np.ndarray, specificity: float) -> float:
    """The highest sensitivity of any threshold whose specificity is at least this."""
    limits = np.append(np.unique(score), np.inf)
    positive = score[None, :] >= limits[:, None]
    true, false = positive[:, is_low].mean(axis=1), positive[:, ~is_low].mean(axis=1)
    return float(true[false <= 1.0 - specificity + 1e-12].max())


def low_risk(s: Scores, low_z: float) -> np.ndarray:
    """Probability that each patient's z-score is low, by the errors of the other persons of the same fold.

    Normal errors with their mean and standard deviation; NaN with fewer than three of them.
    """
    risk, errors = np.full(len(s.truth), np.nan), s.truth - s.predicted
    for i in range(len(risk)):
        others = errors[(s.folds == s.folds[i]) & (s.persons != s.persons[i])]
        if len(others) >= 3 and others.std(ddof=1) > 0:
            risk[i] = stats.norm.cdf((low_z - s.predicted[i] - others.mean()) / others.std(ddof=1))
    return risk


def net_benefit(is_low: np.ndarray, treated: np.ndarray, risk: float) -> float:
    """Net benefit per patient of treating some, at a threshold probability.

    Source: Vickers and Elkin 2006.
    """
    return float(((treated & is_low).sum() - (treated & ~is_low).sum() * risk / (1.0 - risk)) / len(is_low))
