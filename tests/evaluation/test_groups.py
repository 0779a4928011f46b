"""Sub-groups and the measured coverage of intervals."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from mskdex.evaluation.conformal import offsets
from mskdex.evaluation.coverage import coverage_table
from mskdex.evaluation.subgroups import subgroup_table, subgroups


def points(n: int = 60, bias: float = 0.0, men_spread: float = 1.0, seed: int = 0) -> tuple[pd.DataFrame, pd.DataFrame]:
    generator = np.random.default_rng(seed)
    names = [f"P{i:03d}" for i in range(n)]
    sex = np.where(np.arange(n) % 2, "F", "M")
    truth = generator.normal(500, 60, n)
    noise = generator.normal(0, 10, n) * np.where(sex == "M", men_spread, 1.0)
    table = pd.DataFrame(
        {
            "method": "mskdex",
            "fold": 0,
            "patient_id": names,
            "structure": "iliacus",
            "side": "left",
            "channel": "iliacus_left",
            "kind": "muscle",
            "quantity": "volume_cm3",
            "predicted": truth + bias + noise,
            "truth": truth,
            "left_out": None,
        }
    )
    people = {
        "sex": sex,
        "age": generator.normal(65, 10, n),
        "height_cm": 160.0,
        "weight_kg": generator.normal(64, 9, n),
    }
    return table, pd.DataFrame(people, index=names)


def covered(table: pd.DataFrame, people: pd.DataFrame) -> pd.DataFrame:
    same = pd.Series(people.index, people.index)
    found = coverage_table(table, ["mskdex"], people["sex"], pd.Series("absolute", people.index), same)
    return found[found["structure"] == "iliacus"].set_index("group")


def test_the_offsets_are_order_statistics_of_signed_errors() -> None:
    errors = np.arange(1.0, 20.0)  # 19 of one sign: ranks 19 and 1 of 19
    assert offsets(errors) == (1.0, 19.0)
    assert offsets(np.arange(1.0, 40.0)) == (2.0, 38.0)
    assert offsets(np.arange(1.0, 10.0)) == (-9.0, 9.0), "too few for two tails"
    assert offsets(np.arange(1.0, 9.0)) is None


def test_new_patients_are_covered_though_the_model_is_biased() -> None:
    generator = np.random.default_rng(1)
    hits = []
    for _ in range(2000):
        error = 3.0 + generator.gamma(1.0, 1.0, 40)
        low, high = offsets(error[:39]) or (np.nan, np.nan)
        hits.append(low <= error[39] <= high)
    assert 0.88 < np.mean(hits) < 0.97


def test_each_sex_is_covered_though_one_is_predicted_worse() -> None:
    table, people = points(n=400, bias=40.0, men_spread=6.0)
    found = covered(table, people)
    assert found.loc["men", "covered"] > 0.86
    assert 0.84 < found.loc["women", "covered"] < 0.97
    assert found.loc["men", "width_percent"] > 3 * found.loc["women", "width_percent"]
    assert found.loc["all", "n"] == 400


def test_too_few_patients_have_no_interval() -> None:
    found = covered(*points(n=9))
    assert found.loc["all", ["n", "without"]].tolist() == [0, 9]
    assert np.isnan(found.loc["all", "covered"])


def test_a_persons_other_row_calibrates_nothing() -> None:
    table, people = points(n=10)
    same = pd.Series([*people.index[:9], people.index[8]], people.index)
    found = coverage_table(table, ["mskdex"], people["sex"], pd.Series("absolute", people.index), same)
    whole = found[(found["structure"] == "iliacus") & (found["group"] == "all")].iloc[0]
    assert (whole["n"], whole["without"]) == (8, 2), "the two rows of one person have eight others each"


def test_subgroups_are_scipys_regressions() -> None:
    table, people = points(bias=20.0)
    found = subgroup_table(table, ["mskdex"], people)
    some = found[(found["group"] == "women") & (found["structure"] == "iliacus")].set_index("measure")["value"]
    own = table[(people["sex"] == "F").to_numpy()]
    line = stats.linregress(own["predicted"], own["truth"])
    assert some["slope"] == pytest.approx(line.slope)
    assert some["intercept_percent"] == pytest.approx(100 * line.intercept / own["truth"].mean())
    assert some["pcc"] == pytest.approx(line.rvalue)
    assert some["bias_percent"] == pytest.approx(100 * (own["predicted"] - own["truth"]).mean() / own["truth"].mean())


def test_who_lacks_a_value_is_in_no_group_of_it() -> None:
    _, people = points()
    people.iloc[0, people.columns.get_loc("age")] = np.nan
    people.iloc[1, people.columns.get_loc("height_cm")] = np.nan
    people.iloc[2, people.columns.get_loc("sex")] = None
    found = subgroups(people)
    assert sum(found[n][0] for n in found if "years" in n) == 0
    assert sum(found[n][1] for n in found if "BMI" in n) == 0
    assert not found["women"][2]
    assert not found["men"][2]
    assert set(subgroups(people.assign(sex=None, age=np.nan, height_cm=np.nan))) == set()


def test_grey_scales_and_units_are_groups_where_there_are_several() -> None:
    table, people = points()
    people["scale"] = np.where(np.arange(60) < 40, "absolute", "relative")
    people["device"] = [*["Arvik Lumen 40"] * 35, *["Dunmere Clarity"] * 20, *[None] * 5]
    found = subgroup_table(table, ["mskdex"], people).query("structure == 'iliacus' and measure == 'pcc'")
    sizes = found.set_index("group")["n"]
    assert sizes[["absolute grey scale", "relative grey scale"]].tolist() == [40, 20]
    assert sizes[["unit Arvik Lumen 40", "unit Dunmere Clarity"]].tolist() == [35, 20], "five are unknown"
    own = table[(people["device"] == "Dunmere Clarity").to_numpy()]
    value = found.set_index("group").loc["unit Dunmere Clarity", "value"]
    assert value == pytest.approx(stats.pearsonr(own["truth"], own["predicted"]).statistic)
    same = pd.Series(people.index, people.index)
    coverage = coverage_table(table, ["mskdex"], people["sex"], people["scale"], same, people["device"])
    by_group = coverage[coverage["structure"] == "iliacus"].set_index("group")["n"]
    assert by_group["unit Arvik Lumen 40"] == 35
    alone = subgroups(people.assign(scale="absolute", device="Arvik Lumen 40"))
    assert not [g for g in alone if g.startswith(("unit", "absolute"))], "one of a kind is no sub-group"


def both_sides() -> tuple[pd.DataFrame, pd.DataFrame]:
    """Sixty patients with two muscles and the sacrum; predictions of an affected left muscle are 50 too high."""
    table, people = points()
    people["affected_side"] = [*["left"] * 20, *["right"] * 20, *["both"] * 8, *["none"] * 8, *[None] * 4]
    generator = np.random.default_rng(3)
    parts = []
    for structure, side in (("iliacus", "left"), ("iliacus", "right"), ("sacrum", "midline")):
        part = table.assign(structure=structure, side=side, channel=f"{structure}_{side}")
        part["kind"] = "bone" if structure == "sacrum" else "muscle"
        part["truth"] = generator.normal(500, 60, len(part))
        off = generator.normal(0, 5, len(part)) + 50.0 * np.isin(people["affected_side"], [side, "both"])
        parts.append(part.assign(predicted=part["truth"] + off))
    return pd.concat(parts, ignore_index=True), people


def test_the_affected_and_the_other_sides_are_groups() -> None:
    table, people = both_sides()
    found = subgroup_table(table, ["mskdex"], people)
    rows = found[(found["measure"] == "bias_percent") & (found["structure"] == "iliacus")].set_index("group")
    assert rows.loc[["affected side", "other side"], "n"].tolist() == [28, 28], "of one side: 20 + 8 of both or none"
    table["off"] = table["predicted"] - table["truth"]
    for group, of_left, of_right in (
        ("affected side", ["left", "both"], ["right", "both"]),
        ("other side", ["right", "none"], ["left", "none"]),
    ):
        expected = []
        for side, told in (("left", of_left), ("right", of_right)):
            members = people.index[people["affected_side"].isin(told)]
            own = table[(table["channel"] == f"iliacus_{side}") & table["patient_id"].isin(members)]
            expected.append(100 * own["off"].mean() / own["truth"].mean())
        assert rows.loc[group, "value"] == pytest.approx(np.mean(expected))
    assert rows.loc["affected side", "value"] > 8
    assert abs(rows.loc["other side", "value"]) < 1
    assert set(found.loc[found["structure"] == "sacrum", "group"]).isdisjoint({"affected side", "other side"})


@pytest.mark.parametrize("told", [None, "none", "both"])
def test_without_a_side_that_differs_there_is_no_group_of_sides(told: str | None) -> None:
    table, people = both_sides()
    found = subgroup_table(table, ["mskdex"], people.assign(affected_side=told))
    assert set(found["group"]).isdisjoint({"affected side", "other side"})
    without = subgroup_table(table, ["mskdex"], people.drop(columns="affected_side"))
    pd.testing.assert_frame_equal(found, without)
