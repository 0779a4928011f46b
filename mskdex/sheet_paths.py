"""Paths in the cohort sheet: inside the data root, present, and of a kind that can be read."""

import re
from pathlib import Path, PureWindowsPath

from mskdex.sheet_columns import Cell

ARCHIVES = (".zip", ".tar", ".tgz", ".tar.gz", ".7z", ".rar", ".bz2", ".xz", ".tar.xz", ".zst")


def check_path(text: str, root: Path, patient_id: str, *, must_exist: bool = True) -> Cell:
    """Checks a path of the sheet.

    Args:
        text: the cell.
        root: resolved folder that the path starts in and must stay in, links followed.
        patient_id: the row's, to see ids whose leading zeros a spreadsheet has removed.
        must_exist: False for excluded patients.

    Returns:
        The absolute path, not resolved, so that a link keeps its own name and suffix.
    """
    if "\0" in text or (PureWindowsPath(text).drive and not Path(text).exists()):
        return Cell(None, f"{text!r} is no path on this machine; write it relative to {root}")
    path = root / text
    resolved = path.resolve()
    if not resolved.is_relative_to(root):
        return Cell(None, f"{text} leads out of the data root {root}; move the file there or set cohort.data_root")
    if not must_exist:
        return Cell(str(path))
    if path.name.lower().endswith(ARCHIVES):
        return Cell(None, f"{text} is an archive; unpack it and name the file or folder in it")
    if not path.exists():
        return Cell(None, f"{path} does not exist; correct the path or add the file")
    if path.is_file() and path.stat().st_size == 0:
        return Cell(None, f"{path} is empty (0 bytes); copy it again")
    if path.is_dir() and not any(path.iterdir()):
        return Cell(None, f"folder {path} is empty; copy its files again")
    if mangled := _lost_zeros(patient_id, text):
        return Cell(
            str(path),
            f"{text} says {mangled} where patient_id says {patient_id}: a spreadsheet may have removed leading zeros; "
            f"write the id as text",
        )
    return Cell(str(path))


def _lost_zeros(patient_id: str, text: str) -> str:
    """The part of a path that is the id with zeros in front, e.g. 007 for the id 7; "" if there is none."""
    if not patient_id.isdigit() or patient_id.startswith("0"):
        return ""
    parts = re.findall(r"(?<![0-9])0+[0-9]+(?![0-9])", text)
    exact = re.search(rf"(?<![0-9]){patient_id}(?![0-9])", text)
    return next((p for p in parts if p.lstrip("0") == patient_id), "") if not exact else ""
