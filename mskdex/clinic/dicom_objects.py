"""DICOM objects of one prediction, and their files."""

import hashlib
import warnings
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

from pydicom.config import disable_value_validation
from pydicom.dataset import Dataset

from mskdex.api.prediction import Prediction
from mskdex.clinic.document import document
from mskdex.clinic.object_context import Algorithm, ObjectContext
from mskdex.clinic.overview import overview
from mskdex.clinic.parametric_map import parametric_map
from mskdex.clinic.structured_report import structured_report
from mskdex.errors import MskdexError
from mskdex.imaging.radiograph_import import ImportedRadiograph
from mskdex.io.artifacts import atomic_path


def dicom_objects(
    source: Dataset,
    imported: ImportedRadiograph,
    prediction: Prediction,
    algorithm: Algorithm,
    created: datetime | None = None,
) -> list[Dataset]:
    """The prediction of one radiograph as DICOM objects of the radiograph's own study.

    Args:
        source: of `mskdex.clinic.source.read_source`; patient and study are taken from it.
        imported: the radiograph, of `import_radiograph`; its warnings stand in the report.
        prediction: of `predict`, for that radiograph.
        algorithm: the model that predicted.
        created: when. The same radiograph, model and prediction give the same UIDs at any time, so that what is sent
            again, after an interruption say, is one with what was sent before.

    Returns:
        Comprehensive 3D SR, Parametric Map, Secondary Capture and Encapsulated PDF, each in a series of its own.
    """
    source = _as_used(source, imported)
    context = ObjectContext(algorithm, _content_digest(source, prediction), created or datetime.now())
    with disable_value_validation(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # an archive's own values are kept, whatever the standard says of their length
        found: list[Dataset] = [
            structured_report(source, prediction, context, imported.warnings),
            parametric_map(source, prediction, context, algorithm.card.grid.pixel_mm, imported.geometry.view),
            overview(source, prediction, context),
            document(source, prediction, context, imported.warnings),
        ]
        for item in found:
            _date(item, context.created)
    return found


def _date(item: Dataset, created: datetime) -> None:
    """Puts the time of making in place of the clock's: made again for one time, an object is the same bytes."""
    day, time = f"{created:%Y%m%d}", f"{created:%H%M%S}"
    item.InstanceCreationDate, item.InstanceCreationTime = day, time
    if "DateOfSecondaryCapture" in item:
        item.DateOfSecondaryCapture, item.TimeOfSecondaryCapture = day, time
    for equipment in item.get("ContributingEquipmentSequence", []):
        equipment.ContributionDateTime = day + time


def write_objects(objects: Sequence[Dataset], folder: Path, name: str) -> list[Path]:
    """Writes {name}.measurements.dcm, .decomposition.dcm, .overview.dcm and .report.dcm; returns the files.

    Raises:
        MskdexError: the disk is full, or the folder may not be written to.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        msg = f"{folder} cannot be written to ({error.strerror}); give another folder"
        raise MskdexError(msg) from error
    found = []
    for item in objects:
        path = folder / f"{name}.{_kind(item)}.dcm"
        with atomic_path(path) as temporary, disable_value_validation(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            item.save_as(temporary, enforce_file_format=True)
        found.append(path)
    return found


def _kind(item: Dataset) -> str:
    return str(item.SeriesDescription).removeprefix("MSKdeX ").replace(" ", "-")


def _as_used(source: Dataset, imported: ImportedRadiograph) -> Dataset:
    """The source with the orientation and pixel size that the import went by, for a radiograph may lack them."""
    found = Dataset()
    found.update(source)
    found.PatientOrientation = list(imported.geometry.orientation)
    found.ImagerPixelSpacing = [round(mm, 6) for mm in imported.geometry.pixel_mm]
    return found


def _content_digest(source: Dataset, prediction: Prediction) -> str:
    table = prediction.table.to_csv(float_format="%.6g")
    text = "\n".join([source.SOPInstanceUID, table, *prediction.flags])
    return hashlib.sha256(text.encode()).hexdigest()
