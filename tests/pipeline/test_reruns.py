"""What reruns after which change: every row of the table in docs/reruns.md, by dry run on a finished project."""

import json
import re
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pandas as pd
import pytest
import yaml
from working_copy import ROOT, Project

CHANGED = "V0003"
SEGMENTED = "V0007"  # tested in the same fold
PATIENT = ("quantities", "render", "register", "qc", "render_aligned", "stack")
END = {"evaluate": 1, "report": 1}
ALL = {"train": 4, "predict": 4, **END}


@pytest.fixture(scope="module")
def sheeted(finished, tmp_path_factory):
    """The finished project as that of a user with a sheet: the virtual patients are files of the user's.

    One of them has no labels there: TotalSegmentator has made them.
    """
    folder = tmp_path_factory.mktemp("sheeted") / "project"
    shutil.copytree(finished.folder, folder, symlinks=True)
    (folder / "results" / "virtual").rename(folder / "data")
    project = Project(folder)
    project.configure("cohort", "sheet", value="data/cohort.tsv")
    project.configure("cohort", "segment", value=True)
    (folder / "data/cohort.tsv").write_text(
        sheet(project, "labels", "", SEGMENTED)["data/cohort.tsv"], encoding="utf-8"
    )
    made = folder / "results/segmentation" / SEGMENTED
    made.mkdir(parents=True)
    (folder / "data" / SEGMENTED / "labels.nii.gz").rename(made / "labels.nii.gz")
    (made / "labels.segment.json").write_text("{}", encoding="utf-8")
    project.snakemake("--touch", "--forceall")
    return project


def sheet(project, column, value, patient=CHANGED):
    """The sheet with one patient's cell changed."""
    table = pd.read_csv(project.folder / "data/cohort.tsv", sep="\t", dtype=str, keep_default_na=False)
    table.loc[table["patient_id"] == patient, column] = value
    if column == "exclude":
        table.loc[table["patient_id"] == CHANGED, "exclude_reason"] = "moved during the CT"
    return {"data/cohort.tsv": table.to_csv(sep="\t", index=False)}


def setting(project, *path, value):
    """The config with one key changed."""
    content = yaml.safe_load((project.folder / "config.yaml").read_text(encoding="utf-8"))
    section = content
    for key in path[:-1]:
        section = section.setdefault(key, {})
    section[path[-1]] = value
    return {"config.yaml": yaml.safe_dump(content, sort_keys=False)}


def edited(project, module):
    """A module with a line more."""
    file = f"mskdex/{module}.py"
    return {file: (project.folder / file).read_text(encoding="utf-8") + "\nEDITED = True\n"}


def changes(project):
    """Every row of the table, by what stands in its first column."""
    return {
        "nothing": {},
        "a patient's CT replaced": {f"data/{CHANGED}/ct.nii.gz": {"copy": "data/V0004/ct.nii.gz"}},
        "a patient's label map replaced": {f"data/{CHANGED}/labels.nii.gz": {"copy": "data/V0004/labels.nii.gz"}},
        "a patient's radiograph replaced": {f"data/{CHANGED}/radiograph.dcm": {"copy": "data/V0004/radiograph.dcm"}},
        "an age, height or weight in the sheet": sheet(project, "age", "71"),
        "`same_patient_as` of a patient": sheet(project, "same_patient_as", "V0004"),
        "a patient excluded": sheet(project, "exclude", "yes"),
        "`registration.…`": setting(project, "registration", "seed", value=1),
        "`experiments.mskdex.losses.lambda_is`": setting(
            project, "experiments", "mskdex", "losses", "lambda_is", value=50.0
        ),
        "`experiments.mskdex.folds.2.…`": setting(
            project, "experiments", "mskdex", "folds", value={2: {"losses": {"lambda_is": 50.0}}}
        ),
        "`experiments.mskdex.folds.3.…`, a fold that is not trained": setting(
            project, "experiments", "mskdex", "folds", value={3: {"losses": {"lambda_is": 50.0}}}
        ),
        "`report.title`": setting(project, "report", "title", value="Another title"),
        **{module: edited(project, module.strip("`").removesuffix(".py")) for module in MODULES},
    }


