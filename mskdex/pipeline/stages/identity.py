"""Stage `identity`: refuses a cohort that has one patient under two ids, before anything is trained."""

import logging
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mskdex.cohort.identity import Clash, Evidence, clashes
from mskdex.cohort.sheet import read_sheet
from mskdex.config.cohort import CohortSettings
from mskdex.errors import MskdexError
from mskdex.imaging.patient_identity import dicom_patient_ids
from mskdex.io.artifacts import manifest, read_json, write_json

log = logging.getLogger("mskdex")
_COLUMNS = ("ct", "labels", "radiograph")


def identity(sheet: Path, settings: CohortSettings, patients_root: Path, out: Path) -> None:
    """Writes identity.json: how many patients and persons there are. PatientIDs are compared in memory alone.

    Args:
        sheet: the cohort sheet.
        settings: how the sheet is read.
        patients_root: folder of the imported patients.
        out: the file to write.

    Raises:
        MskdexError: lists the patients who are in the cohort twice, and what to write into the sheet.
    """
    started = time.time()
    rows = read_sheet(sheet, settings, files=False)
    included = [{str(k): v for k, v in r.items()} for r in rows[~rows["exclude"]].to_dict("records")]
    cohort = [evidence(r, read_json(Path(patients_root) / r["patient_id"] / "import.json")) for r in included]
    found = clashes(cohort)
    for clash in found:
        if not clash.certain:
            log.warning("cohort: %s", clash.message)
    require_distinct(found)
    write_json(out, manifest("identity", started, patients=len(cohort), persons=len({e.person for e in cohort})))


def require_distinct(conflicts: list[Clash]) -> None:
    """Raises where a patient is in the cohort twice.

    Raises:
        MskdexError: one line for each.
    """
    certain = [c for c in conflicts if c.certain]
    if certain:
        detail = "".join(f"\n  patient {c.patient_id}: {c.message}" for c in certain)
        msg = f"the cohort has patients twice, whose copies in two folds would make every result worthless:{detail}"
        raise MskdexError(msg)


def evidence(row: Mapping[str, Any], imported: Mapping[str, Any]) -> Evidence:
    """What a patient's import and DICOM headers say about who they are.

    Args:
        row: the patient's row of `read_sheet`.
        imported: content of the patient's import.json.
    """
    root = Path(str(row["data_root"]))
    files = {c: _relative(str(row[c]), root) for c in _COLUMNS if isinstance(row.get(c), str)}
    digests = {
        c: [d for d in (imported.get(c, {}).get("sha256"), imported.get("content", {}).get(c)) if d] for c in _COLUMNS
    }
    files |= {c: f"the {c} of {row['patient_id']}" for c in _COLUMNS if c not in files}
    return Evidence(str(row["patient_id"]), str(row["person"]), files, digests, dicom_patient_ids(row))


def _relative(path: str, root: Path) -> str:
    return str(Path(path).relative_to(root)) if Path(path).is_relative_to(root) else path
