"""Poses, and what is said of them, where the camera is wrong: as imported, and with another camera on purpose.

    python benchmarks/registration/cameras.py run PATIENTS --truth FOLDER --records FILE
    python benchmarks/registration/cameras.py table FILE...

PATIENTS are imported ones (virtual or of the second world), FOLDER has truth.json of each. A patient is registered
with the camera as imported and, once more, with a source distance off by up to 50 mm and a principal point off by up to
10 mm either way; both times the camera counts as assumed. Records that are there are not made again; a patient takes 10
CPU seconds.
"""

import argparse
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from mskdex.config import Config
from mskdex.geometry.camera import Camera
from mskdex.imaging.radiograph import Radiograph, read_radiograph
from mskdex.io.volume import read_labelled
from mskdex.registration.bodies import find_bodies
from mskdex.registration.camera_prior import CameraPrior, space_error
from mskdex.registration.confidence import RIGHT_MPD_MM, RIGHT_MTRE_MM, in_space
from mskdex.registration.fixed_image import FixedImage
from mskdex.registration.joint_camera import PlacedBody, changed, estimate_camera
from mskdex.registration.pose_error import pose_error
from mskdex.registration.registering import PatientViews, no_finer_than_voxels, register_bodies, voxel_of
from mskdex.registration.single import RenderedBody

CONFIG = Config()
GOOD_MM = {"image": RIGHT_MPD_MM, "space": RIGHT_MTRE_MM}
"""mPD and mTRE up to which a pose is right on the image and in space."""


def true_camera(radiograph: Radiograph, truth: dict[str, Any]) -> Camera:
    """The camera that took the radiograph, on its grid: the central ray meets the middle of the image."""
    middle = ((radiograph.camera.shape[0] - 1) / 2, (radiograph.camera.shape[1] - 1) / 2)
    sdd_mm = truth["camera"]["sdd_mm"] if "camera" in truth else truth["sdd_mm"]
    return replace(radiograph.camera, sdd_mm=sdd_mm, principal_point_px=middle)


def registered(folder: Path, truth: dict[str, Any], off_mm: np.ndarray, name: str) -> Iterator[dict[str, Any]]:
    """Registers a patient with the camera off by (sdd, row, column); one record per body.

    Args:
        folder: of the imported patient. truth: its truth.json.
        off_mm: added to the imported camera.
        name: of the kind of camera.
    """
    settings = CONFIG.registration.model_copy(update={"min_confidence": 0.0})
    ct, labels = read_labelled(folder / "ct.nii.gz", folder / "labels.nii.gz")
    radiograph = read_radiograph(folder)
    bodies = find_bodies(ct.array, labels, ct.world_from_voxel, CONFIG.channels)
    view = FixedImage(radiograph.image, radiograph.field, changed(radiograph.camera, off_mm))
    found = register_bodies(PatientViews(bodies, view, radiograph.camera_from_ct), settings, CONFIG.rendering.step_mm)
    posed = {body: one for body, one in found.items() if one.pose is not None}
    prior = CameraPrior(CONFIG.registration.camera_prior.sdd_assumed_sd_mm, 10.0)
    pixel_mm = no_finer_than_voxels(settings.fine_pixels_mm, min(map(voxel_of, bodies.values())))[-1]
    placed = [PlacedBody(RenderedBody.of(bodies[b], settings, 1.0), one.pose) for b, one in posed.items()]
    fine = view.blurred(settings.radiograph_blur_mm).at(pixel_mm)
    estimate = estimate_camera(placed, fine, prior, settings)
    camera, poses = true_camera(radiograph, truth), truth.get("bodies") or truth["camera_from_ct"]
    for (body, one), there in zip(posed.items(), estimate.poses, strict=True):
        targets, true = bodies[body].targets_mm, np.array(poses[body])
        error = space_error(
            there, one.covariance, bodies[body].centre_mm, targets, estimate.camera, estimate.covariance
        )
        shown, real = (
            c.project(targets @ p[:3, :3].T + p[:3, 3]) for c, p in ((view.camera, one.pose), (camera, true))
        )
        yield {
            "patient": folder.name,
            "camera": name,
            "body": body.removesuffix("_left").removesuffix("_right"),
            "scale": radiograph.scale,
            "confidence_image": one.confidence,
            "confidence_space": in_space(one.scores) * error.within,
            "expected_mtre_mm": error.expected_mtre_mm,
            "scores": one.scores,
            "mpd_mm": float(np.linalg.norm((shown - real) * camera.pixel_mm, axis=1).mean()),
            "mtre_mm": pose_error(one.pose, true, targets, camera).mtre_mm,
            "mtre_estimated_mm": pose_error(there, true, targets, camera).mtre_mm,
            "sdd_off_mm": view.camera.sdd_mm - camera.sdd_mm,
            "sdd_estimated_off_mm": estimate.camera.sdd_mm - camera.sdd_mm,
            "sdd_sd_mm": float(np.sqrt(estimate.covariance[0, 0])),
        }


