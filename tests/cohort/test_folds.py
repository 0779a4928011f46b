"""Folds partition the patients, balanced and reproducible."""

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mskdex.cohort.folds import assign_folds
from mskdex.config.learning import FoldSettings
from mskdex.errors import MskdexError


def sheet(n, females):
    return pd.DataFrame({"patient_id": [f"P{i:04d}" for i in range(n)], "sex": ["F"] * females + ["M"] * (n - females)})


@given(st.integers(8, 200), st.integers(2, 8), st.integers(0, 5), st.data())
def test_folds_are_a_balanced_partition(n, count, seed, data):
    patients = sheet(n, data.draw(st.integers(0, n)))
    folds = assign_folds(patients, FoldSettings(count=count, seed=seed))
    assert list(folds["patient_id"]) == list(patients["patient_id"])
    for sex in ("F", "M"):
        sizes = folds["fold"][patients["sex"] == sex].value_counts().reindex(range(count), fill_value=0)
        assert sizes.max() - sizes.min() <= 1
    sizes = folds["fold"].value_counts().reindex(range(count), fill_value=0)
    assert sizes.max() - sizes.min() <= 1


def test_the_order_of_rows_does_not_matter_and_the_seed_does():
    patients = sheet(40, 30)
    folds = assign_folds(patients, FoldSettings())
    assert assign_folds(patients[::-1], FoldSettings()).equals(folds)
    assert not assign_folds(patients, FoldSettings(seed=1)).equals(folds)


def test_the_papers_protocol():
    sizes = assign_folds(sheet(539, 444), FoldSettings(count=4))["fold"].value_counts()
    assert sorted(sizes) == [134, 135, 135, 135]


def test_too_few_patients():
    with pytest.raises(MskdexError, match="3 patients cannot fill 4 folds"):
        assign_folds(sheet(3, 1), FoldSettings(count=4))
