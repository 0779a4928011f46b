"""Trying something that must not stop what comes after it."""

import logging
from collections.abc import Callable
from typing import Any

from mskdex.errors import MskdexError

log = logging.getLogger("mskdex")


def attempt(read: Callable[[], Any]) -> str:
    """Calls `read` and says in one sentence what went wrong; "" where nothing did.

    An exception that nobody foresaw is a defect of the program, which the sentence says; its traceback is logged.
    """
    try:
        read()
    except MskdexError as error:
        return str(error)
    except MemoryError:
        return "could not be read: there is not enough memory for it on this machine"
    except Exception as error:
        log.debug("traceback", exc_info=True)
        detail = (str(error).strip().splitlines() or [""])[0]
        return f"could not be read: {type(error).__name__} {detail}; this is a defect, please report it"
    return ""
