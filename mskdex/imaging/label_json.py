"""The JSON of names and ids beside a label map."""

import json
import re
import unicodedata
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mskdex.errors import MskdexError

_ADVICE = 'it should read {"gluteus_maximus_left": 1, "gluteus_maximus_right": 2, ...}'
_MOST_BYTES = 4_000_000


def read_names(path: Path) -> dict[str, tuple[int, ...]]:
    """Ids by name: `{name: id}`, `{name: [ids]}`, `{id: name}`, or nnU-Net's dataset.json with one of them as "labels".

    UTF-8 and UTF-16, with and without byte order mark.

    Raises:
        MskdexError: no such JSON, an id that is no whole number from 0 on, a name with two ids, or an id with two
            names (a list of several ids is a region and may overlap with others).
    """
    names: dict[str, tuple[int, ...]] = {}
    for key, value in _entries(path):
        swapped = isinstance(value, str) and re.fullmatch(r"\d+", key)
        name, ids = (value, key) if swapped else (key, value)
        found = tuple(_whole(i, key, path) for i in (ids if isinstance(ids, list) else [ids]))
        name = unicodedata.normalize("NFC", name).strip()
        if names.get(name, found) != found:
            msg = f"{path} gives {name} two ids, {_text(names[name])} and {_text(found)}; give each name one entry"
            raise MskdexError(msg)
        names[name] = found
    if not names:
        msg = f"{path} names no structure; {_ADVICE}"
        raise MskdexError(msg)
    _require_one_name_each(names, path)
    return names


def words_in(path: Path) -> list[str]:
    """All keys and texts of a JSON, of which some are names where it names structures; none of one that is damaged.

    Args:
        path: the file.
    """
    if not path.is_file():
        return []
    try:
        pairs = _entries(path)
    except MskdexError:
        return []
    return [key for key, _ in pairs] + [value for _, value in pairs if isinstance(value, str)]


def _entries(path: Path) -> list[tuple[str, Any]]:
    """The pairs of the innermost object that names structures, keys that stand twice included."""
    if path.stat().st_size > _MOST_BYTES:
        msg = f"{path} has {path.stat().st_size} bytes, too many for a list of names; {_ADVICE}"
        raise MskdexError(msg)
    try:
        content = json.loads(path.read_bytes(), object_pairs_hook=_Pairs)
    except (OSError, ValueError, RecursionError) as error:
        detail = "it is nested too deeply" if isinstance(error, RecursionError) else error
        msg = f"{path} cannot be read as JSON ({detail}); {_ADVICE}"
        raise MskdexError(msg) from error
    if not isinstance(content, _Pairs):
        msg = f"{path} is no JSON object but {type(content).__name__}; {_ADVICE}"
        raise MskdexError(msg)
    inner = [value for key, value in content if key == "labels" and isinstance(value, _Pairs)]
    return inner[0] if inner else content


class _Pairs(list):
    """A JSON object as its pairs, so that a key that stands twice is seen."""


def _whole(value: object, key: str, path: Path) -> int:
    if isinstance(value, str) and re.fullmatch(r"\d{1,18}", value):
        return int(value)
    if isinstance(value, float) and value.is_integer() and abs(value) < 2**53:
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < 2**53:
        msg = f"{path}: {key} has no id but {str(value)[:80]!r}; {_ADVICE}"
        raise MskdexError(msg)
    return value


def _require_one_name_each(names: Mapping[str, tuple[int, ...]], path: Path) -> None:
    name_of: dict[int, str] = {}
    for name, ids in names.items():
        if len(ids) != 1 or ids[0] == 0:
            continue
        if ids[0] in name_of:
            msg = (
                f"{path} gives id {ids[0]} two names, {name_of[ids[0]]} and {name}: id {ids[0]} would belong to "
                "several objects; give each its own"
            )
            raise MskdexError(msg)
        name_of[ids[0]] = name


def _text(ids: tuple[int, ...]) -> str:
    return ", ".join(map(str, ids))
