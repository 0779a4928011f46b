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

from mskdex.pipeline.sources import FIRST, recorded

CHANGED = "V0003"
SEGMENTED = "V0007"  # tested in the same fold
PATIENT = ("quantities", "render", "register", "calibrate", "qc", "render_aligned", "stack")
END = {"evaluate": 1, "report": 1}
ALL = {"train": 4, "predict": 4, **END}
LONG_AGO = 1_000_000_000
MHD = """ObjectType = Image
NDims = 3
DimSize = 2 2 2
ElementType = MET_UCHAR
ElementSpacing = 1 1 1
TransformMatrix = 1 0 0 0 1 0 0 0 1
ElementDataFile = voxels.raw
"""
NHDR = """NRRD0004
type: uchar
dimension: 3
space: left-posterior-superior
sizes: 2 2 2
encoding: raw
space directions: (1,0,0) (0,1,0) (0,0,1)
space origin: (0,0,0)
data file: seg.dat
"""


@pytest.fixture(scope="module")
def sheeted(finished, tmp_path_factory):
    """The finished project as that of a user with a sheet: the virtual patients are files of the user's.

    One of them has no labels there: TotalSegmentator has made them. Of others the files lie in folders, or as a
    header with a file of data.
    """
    folder = tmp_path_factory.mktemp("sheeted") / "project"
    shutil.copytree(finished.folder, folder, symlinks=True)
    (folder / "results" / "virtual").rename(folder / "data")
    project = Project(folder)
    project.configure("cohort", "sheet", value="data/cohort.tsv")
    project.configure("cohort", "segmenter", value="totalsegmentator")
    project.configure("registration", "starts", value="starts")
    project.configure("evaluation", "comparators", value={"another": "another.csv"})
    (folder / "starts").mkdir()
    for name in ("starts/V0003.json", "another.csv"):
        (folder / name).write_text("{}", encoding="utf-8")
    table = lay_about(folder / "data")
    table.loc[table["patient_id"] == SEGMENTED, "labels"] = ""
    table.to_csv(folder / "data/cohort.tsv", sep="\t", index=False)
    made = folder / "results/segmentation" / SEGMENTED
    made.mkdir(parents=True)
    (folder / "data" / SEGMENTED / "labels.nii.gz").rename(made / "labels.nii.gz")
    (made / "labels.segment.json").write_text("{}", encoding="utf-8")
    record(project, table)
    project.snakemake("--touch", "--forceall")
    return project


def read_table(path):
    return pd.read_csv(path, sep="\t", dtype=str, keep_default_na=False)


def lay_about(data):
    """Lays some patients' files out as others have them; no plan opens an image. The sheet's table."""
    for name in ("V0001/masks", "V0005/series/deeper/still", "V0005/film"):
        (data / name).mkdir(parents=True)
    for file in ("masks/gluteus_maximus_left.nii.gz", "masks/gluteus_maximus_right.nii.gz"):
        shutil.copy(data / "V0001/labels.nii.gz", data / "V0001" / file)
    for file in ("still/1.dcm", "still/2.dcm"):
        shutil.copy(data / "V0005/radiograph.dcm", data / "V0005/series/deeper" / file)
    shutil.copy(data / "V0005/radiograph.dcm", data / "V0005/film/ap.dcm")
    (data / "V0002/ct.mhd").write_text(MHD, encoding="utf-8")
    (data / "V0004/seg.nhdr").write_text(NHDR, encoding="utf-8")
    for file in ("V0002/voxels.raw", "V0004/seg.dat"):
        (data / file).write_bytes(b"voxels")
    shutil.copy(data / "V0004/labels.json", data / "V0004/seg.json")
    table = read_table(data / "cohort.tsv").set_index("patient_id", drop=False)
    table.loc["V0001", "labels"] = "V0001/masks"
    table.loc["V0002", "ct"] = "V0002/ct.mhd"
    table.loc["V0004", "labels"] = "V0004/seg.nhdr"
    table.loc["V0005", ["ct", "radiograph"]] = ["V0005/series", "V0005/film"]
    return table


