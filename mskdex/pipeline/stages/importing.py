"""Stage `import`: one patient's CT, labels and radiograph, read, checked and brought to the project's form."""

import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from mskdex.config.objects import Channel
from mskdex.errors import MskdexError
from mskdex.imaging.ct import Ct, read_ct
from mskdex.imaging.ct_noise import muscle_noise_hu, smooth_muscles, smoothing_mm
from mskdex.imaging.label_checks import check_structures, structure_facts
from mskdex.imaging.labels import LabelRequest, Labels, read_labels
from mskdex.imaging.nominal_view import nominal_camera
from mskdex.imaging.patient_identity import content_digest, person_doubts, require_one_patient
from mskdex.imaging.radiograph import write_image
from mskdex.imaging.radiograph_import import ImportedRadiograph, import_radiograph
from mskdex.io.artifacts import manifest, write_json
from mskdex.io.files import quote
from mskdex.io.volume import Volume, write_volume
from mskdex.io.volume_grid import resample_isotropic
from mskdex.io.voxel_header import existing
from mskdex.pipeline.settings import ImportStage
from mskdex.quantities import HU_MIN

log = logging.getLogger("mskdex")


@dataclass(frozen=True)
class PatientVolumes:
    """A patient's CT and labels on the grid that is kept.

    Attributes:
        ct: HU int16, RAS.
        labels: uint8 Channel.label.
        facts: what import.json records.
        content: digests of CT and labels, before they are resampled.
        warnings: what a human should know.
    """

    ct: Volume
    labels: Volume
    facts: dict[str, Any]
    content: dict[str, str]
    warnings: list[str]


def import_patient(row: Mapping[str, Any], settings: ImportStage, out: Path) -> None:
    """Imports one patient.

    Writes ct.nii.gz (int16 HU, RAS), labels.nii.gz (uint8 Channel.label), radiograph.nii.gz (float32 log
    attenuation), field.nii.gz (uint8, 1 where exposed and unmarked), camera.json and import.json, the last. The last
    says in labels.ids which id of labels.nii.gz is which object.

    Args:
        row: the patient's row of the sheet: patient_id, ct, labels, label_source, radiograph and,
            where the sheet has them, series and camera columns.
        settings: objects, label sources and the config's ct and radiograph sections.
        out: the patient's folder; nothing is written to it unless everything could be read.

    Raises:
        MskdexError: names the patient, the file, what is wrong with it and what to do.
    """
    started = time.time()
    row = {k: v for k, v in row.items() if v is not None and v == v and v != ""}
    patient = row.get("patient_id", "?")
    try:
        volumes = read_patient_volumes(row, settings)
        radiograph = read_patient_radiograph(row, settings)
        require_one_patient(row)
        doubts = person_doubts(row)
        pose, isocentre = nominal_camera(volumes.labels, settings.channels, radiograph.geometry)
    except MskdexError as error:
        msg = f"patient {patient}: {quote(error, 1200)}"
        raise MskdexError(msg) from error
    except MemoryError as error:
        msg = f"patient {patient}: there is not enough memory to import {row['ct']}; give the job more, or crop the CT"
        raise MskdexError(msg) from error
    warnings = [w.replace(f"{row.get('data_root')}/", "") for w in volumes.warnings + radiograph.warnings + doubts]
    for warning in warnings:
        log.warning("patient %s: %s", patient, warning)
    out = Path(out)
    of, pixel_mm = f"patient {patient}", radiograph.camera.pixel_mm
    write_volume(out / "ct.nii.gz", volumes.ct, of=of)
    write_volume(out / "labels.nii.gz", volumes.labels, of=of)
    write_image(out / "radiograph.nii.gz", radiograph.image, pixel_mm, of=of)
    write_image(out / "field.nii.gz", radiograph.field.astype(np.uint8), pixel_mm, of=of)
    write_json(out / "camera.json", _camera_json(radiograph, pose, isocentre), of=of)
    content = volumes.content | {"radiograph": content_digest(radiograph.image)}
    facts = volumes.facts | {"radiograph": radiograph.facts, "content": content, "warnings": warnings}
    write_json(out / "import.json", facts | {"manifest": manifest("import", started, patient_id=patient)}, of=of)


def read_patient_radiograph(row: Mapping[str, Any], settings: ImportStage) -> ImportedRadiograph:
    """Reads and checks a patient's radiograph; arguments and errors as of `import_patient`, the patient unnamed."""
    return import_radiograph(_path(row, "radiograph"), row, settings.radiograph, _root(row))


