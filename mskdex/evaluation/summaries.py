"""The tables of agreement and of tests, from the table of points."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from mskdex.config.evaluation import EvaluationSettings
from mskdex.evaluation.agreement import STATISTICS, Pairs, interval, person_resamples, statistics, undefined
from mskdex.evaluation.points import QUANTITY_COLUMNS
from mskdex.evaluation.statistics import holm, one_way_anova, paired_wilcoxon

MEAN_OF_SIDES = "mean"
"""Side of a row that averages the statistic of the left and of the right object."""


@dataclass(frozen=True)
class Panel:
    """All pairs of one method and quantity, on the patients of the whole evaluation.

    Attributes:
        pairs: (patients, channels).
        channels: row per column of `pairs`: channel, object, side, kind.
        patients: patient of each row of `pairs`.
    """

    pairs: Pairs
    channels: pd.DataFrame
    patients: list[str]

    @classmethod
    def of(cls, points: pd.DataFrame, channels: pd.DataFrame, folds: pd.Series) -> "Panel":
        """Arranges the points of one method and quantity.

        Args:
            points: rows of one method and quantity.
            channels: channel, object, side, kind of every column wanted.
            folds: fold of every patient wanted, indexed by patient.
        """
        counted = points[points["left_out"].isna()]

        def wide(column: str) -> np.ndarray:
            table = counted.pivot(index="patient_id", columns="channel", values=column)  # noqa: PD010
            return table.reindex(index=folds.index, columns=channels["channel"]).to_numpy(np.float64, na_value=np.nan)

        truth = wide("truth")
        return cls(
            Pairs(truth, wide("predicted"), np.isfinite(truth), folds.to_numpy()), channels, list(map(str, folds.index))
        )

    def persons_of_rows(self, persons: pd.Series | None) -> np.ndarray:
        """(patients,) the person behind each row, by a series indexed by patient_id; None: each is their own."""
        names = np.array(self.patients, dtype=object)
        return names if persons is None else persons.loc[names].to_numpy()

    @property
    def objects(self) -> list[tuple[str, list[int]]]:
        """Each object with the columns of its sides, in order."""
        names = list(dict.fromkeys(self.channels["structure"]))
        return [(n, list(np.flatnonzero(self.channels["structure"] == n))) for n in names]


def panels(points: pd.DataFrame) -> Iterator[tuple[str, str, Panel]]:
    """Every (method, quantity) with its panel; all have the same patients and channels, in the same order."""
    channels = points[["channel", "structure", "side", "kind"]].drop_duplicates("channel").reset_index(drop=True)
    folds = points.drop_duplicates("patient_id").set_index("patient_id")["fold"].sort_index()
    for method in dict.fromkeys(points["method"]):
        for quantity in QUANTITY_COLUMNS:
            rows = points[(points["method"] == method) & (points["quantity"] == quantity)]
            if len(rows):
                yield method, quantity, Panel.of(rows, channels, folds)


def agreement_table(
    points: pd.DataFrame, settings: EvaluationSettings, persons: pd.Series | None = None
) -> pd.DataFrame:
    """Every statistic of every method, quantity, object and side, with its interval.

    The same resamples of persons serve all methods. For a paired object the row of side "mean" is the mean of
    both sides' statistics, over the sides where it is defined.

    Args:
        points: completed points.
        settings: section `evaluation` of the config.
        persons: person of each patient, indexed by patient_id; None where every patient is a person of their own.

    Returns:
        method, quantity, object, side, channel, kind, statistic, value, low, high, n, left_out, undefined.
    """
    rows: list[dict[str, Any]] = []
    left_out = points[points["left_out"].notna()].groupby(["method", "quantity", "channel"]).size()
    for method, quantity, panel in panels(points):
        counts = person_resamples(panel.persons_of_rows(persons), settings.bootstrap_samples, settings.seed)
        found = statistics(panel.pairs, np.vstack([np.ones(counts.shape[1]), counts]))
        out = [int(left_out.get((method, quantity, c), 0)) for c in panel.channels["channel"]]
        for name in STATISTICS:
            columns = [_column(panel, found[name], name, i, settings.confidence) for i in range(len(out))]
            for i, row in enumerate(columns):
                row["left_out"] = out[i]
            for row in _in_order(panel, columns + _means(panel, found[name], columns, settings.confidence)):
                rows.append({"method": method, "quantity": quantity, "statistic": name, **row})
    order = ["method", "quantity", "structure", "side", "channel", "kind", "statistic"]
    return pd.DataFrame(rows)[[*order, "value", "low", "high", "n", "left_out", "undefined"]]


def _column(panel: Panel, draws: np.ndarray, name: str, column: int, confidence: float) -> dict[str, Any]:
    reason = undefined(name, panel.pairs, column)
    value = float("nan") if reason else float(draws[0, column])
    low, high = (float("nan"), float("nan")) if reason else interval(draws[1:, column], confidence)
    row = {str(key): item for key, item in panel.channels.iloc[column].to_dict().items()}
    n = int(panel.pairs.known[:, column].sum())
    return row | {"value": value, "low": low, "high": high, "n": n, "undefined": reason}


def _in_order(panel: Panel, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """By object, the mean of the sides first."""
    order = {name: i for i, (name, _) in enumerate(panel.objects)}
    return sorted(rows, key=lambda r: (order[r["structure"]], r["side"] != MEAN_OF_SIDES))


def _means(panel: Panel, draws: np.ndarray, columns: list[dict[str, Any]], confidence: float) -> list[dict[str, Any]]:
    rows = []
    for name, members in panel.objects:
        if len(members) < 2:
            continue
        sides = [columns[i] for i in members]
        defined = [i for i in members if not columns[i]["undefined"]]
        mean = draws[:, defined].mean(axis=1) if defined else np.full(len(draws), np.nan)
        low, high = interval(mean[1:], confidence)
        reasons = dict.fromkeys(s["undefined"] for s in sides)
        rows.append(
            {
                "channel": None,
                "structure": name,
                "side": MEAN_OF_SIDES,
                "kind": sides[0]["kind"],
                "value": float(mean[0]),
                "low": low,
                "high": high,
                "n": max(s["n"] for s in sides),
                "left_out": max(s["left_out"] for s in sides),
                "undefined": None if defined else "; ".join(str(r) for r in reasons),
            }
        )
    return rows


def muscle_mean(agreement: pd.DataFrame, statistic: str = "pcc") -> pd.DataFrame:
    """Mean of a statistic over the muscles, per method and quantity, over those where it is defined.

    Returns:
        method, quantity, value, objects (how many entered).
    """
    rows = headline(agreement, statistic)
    rows = rows[(rows["kind"] == "muscle") & rows["value"].notna()]
    found = rows.groupby(["method", "quantity"], sort=False)["value"].agg(["mean", "size"]).reset_index()
    return found.rename(columns={"mean": "value", "size": "objects"})


def headline(agreement: pd.DataFrame, statistic: str) -> pd.DataFrame:
    """The row of each object that stands for it: both sides' mean, or the only side."""
    rows = agreement[agreement["statistic"] == statistic]
    return rows[rows["side"].isin([MEAN_OF_SIDES, "midline"])]


