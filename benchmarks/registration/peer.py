"""nanodrr's registration of the pelvis beside this project's, from the same starts and on the same images, as a table.

    pip install nanodrr torchio   # the optional group `peers`, in an environment of its own
    python benchmarks/registration/peer.py --what real --starts 10 --sizes small medium large
    python benchmarks/registration/peer.py --what virtual --first 101 --patients 10

nanodrr (MIT) renders the same excess attenuation, of the same voxels, with the same camera. Similarity, step sizes and
schedule are xvr's (Gopalakrishnan et al. 2025, arXiv 2503.16309): multi-scale plus patch-wise gradient NCC on the
exposed field, Adam, coarse to fine, until the similarity has stopped to rise at three step sizes. nanodrr knows no
refusal; a pose that this project refuses counts as a failure. `--finer` adds the levels and the patience of xvr's own
experiments.
"""

import argparse
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from nanodrr.data import Subject
from nanodrr.metrics import GradientNormalizedCrossCorrelation2d, MultiscaleNormalizedCrossCorrelation2d
from nanodrr.registration import Registration
from registration_cases import Case, real_cases, virtual
from run import SIZES
from scipy import ndimage
from torchio import ScalarImage

from mskdex.config.registration import BodySettings, RegistrationSettings
from mskdex.drr.density import Density, render_density
from mskdex.geometry.camera import Camera
from mskdex.geometry.rigid import moved
from mskdex.registration.bodies import RigidBody
from mskdex.registration.fixed_image import FixedImage
from mskdex.registration.pose_error import pose_error
from mskdex.registration.registering import register_bodies

SAMPLES = 128
"""Along the part of a ray that lies in the bone's box: about one per voxel."""

STEPS, PLATEAUS, ROTATION_RATE, SHIFT_RATE = 500, 3, 1e-2, 1.0
"""Most steps of a level, step sizes (each a tenth of the last), first steps of Adam, rad and mm: xvr's, but that xvr
stops after two step sizes; the third costs about six steps of a level."""

PEERS = {"nanodrr": ((4.8, 3.2), 5), "nanodrr, finer": ((4.8, 2.4, 1.6), 10)}
"""Detector pixels of the levels in mm, and steps without progress after which the step size falls.

Patience 5 is xvr's default, 10 with three levels of 4.7, 2.3 and 1.2 mm that of its experiments on DeepFluoro.
"""


def nanodrr_pose(
    body: RigidBody, view: FixedImage, start: np.ndarray, pixels_mm: tuple[float, ...], patience: int
) -> np.ndarray:
    """camera_from_ct that nanodrr finds."""
    subject, pose = _subject(body), start
    factors = dict.fromkeys(max(1, round(pixel_mm / view.camera.pixel_mm)) for pixel_mm in pixels_mm)
    for stage, factor in enumerate(factors):
        pose = _optimise(subject, _exposed(view.at(factor * view.camera.pixel_mm)), pose, 0.5**stage, patience)
    return pose


def agreement(body: RigidBody, view: FixedImage, pose: np.ndarray) -> float:
    """Correlation of nanodrr's DRR of a body with this project's."""
    theirs = _module(_subject(body), view.camera, pose)(n_samples=SAMPLES).detach().numpy()
    ours = render_density(Density.of(body.excess, body.world_from_voxel), view.camera, pose)
    return float(np.corrcoef(theirs.ravel(), ours.ravel())[0, 1])


def _subject(body: RigidBody) -> Subject:
    tensor = torch.from_numpy(np.ascontiguousarray(body.excess.transpose(2, 1, 0)))[None]
    return Subject.from_images(ScalarImage(tensor=tensor, affine=body.world_from_voxel), convert_to_mu=False)


def _exposed(view: FixedImage) -> FixedImage:
    """The rectangle that the field fills."""
    return view.cropped(ndimage.binary_erosion(view.field, np.ones((5, 5)), border_value=1))[0]


def _module(subject: Subject, camera: Camera, start: np.ndarray) -> Registration:
    row, column = camera.principal_point_px
    focal = camera.sdd_mm / camera.pixel_mm
    k = torch.tensor([[focal, 0, column + 0.5], [0, focal, row + 0.5], [0, 0, 1]], dtype=torch.float32)
    return Registration(
        subject,
        torch.from_numpy(np.linalg.inv(start)).float()[None],
        k.inverse()[None],
        torch.tensor([camera.sdd_mm]),
        *camera.shape,
    )


