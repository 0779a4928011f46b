"""The command line: light to start, and plain about mistakes."""

import json
import subprocess
import sys

import pytest


def mskdex(*arguments):
    return subprocess.run(
        [sys.executable, "-m", "mskdex", *arguments], capture_output=True, encoding="utf-8", check=False
    )


def test_help_names_every_stage():
    found = mskdex("--help").stdout
    for stage in ("synthesize", "cohort", "import", "quantities", "render", "register", "stack", "train", "evaluate"):
        assert stage in found


LIGHT = ("mskdex.anatomy", "mskdex.pipeline.cli", "mskdex.pipeline.settings", "mskdex.pipeline.workflow")


@pytest.mark.parametrize("module", LIGHT)
def test_what_every_start_pays_for_is_light(module):
    code = f"import {module}, sys, json; print(json.dumps(sorted({{m.split('.')[0] for m in sys.modules}})))"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, encoding="utf-8", check=True)
    assert not {"torch", "numba", "scipy", "SimpleITK", "matplotlib"} & set(json.loads(run.stdout))


def test_a_mistake_is_one_sentence_and_its_traceback_is_in_the_log(tmp_path):
    log = tmp_path / "logs" / "stage.log"
    run = mskdex("--log", str(log), "cohort", "check", str(tmp_path / "nowhere.tsv"))
    assert run.returncode == 1
    assert run.stderr.startswith("error: cohort sheet")
    assert "nowhere.tsv" in run.stderr
    assert "Traceback" not in run.stderr
    assert "Traceback" in log.read_text(encoding="utf-8")


def test_a_defect_is_told_apart_from_a_mistake(tmp_path):
    log = tmp_path / "stage.log"
    run = mskdex("--log", str(log), "folds", "sheet.tsv", "--settings", "no json", "--out", str(tmp_path / "f"))
    assert run.returncode == 1
    assert "this is a defect" in run.stderr
    assert "Traceback" not in run.stderr
    assert "Traceback" in log.read_text(encoding="utf-8")


def test_what_is_not_done_yet_has_an_exit_code_of_its_own():
    code = "from mskdex.errors import UnfinishedError\nfrom mskdex.pipeline.program import run\n"
    code += "def stage(): raise UnfinishedError('not done')\nrun(stage)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, encoding="utf-8", check=False)
    assert done.returncode == 75
    assert done.stderr.splitlines()[0] == "not done"
