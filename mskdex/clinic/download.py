"""One file from a URL that the user gave."""

import http.client
import urllib.error
import urllib.request
from pathlib import Path
from urllib.parse import urlsplit

from mskdex.errors import MskdexError

MOST_BYTES = 4 * 2**30
"""More than a model of any backbone takes."""

_TIMEOUT_S = 60.0
_CHUNK = 1 << 20


def download(url: str, path: Path, most_bytes: int | None = None) -> None:
    """Downloads a file over http or https.

    Args:
        url: the file's.
        path: file to write.
        most_bytes: a longer file is refused; `MOST_BYTES` if None.

    Raises:
        MskdexError: another scheme, no answer, no such file, too long a file, or one that was cut short.
    """
    if urlsplit(url).scheme.lower() not in ("http", "https"):
        msg = f"{url}: only http and https addresses are downloaded; give one of these, or the path of a file"
        raise MskdexError(msg)
    most = MOST_BYTES if most_bytes is None else most_bytes
    try:
        with urllib.request.urlopen(url, timeout=_TIMEOUT_S) as answer, open(path, "wb") as handle:
            stated = answer.headers.get("Content-Length")
            count = _copy(answer, handle, most, url)
    except (urllib.error.URLError, http.client.HTTPException, TimeoutError, ConnectionError, ValueError) as error:
        reason = getattr(error, "reason", None) or error
        msg = f"{url} cannot be downloaded ({reason}); correct the address, or download it yourself and give its path"
        raise MskdexError(msg) from error
    if stated and stated.isdigit() and int(stated) != count:
        msg = f"{url} was cut short: {count} of {stated} bytes came; try again"
        raise MskdexError(msg)


def _copy(answer: http.client.HTTPResponse, handle, most: int, url: str) -> int:
    count = 0
    while chunk := answer.read(_CHUNK):
        count += len(chunk)
        if count > most:
            msg = f"{url} is longer than {most} bytes, which no model is; correct the address"
            raise MskdexError(msg)
        handle.write(chunk)
    return count
