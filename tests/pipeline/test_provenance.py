"""The code hash of a stage follows its modules, and nothing else."""

import ast
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import mskdex

PACKAGE = Path(mskdex.__file__).parent
STAGES = sorted(
    {
        stage
        for rules in (PACKAGE.parent / "workflow").rglob("*.smk")
        for stage in re.findall(r'\bstage(?:_hash)?\("(\w+)"', rules.read_text(encoding="utf-8"))
    }
)


@pytest.fixture
def package(tmp_path):
    return shutil.copytree(PACKAGE, tmp_path / "mskdex", ignore=shutil.ignore_patterns("__pycache__"))


def hashes(package, *stages):
    code = f"""
from pathlib import Path
from mskdex.pipeline.provenance import CodeHashes, stage_hash
kept = CodeHashes(Path("memory.json"))
hashes = [stage_hash(s, kept) for s in {stages!r}]
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
    edit(package / "quantities.py", "\nNEW = 1\n")
    after = hashes(package, "quantities", "folds")
    assert after["quantities"] != before["quantities"]
    assert after["folds"] == before["folds"]


def test_comments_and_docstrings_do_not_count(package):
    before = hashes(package, "folds")
    path = package / "cohort" / "folds.py"
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


DATA = sorted(
    p.relative_to(PACKAGE).as_posix()
    for p in PACKAGE.rglob("*")
    if p.is_file() and p.suffix in {".csv", ".json", ".j2", ".css", ".js"}
)


def affected(package, *edits):
    """The stages whose hash each of some edits changes: (file, text, what it becomes); each is taken back."""
    code = f"""
import json
from pathlib import Path
from mskdex.pipeline import provenance
def hashes():
    return {{s: provenance.stage_hash(s, kept) for s in {STAGES!r}}}

kept = provenance.CodeHashes(Path("memory.json"))
before, found = hashes(), []
for name, old, new in {edits!r}:
    path = Path("mskdex", name)
    content = path.read_bytes()
    assert old.encode() in content, (name, old)
    path.write_bytes(content.replace(old.encode(), new.encode(), 1))
    found.append([s for s, h in hashes().items() if h != before[s]])
    path.write_bytes(content)
    assert hashes() == before

print(json.dumps(found))
"""
    run = subprocess.run(
        [sys.executable], input=code, cwd=package.parent, capture_output=True, encoding="utf-8", check=True
    )
    return [set(stages) for stages in json.loads(run.stdout)]


def test_every_data_file_counts_for_the_stages_that_use_it(package):
    assert len(DATA) > 10
    ends = [(package / name).read_bytes()[-20:].decode() for name in DATA]
    found = affected(package, *((name, end, end + " ") for name, end in zip(DATA, ends, strict=True)))
    for name, stages in zip(DATA, found, strict=True):
        assert stages == {"report"} if name.startswith("report/") else "synthesize" in stages, name


def test_label_ids_count_where_they_are_given_and_the_configs_values_do_not(package):
    ids, *values = affected(
        package,
        ("config/objects.py", "label=len(found) + 1", "label=len(found) + 2"),
        ("config/learning.py", "number of folds", "how many folds there are"),
        ("pipeline/settings.py", "count=config.folds.count", "count=1 + config.folds.count"),
    )
    assert {"importing", "quantities", "stack", "register", "project"} <= ids
    assert not {"folds", "train", "synthesize"} & ids
    assert values == [set(), set()]


def test_a_command_counts_for_its_stage(package):
    command = ("pipeline/cli/patient.py", '    """Put a patient\'s training sample together."""', "    print()")
    assert affected(package, command) == [{"stack"}]


def test_what_only_keeps_the_books_reruns_nothing(package):
    books = ("io/artifacts", "io/damage", "io/seal", "errors", "pipeline/lock", "pipeline/sources")
    edits = [(f"{name}.py", '"""', 'NEW = 1\n"""') for name in books]
    assert affected(package, *edits) == [set()] * len(books)


def test_every_stage_of_the_workflow_has_its_command(package):
    trees = [ast.parse(p.read_text(encoding="utf-8")) for p in (package / "pipeline" / "cli").glob("*.py")]
    used = {n.module for tree in trees for n in ast.walk(tree) if isinstance(n, ast.ImportFrom)}
    assert {f"mskdex.pipeline.stages.{stage}" for stage in STAGES} <= used
