"""Attenuation of soft tissue and bone in virtual radiographs, which relative images are standardised to.

Prints mean and SD over the patients, in nepers, of the two quantiles of the field's middle that
`mskdex.imaging.relative` names, and how well standardising brings back the absolute image.
"""

import argparse
import tempfile
from pathlib import Path

import numpy as np

from mskdex.config.imaging import RadiographSettings
from mskdex.config.virtual import VirtualSettings
from mskdex.imaging.radiograph_import import import_radiograph
from mskdex.imaging.relative import BONE_QUANTILE, SOFT_QUANTILE, middle_of_field
from mskdex.virtual.patient import make_patient
from mskdex.virtual.population import person_of
from mskdex.virtual.radiograph_file import write_radiograph


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--patients", type=int, default=80)
    count = parser.parse_args().patients
    virtual = VirtualSettings(
        patients=max(count, 2), voxel_mm=5.0, radiograph_pixel_mm=1.6, departments={"arvik": 1.0, "belmora": 1.0}
    )
    settings = RadiographSettings(working_pixel_mm=None)
    found, differ = [], []
    with tempfile.TemporaryDirectory() as folder:
        for number in range(1, count + 1):
            patient = make_patient(person_of(virtual, f"V{number:04d}"), virtual)
            path = Path(folder, "radiograph.dcm")
            write_radiograph(path, patient.grey, patient.taken, patient.department)
            absolute = import_radiograph(path, {}, settings)
            relative = (
                import_radiograph(path, {"intensity": "processed"}, settings)
                if patient.department.kind == "log"
                else None
            )
            found.append(np.quantile(middle_of_field(absolute.image, absolute.field), [SOFT_QUANTILE, BONE_QUANTILE]))
            if relative is not None:
                differ.append(float(np.median(np.abs(relative.image - absolute.image)[absolute.field])))
    for name, values in zip(("soft tissue", "bone"), np.transpose(found), strict=True):
        print(f"{name}: {values.mean():.2f}, SD {values.std():.2f} nepers in {count} patients")
    print(f"log images read without their scale differ by {np.median(differ):.2f} nepers ({len(differ)} patients)")


if __name__ == "__main__":
    main()
