"""What the image adds: each figure against another library or its definition."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from fabricated import Fabrication, fabricate
from scipy import stats

from mskdex.config.evaluation import EvaluationSettings
from mskdex.evaluation.added_value import added_value_table
from mskdex.evaluation.agreement import Pairs, resamples
from mskdex.evaluation.baselines import Design
from mskdex.evaluation.differences import difference_table
from mskdex.evaluation.partial import partial_correlation, r_squared
from mskdex.io.artifacts import read_parquet, write_parquet
from mskdex.pipeline.stages.collect import collect
from mskdex.pipeline.stages.evaluate import evaluate

SETTINGS = EvaluationSettings(bootstrap_samples=100)


def people(n: int, seed: int = 0) -> pd.DataFrame:
    generator = np.random.default_rng(seed)
    table = {"sex": np.where(generator.random(n) < 0.7, "F", "M"), "age": generator.normal(60, 10, n)}
    return pd.DataFrame(table | {"height_cm": generator.normal(160, 8, n), "weight_kg": generator.normal(60, 11, n)})


def pairs(n: int = 40, seed: int = 0) -> tuple[Pairs, pd.DataFrame]:
    generator = np.random.default_rng(seed)
    who = people(n, seed + 100)
    truth = 5 * who["weight_kg"].to_numpy() + 80 * (who["sex"] == "M").to_numpy() + generator.normal(0, 30, n)
    predicted = 0.9 * truth + generator.normal(0, 25, n)
    return Pairs(truth[:, None], predicted[:, None], np.ones((n, 1), bool), np.zeros(n)), who


@pytest.mark.filterwarnings("ignore")
def test_the_partial_correlation_is_pingouins() -> None:
    import pingouin

    some, who = pairs()
    table = who.assign(t=some.truth[:, 0], p=some.predicted[:, 0], male=(who["sex"] == "M") * 1.0)
    expected = pingouin.partial_corr(table, "p", "t", covar=["age", "height_cm", "weight_kg", "male"])["r"].iloc[0]
    found, why = partial_correlation(some, Design.fit(who).matrix(who), np.ones((1, 40)))
    assert why == [None]
    assert found[0, 0] == pytest.approx(expected, abs=1e-9)


def test_a_weighted_partial_correlation_and_r2_are_those_of_the_resample() -> None:
    from sklearn.metrics import r2_score

    some, who = pairs()
    design, counts = Design.fit(who).matrix(who), resamples(40, 3, seed=2)
    partial, r2 = partial_correlation(some, design, counts)[0], r_squared(some, counts)[0]
    for row, weights in enumerate(counts.astype(int)):
        again = np.repeat(np.arange(40), weights)
        t, p, d = some.truth[again, 0], some.predicted[again, 0], design[again]
        rest = [v - d @ np.linalg.lstsq(d, v, rcond=None)[0] for v in (t, p)]
        assert partial[row, 0] == pytest.approx(stats.pearsonr(*rest).statistic, abs=1e-9)
        assert r2[row, 0] == pytest.approx(r2_score(t, p), abs=1e-9)


def test_a_prediction_made_of_demographics_has_no_partial_correlation() -> None:
    some, who = pairs()
    design = Design.fit(who).matrix(who)
    alone = Pairs(some.truth, (design @ np.arange(1.0, 6.0))[:, None], some.known, some.groups)
    found, why = partial_correlation(alone, design, np.ones((1, 40)))
    assert np.isnan(found[0, 0])
    assert why == ["demographics leave no spread of it"]
    few = Pairs(some.truth[:6], some.predicted[:6], some.known[:6], some.groups[:6])
    assert partial_correlation(few, design[:6], np.ones((1, 6)))[1] == ["needs 7 patients with predictions, has 6"]


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = fabricate(tmp_path_factory.mktemp("added"), Fabrication(patients=40, trained=(0, 1), size=24))
    return evaluated(root)


def evaluated(root: Path, folds: tuple[int, ...] = (0, 1), experiments: tuple[str, ...] = ("mskdex",)) -> Path:
    collect(root / "patients", root / "cohort" / "patients.parquet", root / "cohort")
    patients, out = root / "patients", root / "evaluation"
    evaluate(root / "experiments", experiments, folds, root / "cohort", patients, SETTINGS, out)
    return root


def values(root: Path, method: str, structure: str) -> pd.DataFrame:
    table = read_parquet(root / "evaluation" / "added_value.parquet")
    table = table[(table["method"] == method) & (table["structure"] == structure)]
    return table[table["quantity"] == "lean_mass_g"].set_index("measure")


def counted(root: Path, method: str, structure: str) -> pd.DataFrame:
    points = read_parquet(root / "evaluation" / "points.parquet")
    patients = read_parquet(root / "cohort" / "patients.parquet").set_index("patient_id")
    some = points[(points["method"] == method) & (points["structure"] == structure)]
    return some[some["quantity"] == "lean_mass_g"].join(patients[["sex"]], on="patient_id")


def pcc(rows: pd.DataFrame) -> float:
    sides = [stats.pearsonr(r["predicted"], r["truth"]).statistic for _, r in rows.groupby("side")]
    return float(np.mean(sides))


def test_the_measures_follow_from_the_points(results: Path) -> None:
    rows, found = counted(results, "mskdex", "iliacus"), values(results, "mskdex", "iliacus")["value"]
    folds = [pcc(r) for _, r in rows.groupby("fold")]
    assert found["pcc"] == pytest.approx(pcc(rows))
    assert found["pcc_women"] == pytest.approx(pcc(rows[rows["sex"] == "F"]))
    assert [found["pcc_fold_0"], found["pcc_fold_1"]] == pytest.approx(folds)
    assert found["pcc_fold_mean"] == pytest.approx(np.mean(folds))
    sides = [rows[rows["side"] == side].set_index("patient_id")[["predicted", "truth"]] for side in ("left", "right")]
    gap = sides[0] - sides[1]
    assert found["left_right"] == pytest.approx(stats.pearsonr(gap["predicted"], gap["truth"]).statistic)
    error = rows.assign(error=rows["predicted"] - rows["truth"]).groupby("side")[["error", "truth"]].mean()
    assert found["bias_percent"] == pytest.approx((100 * error["error"] / error["truth"]).mean())


def test_r2_gained_is_that_of_fused_less_that_of_demographics(results: Path) -> None:
    found = values(results, "mskdex", "gluteus_medius")
    fused = values(results, "fused", "gluteus_medius")["value"]
    known = values(results, "demographics", "gluteus_medius")["value"]
    assert found.loc["r2_gain", "value"] == pytest.approx(fused["r2"] - known["r2"])
    assert found.loc["r2_gain", "low"] < found.loc["r2_gain", "value"] < found.loc["r2_gain", "high"]
    assert found.loc["r2_demographics", "value"] == pytest.approx(known["r2"])


def test_the_mean_of_the_muscles_is_the_mean_of_their_rows(results: Path) -> None:
    table = read_parquet(results / "evaluation" / "added_value.parquet")
    some = table[(table["method"] == "mskdex") & (table["quantity"] == "volume_cm3") & (table["measure"] == "icc21")]
    muscles = some[(some["kind"] == "muscle") & (some["structure"] != "mean_of_muscles")]["value"]
    mean = some.set_index("structure").loc["mean_of_muscles", "value"]
    assert mean == pytest.approx(muscles.mean())
    agreement = read_parquet(results / "evaluation" / "agreement.parquet").query(
        "method == 'mskdex' and side == 'mean'"
    )
    same = agreement.query("statistic == 'icc21' and quantity == 'volume_cm3' and structure == 'iliacus'")["value"]
    assert some.set_index("structure").loc["iliacus", "value"] == pytest.approx(same.item())


def test_where_nobody_is_a_man_that_column_says_why(tmp_path: Path) -> None:
    root = fabricate(tmp_path, Fabrication(patients=24, size=24))
    people = read_parquet(root / "cohort" / "patients.parquet")
    write_parquet(root / "cohort" / "patients.parquet", people.assign(sex="F"))
    found = values(evaluated(root, folds=(0,)), "mskdex", "sacrum")
    assert found.loc["pcc_men", "undefined"] == "complete in no patient"
    assert np.isnan(found.loc["pcc_men", "value"])
    assert found.loc["pcc_women", "value"] == pytest.approx(found.loc["pcc", "value"])


def test_the_difference_of_two_methods_is_that_of_their_means_over_the_muscles(results: Path) -> None:
    added = read_parquet(results / "evaluation" / "added_value.parquet")
    means = added[added["structure"] == "mean_of_muscles"].set_index(["method", "quantity", "measure"])["value"]
    table = read_parquet(results / "evaluation" / "differences.parquet")
    assert {"mskdex", "fused", "demographics", "thumbnail_ridge"} <= {*table["method"], *table["other"]}
    for row in table.itertuples():
        expected = means[row.method, row.quantity, row.measure] - means[row.other, row.quantity, row.measure]
        assert row.value == pytest.approx(expected, abs=1e-12)
    assert (table["low"].isna() | (table["low"] <= table["high"])).all()


def test_the_interval_of_a_difference_is_paired() -> None:
    """Two methods with the same errors but a little noise: each is uncertain by itself, their difference is not."""
    rng = np.random.default_rng(0)
    truth, error = rng.normal(100, 20, 40), rng.normal(0, 20, 40)
    rows = [
        {
            "method": method,
            "quantity": "lean_mass_g",
            "channel": "gluteus_medius_left",
            "structure": "gluteus_medius",
            "side": "left",
            "kind": "muscle",
            "patient_id": f"P{i:02d}",
            "fold": i % 2,
            "truth": t,
            "predicted": t + e + n,
            "left_out": None,
        }
        for method, noise in (("a", 0.0), ("b", 1.0))
        for i, (t, e, n) in enumerate(zip(truth, error, noise * rng.normal(0, 1, 40), strict=True))
    ]
    points, patients = pd.DataFrame(rows), pd.DataFrame(index=[f"P{i:02d}" for i in range(40)])
    settings = EvaluationSettings(bootstrap_samples=300)
    table = difference_table(points, points.iloc[:0], patients, settings)
    of = table[table["measure"] == "pcc"].iloc[0]
    alone = added_value_table(points, points.iloc[:0], patients, settings).query("measure == 'pcc'").iloc[0]
    assert of["high"] - of["low"] < 0.25 * (alone["high"] - alone["low"])
    assert of["low"] < of["value"] < of["high"]
