"""The workflow from nothing to the report, and what reruns after which change."""

import pandas as pd
import pytest
import yaml

DOWNSTREAM = {"evaluate": 1, "report": 1}
PATIENTS = 8


def test_it_runs_from_nothing_to_the_report(finished):
    results = finished.folder / "results"
    assert (results / "report" / "index.html").stat().st_size > 10_000
    assert "gluteus_maximus" in finished.output.lower().replace(" ", "_")
    predictions = pd.concat(map(pd.read_parquet, results.glob("experiments/*/fold*/predictions.parquet")))
    folds = pd.read_parquet(results / "cohort" / "folds.parquet").set_index("patient_id")["fold"]
    assert set(predictions["experiment"]) == {"mskdex", "conventional"}
    assert (predictions["fold"] == predictions["patient_id"].map(folds)).all()
    assert predictions["predicted"].notna().all()


def test_a_finished_run_plans_nothing(finished):
    assert finished.planned() == {}


def test_one_folds_override_reruns_that_fold(project):
    project.configure("experiments", "mskdex", "folds", value={2: {"losses": {"lambda_is": 50.0}}})
    assert project.planned() == {"train": 1, "predict": 1, **DOWNSTREAM}


def test_an_override_of_a_fold_that_is_not_trained_reruns_the_report_alone(project):
    project.configure("experiments", "mskdex", "folds", value={3: {"losses": {"lambda_is": 50.0}}})
    assert project.planned() == {"report": 1}


REGISTRATION = {"register": PATIENTS, "qc": PATIENTS, "render_aligned": PATIENTS, "stack": PATIENTS, "collect": 1}
REGISTRATION |= {"train": 4, "predict": 4, **DOWNSTREAM}


def test_a_registration_setting_reruns_registration_and_what_follows(project):
    project.configure("registration", "seed", value=1)
    assert project.planned() == REGISTRATION


def test_an_edit_of_a_registration_module_reruns_the_same(project):
    module = next((project.folder / "mskdex" / "registration").glob("[a-z]*.py"))
    module.write_text(module.read_text(encoding="utf-8") + "\nEDITED = True\n", encoding="utf-8")
    assert project.planned() == REGISTRATION


def test_the_reports_title_reruns_the_report(project):
    project.configure("report", "title", value="Another title")
    assert project.planned() == {"report": 1}


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"regsitration": {}}, "unknown key regsitration"),
        ({"image": {"rows": "many"}}, "image.rows"),
        ({"cohort": {"sheet": "nowhere.tsv"}}, "nowhere.tsv"),
    ],
)
def test_a_wrong_config_stops_before_any_work(project, change, sentence):
    file = project.folder / "config.yaml"
    file.write_text(yaml.safe_dump({**yaml.safe_load(file.read_text(encoding="utf-8")), **change}), encoding="utf-8")
    run = project.snakemake(check=False)
    assert run.returncode != 0
    assert sentence in run.stdout
    assert "Traceback" not in run.stdout