def record(project, table):
    """What the import and the segmentation write down of the files that they read."""
    for row in table.to_dict("records"):
        patient = row["patient_id"]
        files = {column: project.folder / "data" / row[column] for column in ("ct", "labels", "radiograph")}
        own = [c for c in files if row[c]]
        with recorded(files, own, FIRST, project.folder / "results/patients" / patient):
            pass
    segmented = {"ct": project.folder / "data" / SEGMENTED / "ct.nii.gz"}
    with recorded(segmented, ["ct"], FIRST, project.folder / "results/segmentation" / SEGMENTED):
        pass


def sheet(project, column, value, patient=CHANGED):
    """The sheet with one patient's cell changed."""
    table = read_table(project.folder / "data/cohort.tsv")
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


def settings(project, *changes):
    """The config with several keys changed, each a path and its value."""
    content = yaml.safe_load((project.folder / "config.yaml").read_text(encoding="utf-8"))
    for path, value in changes:
        *sections, key = path.split(".")
        section = content
        for name in sections:
            section = section.setdefault(name, {})
        section[key] = value
    return {"config.yaml": yaml.safe_dump(content, sort_keys=False)}


def edited(project, module):
    """A module with a line more."""
    file = f"mskdex/{module}.py"
    return {file: (project.folder / file).read_text(encoding="utf-8") + "\nEDITED = True\n"}


def replaced(project, file, old, new):
    """A file of the package with a piece of its text changed."""
    text = (project.folder / "mskdex" / file).read_text(encoding="utf-8")
    assert old in text
    return {f"mskdex/{file}": text.replace(old, new, 1)}


def touched(project):
    """Every file of the user's, at another time."""
    files = [p for p in (project.folder / "data").rglob("*") if p.is_file()]
    return {p.relative_to(project.folder).as_posix(): {"mtime": LONG_AGO} for p in files}


def other(patient, file):
    """A patient's file replaced by another one."""
    return {f"data/{patient}/{file}": {"copy": "data/V0006/truth.json"}}


