"""The second world is independent: it judges the code, so it shares none with it."""

import ast
import importlib
from pathlib import Path

import numpy as np
import pytest

from mskdex.cohort.folds import NO_FOLD
from mskdex.cohort.sheet import check_sheet
from mskdex.config.cohort import CohortSettings
from mskdex.config.learning import FoldSettings
from mskdex.pipeline.workflow import folds_of_patients

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


@pytest.mark.parametrize("path", [p for p in WORLD if p.name != "evaluate.py"], ids=lambda p: p.name)
def test_the_simulator_uses_nothing_of_the_package(path):
    assert "mskdex" not in imported(path)


def test_the_package_uses_nothing_of_the_second_world():
    text = [p for p in PACKAGE if "second_world" in p.read_text(encoding="utf-8")]
    assert WORLD
    assert text == []


def test_the_sheet_keeps_the_patients_from_training(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(WORLD[0].parent)
    write_sheet = importlib.import_module("files").write_sheet
    for name in ("W2-001", "W2-002"):
        (tmp_path / name).touch()
    rows = [
        {"patient_id": n, "ct": n, "labels": f"./{n}", "label_source": "named", "radiograph": n, **more}
        for n, more in (("W2-001", {}), ("W2-002", {"sdd_mm": 1050}))
    ]
    write_sheet(tmp_path / "cohort.tsv", rows)
    sheet, _ = check_sheet(tmp_path / "cohort.tsv", CohortSettings(), files=False)
    assert list(folds_of_patients(sheet, FoldSettings())[0].values()) == [NO_FOLD, NO_FOLD]


@pytest.mark.parametrize("spacing_mm", [2.0, 2.5, 3.0])
def test_slices_begin_on_a_plane_of_the_body(spacing_mm, monkeypatch):
    """Otherwise a CT of the body's own spacing shows it up to a millimetre from where the true poses say."""
    monkeypatch.syspath_prepend(WORLD[0].parent)
    lattice = importlib.import_module("warp").Lattice((216, 10, 10), np.array([0.0, 0.0, -215.0]), np.full(3, 2.0))
    found = importlib.import_module("scan").slices_mm(-165.1, 170.0, spacing_mm, lattice)
    assert found[0] == -165.0
    np.testing.assert_allclose(np.diff(found), spacing_mm)
    assert 170.0 - spacing_mm <= found[-1] < 170.0


def test_muscles_get_the_volume_that_was_drawn(monkeypatch):
    """The warp alone left them half as different from each other as people are."""
    monkeypatch.syspath_prepend(WORLD[0].parent)
    body, template = (importlib.import_module(name) for name in ("body", "template"))
    names = {1: "pelvis_left", 2: "iliacus_left", 3: "pectineus_left", 4: "psoas_left", 5: "fat"}
    names |= {6 + n: bone for n, bone in enumerate(template.BONES[1:])}
    made = template.Template(np.zeros((1, 1, 1), np.uint8), np.zeros(3), 2.0, names, {})
    labels = np.full((20, 20, 30), 5, np.uint8)
    labels[5:15, 5:15, 2:5] = 1
    labels[5:15, 5:15, 5:13] = 2  # lies on bone
    labels[8:12, 8:12, 13:15] = 4  # lies on the iliacus
    labels[5:15, 5:15, 20:23] = 3
    before = labels.copy()
    voxel_cm3 = 0.008
    body.bring_to_volume(labels, made, {2: 500 * voxel_cm3, 3: 450 * voxel_cm3}, np.full(3, 2.0))
    assert [(labels == i).sum() for i in (2, 3)] == [500, 450]
    assert ((labels == 2) <= (before == 2)).all()
    assert ((labels == 3) >= (before == 3)).all()
    assert ((labels == 1) == (before == 1)).all()
    assert ((labels == 4) == (before == 4)).all()
    assert (labels[8:12, 8:12, 5] == 2).all(), "a muscle shrinks from its free surface, not where it lies on bone"
