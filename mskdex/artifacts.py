"""Files that a stage leaves behind: written whole or not at all, and read with plain errors."""

import contextlib
import json
import os
import platform
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from mskdex import __version__
from mskdex.errors import MskdexError


@contextlib.contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Gives a temporary path beside `path` to write to, and renames it to `path` on success.

    The temporary name keeps the suffixes, because writers choose the format by them. On an exception
    the temporary file is removed and `path` is left as it was.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{os.getpid()}.{path.name}")
    try:
        yield temporary
        with open(temporary, "rb") as handle:
            os.fsync(handle.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def write_json(path: Path, content: Any) -> None:
    """Writes JSON, indented; NaN and infinity are refused."""
    with atomic_path(path) as temporary:
        text = json.dumps(content, indent=1, allow_nan=False, default=_jsonable)
        temporary.write_text(text + "\n", encoding="utf-8")


def read_json(path: Path) -> Any:
    """Reads JSON; a file that cannot be read is a `MskdexError` that names it."""
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise _unreadable(path, error) from error


def write_parquet(path: Path, table: Any) -> None:
    """Writes a pandas table as Parquet."""
    with atomic_path(path) as temporary:
        table.to_parquet(temporary, index=False)


def read_parquet(path: Path) -> Any:
    """Reads a Parquet table; a file that cannot be read is a `MskdexError` that names it."""
    import pandas as pd

    try:
        return pd.read_parquet(path)
    except Exception as error:
        raise _unreadable(path, error) from error


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


def _unreadable(path: Path, error: Exception) -> MskdexError:
    reason = str(error).splitlines()[0] if str(error) else type(error).__name__
    return MskdexError(
        f"{path} cannot be read ({reason}); delete it and run the same command again, it will be made anew"
    )
