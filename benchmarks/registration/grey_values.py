"""Grey values of virtual patients beside their CTs: sound ones, and wrong scales that have to be flagged.

`python benchmarks/registration/grey_values.py --first 1 --patients 14 --voxel-mm 5`
"""

import argparse
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
from registration_cases import virtual

from mskdex.config.registration import CalibrationSettings
from mskdex.errors import MskdexError
from mskdex.pipeline.stages.calibrate import _compared, _Pose
from mskdex.registration.grey_calibration import PIXEL_MM, fit_greys
from mskdex.registration.grey_flags import grey_flags

KINDS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "as imported": lambda r: r,
    "decades x 0.5": lambda r: 0.5 * r,
    "decades x 2": lambda r: 2.0 * r,
    "no air (-0.8 nepers)": lambda r: r - 0.8,
    "saturated at half of air": lambda r: np.maximum(r - np.log(2.0), 0.0),
    "saturated at a tenth of air": lambda r: np.maximum(r - np.log(10.0), 0.0),
    "saturated in soft tissue": lambda r: np.maximum(r, np.quantile(r, 0.6)),
    "sigmoid": lambda r: 5.0 / (1.0 + np.exp(-1.6 * (r - 3.2))),
    "inverted": lambda r: 6.0 - r,
}


def main() -> None:
    """Prints a table: of each kind, how many are flagged and the range of each number of the fit."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--first", type=int, default=1)
    parser.add_argument("--patients", type=int, default=14)
    parser.add_argument("--voxel-mm", type=float, default=5.0)
    parser.add_argument("--root", type=Path, default=None, help="folder that keeps the virtual patients")
    given = parser.parse_args()
    root = given.root or Path(tempfile.mkdtemp())
    found = []
    for number in range(given.first, given.first + given.patients):
        case = virtual(number, root, given.voxel_mm)
        pose, view = _Pose("pelvis", case.truth["pelvis"]), case.patient.view.at(PIXEL_MM)
        found.append(_compared(case.ct.array, case.ct.world_from_voxel, case.patient.bodies, view, pose))
    print("| kind | flagged | slope | at 3 nepers | bend | residual | pixels |\n|---|---|---|---|---|---|---|")
    for kind, change in KINDS.items():
        fits = [fit_greys(nepers, change(grey)) for nepers, grey in found]
        if not all(fits):
            msg = f"{kind}: a patient has too few pixels to compare"
            raise MskdexError(msg)
        flagged = sum(bool(grey_flags(f, "absolute", CalibrationSettings())) for f in fits if f)
        cells = [
            " to ".join(f"{bound([getattr(f, name) for f in fits]):.{digits}f}" for bound in (min, max))
            for name, digits in (("slope", 2), ("at_reference", 2), ("bend", 2), ("residual", 3), ("pixels", 0))
        ]
        print(f"| {kind} | {flagged} of {len(fits)} | {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
