"""Tests of one method against another."""

import numpy as np
import pytest
from scipy import stats

from mskdex.evaluation.statistics import holm, one_way_anova, paired_wilcoxon


def test_anova_of_two_groups_is_the_squared_t_test() -> None:
    generator = np.random.default_rng(0)
    first, second = generator.exponential(1, 30), generator.exponential(2, 30)
    f, p = one_way_anova(first, second)
    t = stats.ttest_ind(first, second)
    assert f == pytest.approx(t.statistic**2)
    assert p == pytest.approx(t.pvalue)


def test_wilcoxon_of_six_pairs_by_hand() -> None:
    # Differences 1, 2, 3, -4, 5, 6: ranks of the negative one sum to 4; 7 of 32 subsets of 1..6 sum to at most 4.
    w, p = paired_wilcoxon(np.array([2.0, 4, 6, 0, 10, 12]), np.array([1.0, 2, 3, 4, 5, 6]))
    assert w == 4
    assert p == pytest.approx(2 * 7 / 64)


def test_holm_by_hand() -> None:
    found = holm(np.array([0.01, 0.04, 0.03, np.nan]))
    assert found[:3] == pytest.approx([0.03, 0.06, 0.06])
    assert np.isnan(found[3])


def test_holm_never_lowers_a_p_value_nor_passes_one() -> None:
    p = np.random.default_rng(2).uniform(size=20)
    found = holm(p)
    assert (found >= p).all()
    assert found.max() <= 1
    assert (np.diff(found[np.argsort(p)]) >= 0).all()


def test_no_variance_and_too_few_are_undefined() -> None:
    assert np.isnan(one_way_anova(np.ones(4), np.ones(4))).all()
    assert np.isnan(one_way_anova(np.ones(1), np.ones(4))).all()
    assert np.isnan(paired_wilcoxon(np.ones(4), np.ones(4))).all()
    assert np.isnan(paired_wilcoxon(np.array([1.0, np.nan]), np.array([2.0, 2.0]))).all()
