"""What the package and the benchmarks define is used: by them, the workflow or the report's templates."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

from pydicom.datadict import tag_for_keyword

ROOT = Path(__file__).parents[1]
ALLOWED = {
    "called by users (README, docs/rendering.md)": (
        "differentiable_render",
        "render_poses",
        "camera_from_dicom",
        "image",
        "sums",
        "masses_g",
        "volumes_cm3",
        "names",
        "moved",
        "predict",
        "register",
        "measure",
    ),
    "definitions and bounds that tests compare with": (
        "render_reference",
        "value_and_derivative",
        "one_side",
        "TOLERANCE",
    ),
    "fields that are read through their class, or by people": (
        "baseline",
        "half_thickness_mm",
        "isocentre_to_detector_mm",
        "model_config",
        "volume_cm3",
        "mpd_mm",
        "mrpd_mm",
        "in_plane_mm",
        "iterations",
        "uri",
        "POSES",
        "MEASURES",
        "PARAMETERS",
    ),
    "attributes that other libraries read": (
        "CACHE_DIR",
        "found_inf",
        "reading_validation_mode",
        "is_undefined_length",
        "raiseExceptions",
        "allow_tf32",
        "benchmark",
        "fill_uninitialized_memory",
        "__signature__",
        "__annotations__",
        "__getattr__",
        "__dir__",
        "STORE_RECV_CHUNKED_DATASET",
        "STORE_SEND_CHUNKED_DATASET",
        "LOG_HANDLER_LEVEL",
        "tempdir",
        "acse_timeout",
        "dimse_timeout",
        "network_timeout",
        "connection_timeout",
        "require_called_aet",
        "require_calling_aet",
        "maximum_associations",
        "maximum_pdu_size",
        "supported_contexts",
        "verify_request",
        "handle_error",
    ),
}
DECORATORS = "@app.*,@*_app.*,@field_validator,@model_validator,@backbone,@loss"


def unused(root):
    """(place, name) of what vulture finds, but for tags of DICOM datasets and what rules and templates name."""
    allowed = ",".join(name for names in ALLOWED.values() for name in names)
    command = [Path(sys.executable).with_name("vulture"), "mskdex", "benchmarks", "--ignore-names", allowed]
    run = subprocess.run(
        [*command, "--ignore-decorators", DECORATORS], cwd=root, capture_output=True, encoding="utf-8", check=False
    )
    assert run.returncode in (0, 3), run.stderr
    other = [p for pattern in ("workflow/**/*.smk", "Snakefile", "mskdex/**/*.j2") for p in root.glob(pattern)]
    words = set(re.findall(r"\w+", " ".join(p.read_text(encoding="utf-8") for p in other)))
    found = re.findall(r"^(\S+): unused \w+ '(\w+)'", run.stdout, re.MULTILINE)
    return [(place, name) for place, name in found if name not in words and tag_for_keyword(name) is None]


def test_nothing_is_there_that_nothing_uses():
    assert unused(ROOT) == []


def test_a_function_that_nothing_calls_is_found(tmp_path):
    ignore = shutil.ignore_patterns("__pycache__")
    for folder in ("mskdex", "benchmarks"):
        shutil.copytree(ROOT / folder, tmp_path / folder, ignore=ignore)
    path = tmp_path / "mskdex" / "anatomy.py"
    path.write_text(path.read_text(encoding="utf-8") + "\n\ndef left_over():\n    return 1\n", encoding="utf-8")
    assert "left_over" in [name for _, name in unused(tmp_path)]