def changes(project):
    """Every row of the table but those of a virtual cohort, by what stands in its first column."""
    return {
        "nothing": {},
        "the time of the user's files, as a copy leaves it": touched(project),
        "a patient's CT replaced": {f"data/{CHANGED}/ct.nii.gz": {"copy": "data/V0004/ct.nii.gz"}},
        "a patient's label map replaced": {f"data/{CHANGED}/labels.nii.gz": {"copy": "data/V0004/labels.nii.gz"}},
        "a patient's radiograph replaced": {f"data/{CHANGED}/radiograph.dcm": {"copy": "data/V0004/radiograph.dcm"}},
        "… by an older file": {f"data/{CHANGED}/ct.nii.gz": {"copy": "data/V0004/ct.nii.gz", "mtime": LONG_AGO}},
        "the JSON of names beside a label map": {f"data/{CHANGED}/labels.json": '{"gluteus_maximus_left": 1}'},
        "a mask in a folder": other("V0001", "masks/gluteus_maximus_left.nii.gz"),
        "the data file of an MHD or NHDR header": other("V0002", "voxels.raw") | other("V0004", "seg.dat"),
        "a slice of a DICOM folder, however deep": other("V0005", "series/deeper/still/2.dcm"),
        "a file added to a patient's folder": other("V0005", "film/second.dcm"),
        "a camera column of the sheet": sheet(project, "sdd_mm", "1111"),
        "a patient's start poses in `registration.starts`": {f"starts/{CHANGED}.json": '{"pelvis": {}}'},
        "a table of `evaluation.comparators`": {"another.csv": "patient,object\n"},
        "an age, height or weight in the sheet": sheet(project, "age", "71"),
        "`same_patient_as` of a patient": sheet(project, "same_patient_as", "V0004"),
        "`use` of a patient": sheet(project, "use", "evaluate_only"),
        "a patient excluded": sheet(project, "exclude", "yes"),
        "a patient in `cohort.keep_pairs`": setting(
            project, "cohort", "keep_pairs", value={CHANGED: "seen by a reader"}
        ),
        "`evaluation.min_visible_fraction`": setting(project, "evaluation", "min_visible_fraction", value=0.9),
        "`calibration.…`": setting(project, "calibration", "max_residual", value=0.2),
        "`cohort.flag_robust_z`": setting(project, "cohort", "flag_robust_z", value=2.5),
        "`cohort.segmenter_device`, `ct.max_megavoxels`, `radiograph.max_megapixels`, `rendering.device`": settings(
            project,
            ("cohort.segmenter_device", "cpu"),
            ("ct.max_megavoxels", 900.0),
            ("radiograph.max_megapixels", 200.0),
            ("rendering.device", "cpu"),
        ),
        "`optimisation.tensorboard`, `.cache_gb`, `.checkpoint_minutes`": settings(
            project,
            ("experiments.mskdex.optimisation.tensorboard", False),
            ("experiments.mskdex.optimisation.cache_gb", 1.0),
            ("experiments.mskdex.optimisation.checkpoint_minutes", 1.0),
        ),
        "`registration.…`": setting(project, "registration", "seed", value=1),
        "`experiments.mskdex.losses.lambda_is`": setting(
            project, "experiments", "mskdex", "losses", "lambda_is", value=50.0
        ),
        "`experiments.mskdex.pairs`": setting(project, "experiments", "mskdex", "pairs", value="mixed"),
        "`experiments.mskdex.folds.2.…`": setting(
            project, "experiments", "mskdex", "folds", value={2: {"losses": {"lambda_is": 50.0}}}
        ),
        "`experiments.mskdex.folds.3.…`, a fold that is not trained": setting(
            project, "experiments", "mskdex", "folds", value={3: {"losses": {"lambda_is": 50.0}}}
        ),
        "`report.title`": setting(project, "report", "title", value="Another title, {patient}"),
        **{module: edited(project, module.strip("`").removesuffix(".py")) for module in MODULES},
        "`config/objects.py`, where label ids are given": replaced(
            project, "config/objects.py", "label=len(found) + 1", "label=len(found) + 2"
        ),
        "a command in `pipeline/cli/patient.py`, that of the stack": replaced(
            project, "pipeline/cli/patient.py", '    """Put a patient\'s training sample together."""', "    print()"
        ),
        "a template or style sheet of the report, its tables of published results": replaced(
            project, "report/templates/style.css", "{", "{ "
        ),
    }


def virtual_changes(project):
    """The rows of a virtual cohort."""
    return {
        "`virtual.patients`, one more": setting(project, "virtual", "patients", value=9),
        "`virtual.exclude`": setting(project, "virtual", "exclude", value={CHANGED: "moved {during} the CT"}),
        "a table in `exposure/data`": replaced(project, "exposure/data/attenuation.csv", "0", "1"),
    }


def patients(number, trainings):
    """Expected where the files of some patients change; a fold is trained without those it is tested on."""
    once = {"quality": 1, "identity": 1, "collect": 1, **ALL, "train": trainings}
    return dict.fromkeys(PATIENT, number) | {"import_patient": number, **once}


