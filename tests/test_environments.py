"""Lock file, conda environment and container recipes name the same versions."""

import re
import runpy
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[1]
LOCK = (ROOT / "requirements.lock").read_text(encoding="utf-8")


def test_the_conda_environment_is_what_the_lock_makes_of_it():
    made = runpy.run_path(str(ROOT / "envs" / "lock.py"))["conda_environment"](LOCK)
    text = (ROOT / "envs" / "mskdex.yaml").read_text(encoding="utf-8")
    assert text == made
    *_, pip = yaml.safe_load(text)["dependencies"]
    assert pip["pip"] == [line for line in LOCK.splitlines() if "==" in line]


@pytest.mark.parametrize("recipe", ["Dockerfile", "mskdex.def"])
def test_a_container_installs_the_lock_and_nothing_else(recipe):
    text = (ROOT / "envs" / recipe).read_text(encoding="utf-8")
    installed = re.findall(r"^(?:RUN|   ) pip install --no-cache-dir (.*)$", text, re.MULTILINE)
    assert installed == ["-r /opt/mskdex/requirements.lock", "--no-deps /opt/mskdex"]
    assert len(re.findall("install", text)) == 2


def test_all_have_the_same_python():
    python = {
        re.search(r"\(Python ([\d.]+), Linux\)", LOCK)[1],
        re.search(r"^FROM python:([\d.]+)-slim$", (ROOT / "envs/Dockerfile").read_text(encoding="utf-8"), re.M)[1],
        re.search(r"^From: python:([\d.]+)-slim$", (ROOT / "envs/mskdex.def").read_text(encoding="utf-8"), re.M)[1],
        re.search(r"- python=([\d.]+)$", (ROOT / "envs/mskdex.yaml").read_text(encoding="utf-8"), re.M)[1],
    }
    assert python == {"3.11"}
