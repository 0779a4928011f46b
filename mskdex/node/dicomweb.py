"""A DICOMweb server: finding and fetching radiographs (QIDO-RS, WADO-RS), storing results (STOW-RS).

Name and password come from MSKDEX_DICOMWEB_USER and MSKDEX_DICOMWEB_PASSWORD, a bearer token from
MSKDEX_DICOMWEB_TOKEN, or else from netrc; never from a command line, which other users of the machine can read.
"""

import logging
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pydicom
import requests
from dicomweb_client import DICOMwebClient

from mskdex.errors import MskdexError

log = logging.getLogger("mskdex")

_LOOPBACK = ("localhost", "127.0.0.1", "::1")
_ANY_SYNTAX = (("application/dicom", "*"),)
_INSTANCE = ("00080018", "0020000E", "00080060")  # SOPInstanceUID, SeriesInstanceUID, Modality


class _Session(requests.Session):
    """Requests that a silent server does not hold for ever."""

    def __init__(self, timeout_s: float):
        super().__init__()
        self._timeout_s = timeout_s

    def request(self, *args: Any, **kwargs: Any) -> requests.Response:  # type: ignore[override]
        kwargs["timeout"] = kwargs.get("timeout") or self._timeout_s
        return super().request(*args, **kwargs)


def open_dicomweb(url: str, timeout_s: float = 60.0) -> DICOMwebClient:
    """A client of a DICOMweb server.

    Args:
        url: the address of the service, e.g. https://pacs.example/dicom-web.
        timeout_s: a server that is silent for so long is given up.

    Raises:
        MskdexError: an address that is none, or holds a password, or a user without a password.
    """
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        msg = f"{parts.hostname or url} is no DICOMweb address; give one such as https://pacs.example/dicom-web"
        raise MskdexError(msg)
    if parts.username or parts.password:
        msg = (
            f"the address of {parts.hostname} holds a user or password, which others could read; give them by "
            "MSKDEX_DICOMWEB_USER and MSKDEX_DICOMWEB_PASSWORD or in netrc"
        )
        raise MskdexError(msg)
    if parts.scheme == "http" and parts.hostname not in _LOOPBACK:
        log.warning("%s is addressed by http: images and passwords go over the network unencrypted", parts.hostname)
    session = _Session(timeout_s)
    user, password = os.environ.get("MSKDEX_DICOMWEB_USER"), os.environ.get("MSKDEX_DICOMWEB_PASSWORD")
    if bool(user) != bool(password):
        msg = "set both MSKDEX_DICOMWEB_USER and MSKDEX_DICOMWEB_PASSWORD, or neither"
        raise MskdexError(msg)
    if user and password:
        session.auth = (user, password)
    elif token := os.environ.get("MSKDEX_DICOMWEB_TOKEN"):
        session.auth = _Bearer(token)
    client = DICOMwebClient(url, session=session)
    client.set_http_retry_params(retry=False)
    return client


class _Bearer(requests.auth.AuthBase):
    """A token, which netrc does not replace as it would a mere header."""

    def __init__(self, token: str):
        self._token = token

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        request.headers["Authorization"] = f"Bearer {self._token}"
        return request


def fetch_radiographs(client: DICOMwebClient, study: str, modalities: tuple[str, ...], folder: Path) -> Iterator[Path]:
    """Fetches a study's radiographs one by one, as {SOP Instance UID}.dcm.

    Args:
        client: of `open_dicomweb`.
        study: Study Instance UID.
        modalities: those of radiographs.
        folder: where to write.

    Raises:
        MskdexError: the server cannot be reached, refuses, or has no radiograph of the study.
    """
    found = 0
    try:
        for series, instance in _instances(client, study, modalities):
            dataset = client.retrieve_instance(study, series, instance, media_types=_ANY_SYNTAX)
            path = folder / f"{instance}.dcm"
            dataset.save_as(path, enforce_file_format=True)
            found += 1
            yield path
    except (requests.RequestException, ValueError, KeyError) as error:
        msg = f"study {study} cannot be fetched ({error_text(error)}); look at the address, the UID and the credentials"
        raise MskdexError(msg) from error
    if not found:
        msg = f"study {study} has no radiograph ({', '.join(modalities)}) on the server; look at the UID"
        raise MskdexError(msg)


def _instances(client: DICOMwebClient, study: str, modalities: tuple[str, ...]) -> Iterator[tuple[str, str]]:
    """Series and instance of every radiograph; the modality is asked of the series, as every server tells it there."""
    for series in client.search_for_series(study):
        if _value(series, "00080060") not in modalities:
            continue
        uid = _value(series, "0020000E")
        for instance in client.search_for_instances(study, uid):
            yield uid, _value(instance, "00080018")


def _value(item: dict[str, Any], tag: str) -> str:
    values = item.get(tag, {}).get("Value") or [""]
    return str(values[0])


def store(client: DICOMwebClient, path: Path) -> str:
    """Stores one object.

    Returns:
        Why the server refuses it; "" where it was stored.

    Raises:
        requests.RequestException: the server cannot be reached or refuses for now.
    """
    dataset = pydicom.dcmread(path)
    try:
        answer = client.store_instances([dataset])
    except requests.HTTPError as error:
        if error.response is not None and error.response.status_code in (400, 409, 413, 415, 422):
            return error_text(error)
        raise
    failed = answer.get("FailedSOPSequence") or []
    return f"failure reason 0x{int(failed[0].get('FailureReason', 0)):04X}" if failed else ""


def store_all(client: DICOMwebClient, files: Sequence[Path]) -> None:
    """Stores objects one after the other.

    Raises:
        MskdexError: the server cannot be reached, or refuses one.
    """
    for path in files:
        try:
            refused = store(client, path)
        except requests.RequestException as error:
            refused = error_text(error)
        if refused:
            msg = f"{path.name} was not stored ({refused}); look at the server's rights, and run the same command again"
            raise MskdexError(msg)


def error_text(error: Exception) -> str:
    """An error in a few words, without the address, which may be long."""
    response = getattr(error, "response", None)
    if response is not None:
        return f"HTTP {response.status_code} {response.reason}".strip()
    return f"{type(error).__name__}: {(str(error).splitlines() or [''])[0][:160]}"
