"""Evidence of who a patient's files belong to: digests of their content, and the PatientID of DICOM files."""

import hashlib
import os
import re
from collections.abc import Collection, Mapping
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
from pydicom.dataset import Dataset

from mskdex.errors import MskdexError
from mskdex.imaging.radiograph_source import MODALITIES
from mskdex.imaging.radiograph_tags import text_of
from mskdex.io.dicom import read_header
from mskdex.io.files import file_kind

_KINDS: dict[str, tuple[str, Collection[str]]] = {
    "ct": ("ct_series", {"CT"}),
    "labels": ("label_series", {"SEG"}),
    "radiograph": ("", MODALITIES),
}
"""By column of the sheet: the column that names its series, and the modalities that it may be."""

_NOBODY = re.compile(
    r"anon|anonym|anonymous|anonymi[sz]ed|anonymisiert|de-?identified|removed|redacted|deleted|unknown|unk|none|null|"
    r"nan|n/?a|no[ _-]?(id|name)|id|pat|patient|test|dummy|phantom|pseudonym|subject|research|x+|[0 ._?*-]*"
)
"""What stands for a PatientID that has been taken away."""


_TAGS = ("PatientID", "PatientSex", "PatientBirthDate", "StudyDate", "Modality", "SeriesInstanceUID")
_DAYS = 366
"""Muscles change within years: a radiograph this much older or younger than the CT shows another body."""


def content_digest(array: np.ndarray) -> str:
    """Digest of an image's or a volume's values, whatever the file they came from is called or says beside them."""
    digest = hashlib.sha256(repr((array.shape, array.dtype.str)).encode())
    digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()


def dicom_patient_ids(row: Mapping[str, Any]) -> dict[str, str]:
    """The PatientIDs of a patient's DICOM files, which are compared and neither kept nor told.

    Args:
        row: the patient's row of the sheet.

    Returns:
        By column (ct, labels, radiograph), in small letters and without leading zeros. Columns whose files are not
        DICOM or say nobody in particular (blank, ANONYMOUS, ...) are left out, all where the row's
        allow_id_mismatch is set.
    """
    if row.get("allow_id_mismatch") in (True, "yes"):
        return {}
    found = {}
    for column, (series, modalities) in _KINDS.items():
        path = row.get(column)
        header = _header(Path(path), row.get(series), modalities) if isinstance(path, str) else None
        if header is not None and (who := _patient_id(header)):
            found[column] = who
    return found


def person_doubts(row: Mapping[str, Any]) -> list[str]:
    """What DICOM files of a row say of sex, birth and dates that is not of one patient at one time; no value is told.

    Args:
        row: the patient's row of the sheet.

    Returns:
        Warnings: sexes or birth dates that differ, the sheet's sex included; CT and radiograph more than a year apart.
    """
    headers = {
        column: header
        for column, (series, modalities) in _KINDS.items()
        if isinstance(path := row.get(column), str) and (header := _header(Path(path), row.get(series), modalities))
    }
    doubts = []
    for tag, name in (("PatientSex", "sex"), ("PatientBirthDate", "birth date")):
        said = {c: v for c, h in headers.items() if (v := text_of(h, tag).upper()) and v != "O"}
        if tag == "PatientSex" and row.get("sex") in ("F", "M"):
            said["sheet"] = str(row["sex"])
        if len(set(said.values())) > 1 and row.get("allow_id_mismatch") not in (True, "yes"):
            doubts.append(
                f"{' and '.join(said)} give two values of the patient's {name}: they may be of two patients; look at "
                "the paths, and at what de-identification left"
            )
    days = [_date(text_of(headers[c], "StudyDate")) for c in ("ct", "radiograph") if c in headers]
    if len(days) == 2 and None not in days and abs((days[0] - days[1]).days) > _DAYS:  # type: ignore[operator]
        doubts.append(
            "CT and radiograph were taken more than a year apart (StudyDate): muscles may have changed between"
        )
    return doubts


def _date(text: str) -> date | None:
    """A date of DICOM; None where it is none."""
    try:
        return date(int(text[:4]), int(text[4:6]), int(text[6:8]))
    except ValueError:
        return None


def require_one_patient(row: Mapping[str, Any]) -> None:
    """Refuses DICOM files of a row whose PatientIDs differ.

    Raises:
        MskdexError: names the files, not the ids.
    """
    ids = dicom_patient_ids(row)
    first = next(iter(ids), "")
    for column, who in ids.items():
        if who != ids[first]:
            msg = (
                f"{row[first]} and {row[column]} have different DICOM PatientIDs, so {first} and {column} are of two "
                "patients; correct the paths, or write yes into the sheet's column allow_id_mismatch if you know that "
                "they are one person's"
            )
            raise MskdexError(msg)


def _patient_id(header: Dataset) -> str:
    """PatientID of a header; "" where there is none or it names nobody."""
    who = text_of(header, "PatientID").casefold()
    return "" if _NOBODY.fullmatch(who) else who.lstrip("0")


def _header(path: Path, series_uid: Any, modalities: Collection[str]) -> Dataset | None:
    """The header of the first file of the series and modality."""
    for file in _files(path):
        if file_kind(file) != "dicom":
            continue
        header = read_header(file, _TAGS)
        wanted = not isinstance(series_uid, str) or text_of(header, "SeriesInstanceUID") == series_uid
        if wanted and text_of(header, "Modality") in modalities:
            return header
    return None


def _files(path: Path) -> list[Path]:
    if path.is_file():
        return [path]
    found: list[Path] = []
    for folder, folders, names in os.walk(path):
        folders.sort()
        found += [Path(folder, n) for n in sorted(names) if not n.startswith(".")]
    return [f for f in found if f.is_file() and f.stat().st_size > 0]
