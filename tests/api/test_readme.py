"""The README's lines of Python are those that work."""

import ast
import re
from pathlib import Path

import mskdex

ROOT = Path(__file__).parents[2]


def blocks():
    """The blocks of Python, each as its lines that are not blank."""
    found = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(encoding="utf-8"), re.DOTALL)
    return [[line for line in block.splitlines() if line] for block in found]


def is_mskdex(node):
    return isinstance(node, ast.Name) and node.id == "mskdex"


def test_five_lines_and_three():
    assert [len(block) for block in blocks()] == [5, 3]


def test_the_lines_use_public_names_and_are_the_packages_own():
    doc = [line.strip() for line in mskdex.__doc__.splitlines()]
    for block in blocks():
        used = {
            n.attr for n in ast.walk(ast.parse("\n".join(block))) if isinstance(n, ast.Attribute) and is_mskdex(n.value)
        }
        assert used <= set(mskdex.__all__)
        assert all(line in doc for line in block if "load_model" not in line)


def test_links_of_the_documents_lead_somewhere():
    for path in [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").glob("*.md")]:
        for target in re.findall(r"\]\(([^)#\s]+)", path.read_text(encoding="utf-8")):
            if "://" not in target:
                assert (path.parent / target).exists(), f"{path.name}: {target}"


def test_every_public_name_is_in_the_readme():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert all(f"`{name}`" in text for name in mskdex.__all__ if name != "MskdexError")
