"""Folds partition the patients, balanced and reproducible."""

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mskdex.cohort.folds import NO_FOLD, assign_folds
from mskdex.config.learning import FoldSettings
from mskdex.errors import MskdexError
from mskdex.pipeline.workflow import folds_of_patients

USE = {True: "evaluate_only", False: "train_and_evaluate"}


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


def test_patients_who_are_evaluated_only_are_in_no_fold_and_change_no_other():
    patients = sheet(40, 30)
    apart = patients["patient_id"].isin(["P0003", "P0020", "P0039"])
    folds = assign_folds(patients.assign(use=apart.map(USE)), FoldSettings()).set_index("patient_id")["fold"]
    alone = assign_folds(patients[~apart], FoldSettings()).set_index("patient_id")["fold"]
    assert (folds[patients.loc[apart, "patient_id"]] == NO_FOLD).all()
    assert folds[alone.index].equals(alone)


def test_too_few_patients_to_train_on():
    patients = sheet(9, 5).assign(use=["evaluate_only"] * 6 + ["train_and_evaluate"] * 3)
    with pytest.raises(MskdexError, match=r"3 patients to train on \(6 are evaluate_only\) cannot fill 4 folds"):
        assign_folds(patients, FoldSettings(count=4))
    folds, told = folds_of_patients(patients, FoldSettings(count=4))
    assert list(folds.values()) == [NO_FOLD] * 6 + [0] * 3
    assert "nothing can be trained" in told


def test_too_few_patients():
    with pytest.raises(MskdexError, match="3 patients cannot fill 4 folds"):
        assign_folds(sheet(3, 1), FoldSettings(count=4))
