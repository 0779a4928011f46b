"""Folders in the manner of BIDS: subjects, sessions, suffixes, participants.tsv.

Sources: the BIDS specification (participants.tsv, `derivatives`, `_dseg`). It has neither CT nor radiographs; CT is
`ct/` with the suffix `_ct` in its extension proposal 24, and radiographs are named in several ways.
"""

import csv
import json
import re
from pathlib import Path
from typing import Any

from mskdex.errors import MskdexError
from mskdex.imaging.label_names import strip_suffix

_SUBJECT = re.compile(r"sub-[0-9A-Za-z]+")
_SESSION = re.compile(r"ses-[0-9A-Za-z]+")
_KINDS = {
    "ct": "ct",
    "dseg": "labels",
    "seg": "labels",
    "mask": "labels",
    "probseg": "",
    "xr": "radiograph",
    "xray": "radiograph",
    "dx": "radiograph",
    "cr": "radiograph",
    "radiograph": "radiograph",
}
_MISSING = ("", "n/a", "na", "nan")
_SEXES = {"f": "F", "female": "F", "m": "M", "male": "M"}
_FACTORS = {
    "height": ("height_cm", {"cm": 1.0, "m": 100.0, "mm": 0.1}),
    "weight": ("weight_kg", {"kg": 1.0, "g": 0.001}),
    "age": ("age", {"year": 1.0, "years": 1.0, "y": 1.0}),
}
"""By participants.tsv's column: the sheet's, and what a unit is multiplied by."""


def is_bids(folder: Path) -> bool:
    """Whether a folder is laid out so: subjects' folders, and the dataset's description or its participants."""
    described = any((folder / name).is_file() for name in ("dataset_description.json", "participants.tsv"))
    return described and any(p.is_dir() and _SUBJECT.fullmatch(p.name) for p in folder.iterdir())


def unit_of(path: Path, folder: Path) -> tuple[str, str]:
    """Subject and session that a file belongs to, "" where it belongs to none; derivatives have the same folders."""
    parts = path.relative_to(folder).parts
    subject = next((p for p in parts if _SUBJECT.fullmatch(p)), "")
    return subject, next((p for p in parts if _SESSION.fullmatch(p)), "")


def kind_of(path: Path) -> str | None:
    """ct, labels or radiograph by a file's suffix; "" for what is none of them; None where the name does not say."""
    stem = strip_suffix(path.name).split(".")[0]
    return _KINDS.get(stem.rpartition("_")[2].lower()) if stem.startswith("sub-") else None


def participants(folder: Path) -> dict[str, tuple[dict[str, str], list[str]]]:
    """What participants.tsv says of each subject, in the sheet's columns, and notes on what it does not say clearly.

    Units are those of participants.json, else years, kilograms and, by the value, metres or centimetres.

    Raises:
        MskdexError: a file that cannot be read, or one without participant_id.
    """
    path = folder / "participants.tsv"
    if not path.is_file():
        return {}
    try:
        with open(path, encoding="utf-8-sig", newline="") as handle:
            rows = list(csv.DictReader(handle, delimiter="\t"))
        beside = path.with_suffix(".json")
        described = json.loads(beside.read_text(encoding="utf-8-sig")) if beside.is_file() else {}
    except (OSError, ValueError, csv.Error) as error:
        msg = f"{path} or its JSON cannot be read ({error}); save it as tab-separated UTF-8"
        raise MskdexError(msg) from error
    if rows and "participant_id" not in rows[0]:
        msg = f"{path} has no column participant_id; BIDS asks for it"
        raise MskdexError(msg)
    return {f"sub-{(row['participant_id'] or '').removeprefix('sub-')}": _facts(row, described) for row in rows}


def _facts(row: dict[str, str], described: Any) -> tuple[dict[str, str], list[str]]:
    values = {str(k).lower(): str(v or "").strip() for k, v in row.items() if k}
    facts, notes = {}, []
    if (sex := values.get("sex", values.get("gender", "")).lower()) in _SEXES:
        facts["sex"] = _SEXES[sex]
    for name, (column, factors) in _FACTORS.items():
        text = values.get(name, "")
        if text.lower() in _MISSING:
            continue
        unit = _unit(described, name)
        try:
            number = float(text)
        except ValueError:
            notes.append(f"{column}: participants.tsv says {text}; give a number")
            continue
        if unit and unit not in factors:
            notes.append(f"{column}: participants.json gives {name} in {unit}; convert it")
            continue
        factor = factors[unit] if unit else 100.0 if name == "height" and number < 3 else 1.0
        facts[column] = f"{number * factor:.6g}"
    return facts, notes


def _unit(described: Any, name: str) -> str:
    entry = described.get(name, {}) if isinstance(described, dict) else {}
    return str(entry.get("Units", "")).strip().lower() if isinstance(entry, dict) else ""
