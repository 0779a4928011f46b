"""The stages `collect` and `evaluate` on a results folder that is made up."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from fabricated import Fabrication, fabricate
from pyarrow.parquet import ParquetFile
from scipy import stats

from mskdex.cohort.folds import NO_FOLD
from mskdex.config.evaluation import EvaluationSettings
from mskdex.errors import MskdexError
from mskdex.evaluation.baselines import BASELINES
from mskdex.io.artifacts import read_json, write_json, write_parquet
from mskdex.pipeline.stages.collect import collect
from mskdex.pipeline.stages.evaluate import evaluate

FAST = EvaluationSettings(bootstrap_samples=200)


def _evaluate(
    root: Path,
    experiments: tuple[str, ...] = ("mskdex", "conventional"),
    folds: tuple[int, ...] = (0,),
    settings: EvaluationSettings = FAST,
) -> str:
    collect(root / "patients", root / "cohort" / "patients.parquet", root / "cohort")
    return evaluate(
        root / "experiments", experiments, folds, root / "cohort", root / "patients", settings, root / "evaluation"
    )


def _table(root: Path, name: str) -> pd.DataFrame:
    return pd.read_parquet(root / "evaluation" / f"{name}.parquet")


@pytest.fixture(scope="module")
def one_fold(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = fabricate(tmp_path_factory.mktemp("one"), Fabrication(patients=40))
    _evaluate(root)
    return root


def test_a_cell_is_the_correlation_of_the_predictions_file(one_fold: Path) -> None:
    predictions = pd.read_parquet(one_fold / "experiments" / "mskdex" / "fold0" / "predictions.parquet")
    rows = predictions[(predictions["channel"] == "iliacus_left") & (predictions["quantity"] == "lean_mass_g")]
    agreement = _table(one_fold, "agreement")
    cell = agreement[
        (agreement["method"] == "mskdex")
        & (agreement["channel"] == "iliacus_left")
        & (agreement["quantity"] == "lean_mass_g")
        & (agreement["statistic"] == "pcc")
    ].iloc[0]
    assert cell["value"] == pytest.approx(stats.pearsonr(rows["predicted"], rows["truth"]).statistic)
    assert cell["low"] < cell["value"] < cell["high"]
    assert cell["n"] == len(rows) == 10


def test_the_mean_of_sides_is_the_mean_of_both_cells(one_fold: Path) -> None:
    agreement = _table(one_fold, "agreement")
    some = agreement[(agreement["structure"] == "pectineus") & (agreement["statistic"] == "icc21")]
    some = some[(some["method"] == "conventional") & (some["quantity"] == "volume_cm3")].set_index("side")["value"]
    assert some["mean"] == pytest.approx((some["left"] + some["right"]) / 2)


def test_a_truncated_object_is_undefined_and_says_so(one_fold: Path) -> None:
    agreement = _table(one_fold, "agreement")
    femur = agreement[agreement["structure"] == "femur"]
    assert len(femur)
    assert femur["value"].isna().all()
    assert (femur["undefined"] == "complete in no patient").all()
    assert (femur["left_out"] == 10).all()
    points = _table(one_fold, "points")
    assert (points.loc[points["structure"] == "femur", "left_out"] == "truncated by the CT's field of view").all()


def test_every_table_has_all_baselines_and_the_mean_has_no_correlation(one_fold: Path) -> None:
    agreement = _table(one_fold, "agreement")
    methods = ["mskdex", "fused", "conventional", *BASELINES]
    for _, group in agreement.groupby(["quantity", "statistic"]):
        assert list(dict.fromkeys(group["method"])) == methods
    pcc = agreement[(agreement["method"] == "training_mean") & (agreement["statistic"] == "pcc")]
    assert pcc["value"].isna().all()
    assert pcc["undefined"].notna().all()


def test_the_demographic_regression_sees_the_training_folds_only(one_fold: Path) -> None:
    patients = pd.read_parquet(one_fold / "cohort" / "patients.parquet").set_index("patient_id")
    folds = pd.read_parquet(one_fold / "cohort" / "folds.parquet").set_index("patient_id")["fold"]
    truth = pd.read_parquet(one_fold / "cohort" / "quantities.parquet")
    truth = truth[truth["object"] == "sacrum"].set_index("patient_id")["volume_cm3"]
    numbers = patients[["age", "height_cm", "weight_kg"]].assign(one=1.0, male=(patients["sex"] == "M") * 1.0)
    train = folds != 0
    weights, *_ = np.linalg.lstsq(numbers[train], truth[train], rcond=None)
    points = _table(one_fold, "points")
    rows = points[(points["channel"] == "sacrum") & (points["quantity"] == "volume_cm3")]
    ours = rows[rows["method"] == "demographics"].set_index("patient_id")["predicted"]
    assert ours.to_numpy() == pytest.approx((numbers[~train] @ weights).loc[ours.index].to_numpy())
    mean = rows[rows["method"] == "training_mean"]["predicted"]
    assert mean.to_numpy() == pytest.approx(truth[train].mean())


def test_tests_compare_absolute_errors_of_the_same_patients(one_fold: Path) -> None:
    points, tests = _table(one_fold, "points"), _table(one_fold, "tests")
    rows = points[(points["structure"] == "gluteus_medius") & (points["quantity"] == "lean_mass_g")]
    errors = (rows["predicted"] - rows["truth"]).abs().groupby([rows["method"], rows["patient_id"]]).mean()
    row = tests[(tests["against"] == "conventional") & (tests["structure"] == "gluteus_medius")]
    row = row[row["measure"] == "lean_mass_g absolute error"].iloc[0]
    expected = stats.wilcoxon(errors["mskdex"], errors["conventional"])
    assert row["wilcoxon_p"] == pytest.approx(expected.pvalue)
    assert row["anova_p"] == pytest.approx(stats.f_oneway(errors["mskdex"], errors["conventional"]).pvalue)
    assert row["wilcoxon_p_holm"] >= row["wilcoxon_p"]
    assert set(tests["measure"]) >= {"lean_mass_g absolute error", "volume_cm3 psnr_db", "lean_mass_g ssim"}


def test_bone_images_are_scored_on_the_data_sets_range(one_fold: Path) -> None:
    images, ranges = _table(one_fold, "images"), read_json(one_fold / "evaluation" / "ranges.json")
    assert set(images["structure"]) == {"pelvis", "sacrum", "femur"}
    assert images.groupby(["structure", "quantity"])["data_range"].nunique().eq(1).all()
    row = images.iloc[0]
    assert row["data_range"] == ranges[row["structure"]][row["quantity"]] > 0
    better = images.groupby("method")["psnr_db"].mean()
    assert better["mskdex"] > better["conventional"]


def test_the_printed_table_holds_the_cells(one_fold: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = _evaluate(one_fold)
    assert text in capsys.readouterr().out
    agreement = _table(one_fold, "agreement")
    cell = agreement[(agreement["structure"] == "iliacus") & (agreement["side"] == "mean")]
    cell = cell[(cell["statistic"] == "pcc") & (cell["method"] == "mskdex") & (cell["quantity"] == "volume_cm3")]
    line = [row for row in text.splitlines() if row.strip().startswith("iliacus")][1]
    assert f"{cell['value'].iloc[0]:.3f}" in line
    assert all(word in text for word in ("lean mass", "volume", "age, sex, height, weight", "conventional", "femur"))


def test_a_fold_without_predictions_is_left_out_and_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    root = fabricate(tmp_path, Fabrication(trained=(0, 1)))
    (root / "experiments" / "conventional" / "fold1" / "predictions.parquet").unlink()
    _evaluate(root, folds=(0, 1))
    assert "conventional has no predictions for fold 1" in caplog.text
    agreement = _table(root, "agreement").query(
        "statistic == 'mae' and structure == 'sacrum' and quantity == 'volume_cm3'"
    )
    assert agreement.set_index("method")["n"].to_dict() == {
        "mskdex": 8,
        "fused": 8,
        "conventional": 4,
        **dict.fromkeys(BASELINES, 8),
    }
    assert read_json(root / "evaluation" / "evaluate.json")["missing"] == [{"experiment": "conventional", "fold": 1}]


def test_a_cohort_without_demographics_has_no_regression(tmp_path: Path) -> None:
    root = fabricate(tmp_path, Fabrication(demographics=False))
    _evaluate(root)
    assert "demographics" not in set(_table(root, "agreement")["method"])
    assert "training_mean" in set(_table(root, "agreement")["method"])


@pytest.mark.parametrize("intruder", ["P000", "P900"])
def test_a_training_set_with_a_test_patient_or_a_stranger_stops_the_run(tmp_path: Path, intruder: str) -> None:
    root = fabricate(tmp_path, Fabrication())
    manifest = root / "experiments" / "mskdex" / "fold0" / "train.json"
    content = read_json(manifest)
    content["patients"].append(intruder)
    write_json(manifest, content)
    with pytest.raises(MskdexError, match=rf"mskdex, fold 0.*{intruder}"):
        _evaluate(root)


def test_a_manifest_without_patients_stops_the_run(tmp_path: Path) -> None:
    root = fabricate(tmp_path, Fabrication())
    write_json(root / "experiments" / "mskdex" / "fold0" / "train.json", {"manifest": {}})
    with pytest.raises(MskdexError, match="does not list the patients"):
        _evaluate(root)


def test_predictions_of_another_folds_patients_stop_the_run(tmp_path: Path) -> None:
    root = fabricate(tmp_path, Fabrication())
    path = root / "experiments" / "mskdex" / "fold0" / "predictions.parquet"
    table = pd.read_parquet(path)
    write_parquet(path, table.assign(patient_id=table["patient_id"].replace({"P000": "P001"})))
    with pytest.raises(MskdexError, match="P001"):
        _evaluate(root)


def test_an_object_outside_the_detector_does_not_count(tmp_path: Path) -> None:
    root = fabricate(tmp_path, Fabrication())
    path = root / "experiments" / "mskdex" / "fold0" / "predictions.parquet"
    table = pd.read_parquet(path)
    hidden = (table["patient_id"] == "P004") & (table["channel"] == "sacrum")
    write_parquet(path, table.assign(visible=table["visible"].where(~hidden, 0.4)))
    _evaluate(root)
    rows = _table(root, "agreement").query("statistic == 'mae' and structure == 'sacrum' and quantity == 'volume_cm3'")
    assert (rows["n"] == 3).all(), "the same patients for every method, baselines included"
    assert (rows["left_out"] == 1).all()


def test_tuning_folds_enter_no_result(tmp_path: Path) -> None:
    root = fabricate(tmp_path, Fabrication(trained=(0, 1)))
    _evaluate(root, folds=(0, 1), settings=FAST.model_copy(update={"tuning_folds": (1,)}))
    assert _table(root, "agreement")["n"].max() == 4
    assert _table(root, "tuning")["n"].max() == 4
    assert _table(root, "tests")["n"].max() == 4
    with pytest.raises(MskdexError, match="tuning_folds"):
        _evaluate(root, folds=(1,), settings=FAST.model_copy(update={"tuning_folds": (1,)}))


def _comparator(root: Path, **changes: object) -> EvaluationSettings:
    truth = pd.read_parquet(root / "cohort" / "quantities.parquet")
    rows = truth[truth["object"] == "sacrum"].rename(columns={"patient_id": "patient", "lean_mass_g": "truth"})
    table = rows[["patient", "object", "truth"]].assign(quantity="lean_mass", predicted=rows["truth"] + 5.0, **changes)
    table.to_csv(root / "comparator.csv", index=False)
    return FAST.model_copy(update={"comparators": {"another": str(root / "comparator.csv")}})


def test_another_methods_table_stands_in_the_same_tables(tmp_path: Path) -> None:
    root = fabricate(tmp_path, Fabrication())
    collect(root / "patients", root / "cohort" / "patients.parquet", root / "cohort")
    _evaluate(root, settings=_comparator(root))
    agreement = _table(root, "agreement").query("method == 'another' and structure == 'sacrum'")
    cells = agreement.query("quantity == 'lean_mass_g'").set_index("statistic")
    assert cells.loc["bias", "value"] == pytest.approx(5.0)
    assert cells.loc["pcc", "value"] == pytest.approx(1.0)
    assert cells.loc["bias", "n"] == 4, "the tested patients only"
    assert "another" in set(_table(root, "tests")["against"])


def test_another_methods_table_on_the_command_line() -> None:
    assert FAST.with_comparators(["a=x.csv", "b=y=z.csv"]).comparators == {"a": "x.csv", "b": "y=z.csv"}
    with pytest.raises(MskdexError, match="write NAME=TABLE"):
        FAST.with_comparators(["x.csv"])


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"patient": "X1"}, "unknown patient_id X1"),
        ({"object": "spleen"}, "unknown channel spleen"),
        ({"quantity": "mass_kg"}, "unknown quantity mass_kg"),
        ({"truth": 1.0}, "its truth of sacrum"),
    ],
)
def test_another_methods_table_that_does_not_fit_is_refused(
    tmp_path: Path, changes: dict[str, object], complaint: str
) -> None:
    root = fabricate(tmp_path, Fabrication(patients=8))
    collect(root / "patients", root / "cohort" / "patients.parquet", root / "cohort")
    settings = _comparator(root)
    table = pd.read_csv(root / "comparator.csv").assign(**changes)
    table.to_csv(root / "comparator.csv", index=False)
    with pytest.raises(MskdexError, match=complaint):
        _evaluate(root, settings=settings)


def test_a_result_folder_without_predictions_says_what_to_do(tmp_path: Path) -> None:
    root = fabricate(tmp_path, Fabrication(patients=8))
    with pytest.raises(MskdexError, match=r"no predictions of nothing.*train a fold first"):
        _evaluate(root, experiments=("nothing",))


def test_collect_keeps_every_patients_registration(one_fold: Path) -> None:
    table = pd.read_parquet(one_fold / "cohort" / "registration.parquet")
    assert len(table) == 3 * 40
    assert table.loc[~table["accepted"], "reason"].notna().all()
    assert table["sd_mm"].iloc[0] == pytest.approx(np.sqrt(0.2**2 + 0.3**2 + 1.1**2))
    assert json.loads((one_fold / "cohort" / "collect.json").read_text(encoding="utf-8"))["patients"] == 40


def test_truth_that_is_streamed_in_blocks_is_the_same_table(one_fold: Path, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr("mskdex.pipeline.stages.collect._ROWS_AT_ONCE", 100)
    collect(one_fold / "patients", one_fold / "cohort" / "patients.parquet", tmp_path)
    whole = pd.read_parquet(one_fold / "cohort" / "quantities.parquet")
    pd.testing.assert_frame_equal(pd.read_parquet(tmp_path / "quantities.parquet"), whole)
    assert ParquetFile(tmp_path / "quantities.parquet").num_row_groups > 1
    assert whole["patient_id"].nunique() == 40


def test_patients_who_are_evaluated_only_are_in_no_training(tmp_path: Path) -> None:
    root = fabricate(tmp_path, Fabrication(patients=16))
    table = pd.read_parquet(root / "cohort" / "folds.parquet").set_index("patient_id")
    table.loc["P015", "fold"] = NO_FOLD
    write_parquet(root / "cohort" / "folds.parquet", table.reset_index())
    with pytest.raises(MskdexError, match=r"mskdex, fold 0: trained on patients that are in no fold.*P015"):
        _evaluate(root)
    for name in ("mskdex", "conventional"):
        manifest = root / "experiments" / name / "fold0" / "train.json"
        facts = read_json(manifest)
        write_json(manifest, facts | {"patients": [p for p in facts["patients"] if p != "P015"]})
    _evaluate(root)
    truth = pd.read_parquet(root / "cohort" / "quantities.parquet")
    truth = truth[truth["object"] == "sacrum"].set_index("patient_id")["volume_cm3"]
    points = _table(root, "points")
    rows = points[(points["channel"] == "sacrum") & (points["quantity"] == "volume_cm3")]
    mean = rows.loc[rows["method"] == "training_mean", "predicted"]
    assert mean.to_numpy() == pytest.approx(truth[table.index[table["fold"] > 0]].mean())
    assert "P015" not in set(points["patient_id"])
