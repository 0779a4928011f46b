"""The workflow from nothing to the report, and what a wrong config does."""

import json
import zipfile

import numpy as np
import pandas as pd
import pytest
import yaml
from working_copy import SMALL


def test_it_runs_from_nothing_to_the_report(finished):
    results = finished.folder / "results"
    assert (results / "report" / "index.html").stat().st_size > 10_000
    assert "gluteus_maximus" in finished.output.lower().replace(" ", "_")
    predictions = pd.concat(map(pd.read_parquet, results.glob("experiments/*/fold*/predictions.parquet")))
    folds = pd.read_parquet(results / "cohort" / "folds.parquet").set_index("patient_id")["fold"]
    assert set(predictions["experiment"]) == {"mskdex", "conventional"}
    assert (predictions["fold"] == predictions["patient_id"].map(folds)).all()
    assert predictions["predicted"].notna().all()


def test_snakemakes_own_report_from_where_the_catalog_looks_for_the_workflow(finished, tmp_path):
    archive = tmp_path / "run.zip"
    finished.snakemake("--snakefile", "workflow/Snakefile", "--report", str(archive))
    with zipfile.ZipFile(archive) as content:
        page = content.read("run/report.html").decode()
    for name in ("agreement_lean_mass_g", "scatter", "index.html", "train"):
        assert name in page


def test_a_radiograph_from_the_scanner_is_predicted_as_in_the_workflow(finished, tmp_path):
    fold = finished.folder / "results/experiments/mskdex/fold0"
    expected = pd.read_parquet(fold / "predictions.parquet")
    patient = expected["patient_id"].iloc[0]
    radiograph = finished.folder / "results/virtual" / patient / "radiograph.dcm"
    settings = json.dumps(SMALL["radiograph"])
    finished.mskdex("predict", fold / "model.safetensors", radiograph, "--settings", settings, "--out", tmp_path)
    found = pd.read_csv(tmp_path / "predictions.csv").fillna({"side": ""})
    keys = ["object", "side", "quantity"]
    both = found.merge(expected[expected["patient_id"] == patient], on=keys, suffixes=("", "_workflow"))
    assert len(both) == len(found) == 2 * len(expected["channel"].unique())
    np.testing.assert_allclose(both["predicted"], both["predicted_workflow"], rtol=0.01)


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
