"""The packages' order: each imports those below it alone (`tool.importlinter` in pyproject.toml)."""

import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
AT_THE_TOP = {"__init__.py", "__main__.py", "anatomy.py", "errors.py", "quantities.py"}


def linted(folder):
    command = Path(sys.executable).with_name("lint-imports")
    return subprocess.run(
        [command, "--no-cache", "pyproject.toml"], cwd=folder, capture_output=True, encoding="utf-8", check=False
    )


def test_packages_import_those_below_them_alone():
    run = linted(ROOT)
    assert run.returncode == 0, run.stdout


def test_an_import_from_above_is_found(tmp_path):
    shutil.copytree(ROOT / "mskdex", tmp_path / "mskdex", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    camera = tmp_path / "mskdex" / "geometry" / "camera.py"
    camera.write_text(camera.read_text(encoding="utf-8") + "\nimport mskdex.report.page\n", encoding="utf-8")
    run = linted(tmp_path)
    assert run.returncode == 1
    assert "mskdex.geometry.camera -> mskdex.report.page" in run.stdout


def test_nothing_but_the_ground_floor_lies_at_the_top():
    assert {p.name for p in (ROOT / "mskdex").glob("*.py")} == AT_THE_TOP
