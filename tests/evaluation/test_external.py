"""Patients whom no fold trains on: who predicts them, what the baselines are fitted on, what is in their tables."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from fabricated import Fabrication, fabricate
from scipy import stats

from mskdex.config.evaluation import EvaluationSettings
from mskdex.errors import MskdexError
from mskdex.evaluation.baselines import BASELINES, Design
from mskdex.evaluation.conformal import offsets
from mskdex.evaluation.model_calibration import Fusion, read_model_calibration
from mskdex.io.artifacts import read_json, read_parquet, write_parquet
from mskdex.pipeline.stages.collect import collect
from mskdex.pipeline.stages.evaluate import evaluate

SETTINGS = EvaluationSettings(bootstrap_samples=100)
COHORT = Fabrication(patients=48, trained=(0, 1), external=14, size=16, seed=5)


def evaluated(root: Path, folds: tuple[int, ...] = (0, 1)) -> Path:
    collect(root / "patients", root / "cohort" / "patients.parquet", root / "cohort")
    pairs = read_parquet(root / "cohort" / "pairs.parquet")
    write_parquet(root / "cohort" / "pairs.parquet", pairs.assign(refused=None))  # made-up poses may refuse somebody
    names = ("mskdex", "conventional")
    evaluate(root / "experiments", names, folds, root / "cohort", root / "patients", SETTINGS, root / "evaluation")
    return root


def table(root: Path, name: str) -> pd.DataFrame:
    return read_parquet(root / "evaluation" / f"{name}.parquet")


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return evaluated(fabricate(tmp_path_factory.mktemp("external"), COHORT))


def test_the_prediction_is_the_mean_of_all_trained_folds_models(root: Path) -> None:
    parts = [read_parquet(root / "experiments" / "mskdex" / f"fold{k}" / "external.parquet") for k in (0, 1)]
    keys = ["patient_id", "channel", "quantity"]
    mean = pd.concat(parts).groupby(keys)["predicted"].mean()
    points = table(root, "external_points").query("method == 'mskdex'").set_index(keys)["predicted"]
    assert len(points) == 14 * 17 * 3
    assert points.to_numpy() == pytest.approx(mean.reindex(points.index).to_numpy())


def test_they_are_in_no_table_of_the_held_out_patients(root: Path) -> None:
    assert not table(root, "points")["patient_id"].str.startswith("X").any()
    assert set(table(root, "external_points")["patient_id"]) == {f"X{i:03d}" for i in range(14)}
    assert table(root, "agreement")["n"].max() == 24
    assert table(root, "external_added_value").query("measure == 'pcc'")["n"].max() == 14
    assert (table(root, "external_points")["fold"] == -1).all()


def test_baselines_are_fitted_on_the_folds_alone(root: Path) -> None:
    truth = read_parquet(root / "cohort" / "quantities.parquet").query("object == 'sacrum'").set_index("patient_id")
    people = read_parquet(root / "cohort" / "patients.parquet").set_index("patient_id")
    inside = people.index[~people.index.str.startswith("X")]
    outside = people.index[people.index.str.startswith("X")]
    points = table(root, "external_points").query("channel == 'sacrum' and quantity == 'volume_cm3'")
    by_method = {m: rows.set_index("patient_id")["predicted"] for m, rows in points.groupby("method")}
    assert {*BASELINES, "mskdex", "fused", "conventional"} == set(by_method)
    assert (by_method["training_mean"] - truth.loc[inside, "volume_cm3"].mean()).abs().max() < 1e-9
    design = Design.fit(people.loc[inside])
    weights, *_ = np.linalg.lstsq(design.matrix(people.loc[inside]), truth.loc[inside, "volume_cm3"], rcond=None)
    assert by_method["demographics"][outside].to_numpy() == pytest.approx(design.matrix(people.loc[outside]) @ weights)


def test_the_figures_follow_from_their_points(root: Path) -> None:
    rows = table(root, "external_points").query(
        "method == 'fused' and channel == 'sacrum' and quantity == 'lean_mass_g'"
    )
    added = table(root, "external_added_value").query("method == 'fused' and structure == 'sacrum'")
    found = added[added["quantity"] == "lean_mass_g"].set_index("measure")["value"]
    line = stats.linregress(rows["predicted"], rows["truth"])
    assert found["pcc"] == pytest.approx(line.rvalue)
    assert found["slope"] == pytest.approx(line.slope)
    assert found["intercept_percent"] == pytest.approx(100 * line.intercept / rows["truth"].mean())
    assert not added["measure"].str.startswith("pcc_fold").any()


def test_intervals_are_calibrated_on_the_held_out_patients(root: Path) -> None:
    """Everybody is of one grey scale; groups of a sex that are too small fall back on it."""
    people = read_parquet(root / "cohort" / "patients.parquet").set_index("patient_id")["sex"]
    keys = "method == 'mskdex' and channel == 'sacrum' and quantity == 'volume_cm3'"
    known = table(root, "points").query(keys)
    errors, sexes = (known["truth"] - known["predicted"]).to_numpy(), known["patient_id"].map(people).to_numpy()
    hits = []
    for row in table(root, "external_points").query(keys).itertuples():
        same = sexes == people[row.patient_id]
        low, high = offsets(errors[same] if same.sum() >= 9 else errors)
        hits.append(max(row.predicted + low, 0) <= row.truth <= row.predicted + high)
    cover = table(root, "external_coverage").query("structure == 'sacrum' and group == 'all' and method == 'mskdex'")
    cover = cover[cover["quantity"] == "volume_cm3"].iloc[0]
    assert cover["n"] == 14
    assert cover["covered"] == pytest.approx(np.mean(hits))


def test_what_is_kept_for_new_radiographs_gives_the_same_estimate(tmp_path: Path) -> None:
    """With one trained fold, `fused` of the external patients is that of its model, demographics and weights."""
    root = evaluated(fabricate(tmp_path, Fabrication(patients=40, external=3, size=16)), folds=(0,))
    trained = read_json(root / "experiments" / "mskdex" / "fold0" / "train.json")["patients"]
    known = read_model_calibration(root / "evaluation", "mskdex", {0: trained})
    (fusion,) = known.fusions
    people = read_parquet(root / "cohort" / "patients.parquet").set_index("patient_id")
    points = table(root, "points")
    own = points[(points["method"] == "fused") & points["left_out"].isna()]
    some = own[(own["channel"] == "iliacus_left") & (own["quantity"] == "lean_mass_g")]
    errors = np.sort(some["truth"] - some["predicted"])
    assert known.fused.errors["iliacus_left", "lean_mass_g"]["error"].tolist() == pytest.approx(errors.tolist())
    person = people.loc["X001"].to_dict()
    image = table(root, "external_points").query("patient_id == 'X001' and method == 'mskdex'")
    value = image.query("channel == 'iliacus_left' and quantity == 'lean_mass_g'")["predicted"].item()
    found = fusion.estimate("iliacus_left", "lean_mass_g", value, person)
    assert np.isfinite(found)
    assert fusion.fits(person)
    assert not fusion.fits(person | {"age": None})
    assert not fusion.fits(person | {"sex": None})
    several = replace(known, fusions=(fusion, Fusion(fusion.design, _shifted(fusion.parts, 3.0))))
    joined = several.joined("iliacus_left", "lean_mass_g", value, person)
    assert joined == pytest.approx(found + 3.0 / 2)  # the mean of both models
    assert several.joined("iliacus_left", "lean_mass_g", value, person | {"age": None}) is None
    with pytest.raises(MskdexError, match="other patients trained"):
        read_model_calibration(root / "evaluation", "mskdex", {0: ["P001"]})
    with pytest.raises(MskdexError, match="nothing of experiment mskdex, fold 3"):
        read_model_calibration(root / "evaluation", "mskdex", {3: trained})


def _shifted(parts: dict, by: float) -> dict:
    """A fusion's parts whose estimates are higher by so much."""
    return {k: p | {"weights": [p["weights"][0] + by / p["spread"], *p["weights"][1:]]} for k, p in parts.items()}


def test_an_external_patient_who_was_trained_on_stops_the_run(tmp_path: Path) -> None:
    root = fabricate(tmp_path, Fabrication(patients=16, external=2, size=16, seed=1))
    path = root / "experiments" / "mskdex" / "fold0" / "external.parquet"
    write_parquet(path, read_parquet(path).replace({"patient_id": {"X000": "P001"}}))
    with pytest.raises(MskdexError, match=r"external patients were trained on: P001"):
        evaluated(root, folds=(0,))


def test_a_person_of_both_cohorts_stops_the_run(tmp_path: Path) -> None:
    root = fabricate(tmp_path, Fabrication(patients=16, external=2, size=16, seed=1))
    folds = read_parquet(root / "cohort" / "folds.parquet")
    person = folds["patient_id"].replace({"X001": "P003"})
    write_parquet(root / "cohort" / "folds.parquet", folds.assign(person=person))
    with pytest.raises(MskdexError, match="both in a fold and in the external cohort: P003"):
        evaluated(root, folds=(0,))
