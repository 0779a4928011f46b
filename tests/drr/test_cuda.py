"""The Triton kernel, run by Triton's interpreter: equal to the float64 reference and to the CPU kernel."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("triton")

PROGRAM = """
import sys
import numpy as np
from rendering_phantoms import TABLES, labelled_balls, random_poses
from mskdex.geometry.camera import Camera
from mskdex.drr.reference import render_reference
from mskdex.drr.render import render

phantom = labelled_balls()
pose = random_poses(phantom.centre_mm, 1, seed=11)[0]
for beam, conserve_sums, sub in (("cone", True, 1), ("parallel", False, 2)):
    camera = Camera(1000.0, 17.0, (8, 8), (3.6, 3.1), beam)
    arguments = (phantom.ct, phantom.labels, phantom.world_from_voxel, phantom.ids, camera, pose, TABLES)
    options = {"step_mm": 6.0, "conserve_sums": conserve_sums, "oversampling": sub}
    expected = render_reference(*arguments, **options)
    found = render(*arguments, **options, device="cuda").images
    usual = render(*arguments, **options, device="cpu").images
    assert expected.max() > 0
    np.testing.assert_allclose(found, expected, rtol=0, atol=2e-5 * expected.max())
    np.testing.assert_allclose(found, usual, rtol=0, atol=1e-5 * expected.max())
print("equal")
"""


def run(program: str, **environment: str) -> subprocess.CompletedProcess:
    path = os.pathsep.join([str(Path(__file__).parent), str(Path(__file__).parents[2])])
    return subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "PYTHONPATH": path, **environment},
        capture_output=True,
        encoding="utf-8",
        check=False,
        timeout=300,
    )


def test_triton_s_interpreter_gives_the_same_images() -> None:
    result = run(PROGRAM, TRITON_INTERPRET="1")
    assert result.stdout.strip() == "equal", result.stderr[-2000:]


def test_without_a_device_the_error_is_plain() -> None:
    import torch

    if torch.cuda.is_available():
        pytest.skip("a CUDA device is here")
    result = run(PROGRAM, TRITON_INTERPRET="0")
    assert "MskdexError: device cuda is asked for, but torch finds 0 CUDA devices" in result.stderr
