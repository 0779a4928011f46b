"""JSON and Parquet that a user owns: read with plain errors, never moved, renamed or changed."""

import io
import json
from pathlib import Path
from typing import Any

from mskdex.errors import MskdexError
from mskdex.io.seal import KEY, digest_holds, require_digest


def read_user_json(path: Path) -> Any:
    """Reads a user's JSON file, in UTF-8 with or without a byte order mark.

    Raises:
        MskdexError: it is absent, may not be read, or is no JSON.
    """
    try:
        return json.loads(Path(path).read_text(encoding="utf-8-sig"))
    except (OSError, ValueError, RecursionError) as error:
        raise _unreadable(path, error, "JSON") from error


def read_user_parquet(path: Path) -> Any:
    """Reads a user's Parquet table; one that the workflow made is checked against its digest.

    Raises:
        MskdexError: it is absent, may not be read, is no Parquet, or is damaged.
    """
    import pandas as pd
    import pyarrow.parquet

    try:
        content = bytearray(Path(path).read_bytes())
        holds = digest_holds(content)
        metadata = pyarrow.parquet.read_schema(pyarrow.BufferReader(content)).metadata or {}
        require_digest(holds, metadata.get(KEY.encode()))
        return pd.read_parquet(io.BytesIO(content))
    except MemoryError:
        raise
    except Exception as error:  # pyarrow raises what its reader raises, of many types
        raise _unreadable(path, error, "Parquet") from error


def _unreadable(path: Path, error: Exception, what: str) -> MskdexError:
    reason = (
        error.strerror if isinstance(error, OSError) and error.strerror else str(error).strip() or type(error).__name__
    )
    return MskdexError(f"{path} cannot be read ({reason.splitlines()[-1]}); put a good {what} file there")
