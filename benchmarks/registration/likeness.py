"""What the likeness model flags: other patients, patients of the second world, and radiographs that are no upright hip.

`python benchmarks/registration/likeness.py results/patients --world results/second_world --train 20 30 40`

Learns from the first of the imported patients and judges the rest of them and the second world's, whose radiographs are
imported here. Abdomen and thighs are projections of the patients' own CTs, continued by their last slices, with the
camera moved by 250 mm: stand-ins for other body parts, not radiographs.
"""

import argparse
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np

from mskdex.config import Config
from mskdex.drr.density import Density, render_density
from mskdex.geometry.camera import Camera
from mskdex.imaging.area_average import average_onto
from mskdex.imaging.radiograph import read_radiograph
from mskdex.imaging.radiograph_import import import_radiograph
from mskdex.io.volume import read_volume
from mskdex.models.likeness import fit_likeness, thumbnail
from mskdex.registration.grey_calibration import patient_attenuation

Image = tuple[np.ndarray, np.ndarray]
"""Log attenuation and exposed field on the model's grid."""

CHANGES: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "as they are": lambda image: image,
    "mirrored": np.fliplr,
    "upside down": np.flipud,
    "turned by 90°": np.rot90,
    "inverted": np.negative,
}


def field_of(name: str, field: np.ndarray) -> np.ndarray:
    """The exposed field of a changed image."""
    return field if name == "inverted" else np.ascontiguousarray(CHANGES[name](field))


def on_grid(image: np.ndarray, field: np.ndarray, camera: Camera) -> Image:
    """On the config's image grid."""
    grid = Config().image
    return average_onto(image, field, camera, camera.resized((grid.rows, grid.columns), grid.pixel_mm))


def other_part(folder: Path, up_mm: float) -> Image:
    """What a camera moved along the body would see of the CT, whose last slices go on."""
    ct, radiograph = read_volume(folder / "ct.nii.gz"), read_radiograph(folder)
    below, above = (round(max(mm, 0.0) / ct.spacing_mm[2]) for mm in (-up_mm, up_mm))
    attenuation = np.pad(patient_attenuation(ct.array), ((below, above), (0, 0), (0, 0)), mode="edge")
    affine, moved = ct.world_from_voxel.copy(), np.eye(4)
    affine[2, 3] -= below * ct.spacing_mm[2]
    moved[2, 3] = -up_mm
    camera = radiograph.camera.resized((64, 64), 6.72)
    image = render_density(Density.of(attenuation, affine), camera, radiograph.camera_from_ct @ moved, step_mm=2.0)
    return (0.02 * image).astype(np.float32), np.ones(image.shape, dtype=bool)


def second_world(folder: Path) -> list[Image]:
    """The radiographs of the second world's patients."""
    rows = [json.loads(p.read_text(encoding="utf-8")) for p in sorted(folder.glob("*/row.json"))]
    found = [import_radiograph(folder / row["radiograph"], row, Config().radiograph) for row in rows]
    return [on_grid(one.image, one.field, one.camera) for one in found]


def main() -> None:
    """Prints how many of each kind are flagged, by the number of training patients."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("patients", type=Path, help="imported patients")
    parser.add_argument("--world", type=Path, default=None)
    parser.add_argument("--train", type=int, nargs="+", default=[20])
    parser.add_argument("--parts", type=int, default=6, help="patients whose abdomen and thighs are projected")
    given = parser.parse_args()
    folders = sorted(p.parent for p in given.patients.glob("*/camera.json"))
    read = [read_radiograph(folder) for folder in folders]
    own = [on_grid(r.image, r.field, r.camera) for r in read]
    parts = [other_part(folder, mm) for folder in folders[-given.parts :] for mm in (250.0, -250.0)]
    others = second_world(given.world) if given.world else []
    for count in given.train:
        model = fit_likeness(thumbnail(*image) for image in own[:count])
        assert model is not None
        print(f"\n{count} training patients\n| | other patients | second world |\n|---|---|---|")
        for name, change in CHANGES.items():
            cells = []
            for group in (own[count:], others):
                flagged = [model.flags(np.ascontiguousarray(change(i)), field_of(name, f)) for i, f in group]
                cells.append(f"{sum(map(bool, flagged))} of {len(group)}")
            print(f"| {name} | {' | '.join(cells)} |")
        print(f"| abdomen and thighs | {sum(bool(model.flags(*part)) for part in parts)} of {len(parts)} | |")


if __name__ == "__main__":
    main()
