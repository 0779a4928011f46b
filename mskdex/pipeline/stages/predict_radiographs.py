"""Stage: volume and lean mass of every object from radiographs of new patients, with intervals and flags."""

import itertools
import logging
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd
import typer

from mskdex.api.prediction import NO_CALIBRATION, Prediction, load_model, predict_batch, read_calibration
from mskdex.cohort.radiograph_list import ListedRadiograph, list_radiographs
from mskdex.compute.device import choose_device
from mskdex.config.imaging import RadiographSettings
from mskdex.errors import MskdexError
from mskdex.evaluation.conformal import COVERAGE, fewest_patients
from mskdex.evaluation.model_calibration import ERRORS, FUSION, ModelCalibration
from mskdex.imaging.radiograph_import import ImportedRadiograph, import_radiograph
from mskdex.io.artifacts import manifest, write_plain_json
from mskdex.io.csv_files import write_csv
from mskdex.models.model import Model
from mskdex.pipeline.dicom_folder import DicomFolder
from mskdex.pipeline.prediction_images import write_images
from mskdex.pipeline.prediction_persons import Demographics, person_of
from mskdex.training.loop import set_up_torch

log = logging.getLogger("mskdex")

NOTICE = "Research software, not a medical device. Intervals hold for patients like the held-out ones only."

_GPU_BATCH = 16
_OF_IMAGES = ("radiograph", "patient_id", "file", "status", "reason", "flags", "warnings", "dicom")
_OF_OBJECTS = (
    "radiograph",
    "status",
    "reason",
    "object",
    "side",
    "quantity",
    "predicted",
    "low",
    "high",
    "fused",
    "fused_low",
    "fused_high",
    "flag",
    "flags",
)


@dataclass(frozen=True)
class _Outcome:
    """What became of one radiograph; `reason` says why there is no prediction, `dicom` what became of its objects."""

    item: ListedRadiograph
    imported: ImportedRadiograph | None = None
    person: Demographics | None = None
    prediction: Prediction | None = None
    reason: str = ""
    dicom: str = ""

    @property
    def status(self) -> str:
        if self.item.excluded:
            return "excluded"
        return "predicted" if self.prediction else "failed"

    @property
    def flags(self) -> list[str]:
        return self.prediction.flags if self.prediction else []

    @property
    def warnings(self) -> list[str]:
        notes = self.imported.warnings if self.imported else []
        return [*notes, *(self.person.warnings if self.person else [])]


