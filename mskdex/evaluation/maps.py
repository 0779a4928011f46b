"""Predicted DRRs beside the true ones in the radiograph's own posture, which virtual patients come with."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from mskdex.errors import MskdexError
from mskdex.evaluation.decompositions import RenderedDrrs, read_decomposition
from mskdex.evaluation.images import psnr_db, ssim
from mskdex.evaluation.points import KEY_COLUMNS
from mskdex.geometry.camera import Camera
from mskdex.imaging.area_average import overlap_matrix
from mskdex.io.arrays import read_arrays
from mskdex.quantities import COLUMNS, QUANTITIES

TRUTH_IMAGES = "truth_images.safetensors"

MAP_MEASURES = ("psnr_db", "ssim", "relative_l1", "dice")
MAP_COLUMNS = (
    *KEY_COLUMNS,
    "kind",
    "quantity",
    *MAP_MEASURES,
    "data_range",
)

SUPPORT = 0.05
"""A pixel belongs to a map's support from this share of the fixed intensity range on."""


@dataclass(frozen=True)
class PosedDrrs:
    """A patient's true DRRs in the posture of the radiograph.

    Attributes:
        drr: by channel name, (3, H, W) in the order of `QUANTITIES`: cm³, cm³ and g per pixel.
        camera: of these images.
    """

    drr: dict[str, np.ndarray]
    camera: Camera

    @classmethod
    def read(cls, path: Path) -> "PosedDrrs":
        """Reads truth_images.safetensors of a virtual patient.

        Raises:
            MskdexError: the file is damaged.
        """
        arrays, meta = read_arrays(path)
        if "drr" not in arrays or "drr_camera" not in meta:
            msg = f"{path} has no true DRRs; delete it and run the same command again"
            raise MskdexError(msg)
        drr = {str(name): arrays["drr"][:, i] for i, name in enumerate(meta["objects"])}
        return cls(drr, Camera.from_dict(meta["drr_camera"]))


def truth_path(truth_root: Path | None, patient: str) -> Path | None:
    """File of a patient's true DRRs; None where there is none."""
    path = None if truth_root is None else truth_root / patient / TRUTH_IMAGES
    return path if path is not None and path.is_file() else None


def on_grid(images: np.ndarray, camera: Camera, grid: Camera) -> np.ndarray:
    """DRRs on another grid of the same detector; what each pixel holds is shared out by area, so that sums stay.

    Args:
        images: (..., H, W), quantity per pixel.
        camera: of the images.
        grid: camera with the same source and the new grid.

    Returns:
        (..., rows, columns) float64.
    """
    rows, columns = (
        overlap_matrix(
            (-camera.principal_point_px[i] * camera.pixel_mm, camera.pixel_mm, camera.shape[i]),
            (-grid.principal_point_px[i] * grid.pixel_mm, grid.pixel_mm, grid.shape[i]),
        )
        / camera.pixel_mm
        for i in (0, 1)
    )
    return np.asarray(rows @ images.astype(np.float64) @ columns.T)


def map_likeness(
    folders: Mapping[tuple[str, int], Path],
    patients_root: Path,
    truth_root: Path | None,
    tested: pd.DataFrame,
    ranges: Mapping[str, Mapping[str, float]],
    objects: Sequence[str],
) -> pd.DataFrame:
    """PSNR, SSIM, relative L1 and Dice of the support of every predicted DRR against the posed truth.

    Both are compared on the coarser of their grids.

    Args:
        folders: folder of the decompositions of each (method, fold).
        patients_root: results/patients.
        truth_root: results/virtual; None where patients are not virtual.
        tested: method, fold, patient_id of every prediction.
        ranges: of each structure and quantity, per pixel of the training grid.
        objects: names of the cohort's channels.

    Returns:
        `MAP_COLUMNS`; relative_l1 is Σ|prediction − truth| / Σ truth, dice that of the pixels above `SUPPORT` of the
        range, NaN where neither has any. Patients without true images have no rows.
    """
    rows: list[dict[str, Any]] = []
    for patient, group in tested.groupby("patient_id", sort=True):
        if (path := truth_path(truth_root, str(patient))) is None:
            continue
        posed, rendered = PosedDrrs.read(path), RenderedDrrs.read(patients_root, str(patient), objects)
        for method, fold in group[["method", "fold"]].itertuples(index=False):
            file = folders[method, int(fold)] / f"{patient}.safetensors"
            if file.is_file():
                drr = read_decomposition(file, rendered.stack)
                rows += [{"method": method, "fold": fold, **row} for row in _rows(drr, rendered, posed, ranges)]
    return pd.DataFrame(rows, columns=list(MAP_COLUMNS))


def _rows(
    drr: Mapping[str, np.ndarray], rendered: RenderedDrrs, posed: PosedDrrs, ranges: Mapping[str, Mapping[str, float]]
) -> Iterator[dict[str, Any]]:
    own = rendered.stack.camera
    grid = own if own.pixel_mm >= posed.camera.pixel_mm else posed.camera
    area = (grid.pixel_mm / own.pixel_mm) ** 2
    for channel in rendered.stack.channels:
        if channel.name not in posed.drr:
            continue
        predicted, truth = on_grid(drr[channel.name], own, grid), on_grid(posed.drr[channel.name], posed.camera, grid)
        for q, quantity in enumerate(QUANTITIES):
            data_range = ranges[channel.object][COLUMNS[quantity]] * area
            yield {
                "patient_id": rendered.stack.patient,
                "structure": channel.object,
                "side": channel.side,
                "channel": channel.name,
                "kind": channel.kind,
                "quantity": COLUMNS[quantity],
                "data_range": data_range,
                **measures(predicted[q], truth[q], data_range),
            }


def measures(predicted: np.ndarray, truth: np.ndarray, data_range: float) -> dict[str, float]:
    """All of `MAP_MEASURES` of one predicted DRR, (H, W), on the fixed intensity range."""
    total = float(truth.sum())
    first, second = predicted > SUPPORT * data_range, truth > SUPPORT * data_range
    size = int(first.sum() + second.sum())
    return {
        "psnr_db": psnr_db(predicted, truth, data_range) if data_range > 0 else float("nan"),
        "ssim": ssim(predicted, truth, data_range) if data_range > 0 else float("nan"),
        "relative_l1": float(np.abs(predicted - truth).sum()) / total if total > 0 else float("nan"),
        "dice": 2.0 * int((first & second).sum()) / size if size else float("nan"),
    }
