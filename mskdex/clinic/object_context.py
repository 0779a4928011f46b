"""What all DICOM objects of one prediction share: who made them, when, and their UIDs."""

import hashlib
import uuid
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from pydicom.uid import UID

from mskdex import __version__
from mskdex.models.model import ModelCard

MANUFACTURER = "MSKdeX"
NOTICE = "Research software, not a medical device. Intervals hold for patients like the held-out ones only."

_NAMESPACE = uuid.UUID("c1c4f3a6-3f0b-5c57-9a4e-6d2f0a7f5b11")


@dataclass(frozen=True)
class Algorithm:
    """The model that predicted.

    Attributes:
        card: what the model's file says about itself.
        sha256: of the model's file.
    """

    card: ModelCard
    sha256: str

    @classmethod
    def of(cls, path: Path, card: ModelCard) -> "Algorithm":
        """The model of a file."""
        with open(path, "rb") as handle:
            return cls(card, hashlib.file_digest(handle, "sha256").hexdigest())

    @property
    def identifier(self) -> str:
        """The model in one text: experiment, fold and the start of its digest."""
        return f"{self.card.name}, {self.card.left_out}, sha256 {self.sha256[:16]}"


@dataclass(frozen=True)
class ObjectContext:
    """How the objects of one prediction are made.

    Attributes:
        algorithm: the model.
        of: what the prediction is of and what it says; the same text and model give the same UIDs.
        created: when.
    """

    algorithm: Algorithm
    of: str
    created: datetime = field(default_factory=datetime.now)

    def uid(self, what: str) -> str:
        """A UID for one thing of this prediction, under 2.25 (ITU-T X.667), the same whenever it is asked for."""
        return derived_uid(__version__, self.algorithm.sha256, self.of, what)

    def instance(self, what: str, number: int) -> dict[str, Any]:
        """Arguments of highdicom's constructors that are alike in all objects; `number` is that of the series."""
        return {
            "series_instance_uid": self.uid(f"series {what}"),
            "series_number": number,
            "sop_instance_uid": self.uid(f"instance {what}"),
            "instance_number": 1,
            "series_description": f"MSKdeX {what}",
            "manufacturer": MANUFACTURER,
            "manufacturer_model_name": "MSKdeX",
            "software_versions": __version__,
            "device_serial_number": self.algorithm.sha256[:16],
            "content_date": self.created.date(),
            "content_time": self.created.time(),
        }


def derived_uid(*parts: str) -> str:
    """A UID made of texts: the same texts give the same UID."""
    return str(UID(f"2.25.{uuid.uuid5(_NAMESPACE, chr(10).join(parts)).int}"))
