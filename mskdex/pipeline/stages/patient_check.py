"""What is wrong with one patient's files: everything at once, and never an exception."""

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from mskdex.cohort.identity import Evidence
from mskdex.imaging.label_names import names_in
from mskdex.imaging.labels import LabelRequest, read_labels
from mskdex.imaging.patient_identity import content_digest, dicom_patient_ids, person_doubts, require_one_patient
from mskdex.io.files import file_kind
from mskdex.io.volume import Volume
from mskdex.io.volume_files import read_volume_file
from mskdex.io.volume_grid import to_ras
from mskdex.pipeline.attempt import attempt
from mskdex.pipeline.settings import ImportStage
from mskdex.pipeline.stages.identity import evidence
from mskdex.pipeline.stages.importing import (
    label_request,
    read_patient_ct,
    read_patient_labels,
    read_patient_radiograph,
    read_patient_volumes,
)

SheetProblem = tuple[str, str, str]
"""Column of the sheet, what is wrong, and "error" or "warning"."""

_STAND_INS: dict[str, Any] = {"sdd_mm": 1100.0, "pixel_mm": 0.2, "intensity": "linear", "view": "AP"}
"""Values with which a radiograph is tried again after an error that asks for the column, to find what else it lacks."""


@dataclass(frozen=True)
class CheckedPatient:
    """A patient's files, checked.

    Attributes:
        problems: what is wrong.
        evidence: who the files are of, as far as they could be read.
    """

    problems: list[SheetProblem]
    evidence: Evidence


def check_patient(row: Mapping[str, Any], settings: ImportStage) -> CheckedPatient:
    """Reads a patient's files as the import would.

    Args:
        row: the patient's row of the sheet without blank cells and without those that are known to be wrong; what it
            lacks is not read.
        settings: of the patient's import.
    """
    problems: list[SheetProblem] = []
    imported: dict[str, Any] = {"content": {}}
    if {"ct", "labels", "label_source"} <= row.keys():
        problems += _volumes(row, settings, imported)
    elif "ct" in row:
        problems += _attempt("ct", lambda: read_patient_ct(row, settings))
    elif {"labels", "label_source"} <= row.keys():
        problems += _attempt("labels", lambda: _labels_alone(row, settings))
    if "radiograph" in row:
        problems += _radiograph(row, settings, imported)
    problems += _attempt("ct, radiograph", lambda: require_one_patient(row))
    ids: dict[str, str] = {}
    with suppress(Exception):  # said above
        ids = dicom_patient_ids(row)
        problems += [("ct, radiograph", doubt, "warning") for doubt in person_doubts(row)]
    return CheckedPatient(problems, replace(evidence({**row, "allow_id_mismatch": True}, imported), dicom_ids=ids))


def _volumes(row: Mapping[str, Any], settings: ImportStage, imported: dict[str, Any]) -> list[SheetProblem]:
    found: list[SheetProblem] = []

    def read() -> None:
        volumes = read_patient_volumes(row, settings)
        imported.update(volumes.facts)
        imported["content"] |= volumes.content
        found.extend(("ct, labels", w, "warning") for w in volumes.warnings)

    if failed := _attempt("ct, labels", read):
        return _which(row, settings, failed)
    return found


def _which(row: Mapping[str, Any], settings: ImportStage, failed: list[SheetProblem]) -> list[SheetProblem]:
    """Of CT and labels that could not be read together, what is wrong with each."""
    ct: list[Volume] = []
    if problems := _attempt("ct", lambda: ct.append(read_patient_ct(row, settings).volume)):
        return problems + _attempt("labels", lambda: _labels_alone(row, settings))
    return _attempt("labels", lambda: read_patient_labels(row, settings, ct[0])) or failed


def _labels_alone(row: Mapping[str, Any], settings: ImportStage) -> None:
    """Reads labels whose CT cannot be read, onto their own grid."""
    request = replace(label_request(row, settings), ct=None)
    read_labels(request, to_ras(_own_grid(request, settings.ct.max_megavoxels)), settings.ct)


def _own_grid(request: LabelRequest, max_megavoxels: float) -> Volume:
    path = Path(request.path)
    masks = names_in(path) if path.is_dir() else None
    if masks:
        path = path / next(iter(masks))
    elif path.is_dir() or file_kind(path) == "dicom":
        from mskdex.imaging.dicom_seg import read_segmentation

        segmentation = read_segmentation(path, request.series_uid, request.root, max_megavoxels)
        return next(iter(segmentation.masks.values()))()
    raw, _ = read_volume_file(path, "labels", max_megavoxels, layers=True)
    return Volume(np.zeros(raw.array.shape[:3], np.uint8), raw.world_from_voxel)


def _radiograph(row: Mapping[str, Any], settings: ImportStage, imported: dict[str, Any]) -> list[SheetProblem]:
    found: list[SheetProblem] = []

    def read() -> None:
        radiograph = read_patient_radiograph(row, settings)
        imported["radiograph"] = radiograph.facts
        imported["content"]["radiograph"] = content_digest(radiograph.image)
        found.extend(("radiograph", w, "warning") for w in radiograph.warnings)

    failed = _attempt("radiograph", read)
    while wanted := {k: v for k, v in _STAND_INS.items() if k not in row and failed and f"column {k}" in failed[-1][1]}:
        row = {**row, **wanted}
        again = _attempt("radiograph", lambda row=row: read_patient_radiograph(row, settings))  # type: ignore[misc]
        failed += [t for t in again if any(k not in row and f"column {k}" in t[1] for k in _STAND_INS)]
    return failed or found


def _attempt(column: str, read: Callable[[], Any]) -> list[SheetProblem]:
    """The problem that an attempt to read ends with, if any."""
    detail = attempt(read)
    return [(column, detail, "error")] if detail else []
