"""Accuracy: mass at random poses, the sphere, additivity, memory, and time against pixels and path length."""

import argparse
import resource
import sys
import time
from pathlib import Path

import numpy as np
from phantom import labelled_ct

from mskdex.drr.density import Density, render_density
from mskdex.drr.render import render
from mskdex.geometry.camera import Camera, nominal_pose
from mskdex.geometry.pose import moved
from mskdex.quantities import HU_MIN, density_table

TABLES = density_table()


def mass(poses: int) -> None:
    """Largest error of Σ over random poses, of objects inside the detector, at three pixel sizes."""
    ct, labels, affine = labelled_ct()
    truth = np.stack(
        [TABLES[:, ct[labels == i].astype(int) - HU_MIN].sum(axis=1, dtype=np.float64) / 1000 for i in range(1, 15)],
        axis=1,
    )
    rng = np.random.default_rng(0)
    for pixel in (0.8, 3.2, 1.6):
        pixels = round(512 / pixel)
        camera = Camera(1000.0, pixel, (pixels, pixels), ((pixels - 1) / 2,) * 2)
        errors: list[np.ndarray] = []
        for _ in range(poses):
            twist = np.concatenate([rng.uniform(-0.35, 0.35, 3), rng.uniform(-1, 1, 3) * [20, 20, 40]])
            pose = moved(nominal_pose(np.zeros(3), 850.0), twist, np.zeros(3))
            result = render(ct, labels, affine, range(1, 15), camera, pose, TABLES)
            error = np.abs(result.images.sum(axis=(2, 3), dtype=np.float64) / truth - 1)
            errors.append(error[:, result.outside == 0].ravel())
        every = np.concatenate(errors)
        told = f"largest error {100 * every.max():.4f} %, median {100 * np.median(every):.4f} %"
        print(f"mass, {pixel} mm pixels, {poses} poses, {every.size} sums: {told}", flush=True)


def sphere() -> None:
    """Root mean square error in the core of a 40 mm sphere against the exact chord."""
    size, radius = 92, 40.0
    middle = (size - 1) / 2 + np.array([0.2, -0.3, 0.1])
    distance = np.sqrt(sum((g - c) ** 2 for g, c in zip(np.indices((size,) * 3), middle, strict=True)))
    ct = np.clip(1000 * np.clip(radius - distance + 0.5, 0, 1) - 1000, HU_MIN, 3071).astype(np.int16)
    camera = Camera(1000.0, 0.8, (140, 140), (69.5, 69.5))
    rng = np.random.default_rng(1)
    for method in ("march", "walk"):
        squares = []
        for _ in range(5):
            twist = np.concatenate([rng.uniform(-0.5, 0.5, 3), [3.0, 2.0, 0.0]])
            pose = moved(nominal_pose(middle[::-1], 850.0), twist, middle[::-1])
            image = render(
                ct, None, np.eye(4), [0], camera, pose, TABLES[:1], conserve_sums=False, method=method
            ).images[0, 0]
            y, x = camera.pixel_centres_mm()
            direction = np.stack(np.broadcast_arrays(x, y, 1000.0), axis=-1)
            direction /= np.linalg.norm(direction, axis=-1, keepdims=True)
            centre = (pose @ [*middle[::-1], 1])[:3]
            offset = np.linalg.norm(centre - (direction @ centre)[..., None] * direction, axis=-1)
            core = offset < 0.9 * radius
            squares.append((image[core] / (2 * np.sqrt(radius**2 - offset[core] ** 2)) - 1) ** 2)
        print(f"sphere, {method}: {100 * np.sqrt(np.mean(np.concatenate(squares))):.3f} % rms in the core", flush=True)


def additivity() -> None:
    """Objects and background against the whole."""
    ct, labels, affine = labelled_ct()
    camera = Camera(1000.0, 1.6, (256, 256), (127.5, 127.5))
    pose = moved(nominal_pose(np.zeros(3), 850.0), np.array([0.2, 0.3, 0.1, 0, 0, 0]), np.zeros(3))
    parts = render(ct, labels, affine, range(15), camera, pose, TABLES, oversampling=1).images.sum(
        axis=1, dtype=np.float64
    )
    whole = render(ct, None, affine, [0], camera, pose, TABLES, oversampling=1).images[:, 0]
    print(
        f"additivity: largest difference {np.abs(parts - whole).max() / whole.max():.1e} of the largest pixel",
        flush=True,
    )


