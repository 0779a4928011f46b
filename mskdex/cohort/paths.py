"""Paths in the cohort sheet: inside the data root, present, and of a kind that can be read."""

import os
import re
from pathlib import Path, PureWindowsPath
from unicodedata import normalize

from mskdex.cohort.cell import SheetCell

ARCHIVES = (".zip", ".tar", ".tgz", ".tar.gz", ".7z", ".rar", ".bz2", ".xz", ".tar.xz", ".zst")
_MOST_LISTED = 200
"""Folders with more entries are not searched for a name that is nearly the sheet's."""


def check_path(text: str, root: Path, patient_id: str, *, must_exist: bool = True) -> SheetCell:
    """Checks a path of the sheet.

    Backslashes are taken for slashes, and letters with accents are found whether the disk composes them or not,
    where the path as it stands does not exist.

    Args:
        text: the cell.
        root: resolved folder that the path starts in and must stay in, links followed.
        patient_id: the row's, to see ids whose leading zeros a spreadsheet has removed.
        must_exist: False for excluded patients.

    Returns:
        The absolute path, not resolved, so that a link keeps its own name and suffix.
    """
    try:
        return _checked(text, root, patient_id, must_exist=must_exist)
    except (OSError, RuntimeError, ValueError) as error:  # no permission, a name too long, links in a circle
        reason = getattr(error, "strerror", None) or str(error).splitlines()[0]
        return SheetCell(None, f"{text!r} cannot be reached ({reason}); correct the path or its permissions")


def _checked(text: str, root: Path, patient_id: str, *, must_exist: bool) -> SheetCell:
    path = _on_disk(text, root)
    if PureWindowsPath(text).drive and not path.exists():
        return SheetCell(None, f"{text!r} is no path on this machine; write it relative to {root}")
    if not path.resolve().is_relative_to(root):
        return SheetCell(None, f"{text} leads out of the data root {root}; move the file there or set cohort.data_root")
    if not must_exist:
        return SheetCell(str(path))
    if path.name.lower().endswith(ARCHIVES):
        return SheetCell(None, f"{text} is an archive; unpack it and name the file or folder in it")
    if not path.exists():
        near = _near(path)
        return SheetCell(None, f"{path} does not exist; {near or 'correct the path or add the file'}")
    if problem := _unreadable(path):
        return SheetCell(None, problem)
    if mangled := _lost_zeros(patient_id, text):
        return SheetCell(
            str(path),
            f"{text} says {mangled} where patient_id says {patient_id}: a spreadsheet may have removed leading zeros; "
            f"write the id as text",
        )
    return SheetCell(str(path))


def _unreadable(path: Path) -> str:
    if not (path.is_file() or path.is_dir()):
        return f"{path} is neither a file nor a folder; name the patient's data"
    if not os.access(path, os.R_OK | (os.X_OK if path.is_dir() else 0)):
        return f"{path} cannot be read (no permission); correct its permissions"
    if path.is_file() and path.stat().st_size == 0:
        return f"{path} is empty (0 bytes); copy it again"
    if path.is_dir() and not any(path.iterdir()):
        return f"folder {path} is empty; copy its files again"
    return ""


def _on_disk(text: str, root: Path) -> Path:
    """The path under which the disk has what a cell names, or the path as the cell spells it."""
    for spelt in dict.fromkeys((text, text.replace("\\", "/"))):
        if (root / spelt).exists():
            return root / spelt
        if not spelt.isascii() and (found := _composed_alike(root / spelt)):
            return found
    return root / text


def _composed_alike(path: Path) -> Path | None:
    """A path that differs only in how letters with accents are composed: macOS writes them in two parts."""
    found = Path(path.anchor)
    for part in path.parts[1:]:
        following = found / part
        if not following.exists() and found.is_dir():
            alike = [n for n in _names(found) if normalize("NFC", n) == normalize("NFC", part)]
            if len(alike) != 1:
                return None
            following = found / alike[0]
        found = following
    return found if found.exists() else None


def _names(folder: Path) -> list[str]:
    return [item.name for item in folder.iterdir()]


def _near(path: Path) -> str:
    """A hint at a name on the disk that differs in case or blanks alone, or "" if there is none."""
    parent, part = path.parent, path.name
    while not parent.exists():
        parent, part = parent.parent, parent.name
    if not parent.is_dir():
        return ""
    names = _names(parent)
    if len(names) > _MOST_LISTED:
        return ""
    alike = [n for n in names if "".join(n.split()).casefold() == "".join(part.split()).casefold()]
    return f"{parent} holds {alike[0]!r}, did you mean that?" if alike else ""


def _lost_zeros(patient_id: str, text: str) -> str:
    """The part of a path that is the id with zeros in front, e.g. 007 for the id 7; "" if there is none."""
    if not patient_id.isdigit() or patient_id.startswith("0"):
        return ""
    parts = re.findall(r"(?<![0-9])0+[0-9]+(?![0-9])", text)
    exact = re.search(rf"(?<![0-9]){patient_id}(?![0-9])", text)
    return next((p for p in parts if p.lstrip("0") == patient_id), "") if not exact else ""
