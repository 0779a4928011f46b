"""Numbers in text headers as every program reads them; Python's own reading takes more: `1_0` is ten, `١` is one."""

import re

_NUMBER = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?", re.ASCII)
_WHOLE = re.compile(r"[-+]?\d{1,18}", re.ASCII)
_AROUND = " \t\0"


def plain_float(text: str) -> float:
    """The number that a text spells in decimal, blanks and zero bytes around it left out.

    Raises:
        ValueError: anything else, NaN and infinity too.
    """
    if not _NUMBER.fullmatch(text.strip(_AROUND)):
        msg = f"{text!r} is no number"
        raise ValueError(msg)
    return float(text.strip(_AROUND))


def plain_int(text: str) -> int:
    """The whole number that a text spells in decimal; else as `plain_float`."""
    if not _WHOLE.fullmatch(text.strip(_AROUND)):
        msg = f"{text!r} is no whole number"
        raise ValueError(msg)
    return int(text.strip(_AROUND))
