"""Stage: volume and lean mass of every object from radiographs of new patients, with intervals and flags."""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from mskdex.compute.device import choose_device
from mskdex.config.imaging import RadiographSettings
from mskdex.errors import MskdexError
from mskdex.evaluation.conformal import Calibration, fewest_patients
from mskdex.imaging.area_average import average_onto
from mskdex.imaging.radiograph_import import Imported, import_radiograph
from mskdex.io.artifacts import atomic_path, manifest, write_plain_json
from mskdex.io.csv_files import write_csv
from mskdex.io.nifti import write_nifti
from mskdex.io.user_files import read_user_parquet
from mskdex.models.flags import object_flags, radiograph_flags
from mskdex.models.model import Model, read_model
from mskdex.quantities import COLUMNS, QUANTITIES
from mskdex.training.loop import set_up_torch

COVERAGE = 0.9

NOTICE = "Research software, not a medical device. Intervals hold for patients like the held-out ones only."


def predict_radiographs(
    model: Path,
    radiographs: Sequence[Path],
    settings: RadiographSettings,
    out: Path,
    *,
    calibration: Path | None = None,
) -> None:
    """Predicts every radiograph; writes `out`/predictions.csv, predictions.json and the decompositions as images.

    Args:
        model: model.safetensors of an experiment's fold.
        radiographs: DICOM files or images, as the import takes them.
        settings: how radiographs are imported, and the camera where the files are silent.
        out: folder to write to.
        calibration: predictions.parquet of patients that this model has not seen; by default that beside
            the model, which holds its own left-out fold.

    Raises:
        MskdexError: a file that is no model, or a radiograph that cannot be imported.
    """
    started, out = time.time(), Path(out)
    device = choose_device("auto")
    set_up_torch(device)
    loaded = read_model(model, device)
    held_out = read_calibration(calibration or Path(model).with_name("predictions.parquet"), loaded, calibration)
    names = _unique_names(radiographs)
    rows: list[dict[str, Any]] = []
    pages: dict[str, Any] = {}
    for path, name in zip(radiographs, names, strict=True):
        imported = import_radiograph(Path(path), {}, settings)
        drr, flags, by_object = decompose(loaded, imported)
        found = _rows(loaded, name, drr, held_out, by_object)
        rows += found
        pages[name] = {"file": Path(path), "flags": [*flags, *imported.warnings], "facts": imported.facts}
        _write_images(out, name, drr, loaded)
    table = pd.DataFrame(rows)
    write_csv(out / "predictions.csv", table, float_format="%.2f")
    facts = {"model": model, "coverage": COVERAGE, "notice": NOTICE, "calibration_needs": fewest_patients(COVERAGE)}
    facts["objects"] = list(loaded.card.objects)
    content = facts | {"radiographs": pages, "manifest": manifest("predict", started, device=str(device))}
    write_plain_json(out / "predictions.json", content)


def read_calibration(path: Path, model: Model, asked: Path | None) -> Calibration:
    """The model's errors on patients it has not seen; without such a table there are no intervals.

    Raises:
        MskdexError: the table holds a patient that the model was trained on, or lacks an object of the model.
    """
    if not path.is_file() and asked is None:
        return Calibration({})
    table = read_user_parquet(path)
    seen = sorted(set(table["patient_id"].astype(str)) & set(model.card.patients))
    if seen:
        msg = f"{path} holds patients that the model was trained on ({', '.join(seen[:5])}); give its left-out fold's"
        raise MskdexError(msg)
    if missing := [name for name in model.card.objects if name not in set(table["channel"])]:
        msg = f"{path} has no predictions of {', '.join(missing)}; give those of a model of the same objects"
        raise MskdexError(msg)
    return Calibration.of(table)


def decompose(model: Model, radiograph: Imported) -> tuple[np.ndarray, list[str], dict[str, str]]:
    """One radiograph: DRRs (3, N, H, W) in cm³, cm³ and g, flags of the image, and flags by object."""
    grid = radiograph.camera.resized(model.card.grid.shape, model.card.grid.pixel_mm)
    image, field = average_onto(radiograph.image, radiograph.field, radiograph.camera, grid)
    distance = radiograph.geometry.source_to_isocentre_mm
    drr = model.decompose(image, grid, distance, radiograph.scale == "relative")
    return (
        drr,
        radiograph_flags(model.card, image, field, grid, distance, radiograph.scale),
        object_flags(model.card, drr[1], field),
    )


def _rows(
    model: Model, name: str, drr: np.ndarray, held_out: Calibration, by_object: dict[str, str]
) -> list[dict[str, Any]]:
    sums = drr.sum(axis=(-2, -1), dtype=np.float64)
    found = []
    for n, channel in enumerate(model.card.channels):
        for q in ("volume", "lean_mass"):
            value, column = float(sums[QUANTITIES.index(q), n]), COLUMNS[q]
            half = held_out.half_width(channel.name, column, COVERAGE)
            found.append(
                {
                    "radiograph": name,
                    "object": channel.object,
                    "side": channel.side,
                    "quantity": column,
                    "predicted": value,
                    "low": max(value - half, 0.0) if half is not None else None,
                    "high": value + half if half is not None else None,
                    "flag": by_object.get(channel.name, ""),
                }
            )
    return found


def _unique_names(paths: Sequence[Path]) -> list[str]:
    names = [Path(p).stem for p in paths]
    return [f"{n}-{i + 1}" if names.count(n) > 1 else n for i, n in enumerate(names)]


def _write_images(out: Path, name: str, drr: np.ndarray, model: Model) -> None:
    """One NIfTI per quantity: a slice per object, in the order of predictions.json, pixels in cm³ or g."""
    pixel = model.card.grid.pixel_mm
    for q, quantity in enumerate(QUANTITIES):
        path = out / f"{name}.{quantity}.nii.gz"
        write_nifti(path, drr[q].astype(np.float32), np.diag([-pixel, -pixel, 1.0, 1.0]))
    with atomic_path(out / f"{name}.png") as temporary:
        _write_panel(temporary, drr, model)


def _write_panel(path: Path, drr: np.ndarray, model: Model) -> None:
    """Lean mass of every object, one scale for all."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    columns = min(6, len(model.card.channels))
    rows = -(-len(model.card.channels) // columns)
    figure = Figure(figsize=(2 * columns, 2.3 * rows), layout="constrained")
    FigureCanvasAgg(figure)
    mass = drr[QUANTITIES.index("lean_mass")]
    for number, axes in enumerate(figure.subplots(rows, columns, squeeze=False).flat):
        axes.axis("off")
        if number < len(mass):
            axes.imshow(mass[number], cmap="gray", vmin=0, vmax=float(mass.max()) or 1.0)
            name = model.card.channels[number].name.replace("_", " ")
            axes.set_title(f"{name}\n{mass[number].sum():.0f} g", fontsize=8)
    figure.savefig(path, dpi=110)
