"""Names of folders, sheets and files are a user's: none reaches the shell or a regular expression unquoted."""

import json
import re

import pandas as pd
import pytest
from hospital import IDS, patient
from working_copy import ROOT, Project, copy_project

RULES = sorted((ROOT / "workflow/rules").glob("*.smk"))
PLACEHOLDER = re.compile(r"\{([^{}]*)\}")
WICKED = 'it\'s $(touch caught) `touch caught` & {x} "q" ;*'


def shell_lines(path):
    """The lines of every shell: of a file of rules."""
    inside, found = False, []
    for line in path.read_text(encoding="utf-8").splitlines():
        if line.strip() == "shell:":
            inside = True
        elif inside and line.startswith("        "):
            found.append(line)
        else:
            inside = False
    return found


def test_every_value_in_a_command_is_quoted():
    lines = [line for path in RULES for line in shell_lines(path)]
    placeholders = [p for line in lines for p in PLACEHOLDER.findall(line)]
    assert len(placeholders) > 50
    numbers = {"wildcards.fold"}  # constrained to digits
    assert [p for p in placeholders if not p.endswith(":q") and p not in numbers] == []
    rules = sum(path.read_text(encoding="utf-8").count("\n    shell:\n") for path in RULES)
    assert rules == sum(len(re.findall(r'"mskdex --log \{log:q\} ', line)) for line in lines) > 10


@pytest.fixture(scope="module")
def wicked(tmp_path_factory):
    """A project whose folder, sheet and files have names that a shell would run, with one small patient."""
    folder = tmp_path_factory.mktemp("wicked") / WICKED.replace("{x}", "x")
    folder.mkdir()
    project = copy_project(folder)
    row = patient(folder / "data" / WICKED)
    for column in ("ct", "labels", "radiograph"):
        row[column] = row[column].removeprefix(str(folder / "data") + "/")
    sheet = folder / "data" / f"-{WICKED}.csv"
    pd.DataFrame([row]).to_csv(sheet, index=False)
    project.configure("cohort", "sheet", value=f"data/{sheet.name}")
    project.configure("label_sources", "phantom", value=IDS)
    project.configure("report", "title", value=WICKED)
    return project


def test_a_project_with_wicked_names_is_planned_and_run(wicked):
    wanted = ["results/cohort/patients.parquet", "results/patients/P01/import.json"]
    wicked.snakemake(*wanted)
    table = pd.read_parquet(wicked.folder / wanted[0])
    assert list(table["patient_id"]) == ["P01"]
    facts = json.loads((wicked.folder / wanted[1]).read_text(encoding="utf-8"))
    assert facts["structures"]
    assert list(wicked.folder.rglob("caught")) == []
    assert list(wicked.folder.parent.glob("caught")) == []
    assert "Nothing to be done" in wicked.snakemake(*wanted, "--dry-run").stdout


def test_too_few_patients_stop_the_training_and_nothing_before(wicked):
    plan = wicked.snakemake("--dry-run", "--until", "stack", "qc", "quality", "collect").stdout
    assert "1 patients cannot fill 4 folds" in plan
    assert re.search(r"^stack +1$", plan, re.MULTILINE)
    run = wicked.snakemake("results/cohort/folds.parquet", check=False)
    assert run.returncode != 0
    assert "error: 1 patients cannot fill 4 folds; add patients or lower folds.count" in run.stdout


def test_a_folder_with_braces_is_refused(wicked, tmp_path):
    other = wicked.folder.rename(tmp_path / "a {b}")
    try:
        run = Project(other).snakemake("--dry-run", check=False)
    finally:
        other.rename(wicked.folder)
    assert run.returncode != 0
    assert "has braces in its name" in run.stdout


def test_an_experiment_whose_name_a_shell_would_run_is_refused(wicked):
    before = (wicked.folder / "config.yaml").read_text(encoding="utf-8")
    wicked.configure("experiments", "`touch caught`", value={})
    try:
        run = wicked.snakemake("--dry-run", check=False)
    finally:
        (wicked.folder / "config.yaml").write_text(before, encoding="utf-8")
    assert run.returncode != 0
    assert "'`touch caught`' cannot name an experiment" in run.stdout
