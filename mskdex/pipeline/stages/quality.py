"""Stage `quality`: the check of imports: a table, warnings, flags and a contact sheet for each patient."""

import json
import logging
import shutil
import textwrap
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path

import pandas as pd

from mskdex.cohort.quality import flags, structure_table
from mskdex.imaging.contact_sheet import contact_sheet
from mskdex.io.artifacts import atomic_path, read_json, read_parquet, write_parquet
from mskdex.io.csv_files import write_csv
from mskdex.io.greys import read_greys
from mskdex.io.volume import read_volume
from mskdex.models.device_profiles import fit_profiles, profile_text
from mskdex.pipeline.settings import QualityStage
from mskdex.registration.patient_match import read_finding

log = logging.getLogger("mskdex")
_LINE_LETTERS = 66
"""So many letters stand in a line beside the slices."""

_PAGE = """<!doctype html><html lang="en"><meta charset="utf-8"><title>Segmentation quality</title>
<style>body{{font-family:sans-serif;margin:2em}}img{{max-width:100%}}section{{margin-bottom:2em}}</style>
<h1>Segmentation quality</h1>
<p>{flagged} of {total} patients are flagged: first those whose radiograph does not fit their CT, then those whose
import warned of something, then by the number of what stands out against the cohort. A flag is a reason to look, not
a verdict, but for a radiograph that could not be registered to the CT: such a patient counts in neither training nor
evaluation unless <code>cohort.keep_pairs</code> of the config names the patient and says why.
To leave a patient out, write <code>yes</code> into column <code>exclude</code> of the cohort sheet and say why in
<code>exclude_reason</code>.</p>
{devices}
{sections}
</html>
"""


def quality(
    patients_root: Path, table: Path, settings: QualityStage, out: Path, segmentation: Path | None = None
) -> None:
    """Writes structures.csv, quality.csv, quality.parquet, quality.html and contact_sheets/{patient}.png.

    quality.csv has one row a patient: patient_id, flags, reasons, and empty columns exclude and exclude_reason for
    a human's verdict, which goes into the cohort sheet; the report reads quality.parquet. structures.csv holds what
    the flags are made from. Where a patient has been registered, a pair that is refused is the first flag, then grey
    values that do not fit the CT.

    Args:
        patients_root: folder of the imported patients.
        table: patients.parquet.
        settings: the channels that the cohort has, and beyond which score they are flagged.
        out: folder to write to.
        segmentation: folder of what the stage `segment` made, whose flips are looked at.

    Raises:
        MskdexError: a patient's import is absent or damaged.
    """
    out, patients_root = Path(out), Path(patients_root)
    patients = list(read_parquet(table)["patient_id"])
    imports = {p: read_json(patients_root / p / "import.json") for p in patients}
    flips = {p: _flip_dice(segmentation / p / "labels.segment.json") for p in patients} if segmentation else None
    structures = structure_table(imports, settings.cohort_channels, flips)
    warnings = {p: [str(w) for w in content["warnings"]] for p, content in imports.items()}
    findings = {p: _findings(patients_root / p) for p in patients}
    flag_table = flags(structures, settings.flag_robust_z, warnings, findings, settings.flag_flip_dice)
    sheets = out / "contact_sheets"
    shutil.rmtree(sheets, ignore_errors=True)
    for patient in patients:
        rows = structures[structures["patient_id"] == patient]
        reasons = flag_table.loc[flag_table["patient_id"] == patient, "reasons"].item()
        _draw(patients_root / patient, settings, _lines(patient, rows, reasons), sheets / f"{patient}.png")
    write_parquet(out / "quality.parquet", flag_table)
    write_csv(out / "structures.csv", structures, float_format="%.6g")
    write_csv(out / "quality.csv", flag_table.assign(exclude="", exclude_reason=""), float_format="%.6g")
    with atomic_path(out / "quality.html") as temporary:
        temporary.write_text(_page(flag_table, findings, warnings, _devices(patients_root, patients)), encoding="utf-8")
    flagged = int((flag_table["flags"] > 0).sum())
    log.info("quality: %d of %d patients flagged, see %s", flagged, len(patients), out / "quality.html")


def _flip_dice(path: Path) -> dict[str, float]:
    """How far the segmentations of a CT and of its mirror image agree; nothing where none was mirrored."""
    found = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    return dict(found.get("flip_dice", {}))


def _findings(patient: Path) -> list[str]:
    """What the registration and the calibration found wrong with the pair of radiograph and CT."""
    unmatched, calibration = read_finding(patient / "pose.json"), patient / "calibration.json"
    found = [unmatched] if unmatched else []
    return found + (list(read_json(calibration)["flags"]) if calibration.is_file() else [])


def _draw(patient: Path, settings: QualityStage, lines: list[str], path: Path) -> None:
    ct, labels = read_volume(patient / "ct.nii.gz"), read_volume(patient / "labels.nii.gz")
    with atomic_path(path) as temporary:
        contact_sheet(ct, labels, settings.channels, lines).save(temporary)


def _lines(patient: str, rows: pd.DataFrame, reasons: str) -> list[str]:
    lines = [patient, "object\tcm3\tHU\tpieces"]
    for row in rows.to_dict("records"):
        cut = ", cut" if row["truncated"] else ""
        numbers = f"{row['volume_cm3']:.1f}\t{row['mean_hu']:.0f}\t{row['pieces']}{cut}" if row["present"] else "absent"
        lines.append(f"{row['object']}\t{numbers}")
    return [*lines, "", *textwrap.wrap(reasons, _LINE_LETTERS)]


def _devices(patients_root: Path, patients: Sequence[str]) -> list[str]:
    """How well the processed radiographs of each device are read by the curve of its pairs, in words."""
    files = [path for p in patients if (path := patients_root / p / "calibration.json").is_file()]
    profiles = fit_profiles((read_json(path)["scale"], read_greys(path)) for path in files)
    return [f"{p.device}: {profile_text(p)}" for p in profiles if p.scale == "relative" and p.device and p.patients]


def _page(
    table: pd.DataFrame,
    findings: Mapping[str, Sequence[str]],
    warnings: Mapping[str, Sequence[str]],
    devices: Sequence[str],
) -> str:
    sections = "\n".join(
        f"<section><h2>{escape(name)}</h2>{_findings_html(reasons, findings[name], warnings[name])}"
        f'<img loading="lazy" src="contact_sheets/{escape(name)}.png" alt="slices of {escape(name)}"></section>'
        for name, reasons in zip(table["patient_id"], table["reasons"], strict=True)
    )
    items = "".join(f"<li>{escape(device)}</li>" for device in devices)
    above = f"<p>Processed radiographs beside their CTs, all patients together:</p><ul>{items}</ul>" if items else ""
    return _PAGE.format(devices=above, flagged=int((table["flags"] > 0).sum()), total=len(table), sections=sections)


def _findings_html(reasons: str, findings: Sequence[str], warnings: Sequence[str]) -> str:
    """What does not fit and the import's warnings as lists, then what stands out against the cohort."""
    notes = [*findings, *(f"import: {w}" for w in warnings)]
    others = reasons.removeprefix("; ".join(notes)).removeprefix("; ")
    heads = [
        f"<p>{title}</p><ul>{''.join(f'<li>{escape(t)}</li>' for t in texts)}</ul>"
        for title, texts in (("Radiograph and CT do not fit:", findings), ("The import warned:", warnings))
        if texts
    ]
    return f"{''.join(heads)}<p>{escape(others) or ('' if heads else 'nothing stands out')}</p>"
