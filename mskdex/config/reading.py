"""A config from a YAML file, with single keys given beside it."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from mskdex.config import Config, load_config
from mskdex.errors import MskdexError


def read_config_file(path: Path | None, changes: Sequence[str] = ()) -> Config:
    """Reads a config file.

    Args:
        path: YAML in UTF-8; None takes the defaults.
        changes: keys that overrule the file's, as `key.of.a.section=value`, the value in YAML.

    Raises:
        MskdexError: absent, no YAML, a change without `=`, or unknown keys or values out of range.
    """
    content = _read(path) if path is not None else {}
    for change in changes:
        _apply(content, change)
    return load_config(content)


def _read(path: Path) -> dict[str, Any]:
    try:
        content = yaml.safe_load(Path(path).read_text(encoding="utf-8-sig"))
    except (OSError, ValueError, yaml.YAMLError) as error:
        msg = f"config {path} cannot be read ({str(error).splitlines()[0]}); name it with --config"
        raise MskdexError(msg) from error
    if not isinstance(content or {}, dict):
        msg = f"config {path} holds no sections but {type(content).__name__}; see docs/config.md"
        raise MskdexError(msg)
    return content or {}


def _apply(content: dict[str, Any], change: str) -> None:
    key, equals, text = change.partition("=")
    names = key.strip().split(".")
    if not equals or not all(names):
        msg = f"--set {change}: give a key and its value, as in rendering.step_mm=0.5"
        raise MskdexError(msg)
    try:
        value = yaml.safe_load(text)
    except yaml.YAMLError as error:
        msg = f"--set {change}: the value is no YAML ({str(error).splitlines()[0]})"
        raise MskdexError(msg) from error
    section = content
    for name in names[:-1]:
        below = section.get(name)
        if below is None:
            below = section[name] = {}
        if not isinstance(below, dict):
            msg = f"--set {change}: {name} is a value or a list, whose parts cannot be set; set {name} whole"
            raise MskdexError(msg)
        section = below
    section[names[-1]] = value
