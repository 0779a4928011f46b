"""Published figures recomputed from points.parquet and the patients alone, with other libraries or by definition."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from fabricated import Fabrication, fabricate
from scipy import stats

from mskdex.config.evaluation import EvaluationSettings
from mskdex.io.artifacts import read_parquet, write_parquet
from mskdex.pipeline.stages.collect import collect
from mskdex.pipeline.stages.evaluate import evaluate

SETTINGS = EvaluationSettings(bootstrap_samples=100, seed=7)
METHODS = ("mskdex", "fused", "demographics")


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two tested folds; some structures are seen in part, and two rows are one person."""
    root = fabricate(tmp_path_factory.mktemp("recomputed"), Fabrication(patients=60, trained=(0, 1), size=16, seed=2))
    folds = read_parquet(root / "cohort" / "folds.parquet")
    write_parquet(root / "cohort" / "folds.parquet", folds.assign(person=folds["patient_id"].replace({"P004": "P000"})))
    path = root / "experiments" / "mskdex" / "fold0" / "predictions.parquet"
    table = read_parquet(path)
    part = table["patient_id"].isin(["P008", "P012"]) & (table["channel"] == "iliacus_left")
    write_parquet(path, table.assign(visible=table["visible"].where(~part, 0.85)))
    collect(root / "patients", root / "cohort" / "patients.parquet", root / "cohort")
    out, patients = root / "evaluation", root / "patients"
    evaluate(root / "experiments", ("mskdex", "conventional"), (0, 1), root / "cohort", patients, SETTINGS, out)
    return root


@pytest.fixture(scope="module")
def points(root: Path) -> pd.DataFrame:
    people = read_parquet(root / "cohort" / "patients.parquet")
    table = read_parquet(root / "evaluation" / "points.parquet").merge(people, on="patient_id")
    return table[table["left_out"].isna()]


def sides(points: pd.DataFrame, method: str, structure: str = "iliacus") -> list[pd.DataFrame]:
    rows = points[(points["method"] == method) & (points["structure"] == structure)]
    rows = rows[rows["quantity"] == "lean_mass_g"].sort_values("patient_id")
    return [part for _, part in rows.groupby("side")]


def figure(root: Path, method: str, structure: str = "iliacus") -> pd.DataFrame:
    table = read_parquet(root / "evaluation" / "added_value.parquet")
    table = table[(table["method"] == method) & (table["structure"] == structure)]
    return table[table["quantity"] == "lean_mass_g"].set_index("measure")


def test_what_is_partly_seen_is_compared_with_the_visible_truth(root: Path, points: pd.DataFrame) -> None:
    quantities = read_parquet(root / "cohort" / "quantities.parquet")
    whole = quantities[quantities["object"] == "iliacus_left"].set_index("patient_id")["lean_mass_g"]
    rows = points[(points["channel"] == "iliacus_left") & (points["quantity"] == "lean_mass_g")]
    share = rows["patient_id"].isin(["P008", "P012"]).map({True: 0.85, False: 1.0})
    assert rows["truth"].to_numpy() == pytest.approx((rows["patient_id"].map(whole) * share).to_numpy())


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("method", METHODS)
def test_agreement_and_calibration(root: Path, points: pd.DataFrame, method: str) -> None:
    import pingouin

    found, parts = figure(root, method)["value"], sides(points, method)
    expected: dict[str, list[float]] = {}
    for rows in parts:
        long = rows.melt(["patient_id"], ["predicted", "truth"], "rater", "value")
        icc = pingouin.intraclass_corr(long, "patient_id", "rater", "value").set_index("Type")["ICC"]
        line, gap = stats.linregress(rows["predicted"], rows["truth"]), rows["predicted"] - rows["truth"]
        mean = rows["truth"].mean()
        told = {
            "pcc": line.rvalue,
            "icc21": icc[next(name for name in icc.index if name in ("ICC2", "ICC(A,1)"))],
            "slope": line.slope,
            "intercept_percent": 100 * line.intercept / mean,
            "bias_percent": 100 * gap.mean() / mean,
            "loa_high_percent": 100 * (gap.mean() + 1.96 * gap.std()) / mean,
            "r2": 1 - (gap**2).sum() / ((rows["truth"] - mean) ** 2).sum(),
        }
        for name, value in told.items():
            expected.setdefault(name, []).append(float(value))
    for name, values in expected.items():
        assert found[name] == pytest.approx(np.mean(values), rel=1e-6), name


@pytest.mark.filterwarnings("ignore")
def test_the_added_value(root: Path, points: pd.DataFrame) -> None:
    import pingouin

    found = figure(root, "mskdex")["value"]
    fused, known = (figure(root, m)["value"] for m in ("fused", "demographics"))
    assert found["r2_gain"] == pytest.approx(fused["r2"] - known["r2"])
    partial = []
    for rows in sides(points, "mskdex"):
        table = rows.assign(male=(rows["sex"] == "M") * 1.0)
        covariates = ["age", "height_cm", "weight_kg", "male"]
        partial.append(pingouin.partial_corr(table, "predicted", "truth", covar=covariates)["r"].iloc[0])
    assert found["partial"] == pytest.approx(np.mean(partial), abs=1e-8)


def test_an_interval_is_that_of_the_resampled_persons(root: Path, points: pd.DataFrame) -> None:
    """Every resample written out, row by row."""
    parts = sides(points, "mskdex")
    persons = parts[0]["patient_id"].replace({"P004": "P000"}).to_numpy()
    names = list(dict.fromkeys(persons))
    drawn = np.random.default_rng(SETTINGS.seed).multinomial(len(names), np.full(len(names), 1 / len(names)), size=100)
    draws = []
    for counts in drawn:
        again = np.repeat(np.arange(len(persons)), [counts[names.index(p)] for p in persons])
        values = [stats.pearsonr(r["truth"].to_numpy()[again], r["predicted"].to_numpy()[again])[0] for r in parts]
        draws.append(np.mean(values))
    cell = figure(root, "mskdex").loc["pcc"]
    assert [cell["low"], cell["high"]] == pytest.approx(list(np.quantile(draws, [0.025, 0.975])))


def test_coverage_is_counted_by_hand(root: Path, points: pd.DataFrame) -> None:
    """No sex has 20 patients in a fold here, so women have symmetric intervals of their own where they are nine."""
    hits = []
    for _, rows in points[(points["method"] == "mskdex") & (points["channel"] == "sacrum")].groupby("quantity"):
        if rows["quantity"].iloc[0] != "volume_cm3":
            continue
        for row in rows.itertuples():
            person = {"P004": "P000"}.get(row.patient_id, row.patient_id)
            others = rows[(rows["fold"] == row.fold) & (rows["patient_id"].replace({"P004": "P000"}) != person)]
            same = others[others["sex"] == row.sex]
            used = same if len(same) >= 9 else others
            errors = np.sort(np.abs(used["truth"] - used["predicted"]))
            half = errors[int(np.ceil((len(errors) + 1) * 0.9 - 1e-9)) - 1]
            hits.append(row.predicted - half <= row.truth <= row.predicted + half)
            assert len(used) < 19
    table = read_parquet(root / "evaluation" / "coverage.parquet")
    row = table.query("method == 'mskdex' and structure == 'sacrum' and quantity == 'volume_cm3' and group == 'all'")
    assert row["n"].item() == len(hits) == 30
    assert row["covered"].item() == pytest.approx(np.mean(hits))
