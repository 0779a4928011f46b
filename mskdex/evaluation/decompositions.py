"""Predicted DRRs beside the rendered ones: fixed intensity ranges, and the likeness of aligned bones."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from mskdex.errors import MskdexError
from mskdex.evaluation.images import IMAGE_MEASURES, measures
from mskdex.evaluation.points import KEY_COLUMNS
from mskdex.io.arrays import read_arrays
from mskdex.io.stack import Stack, read_stack, require_same
from mskdex.quantities import COLUMNS, QUANTITIES

IMAGE_COLUMNS = (
    *KEY_COLUMNS,
    "quantity",
    *IMAGE_MEASURES,
    "data_range",
)

RANGE_QUANTILE = 0.95
"""Among patients' brightest pixels; the networks' normalisation takes the same."""


@dataclass(frozen=True)
class RenderedDrrs:
    """A patient's rendered DRRs.

    Attributes:
        stack: the patient's training sample.
        drr: by channel name, (3, H, W) at the nominal pose.
        aligned: by channel name, (3, H, W) at the registered pose.
    """

    stack: Stack
    drr: dict[str, np.ndarray]
    aligned: dict[str, np.ndarray]

    @classmethod
    def read(cls, patients_root: Path, patient: str, objects: Sequence[str]) -> "RenderedDrrs":
        """Reads results/patients/{patient}/stack.safetensors.

        Args:
            patients_root: results/patients.
            patient: patient id.
            objects: names of the cohort's channels.

        Raises:
            MskdexError: the file is damaged, or its objects are not the cohort's.
        """
        path = patients_root / patient / "stack.safetensors"
        stack = read_stack(path, patient)
        require_same(stack.objects, objects, f"patient {patient}: {path}", "the cohort (results/cohort/objects.json)")
        return cls(
            stack, _by_name(stack.drr.dense(), stack.objects), _by_name(stack.aligned.dense(), stack.aligned_objects)
        )


def _by_name(images: np.ndarray, names: Sequence[str]) -> dict[str, np.ndarray]:
    """(3, N, H, W) to (3, H, W) by name."""
    return {name: images[:, i] for i, name in enumerate(names)}


def read_decomposition(path: Path, stack: Stack) -> dict[str, np.ndarray]:
    """Reads a patient's predicted DRRs, by channel name, (3, H, W) float32.

    Raises:
        MskdexError: its objects or its shape are not the stack's.
    """
    arrays, meta = read_arrays(path)
    names = [str(name) for name in meta.get("objects", ())]
    require_same(names, stack.objects, str(path), f"the stack of patient {stack.patient}")
    drr = np.asarray(arrays["drr"], dtype=np.float32)
    expected = (len(QUANTITIES), len(names), *stack.camera.shape)
    if drr.shape != expected:
        msg = f"{path}: DRRs of shape {drr.shape}, the stack of patient {stack.patient} has {expected}; predict anew"
        raise MskdexError(msg)
    return _by_name(drr, names)


def intensity_ranges(
    patients_root: Path, patients: Iterable[str], objects: Sequence[str]
) -> dict[str, dict[str, float]]:
    """The fixed intensity range of each structure and quantity, from training patients.

    It is the `RANGE_QUANTILE` of their brightest rendered pixels, as in the networks' normalisation: one patient with
    metal shall not stretch the range of all.

    Args:
        patients_root: results/patients.
        patients: ids of training patients.
        objects: names of the cohort's channels.

    Returns:
        By structure, by quantity column: the range, from 0; in cm³ or g per pixel. 0 where no patient has any.
    """
    peaks: dict[str, list[np.ndarray]] = {}
    for patient in patients:
        rendered = RenderedDrrs.read(patients_root, patient, objects)
        for channel in rendered.stack.channels:
            ours = np.maximum(_peak(rendered.drr[channel.name]), _peak(rendered.aligned.get(channel.name)))
            peaks.setdefault(channel.object, []).append(ours)
    return {name: _range(np.stack(found)) for name, found in peaks.items()}


def _range(peaks: np.ndarray) -> dict[str, float]:
    """By quantity column, of (patients and sides, 3) brightest pixels; who has none does not count."""
    seen = [column[column > 0.0] for column in peaks.T]
    values = [float(np.quantile(column, RANGE_QUANTILE)) if column.size else 0.0 for column in seen]
    return {COLUMNS[q]: value for q, value in zip(QUANTITIES, values, strict=True)}


def _peak(images: np.ndarray | None) -> np.ndarray:
    return np.zeros(len(QUANTITIES)) if images is None else images.max(axis=(-2, -1))


def bone_likeness(
    folders: Mapping[tuple[str, int], Path],
    patients_root: Path,
    tested: pd.DataFrame,
    ranges: Mapping[str, Mapping[str, float]],
    objects: Sequence[str],
) -> pd.DataFrame:
    """PSNR, SSIM and GC of every predicted bone against the bone rendered at its registered pose.

    Args:
        folders: folder of the decompositions of each (method, fold).
        patients_root: results/patients.
        tested: method, fold, patient_id of every prediction.
        ranges: from `intensity_ranges`.
        objects: names of the cohort's channels.

    Returns:
        `IMAGE_COLUMNS`, a row per method, patient, bone and quantity. Patients without a decomposition or
        without a registered bone have no rows.
    """
    rows: list[dict[str, Any]] = []
    for patient, group in tested.groupby("patient_id", sort=True):
        rendered = RenderedDrrs.read(patients_root, str(patient), objects)
        if not rendered.aligned:
            continue
        for method, fold in group[["method", "fold"]].itertuples(index=False):
            path = folders[method, int(fold)] / f"{patient}.safetensors"
            if path.is_file():
                drr = read_decomposition(path, rendered.stack)
                rows += [{"method": method, "fold": fold, **row} for row in _patient_rows(drr, rendered, ranges)]
    return pd.DataFrame(rows, columns=list(IMAGE_COLUMNS))


def _patient_rows(
    drr: Mapping[str, np.ndarray], rendered: RenderedDrrs, ranges: Mapping[str, Mapping[str, float]]
) -> Iterator[dict[str, Any]]:
    for channel in rendered.stack.channels:
        if channel.name not in rendered.aligned:
            continue
        for q, quantity in enumerate(QUANTITIES):
            data_range = ranges[channel.object][COLUMNS[quantity]]
            yield {
                "patient_id": rendered.stack.patient,
                "structure": channel.object,
                "side": channel.side,
                "channel": channel.name,
                "quantity": COLUMNS[quantity],
                "data_range": data_range,
                **measures(drr[channel.name][q], rendered.aligned[channel.name][q], data_range),
            }
