"""Finding low muscle: against scikit-learn and by hand."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from fabricated import Fabrication, fabricate

from mskdex.config.evaluation import EvaluationSettings
from mskdex.evaluation.decisions import Scores, auc, decision_table, low_risk, net_benefit, sensitivity_at
from mskdex.evaluation.points import Cohort, complete_points, trained_points
from mskdex.io.artifacts import read_parquet, write_parquet
from mskdex.pipeline.stages.collect import collect

SETTINGS = EvaluationSettings(bootstrap_samples=100)


def sample(n: int = 60, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    truth = generator.normal(size=n)
    return truth < -0.8, np.round(-truth + generator.normal(size=n), 1)  # with ties


def test_auc_and_sensitivity_are_sklearns() -> None:
    from sklearn.metrics import roc_auc_score, roc_curve

    for seed in range(5):
        is_low, score = sample(seed=seed)
        assert auc(is_low, score) == pytest.approx(roc_auc_score(is_low, score))
        false, true, _ = roc_curve(is_low, score, drop_intermediate=False)
        for specificity in (0.5, 0.8, 0.9):
            assert sensitivity_at(is_low, score, specificity) == pytest.approx(
                true[false <= 1 - specificity + 1e-12].max()
            )
    assert np.isnan(auc(np.zeros(5, bool), np.arange(5.0)))


def test_net_benefit_by_hand() -> None:
    is_low = np.array([True, True, False, False, False])
    treated = np.array([True, False, True, False, False])
    assert net_benefit(is_low, treated, 0.2) == pytest.approx((1 - 1 * 0.25) / 5)
    assert net_benefit(is_low, np.ones(5, bool), 0.5) == pytest.approx((2 - 3) / 5)


def test_a_patients_own_truth_does_not_enter_its_risk() -> None:
    generator = np.random.default_rng(0)
    truth = generator.normal(size=12)
    persons, folds = np.array([0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 10]), np.zeros(12)
    predicted = truth + generator.normal(0, 0.5, 12)
    before = low_risk(Scores(truth, predicted, persons, folds, 0), -1.0)
    after = low_risk(Scores(np.where(persons == 10, 9.0, truth), predicted, persons, folds, 0), -1.0)
    assert ((before == after) == (persons == 10)).all()
    assert ((before > 0) & (before < 1)).all()


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = fabricate(tmp_path_factory.mktemp("decisions"), Fabrication(patients=80, trained=(0, 1), size=8, seed=3))
    people = read_parquet(root / "cohort" / "patients.parquet")
    write_parquet(root / "cohort" / "patients.parquet", people.assign(sex=["F", "M"] * 40))
    collect(root / "patients", root / "cohort" / "patients.parquet", root / "cohort")
    return root


def table(root: Path, settings: EvaluationSettings = SETTINGS, people: pd.DataFrame | None = None) -> pd.DataFrame:
    cohort = Cohort.read(root / "cohort")
    if people is not None:
        cohort = Cohort(people, cohort.folds, cohort.quantities, cohort.objects, cohort.persons)
    points, _ = trained_points(root / "experiments", ["mskdex", "conventional"], (0, 1), cohort)
    return decision_table(complete_points(points, cohort, 0.8), cohort, settings)


def test_low_is_by_the_training_patients_of_the_same_sex(root: Path) -> None:
    truth = read_parquet(root / "cohort" / "quantities.parquet")
    bones = ("pelvis", "sacrum", "femur")
    muscles = truth[~truth["object"].str.startswith(bones)].groupby("patient_id")["lean_mass_g"].sum()
    people = read_parquet(root / "cohort" / "patients.parquet").set_index("patient_id")
    folds = read_parquet(root / "cohort" / "folds.parquet").set_index("patient_id")["fold"]
    low = 0
    for patient in folds.index[folds < 2]:
        same = (people["sex"] == people.loc[patient, "sex"]) & (folds != folds[patient])
        low += (muscles[patient] - muscles[same].mean()) / muscles[same].std() < -1.0
    found = table(root)
    own = found[(found["method"] == "mskdex") & (found["index"] == "hip_lean_mass")].set_index("measure")
    assert own.loc["auc", ["n", "low_muscle", "left_out"]].tolist() == [40, low, 0]
    assert low > 0
    assert own.loc["auc", "low"] <= own.loc["auc", "value"] <= own.loc["auc", "high"]
    worse = found[(found["method"] == "conventional") & (found["index"] == "hip_lean_mass")].set_index("measure")
    assert own.loc["auc", "value"] > worse.loc["auc", "value"]


def test_who_lacks_height_or_sex_is_left_out_and_counted(root: Path) -> None:
    people = read_parquet(root / "cohort" / "patients.parquet").set_index("patient_id")
    people.loc["P000", "height_cm"] = np.nan  # in a tested fold
    people.loc["P004", "sex"] = None
    found = table(root, people=people).query("method == 'mskdex' and measure == 'auc'").set_index("index")
    assert found.loc["hip_lean_mass_per_height2", ["n", "left_out"]].tolist() == [38, 2]
    assert found.loc["hip_lean_mass", ["n", "left_out"]].tolist() == [39, 1]
    nobody = table(root, SETTINGS.model_copy(update={"low_muscle_z": -9.0})).query("measure == 'auc'")
    assert nobody["value"].isna().all()
    assert (nobody["undefined"] == "0 of 40 patients are low").all()


def test_a_muscle_that_is_partly_seen_is_judged_as_a_whole(root: Path) -> None:
    """The reference is of whole muscles, so a visible sum is divided by its share before it is compared."""
    cohort = Cohort.read(root / "cohort")
    points = complete_points(trained_points(root / "experiments", ["mskdex"], (0, 1), cohort)[0], cohort, 0.8)
    share = np.where(points["patient_id"] < "P040", 0.85, 1.0)
    seen = points.assign(visible=share, predicted=points["predicted"] * share, truth=points["truth"] * share)
    expected = decision_table(points, cohort, SETTINGS)
    pd.testing.assert_frame_equal(decision_table(seen, cohort, SETTINGS), expected)
    assert expected["value"].notna().any()
