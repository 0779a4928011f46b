"""What every artifact carries beside its content: whose it is, and a digest of the whole file.

JSON, Parquet and safetensors files each hold one short text, the seal: the artifact's name, whose it is, and the
SHA-256 of the file's bytes with zeros in the digest's own place. Any program reads these files as ordinary ones.
"""

import hashlib
import mmap
from dataclasses import dataclass
from pathlib import Path
from typing import Any

KEY = "seal"
"""Name of the seal in a JSON object, in a Parquet schema's metadata, in a safetensors header's metadata."""

_MARK = b"mskdex-sha256:"
_ZEROS = b"0" * 64


@dataclass(frozen=True)
class Identity:
    """Which artifact a file is.

    Attributes:
        artifact: the file's name without its suffixes.
        of: "patient V0001", "experiment mskdex, fold 0", or both; empty for the whole cohort, or where it is not known.
    """

    artifact: str
    of: str

    @classmethod
    def at(cls, path: Path) -> "Identity":
        """What belongs at a place of the results folder, patients/{patient}/ or experiments/{experiment}/fold{k}/."""
        path = Path(path)
        return cls(_stem(path), _owner(path))

    def contradicts(self, other: "Identity") -> bool:
        """Whether the two cannot be the same artifact; an owner that is not known contradicts none."""
        return self.artifact != other.artifact or bool(self.of and other.of and self.of != other.of)

    def __str__(self) -> str:
        return f"{self.artifact} of {self.of}" if self.of else self.artifact


def _stem(path: Path) -> str:
    for suffix in (".nii.gz", ".safetensors", ".parquet", ".json"):
        if path.name.endswith(suffix):
            return path.name.removesuffix(suffix)
    return path.name


def _owner(path: Path) -> str:
    folder = path.parent
    if folder.parent.name == "patients":
        return f"patient {folder.name}"
    patient = ""
    if folder.name == "decompositions":
        patient, folder = f", patient {_stem(path)}", folder.parent
    elif folder.name == "checkpoint":
        folder = folder.parent
    if folder.parent.parent.name == "experiments" and folder.name.startswith("fold"):
        return f"experiment {folder.parent.name}, fold {folder.name.removeprefix('fold')}{patient}"
    return ""


def unsigned(path: Path, of: str | None = None) -> dict[str, Any]:
    """The seal of a file to be written, its digest not yet known; `sign` fills it in.

    Args:
        path: where the file will stand at last.
        of: whose it is, where the path does not say.
    """
    identity = Identity.at(path)
    return {"artifact": identity.artifact, "of": of or identity.of, "digest": (_MARK + _ZEROS).decode()}


def identity_of(seal: Any) -> Identity:
    """Reads what `unsigned` made."""
    return Identity(str(seal["artifact"]), str(seal["of"]))


def sign(path: Path) -> None:
    """Puts the digest into a file that holds an unsigned seal."""
    with open(path, "r+b") as handle:
        with mmap.mmap(handle.fileno(), 0, access=mmap.ACCESS_READ) as content:
            place = content.find(_MARK + _ZEROS) + len(_MARK)
            digest = hashlib.sha256(content).hexdigest()
        handle.seek(place)
        handle.write(digest.encode())


def digest_holds(content: bytearray | mmap.mmap) -> bool | None:
    """Whether a file's bytes are those that were signed; None where it has no seal.

    Args:
        content: the file's bytes, or a map of them with ACCESS_COPY; the digest in it is overwritten with zeros.
    """
    place = content.find(_MARK)
    if place < 0:
        return None
    place += len(_MARK)
    found = bytes(content[place : place + len(_ZEROS)])
    if len(found) < len(_ZEROS):
        return False
    content[place : place + len(_ZEROS)] = _ZEROS
    return hashlib.sha256(content).hexdigest().encode() == found


def file_digest_holds(path: Path) -> bool | None:
    """`digest_holds` of a file that is too large to be read at once.

    Raises:
        OSError: it cannot be opened.
        ValueError: it is empty.
    """
    with open(path, "rb") as handle, mmap.mmap(handle.fileno(), 0, access=mmap.ACCESS_COPY) as content:
        return digest_holds(content)


def require_digest(holds: bool | None, seal: Any) -> None:
    """Asserts that a file that has a seal has the digest of its bytes in it.

    Args:
        holds: from `digest_holds`.
        seal: what was read of the seal, None where there is none.

    Raises:
        ValueError: it has not.
    """
    if holds is False or (seal is not None and not holds):
        msg = "its bytes are not those that were written, their digest differs"
        raise ValueError(msg)
