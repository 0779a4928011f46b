"""`device: auto` is the device that is done first, and the log says so."""

import logging
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from rendering_phantoms import TABLES, Phantom, random_poses

from mskdex.drr import choice
from mskdex.drr.choice import choose_device, work_of
from mskdex.drr.render import render
from mskdex.drr.sampling import Sampling
from mskdex.drr.scene import Scene
from mskdex.drr.views import make_views
from mskdex.geometry.camera import Camera


@pytest.fixture
def scene(phantom: Phantom) -> Scene:
    return Scene.of(phantom.ct, phantom.labels, phantom.world_from_voxel)


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """What PyTorch tells of a GPU."""
    told = SimpleNamespace(free=40 * 2**30, capability=(9, 0), started=False)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _index: told.capability)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda _index: (told.free, 80 * 2**30))
    monkeypatch.setattr(choice, "_started", lambda: told.started)
    return told


def chosen(scene: Scene, phantom: Phantom, poses: int, pixels: int = 256, **options: object) -> str:
    camera = Camera(1000.0, 160.0 / pixels, (pixels, pixels), (pixels / 2, pixels / 2))
    sampling = Sampling(oversampling=1, **{k: v for k, v in options.items() if k == "method"})  # type: ignore[arg-type]
    views = make_views(scene, phantom.ids, camera, random_poses(phantom.centre_mm, poses, seed=3), sampling)
    return choose_device("auto", scene, views, camera, TABLES, sampling, options.get("renders", 1))  # type: ignore[arg-type]


@pytest.mark.usefixtures("gpu")
def test_one_patient_is_rendered_sooner_than_a_gpu_starts(
    scene: Scene, phantom: Phantom, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "mskdex")
    assert chosen(scene, phantom, 1) == "cpu"
    assert "rendering on the CPU: estimated 0." in caplog.text
    assert f"{choice.CUDA_START_SECONDS:.1f} s of it its start" in caplog.text


def test_many_renders_are_worth_a_gpu_s_start(
    scene: Scene, phantom: Phantom, gpu: SimpleNamespace, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "mskdex")
    assert chosen(scene, phantom, 1, 64, renders=50000) == "cuda"
    assert "rendering on the GPU: estimated" in caplog.text
    assert chosen(scene, phantom, 1, 64, renders=5) == "cpu"
    gpu.started = True
    assert chosen(scene, phantom, 1, 64, renders=5) == "cuda"


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"free": 2**29}, "0.5 GB of free memory, the scene needs"),
        ({"capability": (7, 0)}, "capability 7.0, older than 8"),
    ],
)
def test_a_gpu_that_cannot_be_used_is_named(
    scene: Scene,
    phantom: Phantom,
    gpu: SimpleNamespace,
    caplog: pytest.LogCaptureFixture,
    change: dict[str, object],
    told: str,
) -> None:
    caplog.set_level(logging.INFO, "mskdex")
    vars(gpu).update(change)
    assert chosen(scene, phantom, 1, renders=50000) == "cpu"
    assert "rendering on the CPU, because GPU 0 has" in caplog.text
    assert told in caplog.text


@pytest.mark.usefixtures("gpu")
def test_without_a_gpu_or_for_the_walk_it_is_the_cpu(
    scene: Scene, phantom: Phantom, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert chosen(scene, phantom, 1, renders=50000, method="walk") == "cpu"
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert chosen(scene, phantom, 1, renders=50000) == "cpu"


def test_the_work_is_counted_within_the_detector(scene: Scene, phantom: Phantom) -> None:
    pose = random_poses(phantom.centre_mm, 1, seed=3)

    def samples(camera: Camera, **options: object) -> float:
        sampling = Sampling(oversampling=1, **options)  # type: ignore[arg-type]
        return work_of(scene, make_views(scene, [3, 5], camera, pose, sampling), camera, TABLES, sampling).samples

    whole = samples(Camera(1000.0, 0.5, (512, 512), (256.0, 256.0)))
    assert samples(Camera(1000.0, 1.0, (256, 256), (128.0, 128.0))) == pytest.approx(whole / 4, rel=0.02)
    assert samples(Camera(1000.0, 0.5, (512, 512), (256.0, 256.0)), step_mm=2.0) == pytest.approx(whole / 2)
    assert samples(Camera(1000.0, 0.5, (512, 256), (256.0, 256.0))) == pytest.approx(whole / 2, rel=0.2)
    assert samples(Camera(1000.0, 0.5, (512, 512), (256.0, 9000.0))) == 0.0


def test_a_render_says_where_it_was_made(phantom: Phantom, camera: Camera, oblique_pose: np.ndarray) -> None:
    arguments = (phantom.ct, phantom.labels, phantom.world_from_voxel, [3], camera, oblique_pose, TABLES[:1])
    assert render(*arguments, step_mm=5.0).device == "cpu"
