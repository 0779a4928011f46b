"""Makes a cohort of the second world: virtual patients for judging, from an independent simulator.

    python benchmarks/second_world/make.py --atlas FOLDER --out results/second_world --patients 40

The atlas is a folder with `labels.nii.gz` and `labels.json` (template.py names its source). A patient that is there
already is kept. The sheet is written last; README.md says what may be done with these patients, and what may not.
"""

import argparse
import json
import multiprocessing
import os
import shutil
from pathlib import Path

import beam
import numpy as np
from body import Body, Posed, make_body, stand
from detector import DEPARTMENTS, Department, detected, linear_grey, log_grey, processed_grey
from files import write_ct, write_labels, write_radiograph, write_sheet
from people import Person, draw_person
from scan import as_segmented, draw_scanner, scanned, slices_mm
from template import Template, read_template
from warp import Lattice

SEED = 4711
DETECTOR_MM, PIXEL_MM = 420.0, 0.4
_CT_KINDS = ("nifti", "dicom", "nrrd")
_PATIENTS_A_PROCESS = 10
"""Memory of a process grows with the patients that it makes: 2.6 GB at the seventh."""

EVALUATED = (
    "gluteus_maximus",
    "gluteus_medius",
    "gluteus_minimus",
    "iliacus",
    "obturator_externus",
    "pectineus",
    "pelvis",
    "femur",
)


def main() -> None:
    """Makes the cohort."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--atlas", type=Path, required=True)
    parser.add_argument("--out", type=Path, default=Path("results/second_world"))
    parser.add_argument("--patients", type=int, default=40)
    parser.add_argument("--processes", type=int, default=os.cpu_count())
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    jobs = [(options.atlas, options.out, number) for number in range(1, options.patients + 1)]
    with multiprocessing.get_context("spawn").Pool(options.processes, maxtasksperchild=_PATIENTS_A_PROCESS) as pool:
        rows = pool.starmap(make_patient, jobs, chunksize=1)
    write_sheet(options.out / "cohort.tsv", rows)


def make_patient(atlas: Path, out: Path, number: int) -> dict[str, object]:
    """Makes one patient, or takes what is there; the row of the sheet."""
    folder = out / f"W2-{number:03d}"
    if (folder / "row.json").is_file():
        return json.loads((folder / "row.json").read_text(encoding="utf-8"))
    partial = out / f".{folder.name}.partial"
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir()
    template = read_template(atlas)
    person = draw_person(number, SEED, [template.names[i] for i in template.muscles])
    body = make_body(person, template, SEED)
    row, truth = _computed_tomography(partial, person, template, body)
    more, radiograph = _radiography(partial, person, template, stand(body, template, person, SEED))
    (partial / "truth.json").write_text(json.dumps(truth | radiograph, indent=1), encoding="utf-8")
    row |= {"patient_id": person.patient_id, "label_source": "named", **more, **_demographics(person)}
    row |= {k: f"{folder.name}/{row[k]}" for k in ("ct", "labels", "radiograph")}
    (partial / "row.json").write_text(json.dumps(row), encoding="utf-8")
    partial.rename(folder)
    return row


def _demographics(person: Person) -> dict[str, object]:
    return {
        "sex": person.sex,
        "age": round(person.age),
        "height_cm": round(person.height_cm, 1),
        "weight_kg": round(person.weight_kg, 1),
    }


def _computed_tomography(
    folder: Path, person: Person, template: Template, body: Body
) -> tuple[dict[str, object], dict[str, object]]:
    draw = np.random.default_rng((SEED, person.number, 51))
    scanner = draw_scanner(draw)
    step = round(scanner.spacing_mm[2] / body.lattice.spacing_mm[2], 6)
    z = slices_mm(-185.0 * person.scale[2], 178.0 * person.scale[2], scanner.spacing_mm[2], body.lattice)
    index = (z - body.lattice.origin_mm[2]) / body.lattice.spacing_mm[2]
    nearest = np.clip(np.rint(index).astype(int), 0, body.labels.shape[0] - 1)
    labels = body.labels[nearest]
    below = np.clip(np.floor(index).astype(int), 0, body.hu.shape[0] - 2)
    share = (index - below)[:, None, None].astype(np.float32)
    hu = body.hu[nearest] if step == 1.0 else body.hu[below] * (1 - share) + body.hu[below + 1] * share
    origin = np.array([body.lattice.origin_mm[0], body.lattice.origin_mm[1], z[0]])
    lattice = Lattice(labels.shape, origin, scanner.spacing_mm)
    stored = scanned(hu, scanner, draw)
    kind = _CT_KINDS[person.number % len(_CT_KINDS)]
    row: dict[str, object] = {"ct": write_ct(folder, stored, lattice, kind, person.patient_id)}
    named = {i: n for i, n in template.names.items() if n not in ("fat", "organ", "skin")}
    row["labels"] = write_labels(folder, as_segmented(labels, template, scanner, draw), lattice, named)
    voxel = float(scanner.spacing_mm.prod()) / 1000.0
    truth = {
        n: quantities_of(body.hu[nearest][labels == i], voxel)
        for i, n in named.items()
        if n.rpartition("_")[0] in EVALUATED or n == "sacrum"
    }
    return row, {
        "patient_id": person.patient_id,
        "quantities": truth,
        "affected": person.affected,
        "ct_noise_hu": scanner.noise_hu,
    }


def quantities_of(hu: np.ndarray, voxel_cm3: float) -> dict[str, float]:
    """Volume (cm³) and lean mass (g) of voxels."""
    mass = float(lean_density(hu).sum()) * voxel_cm3
    return {"volume_cm3": round(len(hu) * voxel_cm3, 3), "mass_g": round(mass, 3)}


def lean_density(hu: np.ndarray) -> np.ndarray:
    """Lean mass density in g/cm³: lean fraction between -30 and 30 HU times Schneider's density (2000)."""
    lean = np.clip((hu + 30.0) / 60.0, 0.0, 1.0)
    upper = np.where(hu < 100, 1.003 + 1.169e-3 * hu, 1.017 + 0.592e-3 * hu)
    return lean * np.where(hu < 14, 1.018 + 0.893e-3 * hu, np.where(hu < 23, 1.03, upper))


