"""Virtual bodies: their volumes against BMI, what a posture does to volume and mass, and how exact a radiograph is.

Grows the anatomy alone, without CT and DICOM: half a CPU second a body at coarse voxels.
"""

import argparse
import time
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np

from mskdex.config.virtual import VirtualSettings
from mskdex.deformation.coarse_grid import Grid
from mskdex.deformation.posture import draw_poses, take_posture
from mskdex.deformation.shape import FINE, Shape
from mskdex.deformation.template import Template, label_counts
from mskdex.exposure.exposing import Beam, primary
from mskdex.geometry.camera import Camera, nominal_pose
from mskdex.quantities import mass_density_g_cm3
from mskdex.virtual.body import lying_body, posed_body, posed_box
from mskdex.virtual.built_in_anatomy import built_in
from mskdex.virtual.conserve import conserve_muscles
from mskdex.virtual.patient import grow_person, whole_muscles
from mskdex.virtual.population import Person, person
from mskdex.virtual.scanner import as_stored
from mskdex.virtual.sexes import landmark
from mskdex.virtual.tissue import composition

MUSCLES = ("gluteus_maximus", "gluteus_medius", "gluteus_minimus", "iliacus", "obturator_externus", "pectineus")
SIDES = ("left", "right")


def volumes_cm3(one: Person, template: Template) -> list[float]:
    """Mean of both sides' volume of each of `MUSCLES` in the person's grown body."""
    shape = grow_person(one, template)
    counts = label_counts(shape.labels) * (shape.grid.cell_mm / FINE) ** 3 / 1000.0
    return [float(np.mean([counts[template.label(f"{m}_{side}")] for side in SIDES])) for m in MUSCLES]


def correlation(a: np.ndarray, b: np.ndarray) -> str:
    """Pearson's r with its 95 % interval by Fisher's transformation."""
    r = np.corrcoef(a, b)[0, 1]
    low, high = np.tanh(np.arctanh(r) + np.array([-1.96, 1.96]) / np.sqrt(len(a) - 3))
    return f"{r:5.2f} ({low:5.2f} … {high:5.2f})"


def population(patients: int, bodies: int, voxel_mm: float) -> None:
    """Prints correlations with BMI over people drawn, and over the bodies grown for the first of them."""
    settings = VirtualSettings(voxel_mm=voxel_mm)
    people = [person(settings, number) for number in range(1, max(patients, bodies) + 1)]
    bmi, some = np.array([p.bmi for p in people]), np.array([p.bmi for p in people[:bodies]])
    factor = np.array([[np.mean([p.muscle_factor(m, s) for s in SIDES]) for m in MUSCLES] for p in people])
    hu = np.array([[np.mean([p.muscle_hu(m, s) for s in SIDES]) for m in MUSCLES] for p in people])
    template = built_in(voxel_mm)
    volume = np.array([volumes_cm3(p, template) for p in people[:bodies]])
    print(f"correlation with BMI (95 % interval); {len(people)} people drawn, {bodies} bodies grown")
    heads = ("volume, all drawn", "volume drawn, those grown", "volume grown", "mean HU, all drawn", "grown with drawn")
    print(" " * 20 + "".join(f"{head:27s}" for head in heads))
    for i, name in enumerate(MUSCLES):
        pairs = ((bmi, factor[:, i]), (some, factor[:bodies, i]), (some, volume[:, i]), (bmi, hu[:, i]))
        cells = [correlation(a, b) for a, b in pairs]
        follow = np.corrcoef(volume[:, i], factor[:bodies, i])[0, 1]
        print(f"{name:20s}" + "".join(f"{c:27s}" for c in cells) + f"{follow:.3f}", flush=True)


def left_by_demographics(values: np.ndarray, people: list[Person]) -> tuple[float, float]:
    """SD of what a linear fit of age, height and weight leaves, and R²."""
    known = np.array([[1.0, p.age, p.height_cm, p.weight_kg] for p in people])
    left = values - known @ np.linalg.lstsq(known, values, rcond=None)[0]
    return float(left.std(ddof=4)), float(1.0 - left.var() / values.var())


