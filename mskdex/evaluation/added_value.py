"""What an image adds to what is known without it, and how far its figures can be trusted: the first table."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from mskdex.config.evaluation import EvaluationSettings
from mskdex.evaluation.agreement import STATISTICS, Pairs, Statistic, interval, person_resamples, statistics, undefined
from mskdex.evaluation.baselines import DEMOGRAPHICS, TRAINING_MEAN, Design
from mskdex.evaluation.partial import partial_correlation, r_squared
from mskdex.evaluation.summaries import Panel, panels

MEAN_OF_MUSCLES = "mean_of_muscles"
"""Structure of the row that averages a measure over the muscles in which it is defined."""

SEXES = {"women": "F", "men": "M"}

MEASURES = {
    "pcc": Statistic("PCC", "Pearson correlation with the CT, all patients together", "ratio"),
    "pcc_women": Statistic("PCC, women", "Pearson correlation with the CT within women", "ratio"),
    "pcc_men": Statistic("PCC, men", "Pearson correlation with the CT within men", "ratio"),
    "pcc_fold_mean": Statistic("PCC, mean of folds", "mean of each fold's own Pearson correlation", "ratio"),
    "partial": Statistic("Partial r", "correlation with the CT, age, sex, height and weight held fixed", "ratio"),
    "r2_demographics": Statistic("R² demographics", "of age, sex, height and weight alone, out of fold", "ratio"),
    "r2": Statistic("R²", "of the method's own estimate, as it is", "ratio"),
    "r2_both": Statistic("R² both", "of the estimate stacked with demographics, cross-fitted", "ratio"),
    "r2_gain": Statistic("R² gained", "R² of both less that of demographics, on the same patients", "ratio"),
    "left_right": Statistic("Left−right r", "correlation of left minus right with the CT's", "ratio"),
    "icc21": STATISTICS["icc21"],
    "bias_percent": Statistic("Bias %", "mean of prediction less truth, in per cent of the mean truth", "percent"),
    "loa_low_percent": Statistic("LoA low %", "lower Bland–Altman limit in per cent of the mean truth", "percent"),
    "loa_high_percent": Statistic("LoA high %", "upper Bland–Altman limit in per cent of the mean truth", "percent"),
    "slope": STATISTICS["slope"],
    "intercept_percent": Statistic(
        "Intercept %", "of the regression of the truth on the prediction, in per cent of the mean truth", "percent"
    ),
}
"""What the first table holds, in its order; each fold's PCC stands beside as `pcc_fold_{number}`."""

SHOWN_MEASURES = tuple(m for m in MEASURES if m not in ("loa_low_percent", "loa_high_percent", "intercept_percent"))
"""What the report and the terminal show in columns of their own."""


@dataclass(frozen=True)
class ResampledMeasure:
    """A measure under every weighting of the patients.

    Attributes:
        draws: (weightings, columns); the first weighting is the plain one.
        why: (columns,) why a column has no value, or None.
        n: (columns,) patients.
        structures: (columns,) structure of each column.
    """

    draws: np.ndarray
    why: list[str | None]
    n: np.ndarray
    structures: list[str]


@dataclass(frozen=True)
class MethodPairs:
    """A method's pairs for one quantity, with what they are compared with.

    Attributes:
        method: its name.
        panel: truth and prediction.
        regressed: (patients, channels) predictions of demographics alone; None without demographics.
        joint: (patients, channels) the estimate stacked with demographics; None where there is none.
        design: (patients, k) demographics as regressors, with an intercept.
        sex: (patients,) F, M or missing.
        counts: (weightings, patients), the first row ones.
    """

    method: str
    panel: Panel
    regressed: np.ndarray | None
    joint: np.ndarray | None
    design: np.ndarray
    sex: np.ndarray
    counts: np.ndarray

    def pairs(self, predicted: np.ndarray | None = None, among: np.ndarray | None = None) -> Pairs:
        """The pairs of another prediction, or of some patients."""
        own = self.panel.pairs
        known = own.known if among is None else own.known & among[:, None]
        return Pairs(own.truth, own.predicted if predicted is None else predicted, known, own.groups)

    def resampled(self, values: np.ndarray, pairs: Pairs, why: list[str | None]) -> ResampledMeasure:
        """A measure of every channel."""
        return ResampledMeasure(values, why, pairs.known.sum(axis=0), list(self.panel.channels["structure"]))


