"""The notebooks run from top to bottom, and are kept without outputs."""

import json
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[2] / "notebooks"
NOTEBOOKS = ("predict_a_radiograph.ipynb", "register_a_pair.ipynb", "render_a_ct.ipynb")


def code(name):
    cells = json.loads((FOLDER / name).read_text(encoding="utf-8"))["cells"]
    return [cell for cell in cells if cell["cell_type"] == "code"]


def test_every_notebook_is_tried():
    assert sorted(p.name for p in FOLDER.glob("*.ipynb")) == sorted(NOTEBOOKS)


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_a_notebook_runs(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    names = {}
    for cell in code(name):
        exec(compile("".join(cell["source"]), name, "exec"), names)
    assert "mskdex" in names


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_a_notebook_is_kept_without_outputs(name):
    assert all(cell["outputs"] == [] and cell["execution_count"] is None for cell in code(name))
