"""`import mskdex` is light, complete and typed."""

import json
import subprocess
import sys
from importlib.metadata import files
from pathlib import Path

import pytest

import mskdex

NAMED = {
    "read_ct",
    "read_labels",
    "read_radiograph",
    "Camera",
    "Pose",
    "render",
    "register",
    "load_model",
    "predict",
    "quantities",
}
HEAVY = {"torch", "numba", "scipy", "SimpleITK", "matplotlib", "pandas", "numpy", "pydantic", "pydicom"}


def loaded(code):
    told = "import sys, json; print(json.dumps(sorted({m.split('.')[0] for m in sys.modules})))"
    run = subprocess.run([sys.executable, "-c", f"{code}; {told}"], capture_output=True, encoding="utf-8", check=True)
    return set(json.loads(run.stdout))


def test_import_loads_nothing_heavy():
    assert not HEAVY & loaded("import mskdex; mskdex.__version__; dir(mskdex)")


def test_a_ct_needs_no_torch():
    assert "torch" not in loaded("import mskdex; mskdex.read_ct, mskdex.read_labels, mskdex.measure, mskdex.Camera")


def test_every_public_name_is_there_and_documented():
    assert set(mskdex.__all__) >= NAMED
    assert set(dir(mskdex)) >= set(mskdex.__all__)
    for name in mskdex.__all__:
        assert getattr(mskdex, name).__doc__


def test_quantities_is_the_module_of_the_formulas_whoever_imported_it_first():
    code = "import mskdex; a = mskdex.quantities; import mskdex.quantities as b; assert a is b; assert a.QUANTITIES"
    loaded(code)


def test_an_unknown_name_is_told():
    with pytest.raises(AttributeError, match="module mskdex has no attribute rendering_of"):
        _ = mskdex.rendering_of


def test_the_package_says_that_it_is_typed():
    assert (Path(mskdex.__file__).parent / "py.typed").is_file()
    assert files("mskdex") is not None
