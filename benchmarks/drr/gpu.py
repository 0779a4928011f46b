"""The renderer on GPU 0 beside the CPU: seconds a DRR stack, and how far the two are from each other.

    python benchmarks/drr/gpu.py

Seconds are of a process that has started its GPU: images end in the host's memory. *scene kept*: the CT and its labels
are on the GPU from the call before.
"""

import time

import numpy as np
from phantom import labelled_ct
from speed import DEPTH_MM, square

from mskdex.compute.parallel import threads
from mskdex.drr.render import render_poses
from mskdex.drr.sampling import Sampling
from mskdex.drr.scene import Scene
from mskdex.geometry.camera import nominal_pose
from mskdex.quantities import density_table

IDS = range(1, 15)
TABLES = density_table()


def images(scene: Scene, pixels: int, poses: np.ndarray, device: str) -> np.ndarray:
    """(P, Q, N, H, W) of one call."""
    return render_poses(scene, IDS, square(pixels), poses, TABLES, Sampling(oversampling=1), device).images


def main() -> None:
    """Prints a table."""
    scene = Scene.of(*labelled_ct())
    poses = np.stack([nominal_pose(np.array([x, 0.0, 0.0]), DEPTH_MM) for x in np.linspace(-8, 8, 16)])
    print(f"{len(IDS)} objects, {len(TABLES)} quantities, CT {scene.ct.shape}, {threads()} threads")
    for pixels in (128, 256, 512, 1024):
        for count in (1, 16):
            given = poses[:count]
            first = images(scene, pixels, given, "cuda")
            taken: dict[str, list[float]] = {"cuda, scene copied": [], "cuda, scene kept": [], "cpu": []}
            for _ in range(5):
                for name, times in taken.items():
                    device = name.split(",")[0]
                    used = Scene.of(scene.ct, scene.labels, scene.world_from_voxel) if "copied" in name else scene
                    began = time.perf_counter()
                    found = images(used, pixels, given, device)
                    times.append(time.perf_counter() - began)
            off = np.abs(found - first).max() / found.max()
            sums, ours = (x.sum(axis=(-2, -1), dtype=np.float64) for x in (found, first))
            of_sums = (np.abs(ours - sums) / np.maximum(sums, 1e-9)).max()
            print(f"{pixels}², {count} poses: pixels differ by {off:.1e} of the largest, sums by {of_sums:.1e}")
            for name, times in taken.items():
                low, middle, high = np.quantile(times, (0.25, 0.5, 0.75))
                print(f"    {name}: {1000 * middle:.1f} ms ({1000 * low:.1f} to {1000 * high:.1f})", flush=True)


if __name__ == "__main__":
    main()