def added_value_table(
    points: pd.DataFrame,
    joined: pd.DataFrame,
    patients: pd.DataFrame,
    settings: EvaluationSettings,
    persons: pd.Series | None = None,
) -> pd.DataFrame:
    """Every measure of every method, quantity and structure, with the interval of a bootstrap over persons.

    A structure's value is the mean of its sides' values; the mean over the muscles is the mean of theirs. The same
    resamples serve all methods. Nothing is fitted to a patient it is evaluated on but the partial correlation, which
    describes the tested patients.

    Args:
        points: completed points of the reported folds.
        joined: the same columns; each method's estimate stacked with demographics.
        patients: demographics, indexed by patient_id.
        settings: section `evaluation` of the config.
        persons: person of each patient, indexed by patient_id; None where every patient is a person of their own.

    Returns:
        method, quantity, structure, kind, measure, value, low, high, n, undefined.
    """
    rows: list[dict[str, Any]] = []
    for quantity, compared in _method_pairs(points, joined, patients, settings, persons):
        kinds: dict[str, str] = dict(compared.panel.channels[["structure", "kind"]].itertuples(index=False))
        for measure, found in _measures(compared):
            common = {"method": compared.method, "quantity": quantity, "measure": measure}
            rows += [common | row for row in _structures(found, kinds, settings.confidence)]
    order = ["method", "quantity", "structure", "kind", "measure", "value", "low", "high", "n", "undefined"]
    return pd.DataFrame(rows, columns=order)


def muscle_mean_draws(
    points: pd.DataFrame,
    joined: pd.DataFrame,
    patients: pd.DataFrame,
    settings: EvaluationSettings,
    persons: pd.Series | None = None,
) -> Iterator[tuple[str, str, str, np.ndarray]]:
    """Each measure's mean over the muscles under every resample, to compare methods on the same resamples.

    Args:
        points, joined, patients, settings, persons: as of `added_value_table`.

    Yields:
        method, quantity, measure, draws (1 + resamples,), of which the first is the plain one.
    """
    for quantity, compared in _method_pairs(points, joined, patients, settings, persons):
        kinds: dict[str, str] = dict(compared.panel.channels[["structure", "kind"]].itertuples(index=False))
        for measure, found in _measures(compared):
            structures = _sides_averaged(found)
            muscles = [d for name, d, _, _ in structures if kinds[name] == "muscle" and d is not None]
            if muscles:
                yield compared.method, quantity, measure, np.mean(muscles, axis=0)


def _method_pairs(
    points: pd.DataFrame,
    joined: pd.DataFrame,
    patients: pd.DataFrame,
    settings: EvaluationSettings,
    persons: pd.Series | None,
) -> Iterator[tuple[str, MethodPairs]]:
    everything = {(m, q): panel for m, q, panel in panels(points)}
    first = next(iter(everything.values()))
    folds = pd.Series(first.pairs.groups, index=first.patients)
    people = patients.reindex(first.patients)
    design = Design.fit(people).matrix(people)
    sex = np.asarray(people["sex"], dtype=object) if "sex" in people else np.full(len(people), None, dtype=object)
    resampled = person_resamples(first.persons_of_rows(persons), settings.bootstrap_samples, settings.seed)
    counts = np.vstack([np.ones(len(people)), resampled])
    for (method, quantity), panel in everything.items():
        known = everything.get((DEMOGRAPHICS, quantity))
        of = joined[(joined["method"] == method) & (joined["quantity"] == quantity)]
        both = Panel.of(of, panel.channels, folds).pairs.predicted if len(of) else None
        regressed = None if known is None else known.pairs.predicted
        yield quantity, MethodPairs(method, panel, regressed, both, design, sex, counts)


def _measures(s: MethodPairs) -> Iterator[tuple[str, ResampledMeasure]]:
    yield from _agreement(s)
    for name, code in SEXES.items():
        yield f"pcc_{name}", _pcc(s, s.pairs(among=s.sex == code))
    folds = {int(f): _pcc(s, s.pairs(among=s.panel.pairs.groups == f)) for f in np.unique(s.panel.pairs.groups)}
    yield from ((f"pcc_fold_{number}", found) for number, found in folds.items())
    yield "pcc_fold_mean", _mean_of(list(folds.values()))
    yield "left_right", _left_right(s)
    yield "r2", _r2(s, s.pairs())
    if s.regressed is None:
        return
    if s.method != DEMOGRAPHICS:
        yield "partial", _partial(s)
    known = _r2(s, s.pairs(s.regressed))
    yield "r2_demographics", known
    if s.joint is not None and s.method not in (DEMOGRAPHICS, TRAINING_MEAN):
        both = _r2(s, s.pairs(s.joint))
        yield "r2_both", both
        why = [a or b for a, b in zip(both.why, known.why, strict=True)]
        yield "r2_gain", ResampledMeasure(both.draws - known.draws, why, both.n, both.structures)