def spread(patients: int) -> None:
    """Prints the statistics of muscles among people drawn, which docs/virtual.md compares with published ones."""
    people = [person(VirtualSettings(), number) for number in range(1, patients + 1)]
    female = np.array([p.sex == "F" for p in people])
    women = [p for p in people if p.sex == "F"]
    bmi, age = np.array([p.bmi for p in people]), np.array([p.age for p in women])
    one_sided = np.array([min(p.severity.values()) == 0.0 for p in people])
    worse = np.array([SIDES.index(p.affected) for p in people])
    rows = np.arange(len(people))
    heads = (
        "residual",
        "total",
        "R2 volume",
        "R2 mass",
        "side vol.",
        "side HU",
        "fat SD",
        "HU SD",
        "HU 55",
        "HU 85",
        "r(V,mass)",
        "r(V,dens.)",
        "r(BMI,V)",
        "r(BMI,dens.)",
    )
    print(f"{len(people)} people, {len(women)} women, {1 - one_sided.mean():.0%} with two osteoarthritic hips")
    print(" " * 20 + "".join(f"{head:>13s}" for head in heads))
    for name in MUSCLES:
        volume = np.array([[p.muscle_factor(name, s) for s in SIDES] for p in people])
        fat = np.array([[p.fat_share(name, s) for s in SIDES] for p in people])
        hu = np.array([[p.muscle_hu(name, s) for s in SIDES] for p in people])
        density = (1.0 - fat) * mass_density_g_cm3(np.array([[p.lean_hu] for p in people]))
        both, mass, mean_hu = volume.mean(axis=1), (volume * density).mean(axis=1), hu.mean(axis=1)
        residual, _ = left_by_demographics(np.log(both[female]), women)
        ratio = volume[rows, worse] / volume[rows, 1 - worse]
        loss = hu[rows, worse] - hu[rows, 1 - worse]
        line = np.polyfit(age, mean_hu[female], 1)
        numbers = (
            residual,
            both.std() / both.mean(),
            left_by_demographics(both[female], women)[1],
            left_by_demographics(mass[female], women)[1],
            ratio[one_sided].mean() - 1.0,
            loss[one_sided].mean(),
            fat.mean(axis=1).std(),
            mean_hu.std(),
            np.polyval(line, 55.0),
            np.polyval(line, 85.0),
            np.corrcoef(both, mass)[0, 1],
            np.corrcoef(both, mass / both)[0, 1],
            np.corrcoef(bmi, both)[0, 1],
            np.corrcoef(bmi, mass / both)[0, 1],
        )
        print(f"{name:20s}" + "".join(f"{number:13.3f}" for number in numbers))


def sexes(bodies: int, voxel_mm: float) -> None:
    """Prints means of the pelvis of women and men grown: distances and angle between landmarks."""
    template, measured = built_in(voxel_mm), {"F": [], "M": []}
    number = 0
    while min(len(rows) for rows in measured.values()) < bodies:
        number += 1
        one = person(VirtualSettings(), number)
        if len(measured[one.sex]) < bodies:
            measured[one.sex].append([*pelvis_of(grow_person(one, template)), one.height_cm])
    for sex, rows in measured.items():
        mean, error = np.mean(rows, axis=0), np.std(rows, axis=0) / np.sqrt(bodies)
        cells = [f"{m:.1f} ± {e:.1f}" for m, e in zip(mean, error, strict=True)]
        print(f"{sex}: heads {cells[0]} mm, inlet {cells[1]} mm, subpubic {cells[2]}°, height {cells[3]} cm")


def pelvis_of(shape: Shape) -> tuple[float, float, float]:
    """Distances of the femoral heads and of the inlet's sides in mm, and the subpubic angle in degrees."""
    names = ("femoral_head", "inlet", "lower_symphysis", "tuberosity")
    at = {n: [shape.from_template(landmark(n) * np.array([s, 1.0, 1.0])) for s in (1.0, -1.0)] for n in names}
    heads, inlet = (float(np.linalg.norm(at[n][0] - at[n][1])) for n in ("femoral_head", "inlet"))
    first, second = (p - np.mean(at["lower_symphysis"], axis=0) for p in at["tuberosity"])
    cosine = first @ second / np.linalg.norm(first) / np.linalg.norm(second)
    return heads, inlet, float(np.degrees(np.arccos(cosine)))


def posture(patients: int, voxel_mm: float) -> None:
    """Prints how far volumes and lean masses in the radiograph's posture are from those in the CT's."""
    settings = VirtualSettings(voxel_mm=voxel_mm)
    template = built_in(voxel_mm)
    labels = [template.label(f"{name}_{side}") for name in (*MUSCLES, "pelvis") for side in SIDES]
    errors = []
    for number in range(1, patients + 1):
        one = person(settings, number)
        shape, tissues = grow_person(one, template), composition(one, template, contrast=False)
        heads = {side: shape.from_template(head) for side, head in template.heads_mm.items()}
        moved = take_posture(shape, draw_poses(settings.posture, heads, one.random("posture")))
        size = shape.grid.cell_mm * (np.array(shape.grid.shape[::-1]) - 1)
        first = lying_body(
            shape, tissues, Grid.around(shape.grid.origin_mm, shape.grid.origin_mm + size, voxel_mm), np.eye(4)
        )
        grid = Grid.around(*posed_box(moved), voxel_mm)
        second = posed_body(
            tissues, conserve_muscles(tissues, moved, grid, first, whole_muscles(template, first)), grid
        )
        ratios = [getattr(second, q)[labels] / getattr(first, q)[labels] for q in ("volumes_cm3", "masses_g")]
        errors.append(100.0 * np.abs(np.concatenate(ratios) - 1.0))
        print(f"{one.patient_id}: largest {errors[-1].max():.2f} %", flush=True)
    every = np.concatenate(errors)
    print(
        f"{every.size} volumes and masses: rms {np.sqrt(np.mean(every**2)):.2f} %, 95 % within "
        f"{np.quantile(every, 0.95):.2f} %, beyond 0.5 %: {np.mean(every > 0.5):.1%}"
    )


