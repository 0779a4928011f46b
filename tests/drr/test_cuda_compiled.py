"""What the Triton kernel compiles to for GPUs that are not here, and how often it is compiled."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

triton = pytest.importorskip("triton")

import triton.language as tl  # noqa: E402
from triton.backends.compiler import GPUTarget  # noqa: E402
from triton.compiler.compiler import ASTSource  # noqa: E402

from mskdex.drr.cuda_kernels import OPTIONS, march_views  # noqa: E402

TYPES = {
    "hu": "*i16",
    "labels": "*u8",
    "cells": "*u8",
    "blocks": "*u8",
    "lookup": "*i16",
    "table": "*i64",
    "box": "*fp64",
    "coefficients": "*fp64",
    "group": "*i32",
    "oversampling": "*i32",
    "first_pixel": "*i64",
    "slope": "*fp64",
    "out": "*fp32",
    "step": "fp32",
    "w_constant": "fp32",
    "w_quadratic": "fp32",
    "quantities": "constexpr",
}
REGISTERS_OF_AN_SM, WARPS_OF_AN_SM, PROGRAMS_OF_AN_SM = 65536, 64, 32
"""Of compute capability 8.0, 9.0 and 10.0 alike (CUDA C++ Programming Guide, technical specifications)."""

EXCHANGE_IN_PTX = r"\b(?:atom|red|fence|membar|bar|barrier|shfl)\.|\.shared|acq_rel|acquire|release"
EXCHANGE_IN_SASS = r"\b(?:ATOM\w*|RED|MEMBAR|ERRBAR|BAR|LDS|STS|LDL|STL)\b"


def compiled(arch: int):
    """The kernel for three quantities, and the disassembly and resources of its machine code."""
    signature = {name: TYPES.get(name, "i32") for name in march_views.arg_names}
    source = ASTSource(march_views, signature, {"quantities": 3})
    return triton.compile(source, target=GPUTarget("cuda", arch, 32), options=OPTIONS)


def disassembled(kernel, folder: Path) -> tuple[str, dict[str, int]]:
    cubin = folder / "kernel.cubin"
    cubin.write_bytes(kernel.asm["cubin"])
    tool = Path(triton.__file__).parent / "backends" / "nvidia" / "bin" / "cuobjdump"
    path = os.pathsep.join([str(tool.parent), os.environ["PATH"]])
    told = subprocess.run(
        [tool, "-sass", "-res-usage", cubin],
        env={**os.environ, "PATH": path},
        capture_output=True,
        encoding="utf-8",
        check=True,
    ).stdout
    return told, {name: int(value) for name, value in re.findall(r"\b(REG|STACK|SHARED|LOCAL):(\d+)", told)}


@pytest.mark.parametrize("arch", [80, 90, 100])
def test_rays_stay_in_registers_and_exchange_nothing(arch: int, tmp_path: Path) -> None:
    kernel = compiled(arch)
    assert re.findall(EXCHANGE_IN_PTX, kernel.asm["ptx"]) == []
    assert "convert_layout" not in kernel.asm["ttgir"]
    votes = len(re.findall(r"redux\.sync", kernel.asm["ptx"]))
    assert 0 < votes < 20
    sass, resources = disassembled(kernel, tmp_path)
    assert "LDG" in sass
    assert re.findall(EXCHANGE_IN_SASS, sass) == []
    assert (resources["STACK"], resources["SHARED"], resources["LOCAL"]) == (0, 0, 0)
    of_a_warp = -(-resources["REG"] // 8) * 8 * 32
    resident = min(PROGRAMS_OF_AN_SM * OPTIONS["num_warps"], REGISTERS_OF_AN_SM // of_a_warp)
    assert resident >= WARPS_OF_AN_SM / 3, resources


@triton.jit
def _exchanging(out):
    pixel = tl.arange(0, 64)
    tl.atomic_add(out + pixel, tl.sum(pixel, axis=0))


def test_an_exchange_would_be_seen(tmp_path: Path) -> None:
    source = ASTSource(_exchanging, {"out": "*i32"}, {})
    kernel = triton.compile(source, target=GPUTarget("cuda", 90, 32), options=OPTIONS | {"num_warps": 2})
    assert {"atom.", "shfl.", "bar.", ".shared", "acq_rel"} <= set(re.findall(EXCHANGE_IN_PTX, kernel.asm["ptx"]))
    sass, resources = disassembled(kernel, tmp_path)
    assert {"BAR", "STS", "LDS", "MEMBAR"} <= set(re.findall(EXCHANGE_IN_SASS, sass))
    assert resources["SHARED"] > 0


PROGRAM = """
import numpy as np
import torch
import triton
from triton.backends.compiler import GPUTarget
from rendering_phantoms import TABLES, ball, random_poses
from mskdex.drr import cuda
from mskdex.drr.render import render_poses
from mskdex.drr.sampling import Sampling
from mskdex.drr.scene import Scene
from mskdex.geometry.camera import Camera

class NoGpu:
    def get_current_device(self):
        return 0
    def get_current_stream(self, device):
        return 0
    def get_current_target(self):
        return GPUTarget("cuda", 90, 32)

triton.runtime.driver.set_active(NoGpu())
launches, keys, kernel = [], set(), cuda.march_views

def seen(*, key, **options):
    keys.add(key)
    return True  # nothing is compiled

triton.knobs.runtime.jit_cache_hook = seen
class Launched:
    def __getitem__(self, grid):
        launches.append(grid)
        return lambda *given, **options: kernel.warmup(*given, grid=grid, **options)
cuda.march_views = Launched()
cuda._checked_device = lambda device, sampling: torch.device("cpu")

def variants(shape, ids, camera, poses, tables, sampling):
    labels = np.where(ball(shape, [n / 2 for n in shape], min(shape) / 3), ids[-1], 0).astype(np.uint8)
    scene = Scene.of(np.zeros(shape, np.int16), labels, np.diag([1.0, 1.0, 1.0, 1.0]))
    given = np.stack(random_poses(np.array(shape[::-1]) / 2, poses, seed=1))
    render_poses(scene, ids, camera, given, tables, sampling, "cuda")
    return len(keys)

one = Camera(1000.0, 4.0, (1, 1), (0.0, 0.0))
odd, even = Camera(900.0, 3.0, (33, 31), (16.0, 15.0), "parallel"), Camera(1000.0, 2.0, (64, 64), (32.0, 32.0))
assert variants((12, 12, 12), [1], one, 1, TABLES, Sampling()) == 1
assert variants((17, 23, 29), [3, 5, 9], odd, 3, TABLES, Sampling(1.7, False, oversampling=2)) == 1
assert variants((28, 28, 28), list(range(1, 17)), even, 2, TABLES, Sampling(2.0)) == 1
assert variants((28, 28, 28), [1, 2], even, 1, TABLES[:1], Sampling(2.0)) == 2
assert launches == [(1, 1), (36, 3), (128, 2), (128, 1)], launches
print("compiled once")
"""


def test_another_patient_camera_or_batch_does_not_compile_anew() -> None:
    path = os.pathsep.join([str(Path(__file__).parent), str(Path(__file__).parents[2])])
    result = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        env={**os.environ, "PYTHONPATH": path, "TRITON_INTERPRET": "0"},
        capture_output=True,
        encoding="utf-8",
        check=False,
        timeout=300,
    )
    assert result.stdout.strip() == "compiled once", result.stderr[-2000:]
