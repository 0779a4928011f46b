"""The report's charts, from the results."""

from collections.abc import Iterable

import numpy as np
import pandas as pd

from mskdex.evaluation.agreement import LIMITS_SD
from mskdex.evaluation.summaries import headline, muscle_mean
from mskdex.evaluation.text import QUANTITY_NAMES, QUANTITY_UNITS
from mskdex.report.charts import Chart, Series
from mskdex.report.published import SOURCE, published, published_ablation
from mskdex.report.results import COLOURS, Method, Results, title

SEXES = {"F": ("women", "#c2417b"), "M": ("men", "#2f6fde")}
_NOT_A_LOSS = ("rate", "seconds", "step", "time", "memory")
_UNKNOWN_SEX = ("sex unknown", "#7a869a")
REPORTED = ("lean_mass_g", "volume_cm3")
"""The quantities of the paper's figures."""


def correlation_chart(results: Results, quantity: str) -> Chart:
    """PCC with its interval per object and method, and the paper's beside it."""
    rows = headline(results.agreement, "pcc")
    rows = rows[(rows["quantity"] == quantity) & rows["value"].notna()]
    series = []
    for m in results.methods:
        some = rows[rows["method"] == m.id]
        if len(some):
            names = [title(n) for n in some["structure"]]
            text = [f"n = {n}" for n in some["n"]]
            series.append(
                Series(m.label, names, list(some["value"]), text, list(some["low"]), list(some["high"]), m.colour)
            )
    pairs = {n: published("pcc", quantity, n) for n in results.object_names}
    known = {n: p for n, p in pairs.items() if p}
    for i, label in enumerate(("paper, proposed", "paper, conventional")):
        if known:
            y = [p[i] for p in known.values()]
            series.append(Series(label, [title(n) for n in known], y, [SOURCE] * len(y), colour=COLOURS[i], muted=True))
    caption = (
        f"Correlation of predicted with true {QUANTITY_NAMES[quantity]}, both sides' mean, with its interval. "
        + (f"Hollow: {SOURCE}." if known else "")
    )
    return Chart(f"correlation_{quantity}", f"PCC, {QUANTITY_NAMES[quantity]}", caption, "", "PCC", series)


def scatter_charts(results: Results, quantity: str) -> list[Chart]:
    """Prediction against truth, one chart per object (the paper's figure 3)."""
    return [_points_chart(results, quantity, n, "scatter") for n in _evaluated_objects(results, quantity)]


def difference_charts(results: Results, quantity: str) -> list[Chart]:
    """Bland–Altman: difference against mean, one chart per object."""
    return [_points_chart(results, quantity, n, "bland_altman") for n in _evaluated_objects(results, quantity)]


def counted(results: Results, quantity: str) -> pd.DataFrame:
    """The points of a quantity that count, in reported folds."""
    p = results.points
    reported = p["left_out"].isna() & p["predicted"].notna() & ~p["fold"].isin(results.config.evaluation.tuning_folds)
    return p[reported & (p["quantity"] == quantity)]


def _evaluated_objects(results: Results, quantity: str) -> list[str]:
    names = set(counted(results, quantity)["structure"])
    return [n for n in results.object_names if n in names]


def _points_chart(results: Results, quantity: str, name: str, kind: str) -> Chart:
    rows = counted(results, quantity)
    rows = rows[rows["structure"] == name]
    unit = QUANTITY_UNITS[quantity]
    drawn = [m for m in results.methods if m.kind != "baseline"]
    series = [_points(rows[rows["method"] == m.id], m, kind) for m in drawn]
    if kind == "scatter":
        ends = [float(rows["truth"].min()), float(rows["truth"].max())]
        series.append(Series("identity", ends, ends, colour="#888888", mark="lines", muted=True))
        return Chart(f"scatter_{quantity}_{name}", title(name), "", f"CT ({unit})", f"radiograph ({unit})", series)
    series += _limits(rows, drawn)
    labels = f"mean of both ({unit})", f"radiograph − CT ({unit})"
    return Chart(f"bland_altman_{quantity}_{name}", title(name), "", *labels, series)


