"""The config and the paths that the functions of the public API take."""

from os import PathLike
from pathlib import Path

from mskdex.config import Config
from mskdex.config.reading import read_config_file
from mskdex.errors import MskdexError

AnyPath = str | PathLike[str]
"""A path as a user gives it."""

AnyConfig = Config | AnyPath | None
"""A config, a config.yaml, or None for the defaults."""


def as_config(config: AnyConfig) -> Config:
    """The config itself, read from its file, or the defaults.

    Raises:
        MskdexError: the file is absent, no YAML, or has unknown keys or values out of range; or it is none of these.
    """
    if isinstance(config, Config):
        return config
    if not isinstance(config, str | PathLike | None):
        msg = f"config is a {type(config).__name__}; give the path of a config.yaml, or Config.model_validate of a dict"
        raise MskdexError(msg)
    return read_config_file(None if config is None else Path(config).expanduser())


def as_path(path: AnyPath, what: str) -> Path:
    """A path to a file or folder that exists.

    Raises:
        MskdexError: it does not, or is no path.
    """
    if not isinstance(path, str | PathLike):
        msg = f"{what} is a {type(path).__name__}; give the path of a file or folder"
        raise MskdexError(msg)
    found = Path(path).expanduser()
    if not found.exists():
        msg = f"{found} does not exist; give the path of {what}"
        raise MskdexError(msg)
    return found
