"""Speed beside the peers: the same CT, camera and number of samples; a table of medians and spread."""

import argparse
import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import peers
from phantom import labelled_ct

from mskdex.compute.parallel import threads
from mskdex.drr.density import Density, render_density, render_with_tangents
from mskdex.drr.render import render
from mskdex.geometry.camera import Camera, nominal_pose
from mskdex.quantities import density_table

DEPTH_MM, FIELD_MM = 850.0, 409.6


def square(pixels: int) -> Camera:
    """A detector of 409.6 mm with `pixels` on an edge."""
    return Camera(1000.0, FIELD_MM / pixels, (pixels, pixels), ((pixels - 1) / 2,) * 2)


def timed(function: Callable[[], Any], repeats: int) -> dict[str, float]:
    """Wall and CPU seconds: median, fastest and slowest of `repeats` after one call that is not counted."""
    function()
    wall, cpu = [], []
    for _ in range(repeats):
        started, used = time.perf_counter(), sum(os.times()[:4])
        function()
        wall.append(time.perf_counter() - started)
        cpu.append(sum(os.times()[:4]) - used)
    return {"median": float(np.median(wall)), "min": min(wall), "max": max(wall), "cpu": float(np.median(cpu))}


def tasks(pixels: int) -> dict[str, tuple[Callable[[], Any], int]]:
    """Every renderer's tasks at one image size, with the number of repeats."""
    ct, labels, affine = labelled_ct()
    camera, pose, tables = square(pixels), nominal_pose(np.zeros(3), DEPTH_MM), density_table()
    mu = (np.maximum(1 + ct / 1000.0, 0) * 0.02).astype(np.float32)
    bone = np.where(labels >= 13, mu, 0).astype(np.float32)
    whole, hips = Density.of(mu, affine), Density.of(bone, affine)
    ids = range(1, 15)

    def stack(**options: Any) -> Callable[[], Any]:
        return lambda: render(ct, labels, affine, ids, camera, pose, tables, oversampling=1, **options)

    found: dict[str, tuple[Callable[[], Any], int]] = {
        "MSKdeX, 42 channels, march": (stack(), 7),
        "MSKdeX, 42 channels, exact walk": (stack(method="walk"), 7),
        "MSKdeX, 1 channel, whole CT": (lambda: render_density(whole, camera, pose), 7),
        "MSKdeX, hips, image + 6 tangents": (lambda: render_with_tangents(hips, camera, pose), 9),
    }
    samples = 330  # about 1 mm over the part of a ray inside the CT, as the march above
    crop = tuple(slice(int(i.min()), int(i.max()) + 1) for i in np.nonzero(bone))
    part = np.ascontiguousarray(bone[crop])
    cropped = affine.copy()
    cropped[:3, 3] += [c.start for c in crop[::-1]]
    if peers.installed("nanodrr"):
        everything = peers.nanodrr(mu, affine, camera, pose, samples)
        hip = peers.nanodrr(part, cropped, camera, pose, samples)
        found["nanodrr, 1 channel, whole CT"] = (everything["forward"], 2)
        found["nanodrr, hips, forward + backward"] = (hip["backward"], 2)
    if peers.installed("diffdrr"):
        for renderer in ("trilinear", "siddon"):
            everything = peers.diffdrr(mu, affine, camera, DEPTH_MM, renderer, 400)
            found[f"DiffDRR {renderer}, 1 channel, whole CT"] = (everything["forward"], 1)
        hip = peers.diffdrr(part, cropped, camera, DEPTH_MM, "trilinear", 400)
        found["DiffDRR trilinear, hips, forward + backward"] = (hip["backward"], 1)
    if peers.installed("rtk"):
        found["itk-rtk Joseph, 1 channel, whole CT"] = (peers.rtk_joseph(mu, 1.0, camera, DEPTH_MM)["forward"], 3)
    if peers.installed("plastimatch"):
        exact = peers.plastimatch(ct, affine, camera, DEPTH_MM)
        found["plastimatch exact, 1 channel, reading the CT included"] = (exact["forward"], 3)
        found["plastimatch, reading the CT alone"] = (exact["start"], 3)
    return found


def limit_torch() -> None:
    """As many torch threads as the renderer takes."""
    try:
        import torch
    except ImportError:
        return
    torch.set_num_threads(threads())


def main() -> None:
    """Prints the table, and writes it as JSON if asked."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pixels", type=int, nargs="+", default=[256, 512])
    parser.add_argument("--only", nargs="+", default=[""], help="only tasks whose name contains one of these")
    parser.add_argument("--skip", nargs="+", default=[], help="no tasks whose name contains one of these")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    limit_torch()
    rows = []
    print(f"{threads()} threads of {os.cpu_count()} cores; seconds of wall time, and of CPU time")
    print(f"{'':58s} {'median':>8s} {'fastest':>8s} {'slowest':>8s} {'CPU':>8s}")
    for pixels in options.pixels:
        for name, (task, repeats) in tasks(pixels).items():
            if any(part in name for part in options.only) and not any(part in name for part in options.skip):
                row = timed(task, repeats)
                rows.append({"pixels": pixels, "task": name, **row})
                print(
                    f"{pixels}²  {name:52s} " + " ".join(f"{row[k]:8.3f}" for k in ("median", "min", "max", "cpu")),
                    flush=True,
                )
    if options.json:
        options.json.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
