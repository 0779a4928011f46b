"""The line of grey values over a sound CT for tubes, filters and grids as hospitals have them: what limits must allow.

    python benchmarks/registration/physics.py PATIENTS --truth FOLDER --count 12 --beams 20

PATIENTS are imported virtual patients of the first world. Each CT is exposed anew at the true pose of the pelvis by
beams that are drawn from what is in use: 65 to 90 kV, 2.5 to 8 mm of aluminium (which stands for copper too), grids of
selectivity 4 to 10, scattered radiation of 2 to 3.4 times the primary behind 4 nepers without a grid, which spreads by
20 to 80 mm (SD). Posture does not differ. Prints quantiles of the fit, for sound images and for ones whose decades were
misread.
"""

import argparse
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.ndimage import gaussian_filter

from mskdex.config import Config
from mskdex.config.registration import CalibrationSettings
from mskdex.drr.render import render
from mskdex.exposure.exposing import Beam, material_tables
from mskdex.imaging.radiograph import read_radiograph
from mskdex.io.volume import read_labelled
from mskdex.pipeline.stages.calibrate import ComparedGreys, RegisteredPose, compare
from mskdex.registration.bodies import find_bodies
from mskdex.registration.fixed_image import FixedImage
from mskdex.registration.grey_calibration import PIXEL_MM, GreyFit, fit_greys
from mskdex.registration.grey_flags import grey_flags, thin_off
from mskdex.registration.thin_parts import ThinParts, thin_parts

QUANTILES = (0.0, 0.005, 0.5, 0.995, 1.0)
KINDS = {"sound": 1.0, "5 decades read as 4": 0.8, "2 decades read as 4": 2.0, "4 decades read as 5": 1.25}


@dataclass(frozen=True)
class Exposed:
    """A CT beside its radiograph, and g/cm² of each material on the same pixels, (materials, H, W)."""

    seen: ComparedGreys
    grams_cm2: np.ndarray

    @classmethod
    def of(cls, folder: Path, truth: Path) -> "Exposed":
        """An imported virtual patient at the true pose of the pelvis."""
        pose = np.array(json.loads(truth.read_text(encoding="utf-8"))["bodies"]["pelvis"])
        ct, labels = read_labelled(folder / "ct.nii.gz", folder / "labels.nii.gz")
        bodies = find_bodies(ct.array, labels, ct.world_from_voxel, Config().channels)
        radiograph = read_radiograph(folder)
        view = FixedImage(radiograph.image, radiograph.field, radiograph.camera).at(PIXEL_MM)
        seen = compare(ct.array, ct.world_from_voxel, bodies, view, RegisteredPose("pelvis", pose))
        paths = render(
            ct.array,
            None,
            ct.world_from_voxel,
            [0],
            view.camera,
            pose,
            material_tables(),
            step_mm=min(ct.spacing_mm),
            conserve_sums=False,
        )
        return cls(seen, paths.images[:, 0] / 10.0)

    def fit(self, draw: np.random.Generator, factor: dict[str, float]) -> dict[str, tuple[GreyFit, ThinParts]]:
        """Comparisons of one drawn beam, by kind; every kind is the attenuation times a factor."""
        primary = Beam.of(draw.uniform(65, 90), draw.uniform(2.5, 8.0)).transmission(self.grams_cm2)
        behind, spread_mm, selectivity = draw.uniform(2.0, 3.4), draw.uniform(20, 80), draw.uniform(4, 10)
        safe = np.clip(primary, 1e-6, 1.0)
        scattered = gaussian_filter(safe * -np.log(safe), spread_mm / PIXEL_MM, mode="nearest", truncate=3.0)
        shown = -np.log(safe + behind / 4.0 / selectivity * scattered)
        seen, found = self.seen, {}
        for kind, f in factor.items():
            fit = fit_greys(seen.nepers[seen.chosen].astype(np.float64), f * shown[seen.chosen])
            if fit is not None:
                found[kind] = fit, thin_parts(fit, seen.nepers, f * shown, seen.body, seen.air)
        return found


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("patients", type=Path)
    parser.add_argument("--truth", type=Path, required=True)
    parser.add_argument("--count", type=int, default=12)
    parser.add_argument("--beams", type=int, default=20)
    given = parser.parse_args()
    rows, settings = [], CalibrationSettings()
    for number, folder in enumerate(sorted(p.parent for p in given.patients.glob("*/camera.json"))[: given.count]):
        exposed = Exposed.of(folder, given.truth / folder.name / "truth.json")
        for beam in range(given.beams):
            for kind, (fit, thin) in exposed.fit(np.random.default_rng((number, beam)), KINDS).items():
                flagged = bool(grey_flags(fit, "absolute", settings, thin))
                numbers = {k: getattr(fit, k) for k in ("slope", "at_reference", "bend")}
                rows.append({"kind": kind, "flagged": flagged, **numbers, "thinnest_off": thin_off(thin)})
    found = pd.DataFrame(rows).groupby("kind")
    print(found["flagged"].agg(["size", "sum"]).to_string())
    columns = ["slope", "at_reference", "bend", "thinnest_off"]
    for kind, part in found:
        print(f"\n{kind}\n{part[columns].astype(float).quantile(QUANTILES).round(2).to_string()}")


if __name__ == "__main__":
    main()
