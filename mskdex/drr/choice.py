"""Which device renders: the one that is estimated to be done first, transfers and start-up included."""

import importlib.util
import logging
import sys
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mskdex.compute.parallel import threads
from mskdex.drr.sampling import Sampling
from mskdex.drr.scene import Scene
from mskdex.drr.views import View
from mskdex.geometry.camera import Camera

log = logging.getLogger("mskdex")

# Measured on an AMD EPYC with AVX-512, by `benchmarks/drr/device_cost.py cpu`.
CPU_SECONDS_PER_SAMPLE = 3.7e-9
"""CPU time of a sample of a ray between the nearest and the farthest depth of the objects' box."""
CPU_SECONDS_PER_VOXEL = 2.7e-9
"""CPU time of a voxel of the objects' box: what may be skipped is worked out anew in each view."""

# Measured on an NVIDIA H100, by `benchmarks/drr/device_cost.py cuda`.
CUDA_SECONDS_PER_SAMPLE = 1.3e-11
CUDA_SCENE_BYTES_PER_SECOND = 6.0e9
"""Of the copy to the GPU, from memory that is not pinned; its cells are told apart in that time."""
CUDA_IMAGE_BYTES_PER_SECOND = 2.8e9
"""Of the copy from the GPU."""
CUDA_START_SECONDS = 4.5
"""What a process spends before its first launch: PyTorch, Triton, CUDA's context, the kernel of Triton's cache."""

OLDEST_CAPABILITY = (8, 0)
"""The oldest GPUs that the kernel is compiled for in the tests."""

_BYTES_OF_A_VOXEL = 8
"""Of a device's memory while HU, labels and cells are made there; 4 of them stay."""


@dataclass(frozen=True)
class RenderWork:
    """What a render call has to do.

    Attributes:
        samples: of all rays within the objects' boxes, empty space included.
        box_voxels: voxels of the objects' boxes, over all views.
        scene_bytes: of the CT and its labels; none where they were copied to the GPU before.
        image_bytes: of the images.
    """

    samples: float
    box_voxels: int
    scene_bytes: int
    image_bytes: int

    def cpu_seconds(self) -> float:
        """Estimate for this process's threads."""
        return (self.samples * CPU_SECONDS_PER_SAMPLE + self.box_voxels * CPU_SECONDS_PER_VOXEL) / threads()

    def cuda_seconds(self) -> float:
        """Estimate for a GPU that has been started: both transfers, and the samples."""
        moved = self.scene_bytes / CUDA_SCENE_BYTES_PER_SECOND + self.image_bytes / CUDA_IMAGE_BYTES_PER_SECOND
        return moved + self.samples * CUDA_SECONDS_PER_SAMPLE


def work_of(scene: Scene, views: Sequence[View], camera: Camera, tables: np.ndarray, sampling: Sampling) -> RenderWork:
    """What rendering the views has to do."""
    shown = [(view, view.box) for view in views if view.box is not None]
    objects = sum(len(view.ids) for view in views)
    return RenderWork(
        samples=sum(_samples(scene, view, box, camera, sampling) for view, box in shown),
        box_voxels=sum(int(np.prod(box[1] - box[0])) for _, box in shown),
        scene_bytes=0 if _copied(scene) else scene.ct.nbytes + scene.labels.nbytes,
        image_bytes=4 * objects * len(tables) * int(np.prod(camera.shape)),
    )


def choose_device(
    device: str,
    scene: Scene,
    views: Sequence[View],
    camera: Camera,
    tables: np.ndarray,
    sampling: Sampling,
    renders: int = 1,
) -> str:
    """The device of a setting: "auto" becomes "cuda" where a GPU is done sooner than the CPU, else "cpu".

    The log says which, and why. PyTorch is loaded only where a GPU would be the faster one.

    Args:
        device: auto, cpu, cuda or cuda:i; all but auto are returned as they are.
        scene, views, camera, tables, sampling: what is rendered.
        renders: how many such renders the process makes.
    """
    if device != "auto":
        return device
    if sampling.method != "march":
        log.debug("rendering on the CPU: the exact walk runs there alone")
        return "cpu"
    work = work_of(scene, views, camera, tables, sampling)
    slow, fast = renders * work.cpu_seconds(), renders * work.cuda_seconds()
    start = 0.0 if _started() else CUDA_START_SECONDS
    cuda = f"{start + fast:.2f} s on a GPU, {start:.1f} s of it its start"
    detail = f"estimated {slow:.2f} s on {threads()} threads, {cuda}"
    if slow <= start + fast:
        log.debug("rendering on the CPU: %s", detail)
        return "cpu"
    obstacle = _obstacle(_BYTES_OF_A_VOXEL * scene.ct.size if work.scene_bytes else 0)
    log.info("rendering on %s: %s", f"the CPU, because {obstacle}" if obstacle else "the GPU", detail)
    return "cpu" if obstacle else "cuda"


def _samples(scene: Scene, view: View, box: np.ndarray, camera: Camera, sampling: Sampling) -> float:
    """Samples between the box's nearest and farthest depth, of the rays through its bounding rectangle's pixels."""
    pixels = camera.project(scene.corners_mm(box, view.pose))
    inside = np.clip(pixels, -0.5, np.array(camera.shape) - 0.5)
    area = float(np.prod(inside.max(axis=0) - inside.min(axis=0)))
    return area * view.oversampling**2 * (view.depths_mm[1] - view.depths_mm[0]) / sampling.step_mm


def _started() -> bool:
    """Whether this process has rendered on a GPU before."""
    return "mskdex.drr.cuda" in sys.modules and bool(sys.modules["torch"].cuda.is_initialized())


def _copied(scene: Scene) -> bool:
    if not _started():
        return False
    import torch

    from mskdex.drr.resident import is_resident

    return is_resident(scene, torch.device("cuda", 0))


def _obstacle(needed_bytes: int) -> str:
    """Why no GPU can be used; empty where one can."""
    import torch

    if not torch.cuda.is_available():
        return "PyTorch finds no GPU"
    if importlib.util.find_spec("triton") is None:
        return "Triton is not installed"
    capability = torch.cuda.get_device_capability(0)
    if capability < OLDEST_CAPABILITY:
        return f"GPU 0 has compute capability {capability[0]}.{capability[1]}, older than {OLDEST_CAPABILITY[0]}"
    free = torch.cuda.mem_get_info(0)[0]
    if free < needed_bytes + 2**30:
        return f"GPU 0 has {free / 2**30:.1f} GB of free memory, the scene needs {needed_bytes / 2**30 + 1:.1f}"
    return ""
