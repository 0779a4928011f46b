"""A patient who is in the sheet under two ids: nothing is trained until the sheet says what is meant."""

import shutil

import pandas as pd

MODEL = "results/experiments/mskdex/fold0/model.safetensors"


def test_a_patient_under_two_ids_stops_what_a_training_waits_for(project):
    data = project.folder / "data"
    (project.folder / "results" / "virtual").rename(data)
    shutil.copy(data / "V0001" / "radiograph.dcm", data / "V0002" / "radiograph.dcm")
    table = pd.read_csv(data / "cohort.tsv", sep="\t", dtype=str, keep_default_na=False).set_index("patient_id")
    table.loc["V0002", "sdd_mm"] = table.loc["V0001", "sdd_mm"]
    table.reset_index().to_csv(data / "cohort.tsv", sep="\t", index=False)
    project.configure("cohort", "sheet", value="data/cohort.tsv")
    run = project.snakemake(MODEL, "--until", "identity", check=False)
    assert run.returncode != 0
    assert "patient V0002: V0002/radiograph.dcm holds the same radiograph as V0001/radiograph.dcm" in run.stdout
    assert "write V0001 into V0002's same_patient_as" in run.stdout

    table = pd.read_csv(data / "cohort.tsv", sep="\t", dtype=str, keep_default_na=False)
    table["same_patient_as"] = ["V0001" if p == "V0002" else "" for p in table["patient_id"]]
    table.to_csv(data / "cohort.tsv", sep="\t", index=False)
    project.snakemake("results/cohort/identity.json", "results/cohort/folds.parquet")
    folds = pd.read_parquet(project.folder / "results/cohort/folds.parquet").set_index("patient_id")["fold"]
    assert folds["V0001"] == folds["V0002"]
    assert sorted(folds.value_counts()) == [1, 2, 2, 3]
