"""Predicted DRRs beside the rendered ones: fixed intensity ranges, and the likeness of aligned bones."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from mskdex.arrays import read_arrays
from mskdex.errors import MskdexError
from mskdex.evaluation.images import IMAGE_MEASURES, measures
from mskdex.imaging.quantities import COLUMNS, QUANTITIES
from mskdex.learning.stack import Stack, read_stack

IMAGE_COLUMNS = ("method", "fold", "patient_id", "object", "side", "channel", "quantity", *IMAGE_MEASURES, "data_range")


@dataclass(frozen=True)
class Rendered:
    """A patient's rendered DRRs.

    Attributes:
        stack: the patient's training sample.
        drr: (3, N, H, W) at the nominal pose.
        aligned: by channel name, (3, H, W) at the registered pose.
    """

    stack: Stack
    drr: np.ndarray
    aligned: dict[str, np.ndarray]

    @classmethod
    def read(cls, patients_root: Path, patient: str) -> "Rendered":
        """Reads results/patients/{patient}/stack.zst."""
        stack = read_stack(patients_root / patient / "stack.zst")
        aligned = stack.aligned.dense()
        return cls(stack, stack.drr.dense(), {n: aligned[:, i] for i, n in enumerate(stack.aligned_objects)})


def read_decomposition(path: Path, stack: Stack) -> np.ndarray:
    """Reads a patient's predicted DRRs, (3, N, H, W) float32, N as in the stack.

    Raises:
        MskdexError: its shape is not the stack's.
    """
    arrays, _ = read_arrays(path)
    drr = np.asarray(arrays["drr"], dtype=np.float32)
    expected = (len(QUANTITIES), len(stack.objects), *stack.camera.shape)
    if drr.shape != expected:
        msg = f"{path}: DRRs of shape {drr.shape}, the stack of patient {stack.patient} has {expected}; predict anew"
        raise MskdexError(msg)
    return drr


def intensity_ranges(patients_root: Path, patients: Iterable[str]) -> dict[str, dict[str, float]]:
    """The fixed intensity range of each object and quantity: the largest rendered pixel of the whole cohort.

    Returns:
        By object, by quantity column: the range, from 0; in cm³ or g per pixel.
    """
    found: dict[str, dict[str, float]] = {}
    for patient in patients:
        rendered = Rendered.read(patients_root, patient)
        peaks = rendered.drr.max(axis=(-2, -1))
        for i, channel in enumerate(rendered.stack.channels):
            ours = np.maximum(peaks[:, i], _peak(rendered.aligned.get(channel.name)))
            entry = found.setdefault(channel.object, {COLUMNS[q]: 0.0 for q in QUANTITIES})
            for quantity, peak in zip(QUANTITIES, ours, strict=True):
                entry[COLUMNS[quantity]] = max(entry[COLUMNS[quantity]], float(peak))
    return found


def _peak(aligned: np.ndarray | None) -> np.ndarray:
    return np.zeros(len(QUANTITIES)) if aligned is None else aligned.max(axis=(-2, -1))


def bone_likeness(
    folders: Mapping[tuple[str, int], Path],
    patients_root: Path,
    tested: pd.DataFrame,
    ranges: Mapping[str, Mapping[str, float]],
) -> pd.DataFrame:
    """PSNR, SSIM and GC of every predicted bone against the bone rendered at its registered pose.

    Args:
        folders: folder of the decompositions of each (method, fold).
        patients_root: results/patients.
        tested: method, fold, patient_id of every prediction.
        ranges: from `intensity_ranges`.

    Returns:
        `IMAGE_COLUMNS`, a row per method, patient, bone and quantity. Patients without a decomposition or
        without a registered bone have no rows.
    """
    rows: list[dict] = []
    for patient, group in tested.groupby("patient_id", sort=True):
        rendered = Rendered.read(patients_root, str(patient))
        if not rendered.aligned:
            continue
        for method, fold in group[["method", "fold"]].itertuples(index=False):
            path = folders[method, int(fold)] / f"{patient}.zst"
            if path.is_file():
                drr = read_decomposition(path, rendered.stack)
                rows += [{"method": method, "fold": fold, **row} for row in _patient_rows(drr, rendered, ranges)]
    return pd.DataFrame(rows, columns=list(IMAGE_COLUMNS))


def _patient_rows(drr: np.ndarray, rendered: Rendered, ranges: Mapping[str, Mapping[str, float]]) -> Iterator[dict]:
    for i, channel in enumerate(rendered.stack.channels):
        if channel.name not in rendered.aligned:
            continue
        for q, quantity in enumerate(QUANTITIES):
            data_range = ranges[channel.object][COLUMNS[quantity]]
            yield {
                "patient_id": rendered.stack.patient, "object": channel.object, "side": channel.side,
                "channel": channel.name, "quantity": COLUMNS[quantity], "data_range": data_range,
                **measures(drr[q, i], rendered.aligned[channel.name][q], data_range),
            }  # fmt: skip