def _points(rows: pd.DataFrame, method: Method, kind: str) -> Series:
    truth, predicted = rows["truth"].to_numpy(), rows["predicted"].to_numpy()
    x, y = (truth, predicted) if kind == "scatter" else ((truth + predicted) / 2, predicted - truth)
    text = [f"{p} {s}" for p, s in zip(rows["patient_id"], rows["side"], strict=True)]
    return Series(method.label, list(x), list(y), text, colour=method.colour)


def _limits(rows: pd.DataFrame, methods: list[Method]) -> list[Series]:
    lines = []
    for m in methods:
        some = rows[rows["method"] == m.id]
        if len(some) < 2:
            continue
        difference = (some["predicted"] - some["truth"]).to_numpy()
        middle = (some["predicted"] + some["truth"]).to_numpy() / 2
        ends = [float(middle.min()), float(middle.max())]
        for offset in (-LIMITS_SD, 0.0, LIMITS_SD):
            level = float(difference.mean() + offset * difference.std(ddof=1))
            lines.append(
                Series(f"{m.label}: limit", ends, [level] * 2, colour=m.colour, mark="lines", muted=offset != 0)
            )
    return lines


def cohort_charts(results: Results) -> list[Chart]:
    """BMI against the muscles' volume and density (the paper's figure 1)."""
    muscles = [c["name"] for c in results.objects if c["kind"] == "muscle"]
    q = results.quantities
    whole = q[q["object"].isin(muscles) & q["present"].astype(bool) & ~q["truncated"].astype(bool)]
    complete = whole.groupby("patient_id").filter(lambda g: len(g) == len(muscles)) if len(whole) else whole
    sums = complete.groupby("patient_id")[["volume_cm3", "lean_mass_g"]].sum()
    table = results.patients.join(sums, how="inner").dropna(subset=["bmi"])
    density = table["lean_mass_g"] / table["volume_cm3"]
    panels = (
        ("cohort_bmi_volume", "BMI and muscle volume", table["volume_cm3"], "muscle volume (cm³)"),
        ("cohort_bmi_density", "BMI and muscle density", density, "lean mass / volume (g/cm³)"),
    )
    caption = "All muscles of the cohort, both sides, of patients in whom all of them are complete."
    return [
        Chart(i, t, caption, "body mass index (kg/m²)", label, list(_by_sex(table, table["bmi"], y)))
        for i, t, y, label in panels
        if len(table)
    ]


def _by_sex(table: pd.DataFrame, x: pd.Series, y: pd.Series) -> Iterable[Series]:
    sex = table["sex"].astype(object).where(table["sex"].notna(), "?")
    for value in dict.fromkeys(sex):
        label, colour = SEXES.get(str(value), _UNKNOWN_SEX)
        some = (sex == value).to_numpy()
        yield Series(label, list(x[some]), list(y[some]), [str(p) for p in table.index[some]], colour=colour)


def registration_charts(results: Results) -> list[Chart]:
    """Confidence of every registration, body by body, accepted or not."""
    rows = results.registration
    charts = []
    for column, label in (("confidence", "confidence"), ("similarity", "similarity"), ("seconds", "time (s)")):
        values = pd.to_numeric(rows[column], errors="coerce")
        if not values.notna().any():
            continue
        series = []
        for accepted, name, colour in ((True, "accepted", "#0f9d76"), (False, "not used", "#d9480f")):
            some = rows[(rows["accepted"] == accepted) & values.notna()]
            if len(some):
                text = [f"{r.patient_id} {r.reason if isinstance(r.reason, str) else ''}" for r in some.itertuples()]
                bodies = [title(b) for b in some["body"]]
                series.append(Series(name, bodies, list(values[some.index]), text, colour=colour))
        caption = f"Each point is a rigid body of a patient: {label} of its registration."
        charts.append(Chart(f"registration_{column}", f"Registration: {label}", caption, "", label, series))
    return charts


