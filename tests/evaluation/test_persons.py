"""Two rows of the sheet may be one person: they are resampled together, and count once in a test."""

import numpy as np
import pandas as pd
import pytest

from mskdex.config.evaluation import EvaluationSettings
from mskdex.evaluation import summaries
from mskdex.evaluation.added_value import added_value_table
from mskdex.evaluation.agreement import person_resamples

SETTINGS = EvaluationSettings(bootstrap_samples=200)
IMAGES = pd.DataFrame(columns=["method", "structure", "patient_id", "quantity", "psnr_db", "ssim"])


def cohort(n: int = 24, seed: int = 0) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Points of two methods, and demographics."""
    generator = np.random.default_rng(seed)
    names = [f"P{i:02d}" for i in range(n)]
    truth = generator.normal(500, 60, n)
    common = {
        "fold": 0,
        "patient_id": names,
        "structure": "sacrum",
        "side": "midline",
        "channel": "sacrum",
        "kind": "muscle",
        "quantity": "lean_mass_g",
        "truth": truth,
        "left_out": None,
    }
    parts = [
        pd.DataFrame({"method": m, **common, "predicted": truth + generator.normal(0, s, n)})
        for m, s in (("mskdex", 30.0), ("conventional", 60.0))
    ]
    people = {"sex": np.where(np.arange(n) % 3, "F", "M"), "age": generator.normal(60, 9, n)}
    return pd.concat(parts, ignore_index=True), pd.DataFrame(people, index=names)


def twice(points: pd.DataFrame, people: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame, pd.Series]:
    """Everybody again under another id, and the persons."""
    again = points.assign(patient_id=points["patient_id"] + "b")
    both = pd.concat([people, people.set_axis(people.index + "b")])
    persons = pd.Series(both.index.str.removesuffix("b"), both.index)
    return pd.concat([points, again], ignore_index=True), both, persons


def test_rows_of_one_person_are_drawn_together() -> None:
    persons = np.array(["a", "b", "a", "c", "b", "a"])
    counts = person_resamples(persons, 300, seed=0)
    assert (counts[:, 0] == counts[:, 2]).all()
    assert (counts[:, 0] == counts[:, 5]).all()
    assert (counts[:, 1] == counts[:, 4]).all()
    assert (counts[:, [0, 1, 3]].sum(axis=1) == 3).all()
    assert (counts[:, 0] != counts[:, 1]).any()


@pytest.mark.parametrize("table", ["agreement", "added value"])
def test_a_cohort_that_is_in_the_sheet_twice_has_the_intervals_of_one(table: str) -> None:
    points, people = cohort()
    doubled, both, persons = twice(points, people)
    if table == "agreement":
        one, two = summaries.agreement_table(points, SETTINGS), summaries.agreement_table(doubled, SETTINGS, persons)
        rows = one["statistic"].isin(["pcc", "mae", "bias", "slope", "rmse"])
    else:
        none = points.iloc[:0]
        one = added_value_table(points, none, people, SETTINGS)
        two = added_value_table(doubled, none, both, SETTINGS, persons)
        rows = one["measure"].isin(["pcc", "pcc_women", "r2", "slope", "bias_percent"])
    assert rows.sum() >= 5
    assert two.loc[rows, ["low", "high"]].to_numpy() == pytest.approx(one.loc[rows, ["low", "high"]].to_numpy())
    assert (one.loc[rows, "low"] < one.loc[rows, "high"]).all()


def test_a_person_counts_once_in_a_test() -> None:
    points, people = cohort()
    doubled, _, persons = twice(points, people)
    settings = SETTINGS.model_copy(update={"proposed": "mskdex"})
    one = summaries.tests_table(points, IMAGES, settings)
    two = summaries.tests_table(doubled, IMAGES, settings, persons)
    assert len(one) == 1
    pd.testing.assert_frame_equal(one, two)