def _agreement(s: MethodPairs) -> Iterator[tuple[str, ResampledMeasure]]:
    pairs = s.pairs()
    found = statistics(pairs, s.counts)
    with np.errstate(invalid="ignore", divide="ignore"):
        per_cent = np.where(found["mae"] == 0.0, 0.0, found["mae_percent"] / found["mae"])
    columns = range(pairs.truth.shape[1])
    for name in ("pcc", "icc21", "slope"):
        yield name, s.resampled(found[name], pairs, [undefined(name, pairs, c) for c in columns])
    for name in ("bias", "loa_low", "loa_high"):
        why = [undefined(name, pairs, c) or undefined("mae_percent", pairs, c) for c in columns]
        yield f"{name}_percent", s.resampled(found[name] * per_cent, pairs, why)
    why = [undefined("slope", pairs, c) or undefined("mae_percent", pairs, c) for c in columns]
    with np.errstate(invalid="ignore"):  # the mean prediction is the mean truth plus the bias
        intercept = 100.0 - found["slope"] * (100.0 + found["bias"] * per_cent)
    yield "intercept_percent", s.resampled(intercept, pairs, why)


def _pcc(s: MethodPairs, pairs: Pairs) -> ResampledMeasure:
    why = [undefined("pcc", pairs, c) for c in range(pairs.truth.shape[1])]
    return s.resampled(statistics(pairs, s.counts)["pcc"], pairs, why)


def _r2(s: MethodPairs, pairs: Pairs) -> ResampledMeasure:
    values, why = r_squared(pairs, s.counts)
    return s.resampled(values, pairs, why)


def _partial(s: MethodPairs) -> ResampledMeasure:
    pairs = s.pairs()
    draws, why = partial_correlation(pairs, s.design, s.counts)
    return s.resampled(draws, pairs, [undefined("pcc", pairs, c) or reason for c, reason in enumerate(why)])


def _left_right(s: MethodPairs) -> ResampledMeasure:
    """Correlation of the differences between left and right, a column per paired structure."""
    sides = s.panel.channels["side"].to_numpy()
    paired = {
        name: tuple(next((i for i in members if sides[i] == side), -1) for side in ("left", "right"))
        for name, members in s.panel.objects
    }
    paired = {name: both for name, both in paired.items() if min(both) >= 0}
    own = s.panel.pairs
    left, right = (np.array([both[i] for both in paired.values()], dtype=int) for i in (0, 1))
    pairs = Pairs(
        own.truth[:, left] - own.truth[:, right],
        own.predicted[:, left] - own.predicted[:, right],
        own.known[:, left] & own.known[:, right],
        own.groups,
    )
    why = [undefined("pcc", pairs, c) for c in range(len(paired))]
    return ResampledMeasure(statistics(pairs, s.counts)["pcc"], why, pairs.known.sum(axis=0), list(paired))


def _mean_of(folds: list[ResampledMeasure]) -> ResampledMeasure:
    """Mean over the folds in which a column is defined."""
    defined = np.array([[reason is None for reason in f.why] for f in folds])
    values = np.where(defined[:, None], np.stack([f.draws for f in folds]), 0.0).sum(axis=0)
    with np.errstate(invalid="ignore"):
        mean = values / defined.sum(axis=0)
    reasons = [None if defined[:, c].any() else folds[0].why[c] for c in range(defined.shape[1])]
    return ResampledMeasure(mean, reasons, sum(f.n for f in folds), folds[0].structures)  # type: ignore[arg-type]


def _structures(measure: ResampledMeasure, kinds: dict[str, str], confidence: float) -> list[dict[str, Any]]:
    """A row per structure, the mean of its sides, and one of the mean over the muscles."""
    rows, muscles = [], []
    for name, draws, reason, n in _sides_averaged(measure):
        rows.append(_row(name, kinds[name], draws, n, reason, confidence))
        if kinds[name] == "muscle" and draws is not None:
            muscles.append(draws)
    mean = np.mean(muscles, axis=0) if muscles else None
    n = max((row["n"] for row in rows if row["kind"] == "muscle"), default=0)
    reason = None if muscles else "defined in no muscle"
    return [_row(MEAN_OF_MUSCLES, "muscle", mean, n, reason, confidence), *rows]


def _sides_averaged(measure: ResampledMeasure) -> Iterator[tuple[str, np.ndarray | None, str | None, int]]:
    """Each structure, its draws (None where no side has a value), why not, and its patients."""
    for name in dict.fromkeys(measure.structures):
        columns = [c for c, structure in enumerate(measure.structures) if structure == name]
        defined = [c for c in columns if not measure.why[c]]
        reason = None if defined else "; ".join(dict.fromkeys(str(measure.why[c]) for c in columns))
        yield name, measure.draws[:, defined].mean(axis=1) if defined else None, reason, int(measure.n[columns].max())


def _row(
    name: str, kind: str, draws: np.ndarray | None, n: int, reason: str | None, confidence: float
) -> dict[str, Any]:
    value, (low, high) = (float("nan"), (float("nan"),) * 2)
    if draws is not None:
        value, (low, high) = float(draws[0]), interval(draws[1:], confidence)
    return {"structure": name, "kind": kind, "value": value, "low": low, "high": high, "n": n, "undefined": reason}