def read_patient_volumes(row: Mapping[str, Any], settings: ImportStage) -> PatientVolumes:
    """Reads and checks a patient's CT and labels; arguments and errors as of `import_patient`, the patient unnamed."""
    ct = read_patient_ct(row, settings)
    labels = read_patient_labels(row, settings, ct.volume)
    structures = structure_facts(ct.volume, labels.volume, settings.channels, labels.cut)
    try:
        pieces = check_structures(structures, ct.volume, labels.volume, settings.channels, settings.ct)
    except MskdexError as error:
        msg = f"{row['labels']}: {error}"
        raise MskdexError(msg) from error
    ids = {c.name: c.label for c in settings.channels}
    labelled = labels.facts | {"source": row.get("label_source", ""), "ids": ids}
    facts = {"ct": ct.facts, "labels": labelled, "structures": structures}
    volume, mapped = ct.volume, labels.volume
    content = {"ct": content_digest(volume.array), "labels": content_digest(mapped.array)}
    volume, noise = smoothed_to(settings.ct.max_noise_hu, volume, mapped, settings.channels)
    facts["ct"] |= noise
    if settings.ct.spacing_mm is not None:
        facts["ct"]["resampled_to_mm"] = settings.ct.spacing_mm
        volume = resample_isotropic(volume, settings.ct.spacing_mm, nearest=False, outside=HU_MIN)
        mapped = resample_isotropic(mapped, settings.ct.spacing_mm, nearest=True, outside=0)
    return PatientVolumes(volume, mapped, facts, content, ct.warnings + labels.warnings + pieces)


def smoothed_to(
    noise_hu: float | None, ct: Volume, labels: Volume, channels: Sequence[Channel]
) -> tuple[Volume, dict[str, Any]]:
    """The CT with its muscles smoothed to a level of noise, and what import.json records of it.

    Args:
        noise_hu: SD of the noise that muscles may have; None leaves every CT as it is.
        ct: HU int16.
        labels: uint8 Channel.label.
        channels: all objects.
    """
    muscles = [c.label for c in channels if c.kind == "muscle"]
    found = muscle_noise_hu(ct.array, labels.array, muscles)
    sigma = 0.0 if found is None or noise_hu is None else smoothing_mm(found, noise_hu, ct.spacing_mm)
    facts = {"muscle_noise_hu": None if found is None else round(found, 1), "muscles_smoothed_mm": round(sigma, 2)}
    if sigma:
        ct = replace(ct, array=smooth_muscles(ct.array, labels.array, muscles, sigma, ct.spacing_mm))
    return ct, facts


def read_patient_ct(row: Mapping[str, Any], settings: ImportStage) -> Ct:
    """Reads and checks a patient's CT; arguments and errors as of `import_patient`, the patient unnamed."""
    return read_ct(_path(row, "ct"), settings.ct, row.get("ct_series"), _root(row))


def read_patient_labels(row: Mapping[str, Any], settings: ImportStage, ct: Volume) -> Labels:
    """Reads a patient's labels onto the grid of `ct`; else as `read_patient_ct`."""
    return read_labels(label_request(row, settings), ct, settings.ct)


def label_request(row: Mapping[str, Any], settings: ImportStage) -> LabelRequest:
    """Which labels a row of the sheet asks for."""
    source = row.get("label_source", "")
    return LabelRequest(
        path=_path(row, "labels"),
        source_name=source,
        source=settings.label_sources.get(source),
        channels=settings.channels,
        series_uid=row.get("label_series"),
        root=_root(row),
        ct=_path(row, "ct") if "ct" in row else None,
        ct_series=row.get("ct_series"),
    )


def _camera_json(radiograph: ImportedRadiograph, pose: np.ndarray, isocentre: np.ndarray) -> dict[str, Any]:
    geometry = radiograph.geometry
    return radiograph.camera.as_dict() | {
        "source_to_isocentre_mm": geometry.source_to_isocentre_mm,
        "view": geometry.view,
        "laterality": geometry.laterality,
        "radiograph_scale": radiograph.scale,
        "isocentre_mm": isocentre.tolist(),
        "camera_from_ct": pose.tolist(),
        "sources": geometry.sources,
    }


def _path(row: Mapping[str, Any], column: str) -> Path:
    if column not in row:
        hint = "; run rule segment, or give labels" if column == "labels" else ""
        msg = f"the sheet gives no {column}{hint}"
        raise MskdexError(msg)
    path = existing(Path(row[column]))
    if not path.exists():
        msg = f"{path} does not exist; correct the sheet's column {column} or add the file"
        raise MskdexError(msg)
    return path


def _root(row: Mapping[str, Any]) -> Path | None:
    return Path(row["data_root"]) if row.get("data_root") else None
