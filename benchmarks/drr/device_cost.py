"""What a render costs on each device: the constants by which `rendering.device: auto` chooses (`drr/choice.py`)."""

import argparse
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from phantom import labelled_ct
from speed import DEPTH_MM, square

from mskdex.drr.choice import work_of
from mskdex.drr.render import render_poses
from mskdex.drr.sampling import Sampling
from mskdex.drr.scene import Scene
from mskdex.drr.views import make_views
from mskdex.geometry.camera import nominal_pose
from mskdex.quantities import density_table

IDS = range(1, 15)
TABLES = density_table()


def fastest(function: Callable[[], Any], repeats: int, clock: Callable[[], float] = time.perf_counter) -> float:
    """Seconds of the fastest of some calls."""
    taken = []
    for _ in range(repeats):
        started = clock()
        function()
        taken.append(clock() - started)
    return min(taken)


def cpu(scene: Scene, repeats: int) -> None:
    """CPU seconds for each sample and each voxel, by least squares over sizes of image and numbers of rays."""
    rows, seconds = [], []
    pose = nominal_pose(np.zeros(3), DEPTH_MM)
    for pixels in (64, 128, 256, 512):
        for sub in (1, 2):
            camera, sampling = square(pixels), Sampling(oversampling=sub)
            work = work_of(scene, make_views(scene, IDS, camera, [pose], sampling), camera, TABLES, sampling)
            arguments = (scene, IDS, camera, pose[None], TABLES, sampling, "cpu")
            taken = fastest(lambda a=arguments: render_poses(*a), repeats, time.process_time)
            rows.append([work.samples, work.box_voxels])
            seconds.append(taken)
            print(f"{pixels}², {sub}² rays: {work.samples:.2e} samples, {taken:.3f} CPU seconds", flush=True)
    a, b = np.linalg.lstsq(np.array(rows) / np.array(seconds)[:, None], np.ones(len(rows)), rcond=None)[0]
    print(f"CPU_SECONDS_PER_SAMPLE {a:.2e}, CPU_SECONDS_PER_VOXEL {b:.2e}")


def cuda(scene: Scene, repeats: int) -> None:
    """Start, transfers and samples on GPU 0."""
    pose = nominal_pose(np.zeros(3), DEPTH_MM)

    def render(held: Scene, pixels: int, sub: int) -> Callable[[], Any]:
        return lambda: render_poses(held, IDS, square(pixels), pose[None], TABLES, Sampling(oversampling=sub), "cuda")

    first = fastest(render(scene, 64, 1), 1)
    again = fastest(render(scene, 64, 1), repeats)
    copied = fastest(lambda: render(Scene.of(scene.ct, scene.labels, scene.world_from_voxel), 64, 1)(), repeats)
    survey = fastest(lambda: Scene.of(scene.ct, scene.labels, scene.world_from_voxel), repeats)
    image, rays = fastest(render(scene, 512, 1), repeats), fastest(render(scene, 512, 4), repeats)
    camera, one, many = square(512), Sampling(oversampling=1), Sampling(oversampling=4)
    samples = [
        work_of(scene, make_views(scene, IDS, camera, [pose], s), camera, TABLES, s).samples for s in (one, many)
    ]
    scene_bytes, image_bytes = scene.ct.nbytes + scene.labels.nbytes, 4 * len(TABLES) * len(IDS) * 512**2
    print(f"CUDA_START_SECONDS {first - again:.2f}, without loading this program's own modules")
    print(f"CUDA_SCENE_BYTES_PER_SECOND {scene_bytes / (copied - survey - again):.2e}, its cells included")
    print(f"CUDA_IMAGE_BYTES_PER_SECOND {image_bytes / (image - again):.2e}, their samples included")
    print(f"CUDA_SECONDS_PER_SAMPLE {(rays - image) / (samples[1] - samples[0]):.2e}")


def main() -> None:
    """Prints the constants of the devices that are named."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("devices", nargs="+", choices=["cpu", "cuda"])
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    scene = Scene.of(*labelled_ct())
    for device in options.devices:
        {"cpu": cpu, "cuda": cuda}[device](scene, options.repeats)


if __name__ == "__main__":
    main()
