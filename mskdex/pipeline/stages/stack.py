"""Stage: a patient's training sample."""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mskdex.config.imaging import ImageSettings
from mskdex.config.objects import Channel
from mskdex.errors import MskdexError
from mskdex.geometry.camera import Camera
from mskdex.imaging.area_average import average_onto
from mskdex.imaging.radiograph import read_radiograph
from mskdex.io.arrays import Crops, read_arrays
from mskdex.io.artifacts import manifest, read_json, read_rows
from mskdex.io.greys import read_greys
from mskdex.io.stack import Stack, write_stack
from mskdex.quantities import COLUMNS, QUANTITIES
from mskdex.registration.patient_match import read_refusal


def stack(
    drr: Path,
    aligned: Path,
    radiograph_dir: Path,
    quantities: Path,
    channels: Sequence[Channel],
    image: ImageSettings,
    out: Path,
    *,
    min_visible_fraction: float = 0.0,
    kept_because: str | None = None,
    correct: bool = False,
) -> None:
    """Puts radiograph, DRRs, aligned bones and the CT's sums together on the image grid.

    Args:
        drr: drr.safetensors, rendered at the nominal pose.
        aligned: aligned.safetensors, the bones at their registered poses.
        radiograph_dir: folder of the imported patient, with its pose.json and calibration.json where it has been
            registered; its name is the patient's id.
        quantities: quantities.parquet, sums over the CT.
        channels: the objects that the whole cohort has.
        image: the image grid.
        out: the stack to write.
        min_visible_fraction: share of an object that has to be visible for it to count.
        correct: whether training takes the radiograph as the patient's calibration.json corrects it.
        kept_because: why the pair is kept though the registration refuses it, where a human says so.

    Raises:
        MskdexError: the files do not belong together.
    """
    started = time.time()
    patient = Path(radiograph_dir).name
    names = [c.name for c in channels]
    radiograph = read_radiograph(radiograph_dir)
    grid = radiograph.camera.resized((image.rows, image.columns), image.pixel_mm)
    pixels, field = average_onto(radiograph.image, radiograph.field, radiograph.camera, grid)
    nominal, nominal_meta = read_arrays(drr)
    bones, bones_meta = read_arrays(aligned)
    _check_grid(patient, drr, nominal_meta, grid)
    _check_grid(patient, aligned, bones_meta, grid)
    truth, known = _truth(read_rows(quantities), names, patient, quantities)
    used = [i for i, name in enumerate(bones_meta["objects"]) if name in names]
    visible = bones_meta.get("visible", {})
    sample = Stack(
        patient=patient,
        channels=tuple(channels),
        camera=grid,
        radiograph=pixels,
        field=field,
        drr=Crops.of(_chosen(nominal["drr"], nominal_meta["objects"], names, patient, drr)),
        aligned=Crops.of(np.asarray(bones["aligned"])[:, used]),
        aligned_objects=tuple(bones_meta["objects"][i] for i in used),
        truth=truth,
        known=known,
        visible=np.array([_fraction(visible.get(name)) for name in names]),
        source_to_isocentre_mm=float(read_json(Path(radiograph_dir) / "camera.json")["source_to_isocentre_mm"]),
        scale=radiograph.scale,
        min_visible_fraction=min_visible_fraction,
        correction=_correction(Path(radiograph_dir) / "calibration.json") if correct else None,
        refused=None if kept_because else read_refusal(Path(radiograph_dir) / "pose.json"),
        greys=read_greys(Path(radiograph_dir) / "calibration.json"),
    )
    write_stack(out, sample, manifest("stack", started, image=image.model_dump()))


def _correction(calibration: Path) -> tuple[float, float] | None:
    found = read_json(calibration)["correction"]
    return None if found is None else (float(found[0]), float(found[1]))


def _check_grid(patient: str, path: Path, meta: dict[str, Any], grid: Camera) -> None:
    rendered = Camera.from_dict(meta["camera"])
    same = rendered.shape == grid.shape and np.allclose(
        [rendered.sdd_mm, rendered.pixel_mm, *rendered.principal_point_px],
        [grid.sdd_mm, grid.pixel_mm, *grid.principal_point_px],
    )
    if not same:
        msg = (
            f"patient {patient}: {path} was rendered for {rendered}, but the radiograph's grid is {grid}; "
            "delete it and run the same command again"
        )
        raise MskdexError(msg)


def _chosen(drr: np.ndarray, objects: list[str], names: list[str], patient: str, path: Path) -> np.ndarray:
    """The DRRs of the wanted objects in the wanted order, (3, N, H, W)."""
    absent = [name for name in names if name not in objects]
    if absent:
        msg = f"patient {patient}: {path} has no DRR of {', '.join(absent)}; delete it and run the same command again"
        raise MskdexError(msg)
    return drr[:, [objects.index(name) for name in names]]


def _truth(rows: list[dict[str, Any]], names: list[str], patient: str, path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Sums (3, N), 0 where not known, and which objects are known: present and whole."""
    found = {row["object"]: row for row in rows}
    if absent := [name for name in names if name not in found]:
        msg = f"patient {patient}: {path} has no row for {', '.join(absent)}; delete it and run the same command again"
        raise MskdexError(msg)
    chosen = [found[name] for name in names]
    known = np.array([row["present"] and not row["truncated"] for row in chosen])
    sums = np.array([[row[COLUMNS[q]] for row in chosen] for q in QUANTITIES], dtype=np.float64)
    return np.where(known, sums, 0.0), known


def _fraction(value: float | None) -> float:
    """Visible fraction; an object that the CT lacks has none, and counts nowhere."""
    return 0.0 if value is None else float(np.clip(value, 0.0, 1.0))
