"""One process at a time in a folder, on this machine and, where the file system carries locks, on others."""

import contextlib
import fcntl
import logging
import os
import platform
from collections.abc import Iterator
from pathlib import Path

log = logging.getLogger("mskdex")


@contextlib.contextmanager
def claimed(folder: Path, what: str) -> Iterator[None]:
    """Holds `folder` for this process; waits, and says so, while another one holds it.

    The lock ends with its process, however that ends. A file system without locks is let through.

    Args:
        folder: made where it is absent; the lock is the file .lock in it, which stays.
        what: what is done in it, for the log.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / ".lock", "a+", encoding="utf-8") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            handle.seek(0)
            log.warning("%s is under way already (%s); waiting for it to end", what, handle.read().strip())
            fcntl.flock(handle, fcntl.LOCK_EX)
        except OSError as error:
            log.debug("%s cannot be locked: %s", folder, error)
        handle.truncate(0)
        handle.write(f"process {os.getpid()} on {platform.node()}\n")
        handle.flush()
        yield