ALL_PATIENTS = patients(8, trainings=4)
ONE_PATIENT = patients(1, trainings=2)
REGISTRATION = dict.fromkeys(("register", "calibrate", "qc", "render_aligned", "stack"), 8)
REGISTRATION |= {"quality": 1, "collect": 1, **ALL}
REPLACED = [f"a patient's {what} replaced" for what in ("CT", "label map", "radiograph")]
MODULES = {
    "`pipeline/stages/cohort.py`": {"cohort": 1, "quality": 1, "collect": 1, **END},
    "`pipeline/stages/folds.py`": {"folds": 1, **ALL},
    "`pipeline/stages/segment.py`": {"segment": 1, **ONE_PATIENT},
    "`pipeline/stages/importing.py`": ALL_PATIENTS,
    "`pipeline/stages/quality.py`": {"quality": 1, "report": 1},
    "`pipeline/stages/identity.py`": {"identity": 1},
    "`pipeline/stages/quantities.py`": {"quantities": 8, "stack": 8, "collect": 1, **ALL},
    "`pipeline/stages/project.py`": {"render": 8, "render_aligned": 8, "stack": 8, **ALL},
    "`pipeline/stages/register.py`": REGISTRATION,
    "`registration/similarity.py`": REGISTRATION,
    "`pipeline/stages/calibrate.py`": {"calibrate": 8, "stack": 8, "quality": 1, "collect": 1, **ALL},
    "`pipeline/stages/qc.py`": {"qc": 8, "report": 1},
    "`pipeline/stages/stack.py`": {"stack": 8, **ALL},
    "`pipeline/stages/collect.py`": {"collect": 1, **END},
    "`pipeline/stages/train.py`": ALL,
    "`pipeline/stages/predict.py`": {"predict": 4, **END},
    "`pipeline/stages/evaluate.py`": END,
    "`pipeline/stages/report.py`": {"report": 1},
    "`pipeline/stages/synthesize.py`": {},
}
EXPECTED = {
    "nothing": {},
    "the time of the user's files, as a copy leaves it": {},
    **dict.fromkeys(REPLACED, ONE_PATIENT),
    "… by an older file": ONE_PATIENT,
    "the JSON of names beside a label map": ONE_PATIENT,
    "a mask in a folder": patients(1, trainings=4),
    "the data file of an MHD or NHDR header": patients(2, trainings=4),
    "a slice of a DICOM folder, however deep": patients(1, trainings=4),
    "a file added to a patient's folder": patients(1, trainings=4),
    "a camera column of the sheet": ONE_PATIENT,
    "a patient's start poses in `registration.starts`": {
        **dict.fromkeys(("register", "calibrate", "qc", "render_aligned", "stack", "quality", "collect"), 1),
        **ALL,
        "train": 2,
    },
    "a table of `evaluation.comparators`": END,
    "an age, height or weight in the sheet": {"cohort": 1, "quality": 1, "collect": 1, **END},
    "`same_patient_as` of a patient": {"folds": 1, "identity": 1, **ALL},
    "`use` of a patient": {"folds": 1, "predict_external": 4, **ALL},
    "a patient excluded": {"cohort": 1, "folds": 1, "quality": 1, "identity": 1, "collect": 1, **ALL},
    "a patient in `cohort.keep_pairs`": {"stack": 1, "collect": 1, **ALL, "train": 2},
    "`evaluation.min_visible_fraction`": {"stack": 8, **ALL},
    "`calibration.…`": {"calibrate": 8, "stack": 8, "quality": 1, "collect": 1, **ALL},
    "`cohort.flag_robust_z`": {"quality": 1, "report": 1},
    "`cohort.segmenter_device`, `ct.max_megavoxels`, `radiograph.max_megapixels`, `rendering.device`": {},
    "`optimisation.tensorboard`, `.cache_gb`, `.checkpoint_minutes`": {},
    "`registration.…`": REGISTRATION,
    "`experiments.mskdex.losses.lambda_is`": {"train": 2, "predict": 2, **END},
    "`experiments.mskdex.pairs`": {"simulate": 8, "train": 2, "predict": 2, **END},
    "`experiments.mskdex.folds.2.…`": {"train": 1, "predict": 1, **END},
    "`experiments.mskdex.folds.3.…`, a fold that is not trained": {"report": 1},
    "`report.title`": {"report": 1},
    **MODULES,
    "`config/objects.py`, where label ids are given": {**ALL_PATIENTS, "cohort": 1},
    "a command in `pipeline/cli/patient.py`, that of the stack": {"stack": 8, **ALL},
    "a template or style sheet of the report, its tables of published results": {"report": 1},
}
NEW_COHORT = {"synthesize_sheet": 1, "cohort": 1, "folds": 1, "quality": 1, "identity": 1, "collect": 1, **ALL}
VIRTUAL = {
    "`virtual.patients`, one more": NEW_COHORT | dict.fromkeys((*PATIENT, "synthesize", "import_patient"), 1),
    "`virtual.exclude`": NEW_COHORT,
    "a table in `exposure/data`": {**NEW_COHORT, **ALL_PATIENTS, "synthesize": 8},
}
WHOLE = {
    "the project moved to another folder": {},
    "`results/` copied without `.snakemake`": "an error that says so",
}


