"""Who is the same person: rows of the sheet that `same_patient_as` ties together."""

from collections.abc import Iterable, Mapping


def persons(same_as: Mapping[str, str | None]) -> dict[str, str]:
    """The person behind every row.

    Args:
        same_as: for every patient_id the one that the sheet calls the same person, or None. Ties are followed
            through any number of rows; ids that are not among the keys count too.

    Returns:
        For every patient_id a name of its person: the first, in alphabetical order, of all ids that are tied to it.
    """
    person = {p: p for p in same_as}

    def first(patient: str) -> str:
        while person.setdefault(patient, patient) != patient:
            person[patient] = person[person[patient]]
            patient = person[patient]
        return patient

    for patient, other in same_as.items():
        if other:
            low, high = sorted((first(patient), first(other)))
            person[high] = low
    return {p: first(p) for p in same_as}


def shared(values: Iterable[tuple[str, str]]) -> list[tuple[str, list[str]]]:
    """Values that several patients have, with those patients, from (patient_id, value) pairs."""
    found: dict[str, list[str]] = {}
    for patient, value in values:
        found.setdefault(value, []).append(patient)
    return [(value, patients) for value, patients in found.items() if len(patients) > 1]
