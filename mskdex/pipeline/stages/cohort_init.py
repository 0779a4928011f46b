"""`mskdex cohort init`: a draft cohort sheet of a folder of files that nobody has described yet."""

import csv
import os
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path

from mskdex.cohort.columns import COLUMNS, PATHS
from mskdex.cohort.paths import ARCHIVES
from mskdex.config import Config
from mskdex.errors import MskdexError
from mskdex.imaging.label_names import MASK_SUFFIXES, parse_name, strip_suffix
from mskdex.imaging.label_origin import ids_in, label_source
from mskdex.imaging.radiograph_source import MODALITIES
from mskdex.io.artifacts import atomic_path
from mskdex.io.csv_files import spreadsheet_text
from mskdex.io.dicom import read_header
from mskdex.io.files import file_kind
from mskdex.pipeline.stages.bids import is_bids, kind_of, participants, unit_of
from mskdex.pipeline.stages.cohort_check import check_cohort

_MASKS_AT_LEAST = 3
_DEMOGRAPHIC_TAGS = {"PatientSex": "sex", "PatientAge": "age", "PatientSize": "height_cm", "PatientWeight": "weight_kg"}
_LEAST_SLICES = 8


@dataclass
class _PatientFiles:
    """What lies in one patient's folder."""

    cts: dict[str, list[Path]] = field(default_factory=lambda: defaultdict(list))
    volumes: list[Path] = field(default_factory=list)
    labels: list[Path] = field(default_factory=list)
    radiographs: list[Path] = field(default_factory=list)
    facts: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


def draft_sheet(folder: Path, out: Path, config: Config | None = None) -> str:
    """Writes a draft cohort sheet (TSV) with a column `notes` that says what is missing, ambiguous or wrong.

    A patient is a subfolder of `folder`, or, for files that lie in it directly, what their names have before the
    first of `_ct`, `_labels`, `_seg`, `_xray` and the like. In a BIDS folder it is a subject, or a session of one who
    has several CTs or radiographs, and participants.tsv is read. Names and ids in DICOM tags are not looked at; sex,
    age, height and weight are taken over. Rows in which nothing is missing are complete when `check_cohort` passes
    them.

    Args:
        folder: what to scan.
        out: the sheet; its paths are relative to its own folder, which must hold `folder`.
        config: the config that the rows are checked with; the defaults if None.

    Returns:
        A summary for the console.

    Raises:
        MskdexError: no such folder, nothing found, or `out` exists.
    """
    folder, out = Path(folder).resolve(), Path(out).resolve()
    if not folder.is_dir():
        msg = f"{folder} is no folder; name the folder that holds the patients' files"
        raise MskdexError(msg)
    if out.exists():
        msg = f"{out} exists already; remove it or name another file with --out"
        raise MskdexError(msg)
    if not folder.is_relative_to(out.parent):
        msg = f"{out} must stand in {folder} or above it, because its paths may not lead out of its folder"
        raise MskdexError(msg)
    patients = _scan_bids(folder) if is_bids(folder) else _scan(folder)
    if not patients:
        msg = f"{folder} holds no DICOM, NIfTI, NRRD, MHA, PNG or TIFF file"
        raise MskdexError(msg)
    rows = [_row(name, found, out.parent) for name, found in sorted(patients.items())]
    _write(rows, out)
    if not all(r["notes"] for r in rows):
        _check(rows, out, config or Config())
        _write(rows, out)
    complete = sum(not r["notes"] for r in rows)
    return f"{out}: {len(rows)} patients, {complete} complete; complete the others and run `mskdex cohort check {out}`"


def _write(rows: list[dict[str, str]], out: Path) -> None:
    with atomic_path(out) as temporary, open(temporary, "w", newline="", encoding="utf-8") as handle:
        writer = csv.DictWriter(handle, [*COLUMNS, "notes"], restval="", delimiter="\t", lineterminator="\n")
        writer.writeheader()
        writer.writerows({name: _cell(name, text) for name, text in row.items()} for row in rows)