def tests_table(
    points: pd.DataFrame,
    images: pd.DataFrame,
    settings: EvaluationSettings,
    persons: pd.Series | None = None,  # noqa: PT028  # no test of pytest's
) -> pd.DataFrame:
    """Tests of the proposed method against every other, object by object.

    A paired object enters with the mean of its sides and of a person's rows, so that nobody counts twice. Holm's
    correction runs over the objects of one comparison and measure.

    Returns:
        proposed, against, measure, object, n, mean_proposed, mean_against, anova_f, anova_p, anova_p_holm,
        wilcoxon_w, wilcoxon_p, wilcoxon_p_holm.
    """
    errors = points[points["left_out"].isna()].assign(
        value=lambda t: (t["predicted"] - t["truth"]).abs(), measure=lambda t: t["quantity"] + " absolute error"
    )
    parts = [errors[["method", "measure", "structure", "patient_id", "value"]]]
    for measure in ("psnr_db", "ssim"):
        if len(images):
            named = images.assign(measure=images["quantity"] + " " + measure).rename(columns={measure: "value"})
            parts.append(named[["method", "measure", "structure", "patient_id", "value"]])
    values = pd.concat(parts, ignore_index=True)
    values["person"] = values["patient_id"] if persons is None else values["patient_id"].map(persons)
    per_person = values.groupby(["method", "measure", "structure", "person"], sort=True)["value"].mean()
    rows = []
    for against in dict.fromkeys(m for m in values["method"] if m != settings.proposed):
        for measure in dict.fromkeys(values["measure"]):
            names = dict.fromkeys(values["structure"])
            family = [r for name in names if (r := _test(per_person, settings, against, measure, name))]
            for kind in ("anova", "wilcoxon"):
                for row, p in zip(family, holm(np.array([r[f"{kind}_p"] for r in family])), strict=True):
                    row[f"{kind}_p_holm"] = float(p)
            rows += family
    columns = ["proposed", "against", "measure", "structure", "n", "mean_proposed", "mean_against"]
    columns += [f"{k}_{s}" for k, s in (("anova", "f"), ("wilcoxon", "w")) for s in (s, "p", "p_holm")]
    return pd.DataFrame(rows, columns=columns)


def _test(
    values: pd.Series, settings: EvaluationSettings, against: str, measure: str, name: str
) -> dict[str, Any] | None:
    try:
        first, second = (values.loc[(method, measure, name)] for method in (settings.proposed, against))
    except KeyError:
        return None
    both = pd.concat([first, second], axis=1, join="inner").dropna().to_numpy()
    if len(both) == 0:
        return None
    f, anova_p = one_way_anova(both[:, 0], both[:, 1])
    w, wilcoxon_p = paired_wilcoxon(both[:, 0], both[:, 1])
    return {
        "proposed": settings.proposed,
        "against": against,
        "measure": measure,
        "structure": name,
        "n": len(both),
        "mean_proposed": float(both[:, 0].mean()),
        "mean_against": float(both[:, 1].mean()),
        "anova_f": f,
        "anova_p": anova_p,
        "wilcoxon_w": w,
        "wilcoxon_p": wilcoxon_p,
    }
