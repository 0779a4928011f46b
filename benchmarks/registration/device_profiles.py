"""Device profiles of virtual patients: attenuation of processed radiographs read by curves that they had no part in.

`python benchmarks/registration/device_profiles.py RESULTS`, RESULTS being a run of virtual patients up to the import.
Each radiograph is compared with its CT at the true pose of the pelvis, so that none is left out for its registration;
what is true is what a sound absolute radiograph shows there, and 0 in bare air.
"""

import argparse
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mskdex.config import Config
from mskdex.imaging.radiograph import read_radiograph
from mskdex.io.artifacts import read_json
from mskdex.io.greys import greys_of
from mskdex.io.stack import Greys
from mskdex.io.volume import read_labelled
from mskdex.models.device_profiles import by_profile, fit_profiles
from mskdex.pipeline.stages.calibrate import RegisteredPose, assessment, compare
from mskdex.registration.bodies import find_bodies
from mskdex.registration.fixed_image import FixedImage
from mskdex.registration.grey_calibration import PIXEL_MM


@dataclass(frozen=True)
class Compared:
    """A processed radiograph: grey values at the compared pixels, what is true there, and grey values in air."""

    greys: Greys
    image: np.ndarray
    sound: np.ndarray
    air: np.ndarray


def compared_patients(results: Path) -> list[Compared]:
    """The processed radiographs of a run that can be compared with their CT."""
    found = []
    for folder in sorted(path.parent for path in (results / "patients").glob("*/import.json")):
        facts = read_json(folder / "import.json")["radiograph"]
        if facts["scale"] == "relative":
            truth = json.loads((results / "virtual" / folder.name / "truth.json").read_text(encoding="utf-8"))
            one = _compared(folder, np.array(truth["bodies"]["pelvis"]), facts)
            found += [one] if one else []
    return found


def _compared(folder: Path, pose: np.ndarray, facts: dict) -> Compared | None:
    ct, labels = read_labelled(folder / "ct.nii.gz", folder / "labels.nii.gz")
    bodies = find_bodies(ct.array, labels, ct.world_from_voxel, Config().channels)
    radiograph, settings = read_radiograph(folder), Config().calibration
    view = FixedImage(radiograph.image, radiograph.field, radiograph.camera).at(PIXEL_MM)
    seen = compare(ct.array, ct.world_from_voxel, bodies, view, RegisteredPose("pelvis", pose))
    content = assessment(seen, "relative", settings)
    if content["reason"]:
        return None
    line = {"device": facts["device_profile"], "standardisation": facts["standardisation"]}
    nepers, image = seen.pixels
    sound = settings.expected_slope * nepers + settings.expected_offset
    return Compared(greys_of(content | line), image, sound, seen.image[seen.air].astype(np.float64))


def readings(found: list[Compared], one: Compared) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """A patient's compared pixels and air as standardised, by curves of all others, and by those of other devices."""
    result = {"as standardised": (one.image, one.air)}
    for told, known in (("by its profile", True), ("by the other devices'", False)):
        others = [o.greys for o in found if o is not one and (known or o.greys.device != one.greys.device)]
        profiles = fit_profiles([("relative", greys) for greys in others])
        body, air = (by_profile(part, "relative", one.greys, profiles)[0] for part in (one.image, one.air))
        result[told] = (body, air)
    return result


def main() -> None:
    """Prints, of each device and reading, errors in nepers and of the mean attenuation in per cent."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("results", type=Path)
    found = compared_patients(parser.parse_args().results)
    for profile in fit_profiles([("relative", one.greys) for one in found]):
        print(profile.device, profile.patients, bool(profile.grey), profile.error_nepers, profile.standardised_nepers)
    print("| device | patients | read | RMS error in the body | in air | mean attenuation |\n|---|---|---|---|---|---|")
    for device in sorted({one.greys.device for one in found}):
        own = [one for one in found if one.greys.device == device]
        read = [readings(found, one) for one in own]
        for told in read[0]:
            body = np.sqrt(np.mean([np.mean((r[told][0] - o.sound) ** 2) for r, o in zip(read, own, strict=True)]))
            air = np.sqrt(np.mean([np.mean(r[told][1] ** 2) for r in read if r[told][1].size]))
            off = 100 * np.array([r[told][0].mean() / o.sound.mean() - 1 for r, o in zip(read, own, strict=True)])
            print(
                f"| {device} | {len(own)} | {told} | {body:.2f} | {air:.2f} | {off.mean():+.1f} ± {off.std():.1f} % |"
            )


if __name__ == "__main__":
    main()
