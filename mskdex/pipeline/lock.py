"""One process at a time in a folder, on this machine and, where the file system carries locks, on others."""

import contextlib
import fcntl
import logging
import os
import platform
from collections.abc import Iterator
from pathlib import Path

from mskdex.errors import MskdexError

log = logging.getLogger("mskdex")


@contextlib.contextmanager
def locked(folder: Path, what: str, *, wait: bool = True) -> Iterator[None]:
    """Holds `folder` for this process; waits, and says so, while another one holds it.

    The lock ends with its process, however that ends. A file system without locks is let through.

    Args:
        folder: made where it is absent; the lock is the file .lock in it, which stays.
        what: what is done in it, for the log.
        wait: whether to wait for another process; without, its holding the folder is an error.

    Raises:
        MskdexError: another process holds the folder, and this one shall not wait.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / ".lock", "a+", encoding="utf-8") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            handle.seek(0)
            holder = handle.read().strip()
            if not wait:
                msg = f"{what} is under way already ({holder}); run the same command again when it has ended"
                raise MskdexError(msg) from None
            log.warning("%s is under way already (%s); waiting for it to end", what, holder)
            fcntl.flock(handle, fcntl.LOCK_EX)
        except OSError as error:
            log.debug("%s cannot be locked: %s", folder, error)
        handle.truncate(0)
        handle.write(f"process {os.getpid()} on {platform.node()}\n")
        handle.flush()
        yield
