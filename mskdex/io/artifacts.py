"""Files that a stage leaves behind: written whole or not at all, sealed, and checked when read.

What a user owns is read by `mskdex.io.user_files`.
"""

import contextlib
import errno
import json
import os
import platform
import secrets
import shutil
import stat
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from mskdex import __version__
from mskdex.errors import MskdexError
from mskdex.io.damage import check_seal, damaged
from mskdex.io.seal import KEY, digest_holds, require_digest, sign, unsigned

_NO_ROOM_BYTES = 65536
_CONTENT = "content"


@contextlib.contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Gives a temporary path beside `path` to write to, and renames it to `path` on success.

    The temporary name keeps the suffixes, because writers choose the format by them, and no two writers share one,
    on this machine or another. On an exception the temporary file is removed and `path` is left as it was. Its mode is
    that of any new file, 0666 less the umask, whatever the writer makes of it.

    Raises:
        MskdexError: the disk is full, or the folder may not be written to.
    """
    path = Path(path)
    temporary = path.with_name(f".{secrets.token_hex(6)}.{path.name}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        mode = _new_file(temporary)
        yield temporary
        temporary.chmod(mode)
        with open(temporary, "rb") as handle:
            os.fsync(handle.fileno())
        os.replace(temporary, path)
    except Exception as error:
        if disk_is_full(error, path.parent):
            msg = f"{path} could not be written, the disk is full; free some space and run the same command again"
            raise MskdexError(msg) from error
        if isinstance(error, PermissionError) and str(error.filename).startswith(str(path.parent)):
            msg = f"{path} could not be written ({error.strerror}); give yourself the right to write to {path.parent}"
            raise MskdexError(msg) from error
        raise
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink()


def disk_is_full(error: BaseException, folder: Path) -> bool:
    """Whether writing failed for want of space: no room, a quota, or a limit on the size of files.

    Args:
        error: what the writer raised; libraries that keep no errno say it in words.
        folder: where it wrote.
    """
    codes = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
    reported = getattr(error, "errno", None) in codes or any(os.strerror(code) in str(error) for code in codes)
    return reported or (folder.is_dir() and shutil.disk_usage(folder).free < _NO_ROOM_BYTES)


def _new_file(path: Path) -> int:
    """Makes an empty file and returns its mode: the umask cannot be asked without changing it for all threads."""
    with open(path, "xb") as handle:
        return stat.S_IMODE(os.fstat(handle.fileno()).st_mode)


def write_plain_json(path: Path, content: Any) -> None:
    """Writes JSON for people and other programs, indented and without a seal; NaN and infinity are refused."""
    with atomic_path(path) as temporary:
        text = json.dumps(content, indent=1, allow_nan=False, default=_jsonable)
        temporary.write_text(text + "\n", encoding="utf-8")


def write_json(path: Path, content: Any, *, of: str | None = None) -> None:
    """Writes a JSON object with its seal as the last key; what is no object stands under `content`.

    NaN and infinity are refused.

    Args:
        path: the file.
        content: what it shall hold.
        of: whose it is, "patient V0001", where the path does not say.
    """
    whole = content if isinstance(content, Mapping) and set(content) != {_CONTENT} else {_CONTENT: content}
    with atomic_path(path) as temporary:
        text = json.dumps({**whole, KEY: unsigned(path, of)}, indent=1, allow_nan=False, default=_jsonable)
        temporary.write_text(text + "\n", encoding="utf-8")
        sign(temporary)


def read_json(path: Path) -> Any:
    """Reads what `write_json` wrote.

    Raises:
        MskdexError: it cannot be read, or is not the artifact of its place; a damaged one has been moved away, see
            `mskdex.io.damage`.
    """
    return read_sealed(path, _from_json)


def _from_json(content: bytearray) -> tuple[Any, Any]:
    whole = json.loads(content)
    seal = whole.pop(KEY, None) if isinstance(whole, dict) else None
    return seal, whole[_CONTENT] if seal and set(whole) == {_CONTENT} else whole


def read_sealed(path: Path, parse: Callable[[bytearray], tuple[Any, Any]]) -> Any:
    """Reads an artifact, checks its digest and whose it is.

    Args:
        path: the file.
        parse: takes the file's bytes to (seal, content); the seal is None where the file has none.

    Raises:
        MskdexError: as of `read_json`.
    """
    try:
        content = bytearray(Path(path).read_bytes())
        holds = digest_holds(content)
        seal, parsed = (None, None) if holds is False else parse(content)
        require_digest(holds, seal)
    except Exception as error:  # of damaged bytes a parser may raise anything
        raise damaged(path, error) from error
    check_seal(path, seal)
    return parsed


def write_parquet(path: Path, table: Any) -> None:
    """Writes a pandas table as Parquet, with its seal in the schema's metadata."""
    import pyarrow

    _write_arrow(path, pyarrow.Table.from_pandas(table, preserve_index=False))


def write_rows(path: Path, rows: list[dict[str, Any]]) -> None:
    """Writes rows as a sealed Parquet file, without pandas, whose import costs as much as a light stage does.

    Args:
        path: the file, put in place when it is whole.
        rows: by column; a key that a row lacks is null.
    """
    import pyarrow

    _write_arrow(path, pyarrow.Table.from_pylist(rows))


def _write_arrow(path: Path, table: Any) -> None:
    with parquet_writer(path, table.schema) as writer:
        writer.write_table(table)


@contextlib.contextmanager
def parquet_writer(path: Path, schema: Any) -> Iterator[Any]:
    """Gives a pyarrow ParquetWriter whose file is sealed and put in place at the end.

    Args:
        path: the file.
        schema: pyarrow schema of the tables to come.
    """
    from pyarrow.parquet import ParquetWriter

    sealed = schema.with_metadata({**(schema.metadata or {}), KEY: json.dumps(unsigned(path))})
    with atomic_path(path) as temporary:
        with ParquetWriter(temporary, sealed) as writer:
            yield writer
        sign(temporary)


def read_rows(path: Path) -> list[dict[str, Any]]:
    """Reads a Parquet artifact as rows, without pandas; errors as of `read_json`."""
    return read_sealed(path, _from_parquet).to_pylist()


def read_parquet(path: Path) -> Any:
    """Reads a Parquet artifact as a pandas table; errors as of `read_json`."""
    return read_sealed(path, _from_parquet).to_pandas()


def _from_parquet(content: bytearray) -> tuple[Any, Any]:
    import pyarrow
    import pyarrow.parquet

    table = pyarrow.parquet.read_table(pyarrow.BufferReader(content))
    seal = (table.schema.metadata or {}).get(KEY.encode())
    return json.loads(seal) if seal else None, table


def manifest(stage: str, started: float, **facts: Any) -> dict[str, Any]:
    """A stage's run manifest: versions, machine and run time, beside the stage's own facts.

    Args:
        stage: name of the stage.
        started: `time.time()` at the stage's start.
        facts: what else the stage wants to record (seed, device, settings, input hashes).
    """
    return {
        "stage": stage,
        "mskdex": __version__,
        "python": platform.python_version(),
        "numpy": np.__version__,
        "machine": platform.machine(),
        "seconds": round(time.time() - started, 3),
        **facts,
    }


def _jsonable(value: Any) -> Any:
    if isinstance(value, np.ndarray | np.generic):
        return value.tolist()
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, Mapping):
        return dict(value)
    msg = f"cannot write {type(value).__name__} as JSON"
    raise TypeError(msg)
