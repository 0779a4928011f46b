"""A GPU's training on fake CUDA tensors, in a process of its own: cuda_stub.cpp comes before PyTorch there."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

HERE = Path(__file__).parent
TORCH = Path(torch.__file__).parent

pytestmark = [
    pytest.mark.skipif(shutil.which("g++") is None, reason="no C++ compiler"),
    pytest.mark.skipif(torch.version.cuda is not None, reason="the stub is for a CPU build of PyTorch"),
]


@pytest.fixture(scope="module")
def seen(tmp_path_factory):
    stub = tmp_path_factory.mktemp("stub") / "stub.so"
    build = ["g++", "-std=c++20", "-O0", "-shared", "-fPIC", "-w", f"-I{TORCH / 'include'}", HERE / "cuda_stub.cpp"]
    link = ["-o", stub, f"-L{TORCH / 'lib'}", "-lc10", "-ltorch_cpu", f"-Wl,-rpath,{TORCH / 'lib'}"]
    subprocess.run([*build, *link], check=True)
    command = [sys.executable, HERE / "fake_cuda.py", stub]
    done = subprocess.run(command, capture_output=True, encoding="utf-8", env=os.environ | {"OMP_NUM_THREADS": "1"})
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_the_counters_count(seen):
    assert seen["counters"] == {"blocking transfers": 2, "readings": 1, "cast float32 float16": 1}


@pytest.mark.parametrize("of", ["gan", "no gan"])
def test_every_tensor_is_on_the_gpu_and_every_loss_in_single_precision(seen, of):
    assert seen[of]["elsewhere"] == seen[of]["elsewhere after"] == []
    assert ("discriminator_drr" in seen[of]["losses"]) == (of == "gan")
    assert set(seen[of]["losses"].values()) == {"torch.float32"}


@pytest.mark.parametrize("of", ["gan", "no gan"])
def test_gradients_and_optimiser_states_lie_as_their_parameters_do_after_a_resume_too(seen, of):
    assert seen[of]["strides"] == seen[of]["strides after"] == []


@pytest.mark.parametrize("of", ["gan", "no gan"])
def test_a_batch_is_one_pinned_transfer_and_a_step_waits_for_nothing(seen, of):
    waits = ("transfers", "blocking transfers", "readings")
    found = {name: [seen[of][name].get(w, 0) for w in waits] for name in ("batch", "step", "reading", "prediction")}
    assert found == {"batch": [1, 0, 0], "step": [0, 0, 0], "reading": [0, 0, 1], "prediction": [1, 0, 1]}
    assert [seen[of]["grid"].get(w, 0) for w in waits][1:] == [0, 1]
    assert seen[of]["shape"] == [2, 3, 17, 32, 32]


@pytest.mark.parametrize("of", ["gan", "no gan"])
def test_convolutions_stay_in_half_precision_and_channels_last_but_for_the_heads(seen, of):
    """The composition head has three in single precision and runs twice with a cycle, the plain head one, once."""
    found = seen[of]["convolutions"]
    # The images that a batch brings; behind a norm in rows every convolution would turn its own.
    assert found.pop("turned") <= 8
    assert set(found) == {"bfloat16 channels last", "float32 channels last"}
    assert found["float32 channels last"] == {"gan": 7, "no gan": 3}[of]
    assert found["bfloat16 channels last"] > 50
    casts = {name: n for name, n in seen[of]["step"].items() if name.startswith("cast")}
    assert set(casts) == {"cast float32 bfloat16", "cast bfloat16 float32"}
