"""The second world is independent: it judges the code, so it shares none with it."""

import ast
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[1]
WORLD = sorted((REPOSITORY / "benchmarks" / "second_world").glob("*.py"))
PACKAGE = sorted((REPOSITORY / "mskdex").rglob("*.py"))


def imported(path: Path) -> set[str]:
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names.add((node.module or "").partition(".")[0])
    return names


@pytest.mark.parametrize("path", [p for p in WORLD if p.name != "judge.py"], ids=lambda p: p.name)
def test_the_simulator_uses_nothing_of_the_package(path):
    assert "mskdex" not in imported(path)


def test_the_package_uses_nothing_of_the_second_world():
    text = [p for p in PACKAGE if "second_world" in p.read_text(encoding="utf-8")]
    assert WORLD
    assert text == []