def memory() -> None:
    """Peak memory of a 42-channel render at 512² over CT, labels and output."""
    ct, labels, affine = labelled_ct()
    camera = Camera(1000.0, 0.8, (512, 512), (255.5, 255.5))
    small = (ct[:8, :8, :8].copy(), np.ones((8, 8, 8), np.uint8), affine)
    render(*small, [1], Camera(1000.0, 8.0, (8, 8), (3.5, 3.5)), nominal_pose(np.full(3, -160.0), 850.0), TABLES)
    ct, labels = np.ascontiguousarray(ct), np.ascontiguousarray(labels)
    Path("/proc/self/clear_refs").write_text("5", encoding="utf-8")  # resets the peak
    before = _kilobytes("VmRSS")
    images = render(ct, labels, affine, range(1, 15), camera, nominal_pose(np.zeros(3), 850.0), TABLES).images
    extra = (_kilobytes("VmHWM") - before) / 1024 - images.nbytes / 2**20
    print(f"memory: {extra:.0f} MiB beyond CT, labels and output", flush=True)


def _kilobytes(key: str) -> int:
    for line in Path("/proc/self/status").read_text(encoding="utf-8").splitlines():
        if line.startswith(key):
            return int(line.split()[1])
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def scaling(figure: Path) -> None:
    """CPU time against the number of pixels and against path length; one plot."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    ct, labels, affine = labelled_ct()
    pose = nominal_pose(np.zeros(3), 850.0)

    def cost(function) -> float:  # type: ignore[no-untyped-def]
        used = []
        for _ in range(8):
            started = time.process_time()
            function()
            used.append(time.process_time() - started)
        return min(used)

    edges = np.array([64, 128, 192, 256, 384, 512, 768])
    by_pixels = []
    for n in edges:
        camera = Camera(1000.0, 409.6 / n, (n, n), ((n - 1) / 2,) * 2)
        by_pixels.append(
            cost(lambda c=camera: render(ct, labels, affine, range(1, 15), c, pose, TABLES, oversampling=1))
        )
    lengths = np.array([40, 80, 120, 160, 200, 240, 280])
    by_length = []
    for n in lengths:
        slab = Density.of(np.ones((160, n, 160), np.float32), np.diag([1.0, 1.0, 1.0, 1.0]))
        camera = Camera(1000.0, 0.5, (256, 256), (127.5, 127.5))
        at = nominal_pose(np.array([80.0, n / 2, 80.0]), 850.0)
        by_length.append(cost(lambda s=slab, p=at, c=camera: render_density(s, c, p)))
    drawing, (left, right) = pyplot.subplots(1, 2, figsize=(8, 3.2), constrained_layout=True)
    for axes, x, y, label in (
        (left, edges**2 / 1e3, by_pixels, "thousand pixels"),
        (right, lengths, by_length, "path length (mm)"),
    ):
        slope, offset = np.polyfit(x, y, 1)
        residual = np.asarray(y) - (slope * x + offset)
        r2 = 1 - (residual**2).sum() / ((y - np.mean(y)) ** 2).sum()
        axes.plot(x, np.multiply(y, 1e3), "o", color="#1f5c99")
        axes.plot(x, (slope * x + offset) * 1e3, "-", color="#999999", label=f"line, R² = {r2:.4f}")
        axes.set(xlabel=label, ylabel="CPU time (ms)", ylim=(0, None))
        axes.legend(frameon=False)
        print(f"scaling by {label}: {offset * 1e3:.1f} ms + {slope * 1e3:.4f} ms each, R² {r2:.4f}", flush=True)
    left.set_title("42 channels")
    right.set_title("1 channel, 256²")
    figure.parent.mkdir(parents=True, exist_ok=True)
    drawing.savefig(figure, dpi=110)


def main() -> None:
    """Runs the parts named on the command line, or all."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("parts", nargs="*", default=["mass", "sphere", "additivity", "memory", "scaling"])
    parser.add_argument("--poses", type=int, default=50)
    parser.add_argument("--figure", type=Path, default=Path("results/benchmarks/drr-scaling.png"))
    options = parser.parse_args()
    actions = {
        "mass": lambda: mass(options.poses),
        "sphere": sphere,
        "additivity": additivity,
        "memory": memory,
        "scaling": lambda: scaling(options.figure),
    }
    unknown = [p for p in options.parts if p not in actions]
    if unknown:
        sys.exit(f"unknown part {', '.join(unknown)}; allowed are {', '.join(actions)}")
    for part in options.parts:
        actions[part]()


if __name__ == "__main__":
    main()
