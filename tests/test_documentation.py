"""The documentation site: it is built without a broken link, and what is generated from the code is up to date."""

import os
import re
import subprocess
import sys
from pathlib import Path

import yaml

ROOT = Path(__file__).parents[1]
BIN = Path(sys.executable).parent


def pages(entries) -> list[str]:
    """The files of the navigation."""
    found = []
    for entry in entries:
        for value in entry.values():
            found += [value] if isinstance(value, str) else pages(value)
    return found


def test_the_site_is_built_without_a_broken_link(tmp_path):
    environment = os.environ | {"NO_MKDOCS_2_WARNING": "1"}
    command = [BIN / "mkdocs", "build", "--strict", "--site-dir", tmp_path]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    assert "WARNING" not in done.stderr
    assert (tmp_path / "index.html").is_file()
    python = (tmp_path / "reference/python/index.html").read_text(encoding="utf-8")
    assert "world_from_voxel" in python or "RAS" in python
    assert all(name in python for name in ("read_ct", "render", "register", "predict", "MskdexError"))


def test_every_page_is_in_the_navigation():
    nav = yaml.safe_load((ROOT / "mkdocs.yml").read_text(encoding="utf-8"))["nav"]
    on_disk = {str(path.relative_to(ROOT / "docs")) for path in (ROOT / "docs").rglob("*.md")}
    assert set(pages(nav)) == on_disk


def test_the_page_of_commands_is_that_of_the_command_line():
    command = [BIN / "typer", "mskdex.pipeline.cli", "utils", "docs", "--name", "mskdex"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, encoding="utf-8", check=True)
    page = (ROOT / "docs/reference/commands.md").read_text(encoding="utf-8")
    assert page.strip() == done.stdout.strip(), "make it anew: see CONTRIBUTING.md"


def outputs() -> set[str]:
    """Names of the files and folders in results/ that the rules make."""
    text = "".join(p.read_text(encoding="utf-8") for p in sorted((ROOT / "workflow/rules").glob("*.smk")))
    blocks = re.findall(r"^    output:\n(.*?)^    log:", text, re.MULTILINE | re.DOTALL)
    return {path.rsplit("/", 1)[-1] for block in blocks for path in re.findall(r'"results/([^"]+)"', block)}


def test_the_artifacts_of_all_rules_are_documented():
    page = (ROOT / "docs/reference/files.md").read_text(encoding="utf-8")
    assert len(outputs()) > 60
    assert not {name for name in outputs() if name not in page}


def test_every_package_is_in_the_architecture():
    page = (ROOT / "docs/architecture.md").read_text(encoding="utf-8")
    table = page.partition("## Packages")[2].partition("##")[0]
    packages = {path.parent.name for path in (ROOT / "mskdex").glob("*/__init__.py")}
    named = {name for row in re.findall(r"^\| (`.*?) \|", table, re.MULTILINE) for name in re.findall(r"`(\w+)`", row)}
    assert packages <= named
    assert all((ROOT / "mskdex" / name).is_dir() or (ROOT / "mskdex" / f"{name}.py").is_file() for name in named)
