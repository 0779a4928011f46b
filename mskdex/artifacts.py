"""Files that a stage leaves behind: written whole or not at all, and read with plain errors."""

import contextlib
import errno
import json
import os
import platform
import secrets
import shutil
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from mskdex import __version__
from mskdex.errors import MskdexError

_NO_ROOM_BYTES = 65536


@contextlib.contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Gives a temporary path beside `path` to write to, and renames it to `path` on success.

    The temporary name keeps the suffixes, because writers choose the format by them, and no two writers share one,
    on this machine or another. On an exception the temporary file is removed and `path` is left as it was.

    Raises:
        MskdexError: the disk is full.
    """
    path = Path(path)
    temporary = path.with_name(f".{secrets.token_hex(6)}.{path.name}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        with open(temporary, "rb") as handle:
            os.fsync(handle.fileno())
        os.replace(temporary, path)
    except Exception as error:
        if disk_is_full(error, path.parent):
            msg = f"{path} could not be written, the disk is full; free some space and run the same command again"
            raise MskdexError(msg) from error
        raise
    finally:
        temporary.unlink(missing_ok=True)


def disk_is_full(error: BaseException, folder: Path) -> bool:
    """Whether writing failed for want of space: no room, a quota, or a limit on the size of files.

    Args:
        error: what the writer raised; libraries that keep no errno say it in words.
        folder: where it wrote.
    """
    codes = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
    told = getattr(error, "errno", None) in codes or any(os.strerror(code) in str(error) for code in codes)
    return told or (folder.is_dir() and shutil.disk_usage(folder).free < _NO_ROOM_BYTES)


def write_json(path: Path, content: Any) -> None:
    """Writes JSON, indented; NaN and infinity are refused."""
    with atomic_path(path) as temporary:
        text = json.dumps(content, indent=1, allow_nan=False, default=_jsonable)
        temporary.write_text(text + "\n", encoding="utf-8")


def read_json(path: Path, *, made_here: bool = True) -> Any:
    """Reads JSON.

    Args:
        path: the file.
        made_here: whether the workflow made it and can make it again; a user's own file is never moved.

    Raises:
        MskdexError: it cannot be read; a damaged artifact has been moved away, see `damaged`.
    """
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise (damaged if made_here else _unreadable)(path, error) from error


def write_parquet(path: Path, table: Any) -> None:
    """Writes a pandas table as Parquet."""
    with atomic_path(path) as temporary:
        table.to_parquet(temporary, index=False)


def write_rows(path: Path, rows: list[dict[str, Any]]) -> None:
    """Writes rows as Parquet without pandas, whose import costs as much as a light stage does."""
    import pyarrow
    import pyarrow.parquet

    with atomic_path(path) as temporary:
        pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), temporary)


def read_rows(path: Path) -> list[dict[str, Any]]:
    """Reads a Parquet table that the workflow made, without pandas; errors as of `read_json`."""
    import pyarrow.parquet

    try:
        return pyarrow.parquet.read_table(path).to_pylist()
    except MemoryError:
        raise
    except Exception as error:
        raise damaged(path, error) from error


def read_parquet(path: Path, *, made_here: bool = True) -> Any:
    """Reads a Parquet table; arguments and errors as of `read_json`."""
    import pandas as pd

    try:
        return pd.read_parquet(path)
    except MemoryError:
        raise
    except Exception as error:
        raise (damaged if made_here else _unreadable)(path, error) from error


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


def damaged(path: Path, error: Exception) -> MskdexError:
    """The error about an artifact that cannot be read, which is moved to NAME.damaged so that it is made again.

    What the system itself refuses to give (absent, no permission, a failing disk) stays where it is. Of a link, as
    Snakemake's cache between workflows leaves it, the file behind is moved and the link removed.
    """
    path = Path(path)
    if isinstance(error, OSError) and error.errno:
        return _unreadable(path, error)
    real = path.resolve()
    away = real.with_name(f"{real.name}.damaged")
    try:
        os.replace(real, away)
        path.unlink(missing_ok=True)
    except OSError:
        return _unreadable(path, error)
    return MskdexError(
        f"{_whose(path)}{path} is damaged ({_reason(error)}); it was moved to {away.name}, "
        "run the same command again and it will be made anew"
    )


def _unreadable(path: Path, error: Exception) -> MskdexError:
    return MskdexError(
        f"{_whose(Path(path))}{path} cannot be read ({_reason(error)}); "
        "where the workflow made it, delete it and run the same command again, otherwise put a good copy there"
    )


def _whose(path: Path) -> str:
    return f"patient {path.parent.name}: " if path.parent.parent.name == "patients" else ""


def _reason(error: Exception) -> str:
    """The last line of an error: libraries put their own source's place before it."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else type(error).__name__
