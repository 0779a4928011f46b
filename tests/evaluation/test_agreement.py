"""Agreement statistics against other libraries, and where they have no value."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from mskdex.evaluation.agreement import STATISTICS, Pairs, interval, resamples, statistics, undefined


def _pairs(truth: np.ndarray, predicted: np.ndarray, groups: np.ndarray | None = None) -> Pairs:
    truth, predicted = np.atleast_2d(truth.T).T, np.atleast_2d(predicted.T).T
    groups = np.zeros(len(truth)) if groups is None else groups
    return Pairs(truth, predicted, np.isfinite(truth), groups)


def _values(truth: np.ndarray, predicted: np.ndarray) -> dict[str, float]:
    found = statistics(_pairs(truth, predicted), np.ones((1, len(truth))))
    return {name: float(value[0, 0]) for name, value in found.items()}


def _sample(n: int = 25, seed: int = 3) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    truth = generator.normal(700, 120, n)
    return truth, 0.8 * truth + 100 + generator.normal(0, 40, n)


@pytest.mark.filterwarnings("ignore:The inplace keyword")
@pytest.mark.parametrize("n", [3, 4, 25, 200])
def test_icc_is_pingouins(n: int) -> None:
    import pingouin

    truth, predicted = _sample(n)
    long = pd.DataFrame({"patient": np.tile(np.arange(n), 2), "rater": np.repeat(["t", "p"], n)})
    long["score"] = np.concatenate([truth, predicted])
    if n < 5:
        twice = pd.concat([long, long.assign(patient=long["patient"] + n)])
        counts = np.full((1, n), 2.0)
        table = pingouin.intraclass_corr(twice, "patient", "rater", "score").set_index("Type")["ICC"]
        found = {k: float(v[0, 0]) for k, v in statistics(_pairs(truth, predicted), counts).items()}
    else:
        table = pingouin.intraclass_corr(long, "patient", "rater", "score").set_index("Type")["ICC"]
        found = _values(truth, predicted)
    single = {k.replace(" ", ""): v for k, v in table.items()}
    assert found["icc11"] == pytest.approx(single.get("ICC(1,1)", single.get("ICC1")), abs=1e-6)
    assert found["icc21"] == pytest.approx(single.get("ICC(A,1)", single.get("ICC2")), abs=1e-6)


def test_closed_forms_are_scipys() -> None:
    truth, predicted = _sample()
    found = _values(truth, predicted)
    difference = predicted - truth
    expected = {
        "pcc": stats.pearsonr(truth, predicted).statistic,
        "mae": np.abs(difference).mean(),
        "mae_percent": 100 * np.abs(difference).mean() / truth.mean(),
        "rmse": np.sqrt((difference**2).mean()),
        "bias": difference.mean(),
        "loa_low": difference.mean() - 1.96 * difference.std(ddof=1),
        "loa_high": difference.mean() + 1.96 * difference.std(ddof=1),
        "slope": stats.linregress(predicted, truth).slope,
    }
    assert set(found) == set(STATISTICS) == {*expected, "icc21", "icc11"}
    for name, value in expected.items():
        assert found[name] == pytest.approx(value, rel=1e-9), name


def test_the_icc_of_shrout_and_fleiss_textbook_table() -> None:
    # Judges 1 and 2 of their Table 2, the mean squares by hand: MSR 11.85, MSC 70.083 (df 1), MSE 1.6833.
    first, second = np.array([9.0, 6, 8, 7, 10, 6]), np.array([2.0, 1, 4, 1, 5, 2])
    rows = 2 * ((first + second) / 2).var(ddof=1)
    raters = 6 * (first.mean() - second.mean()) ** 2 / 2
    error = (first - second).var(ddof=1) / 2
    assert _values(first, second)["icc21"] == pytest.approx((rows - error) / (rows + error + 2 * (raters - error) / 6))


def test_a_weighting_is_the_statistic_of_the_resample() -> None:
    truth, predicted = _sample()
    counts = resamples(len(truth), 3, seed=1)
    found = statistics(_pairs(truth, predicted), counts)
    for row, weights in enumerate(counts.astype(int)):
        direct = _values(np.repeat(truth, weights), np.repeat(predicted, weights))
        for name in STATISTICS:
            assert found[name][row, 0] == pytest.approx(direct[name], rel=1e-9), name


@settings(deadline=None, max_examples=50)
@given(st.integers(0, 10_000), st.floats(-1e4, 1e4), st.floats(0.01, 100))
def test_agreement_does_not_depend_on_origin_or_unit(seed: int, shift: float, scale: float) -> None:
    truth, predicted = _sample(12, seed)
    before, after = _values(truth, predicted), _values(scale * truth + shift, scale * predicted + shift)
    for name in ("pcc", "icc21", "icc11", "slope"):
        assert after[name] == pytest.approx(before[name], abs=1e-6), name
    for name in ("mae", "rmse", "bias", "loa_low", "loa_high"):
        assert after[name] == pytest.approx(scale * before[name], rel=1e-6, abs=1e-6 * scale), name


def test_columns_with_unknown_patients_are_those_patients_left_out() -> None:
    truth, predicted = _sample()
    holes = truth.copy()
    holes[[2, 7]] = np.nan
    both = np.column_stack([truth, holes]), np.column_stack([predicted, predicted])
    found = statistics(_pairs(*both), np.ones((1, len(truth))))
    direct = _values(np.delete(truth, [2, 7]), np.delete(predicted, [2, 7]))
    for name in STATISTICS:
        assert found[name][0, 1] == pytest.approx(direct[name], rel=1e-9), name


def test_a_constant_prediction_has_no_correlation_and_no_slope_but_an_error() -> None:
    truth, _ = _sample()
    pairs = _pairs(truth, np.full_like(truth, 700.0))
    found = statistics(pairs, np.ones((1, len(truth))))
    assert np.isnan(found["pcc"][0, 0])
    assert np.isnan(found["slope"][0, 0])
    assert undefined("pcc", pairs, 0) == "constant prediction"
    assert undefined("icc21", pairs, 0) == "constant prediction"
    assert undefined("mae", pairs, 0) is None
    assert found["mae"][0, 0] == pytest.approx(np.abs(truth - 700).mean())


def test_a_prediction_that_is_constant_in_each_fold_has_no_correlation() -> None:
    truth, _ = _sample(8)
    folds = np.repeat([0, 1], 4)
    assert undefined("pcc", _pairs(truth, np.where(folds == 0, 700.0, 690.0), folds), 0) is not None
    assert undefined("pcc", _pairs(truth, truth + 1, np.arange(8)), 0) is None


def test_two_patients_have_no_correlation_and_one_has_no_limits() -> None:
    truth, predicted = _sample(2)
    for name in ("pcc", "icc21", "icc11", "slope"):
        assert undefined(name, _pairs(truth, predicted), 0) == "needs 3 patients, has 2"
    assert undefined("loa_low", _pairs(truth, predicted), 0) is None
    assert undefined("loa_low", _pairs(truth[:1], predicted[:1]), 0) == "needs 2 patients, has 1"


def test_a_prediction_that_is_no_number_makes_every_statistic_undefined() -> None:
    truth, predicted = _sample()
    predicted[3] = np.nan
    pairs = _pairs(truth, predicted)
    found = statistics(pairs, np.ones((1, len(truth))))
    for name in STATISTICS:
        assert undefined(name, pairs, 0) == "1 of 25 predictions are not numbers"
        assert np.isnan(found[name][0, 0]), name


def test_an_object_that_nobody_has_is_undefined() -> None:
    pairs = _pairs(np.full(5, np.nan), np.ones(5))
    for name in STATISTICS:
        assert undefined(name, pairs, 0) == "complete in no patient"


def test_resamples_draw_as_many_patients_and_repeat_for_a_seed() -> None:
    counts = resamples(17, 50, seed=4)
    assert (counts.sum(axis=1) == 17).all()
    assert (counts == resamples(17, 50, seed=4)).all()
    assert (counts != resamples(17, 50, seed=5)).any()


def test_the_interval_is_scipys_percentile_bootstrap_within_its_noise() -> None:
    truth, predicted = _sample(40)
    draws = statistics(_pairs(truth, predicted), resamples(40, 4000, seed=0))["pcc"][:, 0]
    reference = stats.bootstrap(
        (truth, predicted),
        lambda x, y: stats.pearsonr(x, y).statistic,
        paired=True,
        vectorized=False,
        n_resamples=2000,
        method="percentile",
        rng=np.random.default_rng(1),
    ).confidence_interval
    assert interval(draws, 0.95) == pytest.approx((reference.low, reference.high), abs=0.01)


def test_the_interval_covers() -> None:
    """Of 200 samples of 60 patients, about 95 % of the intervals of the MAE hold the true MAE."""
    generator = np.random.default_rng(0)
    truth = generator.normal(0, 1, (60, 200))
    pairs = _pairs(truth, truth + generator.normal(0, 1, truth.shape))
    draws = statistics(pairs, resamples(60, 500, seed=2))["mae"]
    bounds = np.array([interval(draws[:, i], 0.95) for i in range(200)])
    true_mae = np.sqrt(2 / np.pi)
    covered = ((bounds[:, 0] < true_mae) & (true_mae < bounds[:, 1])).mean()
    assert 0.88 <= covered <= 0.99


def test_an_interval_of_mostly_undefined_draws_is_undefined() -> None:
    draws = np.array([0.5] * 80 + [np.nan] * 20)
    assert np.isnan(interval(draws, 0.95)).all()
    assert not np.isnan(interval(draws[:85], 0.95)).any()
