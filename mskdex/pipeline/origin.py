"""Whether the results in a folder are those that Snakemake has kept notes about."""

import contextlib
import uuid
from collections.abc import Sequence
from pathlib import Path

from mskdex.errors import MskdexError
from mskdex.io.artifacts import atomic_path

RESULTS = Path("results")
IN_RESULTS = RESULTS / "origin.txt"
IN_NOTES = Path(".snakemake/mskdex-origin")
_NOTES = Path(".snakemake/metadata")
_MADE = ("virtual", "segmentation", "patients", "cohort", "experiments", "evaluation", "report")


def check_origin(arguments: Sequence[str]) -> None:
    """Refuses results whose settings, code and inputs nobody has noted: an edit of these would rerun nothing.

    Args:
        arguments: Snakemake's; --forceall makes everything anew, so it is let through. Its own settings of that are
            not there yet when the Snakefile is read.

    Raises:
        MskdexError: results/ was copied here without the .snakemake of its project.
    """
    if not {"--forceall", "-F"} & set(arguments) and not belongs():
        msg = (
            "results/ was put here without the .snakemake folder of its project, which holds what each file was made "
            "from; copy that folder too, and what has changed since is made again. Otherwise run once with "
            "--forceall to make everything anew, or with --forceall --touch to declare all of it as made from this "
            "config and these files"
        )
        raise MskdexError(msg)


def belongs() -> bool:
    """Whether nothing is in results/ yet, or the notes in .snakemake are about it."""
    if not any(_has_files(RESULTS / name) for name in _MADE):
        return True
    mark, noted = _read(IN_RESULTS), _read(IN_NOTES)
    if mark is None and noted is None:  # made before there were marks
        return _has_files(_NOTES)
    return mark is not None and mark == noted


def mark_origin() -> None:
    """Marks results/ and .snakemake as belonging to each other."""
    mark = _read(IN_RESULTS) or uuid.uuid4().hex
    for file in (IN_RESULTS, IN_NOTES):
        if _read(file) != mark:
            with atomic_path(file) as temporary:
                temporary.write_text(mark + "\n", encoding="utf-8")


def _has_files(folder: Path) -> bool:
    return next((p for p in folder.rglob("*") if p.is_file()), None) is not None if folder.is_dir() else False


def _read(file: Path) -> str | None:
    with contextlib.suppress(OSError, UnicodeDecodeError):
        return file.read_text(encoding="utf-8").strip() or None
    return None
