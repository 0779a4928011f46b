"""The Triton kernel, by Triton's interpreter and on a GPU where there is one: the reference's and the CPU's images."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

pytest.importorskip("triton")

START = """
import numpy as np
from rendering_phantoms import TABLES, labelled_balls, random_poses
from mskdex.drr import cuda
from mskdex.drr.reference import render_reference
from mskdex.drr.render import render, render_poses
from mskdex.drr.sampling import Sampling
from mskdex.drr.scene import Scene
from mskdex.geometry.camera import Camera

phantom = labelled_balls()
poses = np.stack(random_poses(phantom.centre_mm, 3, seed=11))
"""

EQUAL = """
for beam, conserve_sums, sub in (("cone", True, 1), ("parallel", False, 2)):
    camera = Camera(1000.0, 17.0, (7, 9), (3.6, 3.1), beam)
    arguments = (phantom.ct, phantom.labels, phantom.world_from_voxel, phantom.ids, camera, poses[0], TABLES)
    options = {"step_mm": 6.0, "conserve_sums": conserve_sums, "oversampling": sub}
    expected = render_reference(*arguments, **options)
    found = render(*arguments, **options, device="cuda").images
    usual = render(*arguments, **options, device="cpu").images
    assert expected.max() > 0
    np.testing.assert_allclose(found, expected, rtol=0, atol=2e-5 * expected.max())
    np.testing.assert_allclose(found, usual, rtol=0, atol=1e-5 * expected.max())
print("equal")
"""

BATCH = """
camera = Camera(1000.0, 30.0, (5, 4), (1.9, 1.7))
scene = Scene.of(phantom.ct, phantom.labels, phantom.world_from_voxel)
shared = np.broadcast_to(poses[:2, None], (2, 3, 4, 4))
own = np.stack([poses[0], poses[2], poses[0]])
batch = np.concatenate([shared, own[None]])
quantities = np.concatenate([TABLES, 2 * TABLES[:2]])
copies, copy = [], cuda.Resident.of
cuda.Resident.of = lambda *given: copies.append(given) or copy(*given)
launches, kernel = [], cuda.march_views
class Counted:
    def __getitem__(self, grid):
        launches.append(grid)
        return kernel[grid]
cuda.march_views = Counted()

def images(device):
    return render_poses(scene, [3, 5, 9], camera, batch, quantities, Sampling(step_mm=9.0, oversampling=1), device)

usual, found = images("cpu"), images("cuda")
assert (usual.images[:, :, :2].max(axis=(3, 4)) > 0).all() and (usual.images[:, :, 2] == 0).all()
np.testing.assert_allclose(found.images, usual.images, rtol=0, atol=1e-5 * usual.images.max())
assert launches == [(2, 4), (2, 4)], launches  # of two tiles and four views, one for every four quantities
cuda.LAUNCH_BYTES = 2 * 4 * 4 * 3 * 20
np.testing.assert_array_equal(images("cuda").images, found.images)
assert launches[2:] == [(2, 2), (2, 2), (2, 2), (2, 2)], launches  # two poses, then the pose with two views
assert len(copies) == 1, copies
print("equal")
"""


def run(program: str, **environment: str) -> subprocess.CompletedProcess:
    path = os.pathsep.join([str(Path(__file__).parent), str(Path(__file__).parents[2])])
    return subprocess.run(
        [sys.executable, "-c", START + program],
        env={**os.environ, "PYTHONPATH": path, **environment},
        capture_output=True,
        encoding="utf-8",
        check=False,
        timeout=300,
    )


@pytest.mark.parametrize("program", [EQUAL, BATCH], ids=["reference", "batch"])
def test_triton_s_interpreter_gives_the_same_images(program: str) -> None:
    result = run(program, TRITON_INTERPRET="1")
    assert result.stdout.strip() == "equal", result.stderr[-2000:]


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
@pytest.mark.parametrize("program", [EQUAL, BATCH], ids=["reference", "batch"])
def test_a_gpu_gives_the_same_images(program: str) -> None:
    result = run(program, TRITON_INTERPRET="0")
    assert result.stdout.strip() == "equal", result.stderr[-2000:]


@pytest.mark.skipif(torch.cuda.is_available(), reason="a GPU is here")
def test_without_a_device_the_error_is_plain() -> None:
    result = run(EQUAL, TRITON_INTERPRET="0")
    assert "MskdexError: device cuda is asked for, but torch finds 0 CUDA devices" in result.stderr