def _check(rows: list[dict[str, str]], out: Path, config: Config) -> None:
    """Notes what `cohort check` finds wrong with rows in which nothing is missing."""
    cohort = config.cohort.model_copy(update={"data_root": None, "sheet": None})
    found: dict[int | None, list[str]] = {}
    for problem in check_cohort(out, config.model_copy(update={"cohort": cohort})):
        if problem.severity == "error":
            detail = " ".join(problem.message.replace(f"{out.parent}{os.sep}", "").split())
            found.setdefault(problem.row, []).append(f"{problem.column}: {detail}")
    for number, row in enumerate(rows, start=2):
        row["notes"] = row["notes"] or "; ".join(found.get(number, []) + found.get(None, []))


def _cell(column: str, text: str) -> str:
    """A cell that no spreadsheet takes for a formula; a path stays the same path."""
    return text if spreadsheet_text(text) == text else f"./{text}" if column in PATHS else spreadsheet_text(text)


def _scan(folder: Path) -> dict[str, _PatientFiles]:
    patients: dict[str, _PatientFiles] = defaultdict(_PatientFiles)
    for place, folders, names in os.walk(folder):
        folders.sort()
        here = Path(place)
        masks = [n for n in names if n.lower().endswith(MASK_SUFFIXES) and not n.startswith(".")]
        if here != folder and len([m for m in masks if parse_name(m)[1]]) >= _MASKS_AT_LEAST:
            patients[here.relative_to(folder).parts[0]].labels.append(here)
            continue
        for name in sorted(names):
            path = here / name
            if not name.startswith(".") and path.is_file() and path.resolve().is_relative_to(folder):
                unit = path.relative_to(folder).parts[0] if here != folder else _prefix(name)
                _sort_in(path, patients, unit)
    return dict(patients)


def _scan_bids(folder: Path) -> dict[str, _PatientFiles]:
    """What a BIDS folder holds, by subject or by a subject's session; files of no subject are passed over."""
    known = participants(folder)
    found: dict[str, dict[str, _PatientFiles]] = defaultdict(lambda: defaultdict(_PatientFiles))
    for place, folders, names in os.walk(folder):
        folders[:] = sorted(f for f in folders if not f.startswith("."))
        for path in (Path(place, name) for name in sorted(names) if not name.startswith(".")):
            subject, session = unit_of(path, folder)
            if subject and path.is_file() and path.resolve().is_relative_to(folder):
                _sort_in(path, found[subject], session, kind_of(path))
    patients: dict[str, _PatientFiles] = {}
    for subject, sessions in found.items():
        facts, notes = known.get(subject, ({}, []))
        for name, unit in _rows_of(subject, dict(sessions)).items():
            unit.facts |= facts
            unit.notes += notes
            patients[name] = unit
    return patients


def _rows_of(subject: str, sessions: dict[str, _PatientFiles]) -> dict[str, _PatientFiles]:
    """One row for a subject with one CT and one radiograph at most, else one for each session, tied to the first."""
    whole = _PatientFiles()
    for unit in sessions.values():
        whole.cts.update(unit.cts)
        whole.volumes += unit.volumes
        whole.labels += unit.labels
        whole.radiographs += unit.radiographs
        whole.facts |= unit.facts
        whole.notes += unit.notes
    if len(sessions) == 1 or (len(whole.cts) + len(whole.volumes) <= 1 and len(whole.radiographs) <= 1):
        return {subject: whole}
    rows = {f"{subject}_{name}" if name else subject: unit for name, unit in sorted(sessions.items())}
    first, *others = rows
    for name in others:
        rows[name].facts["same_patient_as"] = first
    return rows


def _prefix(name: str) -> str:
    stem = strip_suffix(name).split(".")[0]
    for word in ("ct", "label", "labels", "seg", "segmentation", "mask", "xray", "xr", "dx", "cr", "radiograph"):
        for mark in ("_", "-"):
            at = stem.lower().find(f"{mark}{word}")
            if at > 0:
                return stem[:at]
    return stem