def jobs(output):
    """The jobs of a dry run's output: (rule, wildcards)."""
    assert "Traceback" not in output, output
    found = re.findall(
        r"^(?:local)?rule (\w+):\n(?:    (?!wildcards).*\n)*(?:    wildcards: (.*)\n)?", output, re.MULTILINE
    )
    return [job for job in found if job[0] != "all"]


def plans_of(project, changed):
    """The jobs that each change of a project leads to."""
    run = subprocess.run(
        [sys.executable, str(Path(__file__).with_name("plans.py"))],
        cwd=project.folder,
        input=json.dumps(changed),
        capture_output=True,
        encoding="utf-8",
        check=True,
    )
    return {change: jobs(output) for change, output in json.loads(run.stdout).items()}


def counted(plans):
    return {change: dict(Counter(rule for rule, _ in plan)) for change, plan in plans.items()}


@pytest.fixture(scope="module")
def plans(sheeted):
    """The jobs that each change leads to."""
    return plans_of(sheeted, changes(sheeted))


def test_what_reruns(plans):
    assert counted(plans) == EXPECTED


def test_what_reruns_of_a_virtual_cohort(project):
    assert counted(plans_of(project, virtual_changes(project))) == VIRTUAL


@pytest.mark.parametrize("change", REPLACED)
def test_one_patients_images_touch_no_other_patient_and_no_training_without_it(sheeted, plans, change):
    plan = plans[change]
    assert {wildcards for rule, wildcards in plan if "patient=" in wildcards} == {f"patient={CHANGED}"}
    folds = pd.read_parquet(sheeted.folder / "results/cohort/folds.parquet").set_index("patient_id")["fold"]
    assert folds[CHANGED] == 0
    assert {w for rule, w in plan if rule == "train"} == {f"experiment={e}, fold=2" for e in ("mskdex", "conventional")}


def test_a_project_can_be_moved(sheeted, tmp_path):
    moved = sheeted.folder.rename(tmp_path / "else where")
    try:
        assert Project(moved).planned() == WHOLE["the project moved to another folder"]
    finally:
        moved.rename(sheeted.folder)


def test_results_without_the_notes_about_them_are_refused(finished, tmp_path):
    folder = tmp_path / "copy"
    shutil.copytree(finished.folder, folder, symlinks=True, ignore=shutil.ignore_patterns(".snakemake"))
    copy = Project(folder)
    run = copy.snakemake("--dry-run", check=False)
    assert run.returncode != 0
    assert "results/ was put here without the .snakemake folder of its project" in run.stdout
    assert "Traceback" not in run.stdout
    copy.snakemake("--forceall", "--touch")
    assert copy.planned() == {}
    copy.configure("registration", "seed", value=1)
    assert copy.planned() == REGISTRATION


def test_the_table_in_the_docs_has_these_rows():
    text = (ROOT / "docs" / "reruns.md").read_text(encoding="utf-8").split("## After")[0]
    rows = [line.split("|")[1].strip() for line in text.splitlines() if line.startswith("| ")]
    assert rows[1:] == [*EXPECTED, *VIRTUAL, *WHOLE]