def radiograph(patients: int, voxel_mm: float) -> None:
    """Prints what the interpolation between the lines of a 512² radiograph changes, beside its quantum noise."""
    settings = VirtualSettings(voxel_mm=voxel_mm)
    camera = Camera(1100.0, 0.84, (512, 512), (255.5, 255.5))
    beam = Beam.of(75.0, settings.exposure.filtration_al_mm)
    template = built_in(voxel_mm)
    for number in range(1, patients + 1):
        one = person(settings, number)
        shape = grow_person(one, template)
        size = shape.grid.cell_mm * (np.array(shape.grid.shape[::-1]) - 1)
        grid = Grid.around(shape.grid.origin_mm, shape.grid.origin_mm + size, voxel_mm)
        hu = as_stored(lying_body(shape, composition(one, template, contrast=False), grid, np.eye(4)).hu)
        seen = (hu, grid.world_from_voxel, camera, nominal_pose(np.zeros(3), 950.0), beam)
        exact, made = primary(*seen, pixel_voxels=0.0), primary(*seen)
        behind = exact < 0.9
        error = np.log(made[behind] / exact[behind])
        noise = 1.0 / (settings.exposure.photons_per_mm2 * camera.pixel_mm**2 * exact[behind])
        print(
            f"{one.patient_id}: log transmission off by {np.sqrt(np.mean(error**2)):.4f} rms, {error.mean():+.5f} in "
            f"the mean; quantum noise {np.sqrt(noise.mean()):.4f}",
            flush=True,
        )


@contextmanager
def spending(seconds: dict[str, float], step: str) -> Iterator[None]:
    """Adds the CPU seconds of what is done within to a step's."""
    start = time.process_time()
    yield
    seconds[step] = seconds.get(step, 0.0) + time.process_time() - start


def steps_of_a_body(one: Person, template: Template, voxel_mm: float) -> dict[str, float]:
    """CPU seconds of a person's body, by step: as it lies in the CT and as it stands."""
    seconds: dict[str, float] = {}
    with spending(seconds, "shape"):
        shape = grow_person(one, template)
    with spending(seconds, "tissue"):
        tissues = composition(one, template, contrast=False)
    heads = {side: shape.from_template(head) for side, head in template.heads_mm.items()}
    size = shape.grid.cell_mm * (np.array(shape.grid.shape[::-1]) - 1)
    grid = Grid.around(shape.grid.origin_mm, shape.grid.origin_mm + size, voxel_mm)
    with spending(seconds, "voxels"):
        first = lying_body(shape, tissues, grid, np.eye(4))
    with spending(seconds, "posture"):
        moved = take_posture(shape, draw_poses(VirtualSettings().posture, heads, one.random("posture")))
        grid = Grid.around(*posed_box(moved), voxel_mm)
        kept = conserve_muscles(tissues, moved, grid, first, whole_muscles(template, first))
    with spending(seconds, "voxels"):
        posed_body(tissues, kept, grid)
    return seconds


def cost(patients: int, voxels_mm: tuple[float, ...]) -> None:
    """Prints the CPU seconds of a body, the mean over people without the first, whose kernels are still loading."""
    for voxel_mm in voxels_mm:
        settings, template = VirtualSettings(voxel_mm=voxel_mm), built_in(voxel_mm)
        rows = [steps_of_a_body(person(settings, n), template, voxel_mm) for n in range(1, patients + 2)][1:]
        mean = {step: float(np.mean([row[step] for row in rows])) for step in rows[0]}
        told = ", ".join(f"{step} {value:.2f}" for step, value in mean.items())
        print(f"{voxel_mm:g} mm, {patients} bodies: {sum(mean.values()):.2f} CPU s each ({told})", flush=True)


def main() -> None:
    """Runs one part."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("part", choices=("spread", "sexes", "population", "posture", "radiograph", "cost"))
    parser.add_argument("--patients", type=int, help="people drawn (500), put in another posture (12), or X-rayed (5)")
    parser.add_argument("--bodies", type=int, default=200, help="bodies grown")
    parser.add_argument("--voxel-mm", type=float, help="voxel size (4, 2.5, 2)")
    options = parser.parse_args()
    if options.part == "spread":
        spread(options.patients or 500)
    elif options.part == "sexes":
        sexes(min(options.bodies, 30), options.voxel_mm or 4.0)
    elif options.part == "population":
        population(options.patients or 500, options.bodies, options.voxel_mm or 4.0)
    elif options.part == "posture":
        posture(options.patients or 12, options.voxel_mm or 2.5)
    elif options.part == "cost":
        cost(options.patients or 3, (options.voxel_mm,) if options.voxel_mm else (5.0, 2.0))
    else:
        radiograph(options.patients or 5, options.voxel_mm or 2.0)


if __name__ == "__main__":
    main()
