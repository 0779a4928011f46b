import numpy as np
import pandas as pd
import pytest

from mskdex.evaluation.conformal import Calibration, alike, fewest_patients, offsets


def _table(truth, predicted):
    return pd.DataFrame({"channel": "a", "quantity": "volume_cm3", "truth": truth, "predicted": predicted})


def _ends(calibration, channel="a", sex=None, scale="absolute"):
    return calibration.ends(channel, "volume_cm3", sex, scale)


def test_the_ends_are_order_statistics_of_signed_errors():
    errors = np.arange(1.0, 20.0)  # 19 of one sign: the truth lies above every prediction
    assert _ends(Calibration.of(_table(errors, np.zeros(19)))) == (1.0, 19.0)
    assert _ends(Calibration.of(_table(np.zeros(12), np.arange(1.0, 13.0)))) == (-12.0, 12.0), "too few for two tails"
    assert _ends(Calibration.of(_table(np.zeros(19), errors)), "b") is None


def test_too_few_patients_give_no_interval():
    assert fewest_patients(0.9) == 9
    assert _ends(Calibration.of(_table(np.zeros(8), np.ones(8)))) is None
    assert _ends(Calibration.of(_table(np.zeros(9), np.ones(9)))) == (-1.0, 1.0)


def test_objects_without_truth_do_not_count():
    truth = np.append(np.zeros(9), np.nan)
    assert len(Calibration.of(_table(truth, np.ones(10))).errors["a", "volume_cm3"]) == 9


def test_errors_are_of_the_visible_share_that_the_model_was_asked_for():
    table = _table(np.full(10, 100.0), np.full(10, 90.0)).assign(visible=[0.9] * 9 + [0.3])
    errors = Calibration.of(table).errors["a", "volume_cm3"]["error"]
    assert errors.tolist() == pytest.approx([0.0] * 9), "the tenth is hardly visible and does not count"


def test_the_smallest_group_that_is_large_enough_calibrates():
    sexes = np.array(["F"] * 9 + ["M"] * 5 + ["F"] * 6, dtype=object)
    scales = np.array(["absolute"] * 14 + ["relative"] * 6, dtype=object)
    everybody = np.ones(20, bool)
    assert alike(sexes, scales, "F", "absolute", everybody).tolist() == [True] * 9 + [False] * 11
    assert alike(sexes, scales, "M", "absolute", everybody).tolist() == [True] * 14 + [False] * 6, "five men are few"
    assert alike(sexes, scales, None, "absolute", everybody).sum() == 14
    assert alike(sexes, scales, "F", "relative", everybody).all(), "six of this scale are few"
    apart = everybody.copy()
    apart[0] = False
    assert not alike(sexes, scales, "F", "absolute", apart)[0]


def test_women_and_men_have_intervals_of_their_own():
    error = np.concatenate([np.linspace(-1, 1, 25), np.linspace(4, 6, 25)])
    table = pd.DataFrame(
        {"channel": "a", "quantity": "volume_cm3", "error": error, "sex": ["F"] * 25 + ["M"] * 25, "scale": "absolute"}
    )
    women, men, unknown = (_ends(Calibration.of_errors(table), sex=sex) for sex in ("F", "M", None))
    assert -1 <= women[0] < women[1] <= 1
    assert 4 <= men[0] < men[1] <= 6, "wholly above the prediction, which is too low for men"
    assert unknown[0] < 0 < 4 < unknown[1]


def test_coverage_holds_on_new_patients():
    errors = np.random.default_rng(1).standard_t(3, (8000, 40))
    ends = np.array([offsets(row[:39]) for row in errors])  # 36 of 40 ranks lie between them
    hits = (errors[:, 39] >= ends[:, 0]) & (errors[:, 39] <= ends[:, 1])
    assert abs(hits.mean() - 0.9) < 0.0135