def _sort_in(path: Path, patients: dict[str, _PatientFiles], unit: str, kind_by_name: str | None = None) -> None:
    """Puts a file to what it is, by what its name says where that is known, else by its content."""
    if kind_by_name == "":
        return
    if path.name.lower().endswith(ARCHIVES):
        patients[unit].notes.append(f"{path.name} is an archive: unpack it")
        return
    if path.stat().st_size == 0:
        return
    try:
        kind = file_kind(path)
        if kind == "dicom":
            _sort_in_dicom(path, patients[unit])
        elif kind_by_name and kind:
            named = {"ct": patients[unit].volumes, "labels": patients[unit].labels}
            named.get(kind_by_name, patients[unit].radiographs).append(path)
        elif kind in {"nifti", "nrrd", "metaimage"}:
            (patients[unit].volumes if ids_in(path) is None else patients[unit].labels).append(path)
        elif kind in {"png", "tiff"}:
            patients[unit].radiographs.append(path)
    except MskdexError as error:
        patients[unit].notes.append(str(error))


def _sort_in_dicom(path: Path, files: _PatientFiles) -> None:
    header = read_header(path, ("SOPClassUID", "Modality", "SeriesInstanceUID", "ImageType", *_DEMOGRAPHIC_TAGS))
    modality = str(header.get("Modality", ""))
    if modality == "CT" and "LOCALIZER" not in [str(v) for v in header.get("ImageType") or []]:
        files.cts[str(header.get("SeriesInstanceUID", ""))].append(path)
    elif modality == "SEG":
        files.labels.append(path)
    elif modality in MODALITIES:
        files.radiographs.append(path)
    for tag, column in _DEMOGRAPHIC_TAGS.items():
        if column not in files.facts and (value := _demographic(tag, header.get(tag))):
            files.facts[column] = value


def _demographic(tag: str, value: object) -> str:
    text = str(value or "").strip()
    if tag == "PatientSex":
        return text if text in {"F", "M"} else ""
    if tag == "PatientAge":
        return str(int(text[:-1])) if text.endswith("Y") and text[:-1].isdigit() else ""
    try:
        number = float(text) * (100 if tag == "PatientSize" else 1)
    except ValueError:
        return ""
    return f"{number:g}" if number > 0 else ""


def _row(name: str, files: _PatientFiles, root: Path) -> dict[str, str]:
    notes = list(files.notes)
    row = {"patient_id": name, **files.facts}
    if COLUMNS["patient_id"].parse(name).problem:
        notes.append("patient_id: give a pseudonym of letters and digits")
    row["ct"] = _choose_ct(files, root, notes)
    row["labels"] = _only("labels", files.labels, root, notes)
    row["radiograph"] = _only("radiograph", files.radiographs, root, notes)
    row["label_source"] = _label_source(files.labels[0], notes) if row["labels"] else ""
    row["notes"] = "; ".join(notes)
    return row


def _choose_ct(found: _PatientFiles, root: Path, notes: list[str]) -> str:
    series = {uid: files for uid, files in found.cts.items() if len(files) >= _LEAST_SLICES} or dict(found.cts)
    if len(series) == 1 and not found.volumes:
        files = next(iter(series.values()))
        return str(Path(os.path.commonpath([f.parent for f in files])).relative_to(root))
    if series:
        detail = ", ".join(f"{uid} ({len(files)} slices)" for uid, files in series.items())
        notes.append(
            f"ct: {len(series)} series and {len(found.volumes)} volumes; name one, its UID in ct_series: {detail}"
        )
        everything = [f.parent for files in series.values() for f in files]
        return str(Path(os.path.commonpath(everything)).relative_to(root)) if not found.volumes else ""
    return _only("ct", found.volumes, root, notes)


def _only(column: str, paths: list[Path], root: Path, notes: list[str]) -> str:
    if len(paths) == 1:
        return str(paths[0].relative_to(root))
    detail = ", ".join(str(p.relative_to(root)) for p in paths[:5])
    notes.append(f"{column}: {len(paths)} candidates ({detail}); name one" if paths else f"{column}: none found")
    return ""


def _label_source(path: Path, notes: list[str]) -> str:
    why = "say whose labels they are"
    try:
        if source := label_source(path):
            return source
    except MskdexError as error:
        why = f"{error}; {why}"
    notes.append(f"label_source: {why}")
    return ""
