"""The user's files that a stage reads, compared by content: what was read is kept beside the result.

A file counts as unchanged while its size and times are; one whose times differ is hashed again, so that neither the
first plan of a large cohort reads its images nor an edit is missed.
"""

import contextlib
import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from mskdex.errors import MskdexError
from mskdex.io.artifacts import write_plain_json

RECORD = "sources.json"
"""In a patient's folder: the edition that the import was planned with, and each file's state and hash."""

FIRST = "first"
"""The edition of files that nothing has been made of yet; they are not read to plan that."""

_MADE = "labels.nii.gz"
"""What the import and the segmentation make in the record's folder."""

State = list[int]
"""Size, time of writing and time of the last change of a file or its name, in bytes and ns."""


class Digests:
    """SHA-256 of files by path and state, kept in a file, so that one is hashed once however often a run is planned."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._known: dict[str, tuple[State, str]] | None = None

    def of(self, path: str | Path) -> str:
        """The hash of a file."""
        state = file_state(path)
        found = self._read().get(str(path))
        if found and found[0] == state:
            return found[1]
        digest = file_digest(path)
        self._read()[str(path)] = (state, digest)
        with contextlib.suppress(OSError):  # a folder that cannot be written to costs the next plan time, nothing else
            self._file.parent.mkdir(parents=True, exist_ok=True)
            with open(self._file, "a", encoding="utf-8") as handle:
                handle.write(json.dumps([str(path), state, digest]) + "\n")
        return digest

    def _read(self) -> dict[str, tuple[State, str]]:
        if self._known is None:
            self._known = {}
            with contextlib.suppress(OSError), open(self._file, encoding="utf-8") as handle:
                for line in handle:
                    with contextlib.suppress(ValueError):  # the last line of a process that was killed
                        path, state, digest = json.loads(line)
                        self._known[path] = (state, digest)
        return self._known


def edition(row: Mapping[str, Any], columns: Iterable[str], record: Path, digests: Digests, *, full: bool) -> str:
    """What stands for the content of a patient's files: it changes when the content does.

    Args:
        row: the patient's row of the sheet.
        columns: columns of paths that count.
        record: what `recorded` wrote when the files were read; its folder holds what was made of them.
        digests: hashes of files that are known.
        full: whether every file is to be hashed, whatever is recorded.

    Returns:
        The recorded edition while the contents are those recorded; FIRST before anything is made of the files;
        otherwise a hash of names and contents.
    """
    files = source_files(row, columns)
    known = None if full else _recorded(record)
    if known is None and not full and not record.with_name(_MADE).exists():
        return FIRST
    recorded = known["files"] if known else {}
    states = {key: file_state(path) for key, path in files.items()}
    if known and {key: entry[:3] for key, entry in recorded.items()} == states:
        return known["edition"]
    hashes = {
        key: recorded[key][3] if key in recorded and recorded[key][:3] == states[key] else digests.of(path)
        for key, path in files.items()
    }
    if known and hashes == {key: entry[3] for key, entry in recorded.items()}:
        return known["edition"]
    return text_digest(json.dumps(sorted(hashes.items())))


@contextlib.contextmanager
def recorded(row: Mapping[str, Any], columns: Iterable[str], planned: str | None, folder: Path) -> Iterator[None]:
    """Records the files' states and hashes as they are before the body reads them, once it has ended well.

    Args:
        row: the patient's row of the sheet.
        columns: columns of paths that count.
        planned: `edition` when the job was planned; None keeps no record.
        folder: where the record goes, that of what is made of the files.
    """
    files = source_files(row, columns) if planned is not None else {}
    try:
        entries = {key: [*file_state(path), file_digest(path)] for key, path in files.items()}
    except MskdexError as error:
        msg = f"patient {row.get('patient_id', '?')}: {error}"
        raise MskdexError(msg) from error
    yield
    if entries:
        write_plain_json(folder / RECORD, {"edition": planned, "files": entries})


def source_files(row: Mapping[str, Any], columns: Iterable[str]) -> dict[str, str]:
    """Every file that reading some columns of the sheet can open, by column and name within the source.

    Of a folder that is every file, hidden ones apart; of a label map the JSON of names beside it; of an MHD or NHDR
    header its data file.
    """
    return {key: path for column in columns if row.get(column) for key, path in _files_of(column, str(row[column]))}


def folder_files(folder: Path) -> list[Path]:
    """All files of a folder and the folders below, hidden ones apart, in order."""
    return [Path(path) for path in sorted(_inside(str(folder)))]


def file_state(path: str | Path) -> State:
    """A file's state: while it stays, so does the content; errors as of `file_digest`."""
    try:
        stat = os.stat(path)  # noqa: PTH116
    except OSError as error:
        raise _unreadable(path, error) from error
    return [stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns]


def file_digest(path: str | Path) -> str:
    """SHA-256 of a file.

    Raises:
        MskdexError: it cannot be read.
    """
    try:
        with open(path, "rb") as handle:
            return hashlib.file_digest(handle, "sha256").hexdigest()
    except OSError as error:
        raise _unreadable(path, error) from error


def text_digest(text: str) -> str:
    """A short hash of a text."""
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _unreadable(path: str | Path, error: OSError) -> MskdexError:
    return MskdexError(f"{path} cannot be read ({error.strerror}); correct the path or its permissions")


def _files_of(column: str, path: str) -> Iterator[tuple[str, str]]:
    """Keys and paths as text: a series has hundreds of files, of which each plan looks at every one."""
    if os.path.isdir(path):  # noqa: PTH112
        start = len(path.rstrip("/"))
        for file in _inside(path.rstrip("/")):
            yield column + file[start:], file
    elif os.path.isfile(path):  # noqa: PTH113
        for found in [Path(path), *_beside(column, Path(path))]:
            yield f"{column}/{os.path.relpath(found, Path(path).parent)}", str(found)


def _inside(folder: str) -> Iterator[str]:
    """Files of a folder and those below; links to folders are not followed, as no reader does."""
    try:
        with os.scandir(folder) as entries:
            found = list(entries)
    except OSError as error:
        raise _unreadable(folder, error) from error
    for entry in found:
        if entry.is_dir(follow_symlinks=False):
            yield from _inside(entry.path)
        elif not entry.name.startswith(".") and entry.is_file():
            yield entry.path


def _beside(column: str, path: Path) -> list[Path]:
    from mskdex.imaging.label_names import names_beside
    from mskdex.io.files import file_kind, reading
    from mskdex.io.metaimage import read_metaimage_header
    from mskdex.io.nrrd import read_nrrd_header

    names = [names_beside(path)] if column == "labels" and names_beside(path).is_file() else []
    if path.suffix.lower() not in {".mhd", ".nhdr", ".mha", ".nrrd"}:
        return names
    try:
        with reading(path):
            header = read_nrrd_header(path) if file_kind(path) == "nrrd" else read_metaimage_header(path, "labels")
    except MskdexError:  # the import says what is wrong with it
        return names
    return names if header.data == path else [*names, header.data]


def _recorded(record: Path) -> dict[str, Any] | None:
    """What `recorded` wrote; None where it is not there or damaged: then all contents are compared."""
    try:
        found = json.loads(record.read_text(encoding="utf-8"))
        whole = isinstance(found["edition"], str) and all(len(entry) == 4 for entry in found["files"].values())
        return found if whole else None
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
