"""The code hash of a stage follows its modules, and nothing else."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import mskdex

PACKAGE = Path(mskdex.__file__).parent


@pytest.fixture
def package(tmp_path):
    return shutil.copytree(PACKAGE, tmp_path / "mskdex", ignore=shutil.ignore_patterns("__pycache__"))


def hashes(package, *stages):
    code = f"""
from pathlib import Path
from mskdex.provenance import Memory, stage_hash
memory = Memory(Path("memory.json"))
hashes = [stage_hash(s, memory) for s in {stages!r}]
assert hashes == [stage_hash(s) for s in {stages!r}]
print(*hashes)
"""
    run = subprocess.run(
        [sys.executable, "-c", code], cwd=package.parent, capture_output=True, encoding="utf-8", check=True
    )
    return dict(zip(stages, run.stdout.split(), strict=True))


def edit(path, text):
    path.write_text(path.read_text(encoding="utf-8") + text, encoding="utf-8")


def test_an_edit_changes_the_hash_of_the_stages_that_use_the_module(package):
    before = hashes(package, "quantities", "folds")
    edit(package / "imaging" / "quantities.py", "\nNEW = 1\n")
    after = hashes(package, "quantities", "folds")
    assert after["quantities"] != before["quantities"]
    assert after["folds"] == before["folds"]


def test_comments_and_docstrings_do_not_count(package):
    before = hashes(package, "folds")
    path = package / "folds.py"
    edit(path, "\n# a remark\n")
    path.write_text(path.read_text(encoding="utf-8").replace("Patient-level folds", "Folds"), encoding="utf-8")
    assert hashes(package, "folds") == before


def test_registration_is_no_part_of_training(package):
    before = hashes(package, "register", "train", "importing")
    for module in (package / "registration").glob("*.py"):
        edit(module, "\nNEW = 1\n")
    after = hashes(package, "register", "train", "importing")
    assert after["register"] != before["register"]
    assert (after["train"], after["importing"]) == (before["train"], before["importing"])