def _optimise(subject: Subject, view: FixedImage, start: np.ndarray, rate: float, patience: int) -> np.ndarray:
    module = _module(subject, view.camera, start)
    target = _standard(torch.from_numpy(view.image.astype(np.float32))[None, None])
    whole = MultiscaleNormalizedCrossCorrelation2d([None, 9], [0.5, 0.5])
    gradient = GradientNormalizedCrossCorrelation2d(patch_size=11, sigma=0.0)
    groups = (module._rot, ROTATION_RATE), (module._xyz, SHIFT_RATE)
    optimiser = torch.optim.Adam([{"params": [p], "lr": lr * rate} for p, lr in groups], maximize=True)
    schedule = torch.optim.lr_scheduler.ReduceLROnPlateau(optimiser, "max", 0.1, patience, 1e-4)
    last = SHIFT_RATE * rate * 0.1 ** (PLATEAUS - 0.5)
    for _ in range(STEPS):
        optimiser.zero_grad()
        drr = _standard(module(n_samples=SAMPLES))
        similarity = (0.5 * whole(target, drr) + 0.5 * gradient(target, drr)).mean()
        similarity.backward()
        optimiser.step()
        schedule.step(similarity.item())
        if schedule.get_last_lr()[1] < last:
            break
    return np.linalg.inv(module.pose.detach()[0].double().numpy())


def _standard(image: torch.Tensor) -> torch.Tensor:
    """0 … 1, then as xvr scales its radiographs: what the metrics' small constants are made for."""
    return ((image - image.min()) / (image.max() - image.min() + 1e-6) - 0.15) / 0.1


def started(arguments: argparse.Namespace) -> Iterator[tuple[str, Case, np.ndarray, RegistrationSettings]]:
    """Kind, case, start of the pelvis, and this project's settings."""
    pelvis = (BodySettings(name="pelvis"),)
    if arguments.what == "virtual":
        for number in range(arguments.first, arguments.first + arguments.patients):
            case = virtual(number, arguments.root, arguments.voxel_mm)
            yield "virtual", case, case.patient.nominal, RegistrationSettings(bodies=pelvis)
        return
    for size in arguments.sizes:
        for case, units in real_cases(arguments.data / "real_ct", arguments.starts):
            centre = case.patient.bodies["pelvis"].centre_mm
            start = moved(case.truth["pelvis"], centre, units * np.array(SIZES[size]))
            yield f"real, {size}", case, start, RegistrationSettings(scatter_to_primary=0.0, bodies=pelvis)


def records(arguments: argparse.Namespace) -> Iterator[dict[str, object]]:
    """One record per case and method; the first case is run once before, untimed, for what is loaded only once."""
    peers = dict(list(PEERS.items())[: 1 + arguments.finer])
    for number, (kind, case, start, settings) in enumerate(started(arguments)):
        body, view = case.patient.bodies["pelvis"], case.patient.view
        patient = replace(case.patient, nominal=start)
        if number == 0:
            print(f"DRRs at the true pose: correlation {agreement(body, view.at(3.2), case.truth['pelvis']):.6f}")
        methods: dict[str, Callable[[], np.ndarray | None]] = {
            "MSKdeX": lambda p=patient, s=settings: register_bodies(p, s, 1.0)["pelvis"].pose
        }
        for name, (pixels_mm, patience) in peers.items():
            methods[name] = lambda b=body, v=view, s=start, p=pixels_mm, n=patience: nanodrr_pose(b, v, s, p, n)
        for name, method in methods.items():
            if number == 0:
                method()
            began = time.process_time()
            pose = method()
            record = {"kind": kind, "case": case.name, "method": name, "seconds": time.process_time() - began}
            if pose is not None:
                record |= pose_error(pose, case.truth["pelvis"], body.targets_mm, view.camera).as_dict()
            yield record


def table(rows: pd.DataFrame) -> pd.DataFrame:
    """Success, errors over all poses that were found, CPU seconds, and their ratio to this project's, case by case."""
    ours = rows[rows.method == "MSKdeX"].set_index(["kind", "case"]).seconds
    rows = rows.join(ours.rename("our_seconds"), on=["kind", "case"])
    lines = []
    for (kind, method), group in rows.groupby(["kind", "method"], sort=False):
        line = {"kind": kind, "method": method, "n": len(group), "success": (group.mtre_mm < 2).sum()}
        for column in ("mtre_mm", "mpd_mm", "seconds"):
            line |= {f"{column} median": group[column].median(), "p95": group[column].quantile(0.95)}
            line[f"{column} p95"] = line.pop("p95")
        ratio = group.seconds / group.our_seconds
        spread = f"{ratio.median():.1f} ({ratio.min():.1f} to {ratio.max():.1f})"
        lines.append(line | {"ratio": spread})
    return pd.DataFrame(lines).set_index(["kind", "method"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--what", choices=("real", "virtual"), required=True)
    parser.add_argument("--starts", type=int, default=10, help="random starts of the real CT, per size")
    parser.add_argument("--sizes", nargs="+", default=["small"], choices=tuple(SIZES))
    parser.add_argument("--patients", type=int, default=10)
    parser.add_argument("--first", type=int, default=1)
    parser.add_argument("--voxel-mm", type=float, default=2.0, help="voxel size of the virtual CTs")
    parser.add_argument("--finer", action="store_true", help="run nanodrr's finer setting too")
    parser.add_argument("--root", type=Path, default=Path("results/benchmarks/registration/patients"))
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    found = []
    for record in records(arguments):
        found.append(record)
        print({k: round(v, 2) if isinstance(v, float) else v for k, v in record.items()}, flush=True)
    print(table(pd.DataFrame(found)).round(2).to_string())


if __name__ == "__main__":
    main()