ALL_PATIENTS = dict.fromkeys(PATIENT, 8) | {"import_patient": 8, "quality": 1, "identity": 1, "collect": 1, **ALL}
ONE_PATIENT = dict.fromkeys(PATIENT, 1) | {
    "import_patient": 1,
    "quality": 1,
    "identity": 1,
    "collect": 1,
    **ALL,
    "train": 2,
}
REGISTRATION = {"register": 8, "qc": 8, "render_aligned": 8, "stack": 8, "collect": 1, **ALL}
REPLACED = [f"a patient's {what} replaced" for what in ("CT", "label map", "radiograph")]
MODULES = {
    "`stages/cohort.py`": {"cohort": 1, "quality": 1, "collect": 1, **END},
    "`stages/folds.py`": {"folds": 1, **ALL},
    "`stages/segment.py`": {"segment": 1, **ONE_PATIENT},
    "`stages/importing.py`": ALL_PATIENTS,
    "`stages/quality.py`": {"quality": 1, "report": 1},
    "`stages/identity.py`": {"identity": 1},
    "`stages/quantities.py`": {"quantities": 8, "stack": 8, "collect": 1, **ALL},
    "`stages/project.py`": {"render": 8, "render_aligned": 8, "stack": 8, **ALL},
    "`stages/register.py`": REGISTRATION,
    "`registration/similarity.py`": REGISTRATION,
    "`stages/qc.py`": {"qc": 8, "report": 1},
    "`stages/stack.py`": {"stack": 8, **ALL},
    "`stages/collect.py`": {"collect": 1, **END},
    "`stages/train.py`": ALL,
    "`stages/predict.py`": {"predict": 4, **END},
    "`stages/evaluate.py`": END,
    "`stages/report.py`": {"report": 1},
    "`stages/synthesize.py`": {},
}
EXPECTED = {
    "nothing": {},
    **dict.fromkeys(REPLACED, ONE_PATIENT),
    "an age, height or weight in the sheet": {"cohort": 1, "quality": 1, "collect": 1, **END},
    "`same_patient_as` of a patient": {"cohort": 1, "folds": 1, "quality": 1, "identity": 1, "collect": 1, **ALL},
    "a patient excluded": {"cohort": 1, "folds": 1, "quality": 1, "identity": 1, "collect": 1, **ALL},
    "`registration.…`": REGISTRATION,
    "`experiments.mskdex.losses.lambda_is`": {"train": 2, "predict": 2, **END},
    "`experiments.mskdex.folds.2.…`": {"train": 1, "predict": 1, **END},
    "`experiments.mskdex.folds.3.…`, a fold that is not trained": {"report": 1},
    "`report.title`": {"report": 1},
    **MODULES,
}


def jobs(output):
    """The jobs of a dry run's output: (rule, wildcards)."""
    assert "Traceback" not in output, output
    found = re.findall(
        r"^(?:local)?rule (\w+):\n(?:    (?!wildcards).*\n)*(?:    wildcards: (.*)\n)?", output, re.MULTILINE
    )
    return [job for job in found if job[0] != "all"]


@pytest.fixture(scope="module")
def plans(sheeted):
    """The jobs that each change leads to."""
    run = subprocess.run(
        [sys.executable, str(Path(__file__).with_name("plans.py"))],
        cwd=sheeted.folder,
        input=json.dumps(changes(sheeted)),
        capture_output=True,
        encoding="utf-8",
        check=True,
    )
    return {change: jobs(output) for change, output in json.loads(run.stdout).items()}


def test_what_reruns(plans):
    found = {change: dict(Counter(rule for rule, _ in plan)) for change, plan in plans.items()}
    assert found == EXPECTED


@pytest.mark.parametrize("change", REPLACED)
def test_one_patients_images_touch_no_other_patient_and_no_training_without_it(sheeted, plans, change):
    plan = plans[change]
    assert {wildcards for rule, wildcards in plan if "patient=" in wildcards} == {f"patient={CHANGED}"}
    folds = pd.read_parquet(sheeted.folder / "results/cohort/folds.parquet").set_index("patient_id")["fold"]
    assert folds[CHANGED] == 0
    assert {w for rule, w in plan if rule == "train"} == {f"experiment={e}, fold=2" for e in ("mskdex", "conventional")}


def test_the_table_in_the_docs_has_these_rows():
    text = (ROOT / "docs" / "reruns.md").read_text(encoding="utf-8").split("## After")[0]
    rows = [line.split("|")[1].strip() for line in text.splitlines() if line.startswith("| ")]
    assert rows[1:] == list(EXPECTED)
