"""A mutated patient, and what may come of it."""

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Case:
    """A mutated patient.

    Attributes:
        row: of the sheet.
        what: the mutation, for the reader.
        claim: what the mutated place is:
            "free": no number may come of it;
            "used": the numbers must become what a second reader says, and nothing else may contradict them;
            "raw": bytes without a checksum, which must become what a second reader says;
            "picture": as "used", or nothing changes;
            "twice": another place says the same, so that numbers may not change and a contradiction is said;
            "stream": bytes of a checked stream, so that an error comes or nothing changed;
            "names", "sheet": the numbers must become what names or cells say;
            "open": nobody can tell, as where bits merge two elements: a change is counted, not called right or wrong.
        part: "ct", "labels", "both", "radiograph" or "sheet".
        settings: changes of the import's settings.
        contradicts: of "twice", whether the new value contradicts the other place beyond rounding.
        expected: of the sheet and of names, what a second reader cannot see; see `outcomes`.
    """

    row: dict[str, Any]
    what: str
    claim: str
    part: str
    settings: dict[str, Any] = field(default_factory=dict)
    contradicts: bool = False
    expected: Any = None
