import numpy as np
import pandas as pd

from mskdex.evaluation.conformal import Calibration, fewest_patients


def _table(truth, predicted):
    return pd.DataFrame({"channel": "a", "quantity": "volume_cm3", "truth": truth, "predicted": predicted})


def test_the_half_width_is_the_right_order_statistic():
    errors = np.arange(1.0, 20.0)  # 19: rank ceil(20 * 0.9) = 18
    calibration = Calibration.of(_table(np.zeros(19), errors))
    assert calibration.half_width("a", "volume_cm3") == 18.0
    assert calibration.half_width("a", "volume_cm3", 0.5) == 10.0
    assert calibration.half_width("b", "volume_cm3") is None


def test_too_few_patients_give_no_interval():
    assert fewest_patients(0.9) == 9
    assert Calibration.of(_table(np.zeros(8), np.ones(8))).half_width("a", "volume_cm3") is None
    assert Calibration.of(_table(np.zeros(9), np.ones(9))).half_width("a", "volume_cm3") == 1.0


def test_objects_without_truth_do_not_count():
    truth = np.append(np.zeros(9), np.nan)
    assert len(Calibration.of(_table(truth, np.ones(10))).errors["a", "volume_cm3"]) == 9


def test_coverage_holds_on_new_patients():
    rng = np.random.default_rng(0)
    hits = []
    for _ in range(2000):
        error = rng.standard_t(3, 16)
        half = Calibration.of(_table(np.zeros(15), error[:15])).half_width("a", "volume_cm3")
        hits.append(abs(error[15]) <= half)
    assert 0.885 < np.mean(hits) < 0.96
