"""Whatever is imported is declared, and whatever is declared is locked."""

import ast
import re
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def names(requirements):
    return {normal(re.match(r"[\w.-]+", line)[0]) for line in requirements if re.match(r"\w", line)}


def normal(name):
    return re.sub(r"[-_.]+", "-", name).lower()


RUN = names(PROJECT["dependencies"])
WITH_TORCH = {"triton"}  # comes with torch's CUDA builds, and is imported where there is a GPU only
NODE = names(PROJECT["optional-dependencies"]["node"])
TEST = NODE | names(PROJECT["optional-dependencies"]["test"])


def imported(folder):
    """Top-level modules that the files of a folder import, with a file that does."""
    found = {}
    for path in sorted((ROOT / folder).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                modules = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and node.level == 0:
                modules = [node.module]
            else:
                continue
            found.update({module.split(".")[0]: path for module in modules})
    ours = [path for room in ("mskdex", "tests", "benchmarks") for path in (ROOT / room).rglob("*.py")]
    own = {name for path in ours for name in (path.stem, path.parent.name)} | {"mskdex"}
    return {name: path for name, path in found.items() if name not in sys.stdlib_module_names | own}


@pytest.mark.parametrize(("folder", "declared"), [("mskdex", RUN | WITH_TORCH | NODE), ("tests", RUN | TEST)])
def test_every_import_is_declared(folder, declared):
    known = packages_distributions()
    for name, path in imported(folder).items():
        distributions = {normal(d) for d in known.get(name, [name])}
        assert distributions & declared, f"{path} imports {name}, which pyproject.toml does not name"


def test_a_users_own_torch_is_kept_and_the_lock_pins_one():
    (torch,) = (line for line in PROJECT["dependencies"] if normal(re.match(r"[\w.-]+", line)[0]) == "torch")
    assert torch == "torch>=2.6"
    lock = (ROOT / "requirements.lock").read_text(encoding="utf-8")
    assert len(re.findall(r"^torch==[\d.]+$", lock, re.MULTILINE)) == 1


def test_the_versions_of_python_are_those_of_the_readme():
    low, high = re.fullmatch(r">=3\.(\d+),<3\.(\d+)", PROJECT["requires-python"]).groups()
    versions = [f"3.{minor}" for minor in range(int(low), int(high))]
    told = f"Python {', '.join(versions[:-1])} or {versions[-1]}"
    assert told in (ROOT / "README.md").read_text(encoding="utf-8")


def test_every_declared_dependency_is_locked():
    lock = (ROOT / "requirements.lock").read_text(encoding="utf-8").splitlines()
    assert names(lock) >= RUN
    more = [
        line
        for name in ("requirements-node.lock", "requirements-test.lock")
        for line in (ROOT / name).read_text(encoding="utf-8").splitlines()
        if not line.startswith("-r ")
    ]
    assert names(lock + more) >= TEST
