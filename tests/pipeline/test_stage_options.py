"""Commands for people: --config, --set and paths beside the workflow's JSON."""

import json
import os
import subprocess
import sys

import hospital as make
import pandas as pd
import pytest
import yaml
from typer.testing import CliRunner

from mskdex.config import Config
from mskdex.config.reading import read_config_file
from mskdex.errors import MskdexError
from mskdex.io.artifacts import read_parquet
from mskdex.pipeline import settings as stages
from mskdex.pipeline.cli import app
from mskdex.pipeline.doctor import Finding, examine
from mskdex.pipeline.stage_options import StageOptions
from mskdex.pipeline.stage_settings import settings_of

CONFIG = {"label_sources": {"phantom": {k: list(v) for k, v in make.IDS.items()}}, "ct": make.SMALL_STRUCTURES}
STAGES = [
    "synthesize-sheet",
    "synthesize",
    "cohort build",
    "cohort identity",
    "segment",
    "quality",
    "folds",
    "import",
    "quantities",
    "render",
    "register",
    "qc",
    "stack",
    "train",
    "predict",
    "evaluate",
    "report",
    "virtual preview",
    "virtual posed-labels",
]


def run(*arguments):
    found = CliRunner().invoke(app, [str(a) for a in arguments])
    if isinstance(found.exception, Exception):
        raise found.exception
    return found


@pytest.fixture
def project(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    rows = [make.distinct_patient(tmp_path / f"d{n}", n) for n in (1, 2)]
    pd.DataFrame(rows).to_csv("cohort.csv", index=False)
    (tmp_path / "config.yaml").write_text(
        yaml.safe_dump(CONFIG | {"cohort": {"sheet": "cohort.csv"}}), encoding="utf-8"
    )
    return tmp_path


@pytest.mark.parametrize("command", STAGES)
def test_every_stage_takes_a_config_and_single_keys(command):
    told = run(*command.split(), "--help").stdout
    assert "--config" in told
    assert "--set" in told
    assert "--settings" not in told


def test_a_patient_is_imported_and_measured_by_its_id(project):
    run("import", "--row", "P01", "--out", "results/patients/P01")
    run("quantities", "--patient", "results/patients/P01", "--out", "results/patients/P01/quantities.parquet")
    table = read_parquet(project / "results/patients/P01/quantities.parquet").set_index("object")
    assert table.loc["sacrum", "present"]
    assert not table.loc["pectineus_left", "present"]


def test_the_workflows_json_gives_the_same(project):
    config = read_config_file(project / "config.yaml")
    settings = stages.import_stage(config, "phantom").model_dump_json(exclude_defaults=True)
    patient = make.distinct_patient(project / "d1", 1)
    run("import", "--row", json.dumps(patient), "--settings", settings, "--out", "a")
    run("import", "--row", "P01", "--out", "b")
    first, second = (json.loads((project / f / "import.json").read_text(encoding="utf-8")) for f in "ab")
    assert first["content"] == second["content"]


def test_a_key_overrules_the_file(project):
    run("folds", "cohort.csv", "--set", "folds.count=2", "--set", "folds.train=all", "--out", "folds.parquet")
    assert set(read_parquet(project / "folds.parquet")["fold"]) == {0, 1}


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ("folds.count", "give a key and its value"),
        ("folds.cuont=3", "unknown key folds.cuont"),
        ("folds.count=many", "folds.count"),
        ("folds.count.first=1", "count is a value or a list"),
        ("=3", "give a key and its value"),
        ("folds.count=[1", "the value is no YAML"),
    ],
)
def test_a_wrong_key_is_told(tmp_path, change, told):
    path = tmp_path / "config.yaml"
    path.write_text("folds: {count: 4}\n", encoding="utf-8")
    with pytest.raises(MskdexError, match=told):
        read_config_file(path, [change])


def test_a_file_without_sections_is_told(tmp_path):
    path = tmp_path / "config.yaml"
    path.write_text("- 1\n", encoding="utf-8")
    with pytest.raises(MskdexError, match="holds no sections but list"):
        read_config_file(path)


def test_json_and_config_exclude_each_other(tmp_path):
    with pytest.raises(MskdexError, match="leave out --config and --set"):
        StageOptions("{}", tmp_path / "config.yaml", ()).of(stages.Anatomy)


@pytest.mark.usefixtures("project")
def test_what_the_config_does_not_say_is_asked_for():
    with pytest.raises(MskdexError, match="give --experiment"):
        run("train", "--patients", "p", "--folds", "f", "--out", "o")
    with pytest.raises(MskdexError, match="no patient P99; it has P01, P02"):
        run("import", "--row", "P99", "--out", "o")


def test_a_stages_settings_are_those_of_the_workflow():
    config = Config()
    assert settings_of(stages.RenderStage, config, {}) == stages.render_stage(config)
    name = next(iter(config.experiments))
    known = {"experiment": name, "fold": 1}
    assert settings_of(stages.TrainStage, config, known) == stages.train_stage(config, name, 1)
    every = dict.fromkeys(["label_source", "experiment", "fold"], None)
    models = [m for m in vars(stages).values() if isinstance(m, type) and issubclass(m, stages.Anatomy)]
    for model in models:
        values = every | {"label_source": "totalsegmentator", "patient": "P01"}
        assert isinstance(settings_of(model, config, values), model)


def test_the_doctor_names_what_is_there(tmp_path):
    found = {f.name: f for f in examine(tmp_path)}
    assert found["torch"].detail[0].isdigit()
    assert found["results"].state in ("ok", "warning")
    assert {"device", "threads", "kernel cache", "TotalSegmentator", "snakemake"} <= set(found)
    assert not any(f.fatal for f in found.values())


def test_the_doctor_says_where_nothing_can_be_written(tmp_path):
    found = {f.name: f for f in examine(tmp_path / "absent")}
    assert found["results"].fatal
    assert "cannot be written to" in str(found["results"])
    assert Finding("x", "y").state == "ok"


def test_the_shell_can_complete():
    environment = os.environ | {"_MSKDEX_COMPLETE": "complete_bash", "COMP_WORDS": "mskdex quan", "COMP_CWORD": "1"}
    code = "from mskdex.pipeline.cli import app; app(prog_name='mskdex')"
    found = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, encoding="utf-8", check=False
    )
    assert "quantities" in found.stdout
