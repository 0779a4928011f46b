"""The errors about an artifact that is not what its place in the results folder promises."""

import os
from pathlib import Path
from typing import Any

from mskdex.errors import MskdexError
from mskdex.io.seal import Identity, identity_of


def damaged(path: Path, error: Exception) -> MskdexError:
    """The error about an artifact that cannot be read, which is moved to NAME.damaged so that it is made again.

    Only for files that the workflow makes; those of users are read by `mskdex.io.user_files`. What the system itself
    refuses to give (absent, no permission, a failing disk) stays where it is. Of a link, as Snakemake's cache between
    workflows leaves it, the file behind is moved and the link removed.
    """
    path = Path(path)
    if isinstance(error, MemoryError):
        return MskdexError(f"{of_patient(path)}{path} does not fit into memory; give the job more and run it again")
    if isinstance(error, OSError) and error.errno:
        return _refused(path, error)
    real = path.resolve()
    away = real.with_name(f"{real.name}.damaged")
    try:
        os.replace(real, away)
        path.unlink(missing_ok=True)
    except OSError as refusal:
        return MskdexError(
            f"{of_patient(path)}{path} is damaged ({_reason(error)}) and cannot be moved away ({refusal.strerror}); "
            "delete it and run the same command again"
        )
    return MskdexError(
        f"{of_patient(path)}{path} is damaged ({_reason(error)}); it was moved to {away.name}, "
        "run the same command again and it will be made anew"
    )


def check_seal(path: Path, seal: Any) -> None:
    """Asserts that an artifact whose digest holds is the one that belongs at its place.

    Args:
        path: where it was found.
        seal: what it says of itself, None where it has none.

    Raises:
        MskdexError: it has no seal, or is another patient's, another experiment's or another kind of artifact.
    """
    path = Path(path)
    if seal is None:
        msg = (
            f"{of_patient(path)}{path} carries no digest: it was written by an older version of MSKdeX, or by hand; "
            "delete it, or the whole results folder, and run the same command again"
        )
        raise MskdexError(msg)
    check_identity(path, identity_of(seal))


def check_identity(path: Path, identity: Identity) -> None:
    """Asserts that an artifact is that of its place; errors as of `check_seal`. It is not moved: it is whole."""
    expected = Identity.at(path)
    if identity.contradicts(expected):
        msg = (
            f"{of_patient(path)}{path} should be {expected}, but holds {identity}; "
            "move it back to where it belongs, or delete it, and run the same command again"
        )
        raise MskdexError(msg)


def of_patient(path: Path) -> str:
    """The patient of an artifact, to begin a sentence with; empty where the path names none."""
    return f"patient {path.parent.name}: " if path.parent.parent.name == "patients" else ""


def _refused(path: Path, error: OSError) -> MskdexError:
    """The error about a file that the system does not give."""
    advice = {
        FileNotFoundError: "run the same command again and it will be made anew",
        PermissionError: "give yourself the right to read it, and run the same command again",
    }.get(type(error), "delete it where the disk allows, and run the same command again")
    return MskdexError(f"{of_patient(path)}{path} cannot be read ({error.strerror}); {advice}")


def _reason(error: Exception) -> str:
    """The last line of an error: libraries put their own source's place before it."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else type(error).__name__