def training_charts(results: Results) -> list[Chart]:
    """Every column of the training histories, a line per experiment and fold; losses first."""
    columns = dict.fromkeys(c for h in results.histories.values() for c in h.select_dtypes("number").columns)
    ordered = sorted(columns, key=lambda c: any(word in c for word in _NOT_A_LOSS))
    colours = {m.id: m.colour for m in results.methods}
    charts = []
    for column in ordered:
        if column in ("epoch", "step"):
            continue
        series = []
        for (experiment, fold), history in results.histories.items():
            if column in history and history[column].notna().any():
                x = history["epoch"] if "epoch" in history else np.arange(1, len(history) + 1)
                name, colour = f"{experiment}, fold {fold}", colours.get(experiment, "#7a869a")
                series.append(Series(name, list(x), list(history[column]), colour=colour, mark="lines"))
        label = str(column).replace("_", " ")
        charts.append(Chart(f"training_{column}", f"Training: {label}", "", "epoch", label, series))
    return charts


def ablation_table(results: Results) -> pd.DataFrame:
    """Mean PCC of the muscles' lean mass of every experiment, and each structure's, beside its loss weights.

    Of the tuning folds where there are any: loss weights are chosen there, never on the reported folds.
    """
    source = results.agreement if results.tuning is None else results.tuning
    means = muscle_mean(source)
    lean = means[means["quantity"] == "lean_mass_g"]
    values = {str(m): float(v) for m, v in zip(lean["method"], lean["value"], strict=True)}
    rows = []
    cells = headline(source, "pcc")
    each = cells[cells["quantity"] == "lean_mass_g"].set_index(["method", "structure"])["value"]
    for name, experiment in results.config.experiments.items():
        losses = experiment.losses
        if name in values and losses.gc_beta > 0:
            bone = losses.lambda_bone > 0
            known = published_ablation().get((losses.lambda_is, bone), float("nan"))
            rows.append(
                {
                    "experiment": name,
                    "lambda_is": losses.lambda_is,
                    "bone_loss": bone,
                    "pcc": values[name],
                    "published": known,
                    **{n: each.get((name, n), float("nan")) for n in results.object_names},
                }
            )
    columns = ["experiment", "lambda_is", "bone_loss", "pcc", "published", *results.object_names]
    return pd.DataFrame(rows, columns=columns)


def ablation_chart(results: Results) -> Chart | None:
    """Mean PCC against the weight of the object-wise intensity sum; None with fewer than two experiments."""
    table = ablation_table(results)
    if len(table) < 2:
        return None
    series = []
    for bone, colour in ((True, "#2f6fde"), (False, "#d9730d")):
        label = "with bone loss" if bone else "without bone loss"
        some = table[table["bone_loss"] == bone].sort_values("lambda_is")
        x, text = [f"{v:g}" for v in some["lambda_is"]], list(some["experiment"])
        series.append(Series(label, x, list(some["pcc"]), text, colour=colour, mark="lines+markers"))
        paper = {k[0]: v for k, v in published_ablation().items() if k[1] == bone}
        series.append(
            Series(
                f"paper, {label}",
                [f"{v:g}" for v in paper],
                list(paper.values()),
                colour=colour,
                mark="lines+markers",
                muted=True,
            )
        )
    caption = f"Mean PCC of the muscles' lean mass. Faint: {SOURCE}, one fold."
    name = "Weight of the object-wise intensity sum"
    weights = sorted({*table["lambda_is"], *(k[0] for k in published_ablation())})
    return Chart(
        "ablation_owis",
        name,
        caption,
        "λ of the intensity sum",
        "mean PCC",
        [s for s in series if s.x],
        categories=tuple(f"{v:g}" for v in weights),
    )
