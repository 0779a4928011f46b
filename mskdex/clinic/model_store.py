"""The user's folder of models: by name, each with the checksum that it was added with."""

import hashlib
import json
import os
import re
import secrets
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from mskdex.clinic.download import download
from mskdex.errors import MskdexError
from mskdex.models.model import read_model

MODEL = "model.safetensors"
CALIBRATION = "predictions.parquet"
_RECORD = "added.json"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+://")


@dataclass(frozen=True)
class StoredModel:
    """A model of the folder.

    Attributes:
        name: what `--model` takes.
        source: the path or URL that it came from.
        sha256: of the model file when it was added.
        path: the model file.
        problem: why it cannot be used, "" where it can.
    """

    name: str
    source: str
    sha256: str
    path: Path
    problem: str = ""


def models_folder() -> Path:
    """MSKDEX_MODELS, else mskdex/models in the user's data folder (XDG_DATA_HOME, ~/.local/share).

    Raises:
        MskdexError: none of them is set and there is no home folder.
    """
    if own := os.environ.get("MSKDEX_MODELS"):
        return _home(own)
    data = Path(os.environ.get("XDG_DATA_HOME") or "")
    if data.is_absolute():  # the XDG specification has relative ones passed over
        return data / "mskdex" / "models"
    return _home("~/.local/share/mskdex/models")


def _home(path: str) -> Path:
    try:
        return Path(path).expanduser()
    except RuntimeError as error:
        msg = "there is no home folder to keep models in; set MSKDEX_MODELS to a folder for them"
        raise MskdexError(msg) from error


def add_model(name: str, source: str, sha256: str | None = None) -> StoredModel:
    """Copies or downloads a model into the folder, and the calibration that lies beside a local one.

    Args:
        name: letters, digits, ".", "_" and "-".
        source: path, or http or https URL, of a model.safetensors.
        sha256: what the file's checksum has to be, where it is known.

    Raises:
        MskdexError: no such name, one that is taken by another model, a file that is no model, another checksum, or a
            folder that cannot be written to.
    """
    if not _NAME.fullmatch(name):
        msg = f"{name!r} cannot name a model; use letters, digits, dots, underscores and hyphens, 64 at most"
        raise MskdexError(msg)
    folder = models_folder()
    temporary = folder / f".{secrets.token_hex(6)}"
    try:
        temporary.mkdir(parents=True)
        _fetch(source, temporary)
        digest = _digest(temporary / MODEL)
        if sha256 and digest != sha256.strip().lower():
            msg = f"{source} has the checksum {digest}, not {sha256}; get the file again from who made it"
            raise MskdexError(msg)
        read_model(temporary / MODEL, torch.device("cpu"))
        _record(temporary, source)
        return _put(temporary, folder / name, digest)
    except OSError as error:
        msg = f"{source} cannot be added to {folder} ({error.strerror or error}); set MSKDEX_MODELS to another folder"
        raise MskdexError(msg) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def find_model(model: str | os.PathLike[str]) -> Path:
    """The file of a model given by path, or by its name in the folder; a named one's checksum is compared.

    Raises:
        MskdexError: neither a file nor a name, or a stored model that was changed since it was added.
    """
    path = Path(model)
    if path.is_file() or len(path.parts) != 1 or not _NAME.fullmatch(str(model)):
        return path
    folder = models_folder()
    if not (folder / str(model)).is_dir():
        known = ", ".join(found.name for found in list_models()) or "none"
        msg = f"{model} is no file, and no model of {folder}, which has {known}; give a model.safetensors or a name"
        raise MskdexError(msg)
    found = _stored(folder / str(model))
    if found.problem:
        raise MskdexError(found.problem)
    return found.path


def list_models() -> list[StoredModel]:
    """The models of the folder, checked, by name."""
    return list(_all(models_folder()))


def _all(folder: Path) -> Iterator[StoredModel]:
    if folder.is_dir():
        for entry in sorted(folder.iterdir()):
            if entry.is_dir() and _NAME.fullmatch(entry.name):
                yield _stored(entry)


def _fetch(source: str, into: Path) -> None:
    """Puts a model's file into a folder, by URL or by path; beside a file its calibration comes along."""
    if _URL.match(source):
        download(source, into / MODEL)
        return
    path = Path(source).expanduser()
    if not path.is_file():
        msg = f"{path} is no file; give the path or URL of a model.safetensors"
        raise MskdexError(msg)
    shutil.copyfile(path, into / MODEL)
    if path.with_name(CALIBRATION).is_file():
        shutil.copyfile(path.with_name(CALIBRATION), into / CALIBRATION)


def _record(folder: Path, source: str) -> None:
    files = {path.name: _digest(path) for path in sorted(folder.iterdir())}
    shown = source if _URL.match(source) else str(Path(source).expanduser().resolve())
    content = {"source": shown, "added": time.strftime("%Y-%m-%dT%H:%M:%S%z"), "sha256": files}
    (folder / _RECORD).write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def _put(temporary: Path, place: Path, digest: str) -> StoredModel:
    if place.exists():
        there = _stored(place)
        if there.sha256 == digest and not there.problem:
            return there
        msg = f"{place.name} is another model already, in {place}; choose another name, or remove that folder"
        raise MskdexError(msg)
    os.replace(temporary, place)
    return _stored(place)


def _stored(place: Path) -> StoredModel:
    path = place / MODEL
    try:
        record: dict[str, Any] = json.loads((place / _RECORD).read_text(encoding="utf-8"))
        digests, source = dict(record["sha256"]), str(record["source"])
        changed = [name for name, digest in digests.items() if _digest(place / name) != digest]
        problem = f"{place / changed[0]} has changed since it was added" if changed else ""
    except (OSError, ValueError, KeyError, TypeError) as error:
        digests, source, problem = {}, "", f"{place} is damaged ({type(error).__name__})"
    if problem:
        problem += f"; remove {place} and add the model {place.name} again"
    return StoredModel(place.name, source, digests.get(MODEL, ""), path, problem)


def _digest(path: Path) -> str:
    with open(path, "rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()