def run(given: argparse.Namespace) -> None:
    """Appends the records that FILE does not have."""
    given.records.parent.mkdir(parents=True, exist_ok=True)
    done = set()
    if given.records.exists():
        rows = [json.loads(line) for line in given.records.read_text(encoding="utf-8").splitlines()]
        done = {(row["patient"], row["camera"]) for row in rows}
    for number, camera in enumerate(sorted(given.patients.glob("*/camera.json"))[: given.count]):
        folder = camera.parent
        truth = json.loads((given.truth / folder.name / "truth.json").read_text(encoding="utf-8"))
        off = np.random.default_rng(number).uniform(-1, 1, 3) * [50.0, 10.0, 10.0]
        if truth.get("department") in given.without:
            continue
        for name, change in (("as imported", np.zeros(3)), ("off", off)):
            if (folder.name, name) not in done:
                lines = [json.dumps(record) + "\n" for record in registered(folder, truth, change, name)]
                with given.records.open("a", encoding="utf-8") as out:
                    out.writelines(lines)


def table(given: argparse.Namespace) -> None:
    """Prints errors by camera and body, then stated probabilities against what came true, in tenths."""
    rows = [json.loads(line) for file in given.records for line in file.read_text(encoding="utf-8").splitlines()]
    found = pd.DataFrame(rows)
    accepted = found[found["confidence_image"] >= CONFIG.registration.min_confidence]
    columns = ["mpd_mm", "mtre_mm", "mtre_estimated_mm"]
    print(f"{len(accepted)} of {len(found)} poses accepted; medians of these")
    for by in (["camera", "body"], ["camera", "scale", "body"]):
        groups = accepted.groupby(by)
        counts = groups.agg(
            n=("body", "size"),
            beyond_1_mm=("mpd_mm", lambda e: int((e > GOOD_MM["image"]).sum())),
            within_2_mm=("mtre_mm", lambda e: int((e < GOOD_MM["space"]).sum())),
            mpd_p95_mm=("mpd_mm", lambda e: e.quantile(0.95)),
            mtre_p95_mm=("mtre_mm", lambda e: e.quantile(0.95)),
        )
        print(counts.join(groups[columns].median()).round(2).to_string())
    for about, error in (("image", "mpd_mm"), ("space", "mtre_estimated_mm")):
        stated = found[f"confidence_{about}"]
        right = found[error] < GOOD_MM[about]
        print(f"\nconfidence_{about}: stated, share with {error} < {GOOD_MM[about]:g}, number")
        for tenth, part in right.groupby(np.minimum((stated * 10).astype(int), 9)):
            numbers = f"{stated[part.index].mean():.2f} {part.mean():.2f} {len(part)}"
            print(f"{tenth / 10:.1f} to {tenth / 10 + 0.1:.1f}: {numbers}")
    once = found.drop_duplicates(["patient", "camera"])
    for which in ("sdd_off_mm", "sdd_estimated_off_mm"):
        print(f"\n{which}: root mean square {np.sqrt((once[which] ** 2).mean()):.1f}")
    print(f"root mean square of sdd_estimated_off_mm over its stated SD: {_spread(once):.2f}")
    for camera, part in accepted.groupby("camera"):
        errors = [f"{part[c].mean():.1f}" for c in ("mtre_estimated_mm", "expected_mtre_mm")]
        spread = _spread(part.drop_duplicates("patient"))
        print(
            f"{camera}: mTRE with the camera estimated, mean {errors[0]} mm, stated {errors[1]} mm; SDD {spread:.2f} SD"
        )


def _spread(once: pd.DataFrame) -> float:
    return float(np.sqrt(((once["sdd_estimated_off_mm"] / once["sdd_sd_mm"]) ** 2).mean()))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True)
    one = commands.add_parser("run")
    one.add_argument("patients", type=Path)
    one.add_argument("--truth", type=Path, required=True)
    one.add_argument("--records", type=Path, required=True)
    one.add_argument("--count", type=int, default=None)
    one.add_argument("--without", nargs="*", default=["corvia"], help="departments whose crops hide the central ray")
    one.set_defaults(do=run)
    two = commands.add_parser("table")
    two.add_argument("records", type=Path, nargs="+")
    two.set_defaults(do=table)
    given = parser.parse_args()
    given.do(given)


if __name__ == "__main__":
    main()
