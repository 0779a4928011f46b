"""Device profiles of virtual patients: attenuation of processed radiographs read by curves that they had no part in.

`python benchmarks/registration/device_profiles.py --patients 40 --root FOLDER`; a patient of 3 mm takes 3 CPU seconds,
and is kept in FOLDER.
"""

import argparse
import json
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mskdex.config import Config
from mskdex.config.virtual import VirtualSettings
from mskdex.imaging.radiograph import read_radiograph
from mskdex.io.stack import Greys
from mskdex.io.volume import read_volume
from mskdex.models.device_profiles import by_profile, fit_profiles
from mskdex.pipeline.settings import ImportStage
from mskdex.pipeline.stages.calibrate import _compared, _Pose
from mskdex.pipeline.stages.importing import import_patient
from mskdex.pipeline.stages.synthesize import synthesize
from mskdex.registration.bodies import find_bodies
from mskdex.registration.fixed_image import View
from mskdex.registration.grey_calibration import PIXEL_MM, fit_greys
from mskdex.virtual.population import cohort_sheet

DEPARTMENTS = ("arvik", "belmora", "corvia", "dunmere", "estrand")


@dataclass(frozen=True)
class Compared:
    """A processed radiograph: its grey values at the compared pixels, and those of a sound absolute one, (N,) each."""

    greys: Greys
    image: np.ndarray
    sound: np.ndarray


def cohort(count: int, seed: int, root: Path) -> list[Compared]:
    """The processed radiographs among `count` virtual patients, made in `root` unless they are there."""
    virtual = VirtualSettings(
        patients=200, seed=seed, voxel_mm=3.0, radiograph_pixel_mm=0.8, departments=dict.fromkeys(DEPARTMENTS, 1.0)
    )
    found = []
    for row in cohort_sheet(virtual).to_dict("records")[:count]:
        one = _compared_patient(row, virtual, root)
        if one is not None:
            found.append(one)
    return found


def _compared_patient(row: dict, virtual: VirtualSettings, root: Path) -> Compared | None:
    config, name = Config(), row["patient_id"]
    folder = root / "imported" / name
    if not (root / name / "truth.json").exists():
        synthesize(name, virtual, root / name)
    if not (folder / "import.json").exists():
        row |= {key: str(root / row[key]) for key in ("ct", "labels", "radiograph")}
        stage = ImportStage(label_sources=config.label_sources, ct=config.ct, radiograph=config.radiograph)
        import_patient(row, stage, folder)
    facts = json.loads((folder / "import.json").read_text(encoding="utf-8"))["radiograph"]
    if facts["scale"] == "absolute":
        return None
    ct, labels = read_volume(folder / "ct.nii.gz"), read_volume(folder / "labels.nii.gz")
    bodies = find_bodies(ct.array, labels.array, ct.world_from_voxel, config.channels)
    truth = json.loads((root / name / "truth.json").read_text(encoding="utf-8"))["bodies"]["pelvis"]
    radiograph = read_radiograph(folder)
    view = View(radiograph.image, radiograph.field, radiograph.camera).at(PIXEL_MM)
    nepers, image = _compared(ct.array, ct.world_from_voxel, bodies, view, _Pose("pelvis", np.array(truth)))
    fit, line, sound = fit_greys(nepers, image), facts["standardisation"], config.calibration
    assert fit is not None
    knots = tuple(sound.expected_slope * v + sound.expected_offset for v in fit.attenuation)
    greys = Greys(facts["device_profile"], (line[0], line[1]), knots, fit.grey)
    return Compared(greys, image, sound.expected_slope * nepers + sound.expected_offset)


def errors(found: list[Compared], device: str, known: bool | None) -> np.ndarray:
    """Relative errors of the mean attenuation of a device's patients in per cent, each by curves of others' images.

    Args:
        found: all patients.
        device: whose images are read.
        known: whether the device's other patients are among them; None leaves the images as they are standardised.
    """
    off = []
    for one in [one for one in found if one.greys.device == device]:
        image = one.image
        if known is not None:
            others = [o.greys for o in found if o is not one and (known or o.greys.device != device)]
            image, _ = by_profile(image, "relative", one.greys, fit_profiles([("relative", o) for o in others]))
        off.append(image.mean() / one.sound.mean() - 1.0)
    return 100.0 * np.array(off)


def main() -> None:
    """Prints, of each device, mean and SD of the error in per cent."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--patients", type=int, default=40)
    parser.add_argument("--seed", type=int, default=18)
    parser.add_argument("--root", type=Path, default=None, help="folder that keeps the virtual patients")
    given = parser.parse_args()
    found = cohort(given.patients, given.seed, given.root or Path(tempfile.mkdtemp()))
    print("| device | patients | as standardised | by its profile | by the other devices' |\n|---|---|---|---|---|")
    for device in sorted({one.greys.device for one in found}):
        off = [errors(found, device, known) for known in (None, True, False)]
        cells = [f"{e.mean():+.1f} ± {e.std():.1f} %" for e in off]
        print(f"| {device} | {len(off[0])} | {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