def predict_radiographs(
    model: Path,
    radiographs: Sequence[Path],
    settings: RadiographSettings,
    out: Path,
    *,
    sheet: Path | None = None,
    calibration: Path | None = None,
    person: Mapping[str, Any] | None = None,
    device: str = "auto",
    dicom_out: Path | None = None,
) -> None:
    """Predicts every radiograph; one that cannot be read costs none of the others.

    Writes to `out`: radiographs.csv, one row per radiograph with its status (predicted, failed or excluded), reason
    and flags; predictions.csv, one row per object and quantity, and one row without object for each radiograph that has
    no prediction; predictions.json; and the decompositions as images.

    Args:
        model: model.safetensors of an experiment's fold.
        radiographs: DICOM files or images, as the import takes them, or folders of them.
        settings: how radiographs are imported, and the camera where neither sheet nor file says it.
        out: folder to write to.
        sheet: patient_id, radiograph and camera columns; see `mskdex.cohort.radiograph_list.list_radiographs`.
        calibration: results/evaluation of this model, or predictions.parquet of patients that it has not seen; by
            default the evaluation of the results folder that the model lies in, else the table beside the model.
        person: sex, age, height_cm, weight_kg of the patient of a single radiograph; what is not given is taken from
            the sheet, then from the DICOM header.
        device: "auto", "cpu", "cuda" or "cuda:i".
        dicom_out: folder for DICOM objects of each radiograph's own study; see `mskdex.clinic`.

    Raises:
        MskdexError: a file that is no model, a sheet that cannot be read, one person for several radiographs, not a
            single prediction, a `dicom_out` within results, or one that no object could be written to.
    """
    started, out = time.time(), Path(out)
    outs = (out, dicom_out) if dicom_out else (out,)
    listed, passed_over = list_radiographs([Path(p) for p in radiographs], sheet, outs)
    if passed_over:
        log.info("%d files that are no images were passed over, %s first", len(passed_over), passed_over[0])
    if person and len(listed) > 1:
        msg = (
            f"{', '.join(person)} of one patient cannot be those of {len(listed)} radiographs; write them in the sheet"
        )
        raise MskdexError(msg)
    chosen = choose_device(device)
    set_up_torch(chosen)
    loaded = load_model(model, str(chosen))
    folder = DicomFolder.at(dicom_out, out, model, loaded.card) if dicom_out else None
    known = _known(Path(model), calibration, loaded)
    batch = _GPU_BATCH if chosen.type == "cuda" else 1
    outcomes: list[_Outcome] = []
    try:
        with typer.progressbar(length=len(listed), label="radiographs", file=sys.stderr) as bar:
            for outcome in _outcomes(loaded, listed, _Reader(settings, person or {}), known, batch):
                if outcome.prediction:
                    write_images(out, outcome.item.name, outcome.prediction, loaded.card.grid.pixel_mm)
                outcomes.append(_with_objects(outcome, folder))
                bar.update(1)
    finally:
        _write_tables(out, outcomes)
    facts = {"model": model, "coverage": COVERAGE, "notice": NOTICE, "calibration_needs": fewest_patients(COVERAGE)}
    facts |= {"objects": list(loaded.card.objects), "radiographs": {o.item.name: _page(o) for o in outcomes}}
    write_plain_json(out / "predictions.json", facts | {"manifest": manifest("predict", started, device=str(chosen))})
    _log_failures(outcomes, out)
    if folder:
        _log_missing_objects(outcomes, folder.path)


def _with_objects(outcome: _Outcome, folder: DicomFolder | None) -> _Outcome:
    if folder is None or outcome.prediction is None or outcome.imported is None:
        return outcome
    item = outcome.item
    return replace(outcome, dicom=folder.write(item.path, item.name, outcome.imported, outcome.prediction))


def _known(model: Path, calibration: Path | None, loaded: Model) -> ModelCalibration:
    """Of what is given; else of the evaluation that has seen this model; else of the table beside it."""
    if calibration:
        return read_calibration(calibration, loaded)
    evaluation = model.resolve().parent.parent.parent.parent / "evaluation"
    if (evaluation / ERRORS).is_file() and (evaluation / FUSION).is_file():
        try:
            return read_calibration(evaluation, loaded)
        except MskdexError as error:
            log.warning("%s; its intervals are those of the table beside the model", error)
    beside = model.with_name("predictions.parquet")
    return read_calibration(beside, loaded) if beside.is_file() else NO_CALIBRATION


@dataclass(frozen=True)
class _Reader:
    """How radiographs are imported, and what the command line says of the patient."""

    settings: RadiographSettings
    flags: Mapping[str, Any]

    def read(self, item: ListedRadiograph) -> _Outcome:
        if item.problem:
            return _Outcome(item, reason=item.problem)
        try:
            imported = import_radiograph(item.path, item.row, self.settings)
            return _Outcome(item, imported, person_of(item.path, item.row, self.flags))
        except Exception as error:  # whatever is wrong with one file is said of that file alone
            return _Outcome(item, reason=_reason(error, item.path))


