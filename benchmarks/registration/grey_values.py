"""Grey values of patients beside their CTs at the true pose of the pelvis: sound ones, and wrong scales to be flagged.

    python benchmarks/registration/grey_values.py --first 1 --patients 14 --voxel-mm 5
    python benchmarks/registration/grey_values.py --imported PATIENTS --truth FOLDER

The first makes virtual patients; the second takes imported ones, virtual or of the second world, of which FOLDER has
truth.json: their absolute radiographs for all kinds, and how many of the relative ones are flagged as they are.
"""

import argparse
import json
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
from registration_cases import virtual

from mskdex.config import Config
from mskdex.config.registration import CalibrationSettings
from mskdex.errors import MskdexError
from mskdex.imaging.radiograph import read_radiograph
from mskdex.io.volume import read_labelled
from mskdex.pipeline.stages.calibrate import ComparedGreys, RegisteredPose, compare
from mskdex.registration.bodies import find_bodies
from mskdex.registration.fixed_image import FixedImage
from mskdex.registration.grey_calibration import PIXEL_MM, GreyFit, fit_greys
from mskdex.registration.grey_flags import THIN_NEPERS, grey_flags, thin_off
from mskdex.registration.thin_parts import ThinParts, thin_parts

Change = Callable[[np.ndarray, np.ndarray], np.ndarray]
"""Of an image, and of those of its pixels that are compared one by one."""

KINDS: dict[str, Change] = {
    "as imported": lambda r, _: r,
    "decades x 0.5": lambda r, _: 0.5 * r,
    "decades x 2": lambda r, _: 2.0 * r,
    "5 decades read as 4": lambda r, _: 0.8 * r,
    "3 decades read as 4": lambda r, _: 4.0 / 3.0 * r,
    "no air (-0.8 nepers)": lambda r, _: r - 0.8,
    "saturated at half of air": lambda r, _: np.maximum(r - np.log(2.0), 0.0),
    "saturated at a tenth of air": lambda r, _: np.maximum(r - np.log(10.0), 0.0),
    "saturated in soft tissue": lambda r, compared: np.maximum(r, np.quantile(compared, 0.6)),
    "sigmoid": lambda r, _: 5.0 / (1.0 + np.exp(-1.6 * (r - 3.2))),
    "inverted": lambda r, _: 6.0 - r,
    "slope 0.7, offset that makes up for it": lambda r, _: 0.7 * r + 0.95,
    "slope 1.15, offset that makes up for it": lambda r, _: 1.15 * r - 0.5,
}


def judged(seen: ComparedGreys, change: Change) -> tuple[GreyFit, ThinParts]:
    """The comparison of changed grey values."""
    image = change(seen.image, seen.image[seen.chosen])
    fit = fit_greys(seen.nepers[seen.chosen].astype(np.float64), image[seen.chosen].astype(np.float64))
    if fit is None:
        msg = "a patient has too few pixels to compare"
        raise MskdexError(msg)
    return fit, thin_parts(fit, seen.nepers, image, seen.body, seen.air)


def imported_patients(patients: Path, truth: Path) -> dict[str, list[ComparedGreys]]:
    """Imported patients beside their CTs, by the scale of their radiographs."""
    found: dict[str, list[ComparedGreys]] = {"absolute": [], "relative": []}
    for folder in sorted(p.parent for p in patients.glob("*/camera.json")):
        content = json.loads((truth / folder.name / "truth.json").read_text(encoding="utf-8"))
        pose = RegisteredPose("pelvis", np.array((content.get("bodies") or content["camera_from_ct"])["pelvis"]))
        ct, labels = read_labelled(folder / "ct.nii.gz", folder / "labels.nii.gz")
        bodies = find_bodies(ct.array, labels, ct.world_from_voxel, Config().channels)
        radiograph = read_radiograph(folder)
        view = FixedImage(radiograph.image, radiograph.field, radiograph.camera).at(PIXEL_MM)
        found[radiograph.scale].append(compare(ct.array, ct.world_from_voxel, bodies, view, pose))
    return found


def virtual_patients(first: int, count: int, voxel_mm: float, root: Path) -> list[ComparedGreys]:
    """Virtual patients with absolute radiographs beside their CTs."""
    found = []
    for number in range(first, first + count):
        case = virtual(number, root, voxel_mm)
        pose, view = RegisteredPose("pelvis", case.truth["pelvis"]), case.patient.view.at(PIXEL_MM)
        found.append(compare(case.ct.array, case.ct.world_from_voxel, case.patient.bodies, view, pose))
    return found


def main() -> None:
    """Prints a table: of each kind, how many are flagged and the range of each number of the fit."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--first", type=int, default=1)
    parser.add_argument("--patients", type=int, default=14)
    parser.add_argument("--voxel-mm", type=float, default=5.0)
    parser.add_argument("--root", type=Path, default=None, help="folder that keeps the virtual patients")
    parser.add_argument("--imported", type=Path, default=None, help="imported patients, instead of new virtual ones")
    parser.add_argument("--truth", type=Path, default=None, help="folder with truth.json of each imported patient")
    given = parser.parse_args()
    if given.imported:
        both = imported_patients(given.imported, given.truth)
        found, relative = both["absolute"], [fit_greys(*one.pixels) for one in both["relative"]]
        flagged = sum(bool(fit is None or grey_flags(fit, "relative", CalibrationSettings())) for fit in relative)
        print(f"{flagged} of {len(relative)} relative radiographs are flagged as they are\n")
    else:
        root = given.root or Path(tempfile.mkdtemp())
        found = virtual_patients(given.first, given.patients, given.voxel_mm, root)
    print("| kind | flagged | slope | at 3 nepers | bend | thinnest, off | residual | pixels |")
    print("|---|---|---|---|---|---|---|---|")
    for kind, change in KINDS.items():
        fits = [judged(one, change) for one in found]
        flagged = sum(bool(grey_flags(fit, "absolute", CalibrationSettings(), thin)) for fit, thin in fits)
        columns = [[getattr(f, name) for f, _ in fits] for name in ("slope", "at_reference", "bend")]
        columns.append([thin_off(thin) for _, thin in fits if thin_off(thin) is not None])
        columns += [[getattr(f, name) for f, _ in fits] for name in ("residual", "pixels")]
        cells = [
            f"{min(values):.{digits}f} to {max(values):.{digits}f}"
            for values, digits in zip(columns, (2, 2, 2, 2, 3, 0), strict=True)
        ]
        print(f"| {kind} | {flagged} of {len(fits)} | {' | '.join(cells)} |")
    print(f"{len(columns[3])} of them show air or the edge of the body up to {THIN_NEPERS:g} nepers")


if __name__ == "__main__":
    main()
