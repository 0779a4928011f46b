"""Repeatability against its definitions and pingouin."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from mskdex.errors import MskdexError
from mskdex.evaluation.repeatability import repeatability_table
from mskdex.pipeline.cli import app


def table(patients: int = 12, repeats: int = 4, seed: int = 0) -> pd.DataFrame:
    generator = np.random.default_rng(seed)
    level = np.repeat(generator.normal(300, 60, patients), repeats)
    offset = np.tile(np.array([0.0, 8.0, -4.0, 3.0])[:repeats], patients)
    return pd.DataFrame(
        {
            "patient": np.repeat([f"P{i:02d}" for i in range(patients)], repeats),
            "object": "gluteus_medius_left",
            "quantity": "volume",
            "predicted": level + offset + generator.normal(0, 10, patients * repeats),
            "condition": np.tile([f"pose {i}" for i in range(repeats)], patients),
        }
    )


def measured(rows: pd.DataFrame, folder: Path) -> pd.Series:
    rows.to_csv(folder / "table.csv", index=False)
    found = repeatability_table(folder / "table.csv")
    assert len(found) == 1
    return found.iloc[0]


@pytest.mark.filterwarnings("ignore:The inplace keyword")
@pytest.mark.parametrize("repeats", [2, 3, 4])
def test_the_icc_is_pingouins(tmp_path: Path, repeats: int) -> None:
    import pingouin

    rows = table(repeats=repeats)
    theirs = pingouin.intraclass_corr(rows, "patient", "condition", "predicted").set_index("Type")["ICC"]
    single = {k.replace(" ", ""): v for k, v in theirs.items()}
    found = measured(rows, tmp_path)
    assert (found["icc_form"], found["icc_patients"]) == ("ICC(2,1)", 12)
    assert found["icc"] == pytest.approx(single.get("ICC(A,1)", single.get("ICC2")), abs=1e-6)
    found = measured(rows.drop(columns="condition"), tmp_path)
    assert found["icc_form"] == "ICC(1,1)"
    assert found["icc"] == pytest.approx(single.get("ICC(1,1)", single.get("ICC1")), abs=1e-6)


def test_the_spread_by_hand(tmp_path: Path) -> None:
    rows = pd.DataFrame(
        {
            "patient": ["a", "a", "b", "b", "b", "c"],
            "object": "sacrum",
            "quantity": "lean_mass_g",
            "predicted": [9.0, 11.0, 20.0, 22.0, 24.0, 5.0],
        }
    )
    found = measured(rows, tmp_path)
    assert (found["patients"], found["repeats"]) == (2, 5), "who has one prediction does not count"
    assert found["within_sd"] == pytest.approx(np.sqrt((1 * 2.0 + 2 * 4.0) / 3))
    assert found["rms_cv_percent"] == pytest.approx(100 * np.sqrt((2.0 / 100 + 2 * 4.0 / 484) / 3))
    assert found["smallest_detectable_change"] == pytest.approx(1.96 * np.sqrt(2 * 10 / 3))
    assert (found["structure"], found["side"]) == ("sacrum", "midline")


def test_a_change_beyond_the_smallest_detectable_is_rare_by_chance(tmp_path: Path) -> None:
    rows = table(patients=400, repeats=2, seed=1)
    rows["predicted"] -= rows["condition"].map({"pose 0": 0.0, "pose 1": 8.0})
    limit = measured(rows, tmp_path)["smallest_detectable_change"]
    change = rows.groupby("patient")["predicted"].agg(np.ptp)
    assert 0.02 < (change > limit).mean() < 0.08


def test_a_patient_who_lacks_a_condition_counts_in_the_spread_alone(tmp_path: Path) -> None:
    rows = table()
    found = measured(rows.drop(index=5), tmp_path)
    assert (found["patients"], found["icc_patients"]) == (12, 11)
    whole = measured(rows[rows["patient"] != "P01"], tmp_path)
    assert found["icc"] == pytest.approx(whole["icc"])


def test_sides_quantities_and_structures_are_rows(tmp_path: Path) -> None:
    rows = table().assign(object="iliacus", side="left")
    rows = pd.concat([rows, rows.assign(side="right"), rows.assign(quantity="lean_mass_g")])
    rows.rename(columns={"object": "structure"}).to_csv(tmp_path / "t.tsv", sep="\t", index=False)
    found = repeatability_table(tmp_path / "t.tsv")
    assert found["channel"].tolist() == ["iliacus_left", "iliacus_right", "iliacus_left"]
    assert found["quantity"].tolist() == ["volume_cm3", "volume_cm3", "lean_mass_g"]


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (lambda t: t.drop(columns="object"), "column object missing"),
        (lambda t: t.drop(columns="predicted"), "column predicted missing"),
        (lambda t: t.assign(predicted="n/k"), "'n/k' is not a number"),
        (lambda t: t.assign(predicted=np.inf), "is not a number"),
        (lambda t: t.assign(predicted=[None, *t["predicted"][1:]]), "P00 has no prediction of gluteus_medius_left"),
        (lambda t: t.assign(condition="same"), "of condition same twice"),
        (lambda t: t.assign(condition=[None, *t["condition"][1:]]), "P00 has a row without condition"),
        (lambda t: t.drop_duplicates("patient"), "nothing is repeated"),
    ],
)
def test_a_table_that_cannot_be_used_says_why(tmp_path: Path, change, complaint: str) -> None:
    with pytest.raises(MskdexError, match=complaint):
        measured(change(table()), tmp_path)


def test_what_has_no_value_says_why_and_is_no_number(tmp_path: Path) -> None:
    one = measured(table(patients=1), tmp_path)
    assert np.isnan(one["icc"])
    assert one["undefined"] == "the ICC needs two patients who differ"
    below = measured(table().assign(predicted=lambda t: t["predicted"] - 300), tmp_path)
    assert np.isnan(below["rms_cv_percent"])
    assert below["undefined"] == "a patient's mean is not positive"
    assert below["smallest_detectable_change"] > 0


def test_the_command_prints_and_writes_the_table(tmp_path: Path) -> None:
    table().to_csv(tmp_path / "t.csv", index=False)
    out = tmp_path / "repeatability.csv"
    run = CliRunner().invoke(app, ["repeatability", str(tmp_path / "t.csv"), "--out", str(out)])
    assert run.exit_code == 0
    written = pd.read_csv(out)
    assert f"{written.loc[0, 'rms_cv_percent']:.2f}" in run.output
    assert "gluteus_medius_left" in run.output