def _radiography(
    folder: Path, person: Person, template: Template, posed: Posed
) -> tuple[dict[str, object], dict[str, object]]:
    draw = np.random.default_rng((SEED, person.number, 61))
    department: Department = DEPARTMENTS[person.number % len(DEPARTMENTS)]
    sdd = department.sdd_mm + float(draw.uniform(-30.0, 30.0))
    to_middle = sdd - float(draw.normal(145.0, 18.0))
    middle = np.array([0.0, 0.0, 15.0]) + np.clip(draw.normal(size=3), -2, 2) * (8.0, 0.0, 10.0)
    count = round(DETECTOR_MM / PIXEL_MM)
    source, centre = middle - np.array([0.0, to_middle, 0.0]), middle + np.array([0.0, sdd - to_middle, 0.0])
    right, down = np.array([1.0, 0.0, 0.0]), np.array([0.0, 0.0, -1.0])
    view = beam.View(source, centre, right, down, (count, count), PIXEL_MM, ((count - 1) / 2.0, (count - 1) / 2.0))
    fluence = beam.spectrum(department.tube_voltage_kv, department.aluminium_mm, department.copper_mm)
    lengths = beam.lengths_mm(beam.materials(posed.hu), posed.lattice, view)
    exposure = detected(beam.transmission(lengths, fluence), PIXEL_MM, department, draw)
    grey = {"linear": linear_grey, "log": log_grey}.get(
        department.kind, lambda e: processed_grey(e, 8 if department.file == "png" else 12, draw)
    )(exposure)
    row: dict[str, object] = {
        "radiograph": write_radiograph(folder, grey, department, sdd, PIXEL_MM, person.patient_id, person.sex),
        "department": department.name,
    }
    if department.file == "png":
        row |= {"sdd_mm": round(sdd), "pixel_mm": PIXEL_MM, "view": "AP", "orientation": "LF"}
    truth = {
        "department": department.name,
        "kind": department.kind,
        "sdd_mm": sdd,
        "source_to_middle_mm": to_middle,
        "camera_from_ct": {b: _camera_from_ct(view, p).tolist() for b, p in posed.poses.items()},
        "principal_px": list(view.principal_px),
        "posed_volume_cm3": _posed_volumes(posed, template),
    }
    np.savez_compressed(folder / "truth_maps.npz", **posed_maps(posed, template, view))
    return row, truth


def _camera_from_ct(view: beam.View, pose: np.ndarray) -> np.ndarray:
    """4×4 from RAS mm of the CT to the camera: source at the origin, x along rows, y down, z along the beam."""
    camera = np.eye(4)
    forward = (view.centre - view.source) / np.linalg.norm(view.centre - view.source)
    camera[:3, :3] = np.stack([view.right, view.down, forward])
    camera[:3, 3] = -camera[:3, :3] @ view.source
    return camera @ pose @ np.diag([-1.0, -1.0, 1.0, 1.0])


def _posed_volumes(posed: Posed, template: Template) -> dict[str, float]:
    voxel = float(posed.lattice.spacing_mm.prod()) / 1000.0
    counts = np.bincount(posed.labels.ravel(), minlength=256)
    return {
        n: round(float(counts[i]) * voxel, 2) for i, n in template.names.items() if n.rpartition("_")[0] in EVALUATED
    }


def posed_maps(posed: Posed, template: Template, view: beam.View) -> dict[str, np.ndarray]:
    """True DRRs in the radiograph's posture by object: float32 (2, 128, 128), cm³ and g of lean mass per pixel.

    Every voxel's density times (z/SDD)², integrated along the ray, times the pixel's area: its sum is the quantity.
    """
    count = 128
    pixel = DETECTOR_MM / count
    coarse = beam.View(view.source, view.centre, view.right, view.down, (count, count), pixel, ((count - 1) / 2.0,) * 2)
    sdd = float(np.linalg.norm(view.centre - view.source))
    maps = {}
    for label, name in template.names.items():
        where = np.argwhere(posed.labels == label)
        if (name.rpartition("_")[0] not in EVALUATED and name != "sacrum") or not len(where):
            continue
        box = tuple(
            slice(max(int(a) - 1, 0), int(b) + 2) for a, b in zip(where.min(axis=0), where.max(axis=0), strict=True)
        )
        mask, hu = posed.labels[box] == label, posed.hu[box]
        start = posed.lattice.origin_mm + posed.lattice.spacing_mm * np.array([s.start for s in box])[::-1]
        part = Lattice(mask.shape, start, posed.lattice.spacing_mm)
        depth = part.points()[..., 1] - view.source[1]
        weight = mask * (depth / sdd) ** 2 * pixel**2 / 1000.0
        mass = np.zeros(mask.shape)
        mass[mask] = lean_density(hu[mask])
        maps[name] = beam.lengths_mm([weight, weight * mass], part, coarse)
    return maps


if __name__ == "__main__":
    main()
