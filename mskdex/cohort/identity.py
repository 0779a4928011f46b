"""Whether one patient is in the cohort under two ids."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from mskdex.cohort.persons import shared

_LEAST_FOR_A_COMMON_ID = 3


@dataclass(frozen=True)
class Evidence:
    """What a patient's files say about who they are of.

    Attributes:
        patient_id: the sheet's.
        person: alike for rows that `same_patient_as` ties together.
        files: by column of the sheet, the path, for messages.
        digests: by column of the sheet, digests of the file and of the values that were read from it.
        dicom_ids: by column of the sheet, the DICOM PatientID; never written anywhere.
    """

    patient_id: str
    person: str
    files: Mapping[str, str]
    digests: Mapping[str, Sequence[str]]
    dicom_ids: Mapping[str, str]


@dataclass(frozen=True)
class Clash:
    """Two ids that are one person, or what makes that doubtful.

    Attributes:
        patient_id: the later one of the two in the sheet; "" where the whole cohort is concerned.
        column: of the sheet.
        message: what they share, and what to do.
        certain: False for a warning.
    """

    patient_id: str
    column: str
    message: str
    certain: bool = True


def clashes(cohort: Sequence[Evidence]) -> list[Clash]:
    """Finds persons who are in the cohort twice, by equal content and by equal DICOM PatientIDs.

    A PatientID that all patients share (at least three, of those that have one) is that of a study and not of a
    person: it is a warning.

    Args:
        cohort: the patients, in the sheet's order.
    """
    known = {e.patient_id: e for e in cohort}
    found: dict[tuple[str, str], Clash] = {}
    for column in ("ct", "labels", "radiograph"):
        values = [(e.patient_id, digest) for e in cohort for digest in dict.fromkeys(e.digests.get(column, ()))]
        for _, patients in shared(values):
            for first, second in _different_persons(known, patients):
                message = _same_content(column, known[first], known[second])
                found.setdefault((second, column), Clash(second, column, message))
    return [*found.values(), *_same_ids(known)]


def _same_ids(known: Mapping[str, Evidence]) -> Iterator[Clash]:
    having = [e.patient_id for e in known.values() if e.dicom_ids]
    values = [(e.patient_id, who) for e in known.values() for who in dict.fromkeys(e.dicom_ids.values())]
    for who, patients in shared(values):
        if len(patients) >= _LEAST_FOR_A_COMMON_ID and len(patients) == len(having):
            detail = f"the DICOM PatientID of all {len(patients)} patients is the same, so it says nothing about them"
            yield Clash("", "patient_id", detail, certain=False)
            continue
        for first, second in _different_persons(known, patients):
            one, other = (
                next(known[p].files[c] for c, w in known[p].dicom_ids.items() if w == who) for p in (first, second)
            )
            message = (
                f"{other} has the same DICOM PatientID as {one} of {first}; correct the paths, write {first} into "
                f"{second}'s same_patient_as if both are one person, or yes into allow_id_mismatch if the tag is wrong"
            )
            yield Clash(second, "patient_id", message)


def _different_persons(known: Mapping[str, Evidence], patients: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Each of some patients with the first one before them who, by the sheet, is another person."""
    for i, other in enumerate(patients):
        first = next((p for p in patients[:i] if known[p].person != known[other].person), None)
        if first is not None:
            yield first, other


def _same_content(column: str, first: Evidence, second: Evidence) -> str:
    what = {"ct": "the same CT", "labels": "the same labels", "radiograph": "the same radiograph"}[column]
    who = first.patient_id
    return (
        f"{second.files[column]} holds {what} as {first.files[column]} of {who}; correct the path, or write {who} into "
        f"{second.patient_id}'s same_patient_as if both are one person"
    )
