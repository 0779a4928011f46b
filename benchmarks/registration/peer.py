"""nanodrr's registration of the real CT's pelvis beside this project's, from the same starts and on the same images.

    pip install nanodrr torchio   # the optional group `peers`, in an environment of its own
    python benchmarks/registration/peer.py --starts 3

nanodrr (MIT) renders the same excess attenuation; its module is optimised as xvr does it (Gopalakrishnan et al. 2024):
multi-scale plus gradient NCC, Adam, coarse to fine. Both print mTRE, mPD and CPU seconds per case.
"""

import argparse
import statistics
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from nanodrr.data import Subject
from nanodrr.metrics import GradientNormalizedCrossCorrelation2d, MultiscaleNormalizedCrossCorrelation2d
from nanodrr.registration import Registration
from registration_cases import Case, real_cases
from run import SIZES
from torchio import ScalarImage

from mskdex.config.registration import BodySettings, RegistrationSettings
from mskdex.registration.metrics import pose_error
from mskdex.registration.registering import register_bodies
from mskdex.registration.rigid import moved

SAMPLES = 200
LEVELS = ((4, 100), (2, 50))
"""Downsampling of the 256² radiograph, and steps of Adam."""


def nanodrr_pose(case: Case, start: np.ndarray) -> np.ndarray:
    """camera_from_ct that nanodrr finds."""
    body, view = case.patient.bodies["pelvis"], case.patient.view
    tensor = torch.from_numpy(np.ascontiguousarray(body.excess.transpose(2, 1, 0)))[None]
    subject = Subject.from_images(ScalarImage(tensor=tensor, affine=body.world_from_voxel), convert_to_mu=False)
    pose = start
    for factor, steps in LEVELS:
        level = view.at(view.camera.pixel_mm * factor)
        pose = _optimise(subject, level, pose, steps)
    return pose


def _optimise(subject: Subject, level, start: np.ndarray, steps: int) -> np.ndarray:
    camera = level.camera
    row, column = camera.principal_point_px
    pixels = camera.sdd_mm / camera.pixel_mm
    k = torch.tensor([[pixels, 0, column + 0.5], [0, pixels, row + 0.5], [0, 0, 1]], dtype=torch.float32)
    module = Registration(
        subject, torch.from_numpy(np.linalg.inv(start)).float()[None], k.inverse()[None],
        torch.tensor([camera.sdd_mm]), *camera.shape,
    )  # fmt: skip
    field = torch.from_numpy(level.field)[None, None].float()
    target = torch.from_numpy(level.image.astype(np.float32))[None, None] * field
    whole, gradient = (
        MultiscaleNormalizedCrossCorrelation2d([None, 9], [0.5, 0.5]),
        GradientNormalizedCrossCorrelation2d(),
    )
    optimiser = torch.optim.Adam([{"params": [module._rot], "lr": 1e-2}, {"params": [module._xyz], "lr": 1.0}])
    schedule = torch.optim.lr_scheduler.StepLR(optimiser, max(steps // 3, 1), 0.5)
    for _ in range(steps):
        optimiser.zero_grad()
        drr = module(n_samples=SAMPLES).sum(dim=1, keepdim=True) * field
        (-(0.5 * whole(drr, target) + 0.5 * gradient(drr, target)).mean()).backward()
        optimiser.step()
        schedule.step()
    return np.linalg.inv(module.pose.detach()[0].double().numpy())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--starts", type=int, default=3)
    parser.add_argument("--size", default="small", choices=tuple(SIZES))
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    settings = RegistrationSettings(scatter_to_primary=0.0, bodies=(BodySettings(name="pelvis"),))
    seconds: dict[str, list[float]] = {"nanodrr": [], "mskdex": []}
    for case, units in real_cases(arguments.data / "real_ct", arguments.starts):
        body = case.patient.bodies["pelvis"]
        start = moved(case.truth["pelvis"], body.centre_mm, units * np.array(SIZES[arguments.size]))
        patient = replace(case.patient, nominal=start)
        methods = {
            "mskdex": lambda p=patient: register_bodies(p, settings, 1.0)["pelvis"].pose,
            "nanodrr": lambda c=case, s=start: nanodrr_pose(c, s),
        }
        for name, method in methods.items():
            began = time.process_time()
            pose = method()
            seconds[name].append(time.process_time() - began)
            told = "refused"
            if pose is not None:
                error = pose_error(pose, case.truth["pelvis"], body.targets_mm, case.patient.view.camera)
                told = f"mTRE {error.mtre_mm:.2f} mm, mPD {error.mpd_mm:.2f} mm"
            print(f"{case.name} {name}: {told}, {seconds[name][-1]:.1f} CPU s", flush=True)
    for name, values in seconds.items():
        print(f"{name}: median {statistics.median(values):.1f} CPU s")


if __name__ == "__main__":
    main()