def _outcomes(
    model: Model, listed: Sequence[ListedRadiograph], reader: _Reader, calibration: ModelCalibration, batch: int
) -> Iterator[_Outcome]:
    """The outcome of every radiograph, in order; so many at a time go through the network."""
    for start in range(0, len(listed), batch):
        read = [reader.read(item) for item in listed[start : start + batch]]
        good = [(o.imported, o.person.known) for o in read if o.imported and o.person]
        found = iter(_predicted(model, good, calibration))
        for outcome in read:
            if outcome.imported is None:
                yield outcome
                continue
            result = next(found)
            prediction = result if isinstance(result, Prediction) else None
            reason = "" if isinstance(result, Prediction) else f"{outcome.item.path}: {result}"
            yield _Outcome(outcome.item, outcome.imported, outcome.person, prediction, reason)


def _predicted(
    model: Model, images: list[tuple[ImportedRadiograph, dict[str, Any]]], calibration: ModelCalibration
) -> list[Prediction | str]:
    """Predictions, or why there is none; a batch that fails, for want of memory or by one image, is done singly."""
    try:
        radiographs, persons = [image for image, _ in images], [person for _, person in images]
        return list(predict_batch(model, radiographs, calibration, persons)) if images else []
    except Exception as error:
        if len(images) == 1:
            return [_reason(error, None)]
    return list(itertools.chain.from_iterable(_predicted(model, [image], calibration) for image in images))


def _reason(error: Exception, path: Path | None) -> str:
    log.debug("while %s was predicted", path or "a radiograph", exc_info=True)
    if isinstance(error, MskdexError):
        return str(error)
    reason = (str(error).strip().splitlines() or [""])[0]
    return f"{path}: {type(error).__name__}: {reason}" if path else f"{type(error).__name__}: {reason}"


def _write_tables(out: Path, outcomes: Sequence[_Outcome]) -> None:
    images, objects = [], []
    for outcome in outcomes:
        item, warnings = outcome.item, outcome.warnings
        common = {"radiograph": item.name, "status": outcome.status, "reason": outcome.reason}
        common["flags"] = "; ".join(outcome.flags)
        own = {"patient_id": item.patient_id, "file": str(item.path), "dicom": outcome.dicom}
        images.append(common | own | {"warnings": "; ".join(warnings)})
        rows = outcome.prediction.table.to_dict("records") if outcome.prediction else [{}]
        objects += [common | row for row in rows]
    write_csv(out / "radiographs.csv", pd.DataFrame(images, columns=list(_OF_IMAGES)))
    write_csv(out / "predictions.csv", pd.DataFrame(objects, columns=list(_OF_OBJECTS)), float_format="%.2f")


def _page(outcome: _Outcome) -> dict[str, Any]:
    page = {"file": outcome.item.path, "status": outcome.status}
    if outcome.imported is None:
        return page | {"reason": outcome.reason}
    sources = outcome.person.sources if outcome.person else {}
    remarks = {"flags": [*outcome.flags, *outcome.warnings], "facts": outcome.imported.facts}
    return page | remarks | {"demographics_from": sources}


def _log_failures(outcomes: Sequence[_Outcome], out: Path) -> None:
    failed = [o for o in outcomes if o.status == "failed"]
    for outcome in failed:
        log.warning("%s", outcome.reason)
    if not any(o.status == "predicted" for o in outcomes):
        msg = f"none of {len(outcomes)} radiographs could be predicted; {out / 'radiographs.csv'} has the reasons"
        raise MskdexError(msg + (f", the first: {failed[0].reason}" if failed else ""))
    if failed:
        message = "%d of %d radiographs could not be predicted; %s has the reasons"
        log.warning(message, len(failed), len(outcomes), out / "radiographs.csv")


def _log_missing_objects(outcomes: Sequence[_Outcome], folder: Path) -> None:
    predicted = [o for o in outcomes if o.prediction]
    without = [o for o in predicted if o.dicom != "written"]
    for outcome in without:
        log.warning("%s", outcome.dicom)
    if len(without) == len(predicted):
        msg = f"of none of {len(predicted)} predictions could DICOM objects be written to {folder}: {without[0].dicom}"
        raise MskdexError(msg)
    if without:
        log.warning("of %d of %d predictions no DICOM objects were written", len(without), len(predicted))
