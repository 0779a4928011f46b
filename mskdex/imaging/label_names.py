"""Names of structures in label files: where they stand, and which channel each one means."""

import json
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from itertools import zip_longest
from pathlib import Path

from mskdex.anatomy import ALIASES, LabelSource
from mskdex.config.objects import Channel
from mskdex.errors import MskdexError
from mskdex.imaging.files import file_kind

MASK_SUFFIXES = (".nii.gz", ".nii", ".nrrd", ".mha", ".mhd", ".nhdr")
_SIDES = {
    "left": "left", "l": "left", "lt": "left", "sinister": "left", "sin": "left",
    "right": "right", "r": "right", "rt": "right", "dexter": "right", "dext": "right",
}  # fmt: skip
_FILLERS = frozenset({"muscle", "muscles", "musculus", "m", "bone", "mask", "seg", "segmentation", "label"})


def parse_name(name: str) -> tuple[str, str | None]:
    """Structure and side that a name in a label file means.

    "Left Gluteus Maximus muscle", "gluteus_maximus_L" and "hip-right.nii.gz" give ("gluteus_maximus", "left"),
    the same, and ("pelvis", "right").

    Returns:
        The structure's name in the registry's spelling and "left", "right" or None.
    """
    stem = strip_suffix(name)
    spaced = re.sub(r"([a-z])([A-Z])", r"\1_\2", stem)
    words = [w for w in re.split(r"[^a-z0-9]+", spaced.lower()) if w]
    side = next((_SIDES[words[i]] for i in (-1, 0) if len(words) > 1 and words[i] in _SIDES), None)
    if side is None:
        side = next((_SIDES[w] for w in words if w in {"left", "right"}), None)
        words = [w for w in words if w not in {"left", "right"}]
    else:
        words = words[:-1] if words[-1] in _SIDES else words[1:]
    joined = "_".join(words)
    bare = "_".join(w for w in words if w not in _FILLERS) or joined
    return ALIASES.get(joined, ALIASES.get(bare, bare)), side


def strip_suffix(name: str) -> str:
    """A mask file's name without its suffix."""
    suffix = next((s for s in MASK_SUFFIXES if name.lower().endswith(s)), "")
    return name[: len(name) - len(suffix)]


def match_names(channel: Channel, names: Iterable[str]) -> list[str]:
    """The names among `names` that mean a channel, best kind of match first and alone.

    A name spelt exactly as the channel's wins; then those with the same structure and side. An object without
    sides takes both sides of its structure.
    """
    names = list(names)
    exact = [n for n in names if strip_suffix(n) == channel.name]
    if exact:
        return exact
    wanted = parse_name(channel.object) if channel.side == "midline" else (parse_name(channel.object)[0], channel.side)
    found = [n for n in names if parse_name(n) == wanted]
    if not found and channel.side == "midline" and wanted[1] is None:
        found = [n for n in names if parse_name(n)[0] == wanted[0]]
    return found


def source_keys(channel: Channel, source: LabelSource | None) -> tuple[int | str, ...] | None:
    """Ids or names that a source's entry gives a channel; None where the source does not have the object.

    Raises:
        MskdexError: a paired object without exactly two keys.
    """
    if source is None or channel.object not in source:
        return None
    keys = source[channel.object]
    if channel.side == "midline":
        return tuple(k for item in keys for k in (item if isinstance(item, tuple) else (item,)))
    if len(keys) != 2:
        msg = f"label_sources: {channel.object} is paired, so it needs [left, right], not {list(keys)}"
        raise MskdexError(msg)
    side = keys[0 if channel.side == "left" else 1]
    return side if isinstance(side, tuple) else (side,)


def channels_of_source(channels: Sequence[Channel], source: LabelSource) -> list[Channel]:
    """The channels that a source has keys for."""
    return [c for c in channels if source_keys(c, source) is not None]


def channels_named(
    paths: Iterable[str | Path], channels: Sequence[Channel], series: Iterable[str | None] = ()
) -> list[Channel]:
    """The channels that at least one of some label files names; all of them if one is absent or carries no names.

    Args:
        paths: label files and folders.
        channels: the config's.
        series: for each of the paths, the series to take of a DICOM folder that has several.
    """
    names: dict[str, None] = {}
    for path, uid in zip_longest(map(Path, paths), series):
        found = _all_names(path, uid) if path.exists() else ()
        if not found:
            return list(channels)  # if it carries no names its import will say so
        names.update(dict.fromkeys(found))
    return [c for c in channels if match_names(c, names)]


def _all_names(path: Path, series_uid: str | None) -> Collection[str]:
    """Names that a label file carries, DICOM or not; empty where it carries none."""
    found = names_in(path)
    if found is None and (path.is_dir() or file_kind(path) == "dicom"):
        from mskdex.imaging.segment_labels import segment_labels

        return segment_labels(path, series_uid)
    return found or ()


def names_in(path: Path) -> dict[str, tuple[int, ...]] | None:
    """Names that a label file carries, without reading its voxels.

    Args:
        path: a folder of masks; a label map with a `.json` of names beside it; a `.seg.nrrd`.

    Returns:
        Ids by name, (0,) for a mask of its own; None if the file carries no names (or is DICOM, whose names
        `mskdex.imaging.dicom_multiframe` reads).

    Raises:
        MskdexError: names that cannot be read, or two ids for one name.
    """
    if path.is_dir():
        masks = sorted(p.name for p in path.iterdir() if p.name.lower().endswith(MASK_SUFFIXES))
        return dict.fromkeys(masks, (0,)) if masks else None
    beside = path.with_name(strip_suffix(path.name).removesuffix(".seg") + ".json")
    if beside.is_file():
        return _json_names(beside)
    if file_kind(path) == "nrrd":
        return _segment_names(path)
    return None


def segments(header: Mapping[str, str]) -> list[dict[str, str]]:
    """The segments of a 3D Slicer `.seg.nrrd`, each with its header entries (Name, LabelValue, Layer, ...)."""
    found: dict[int, dict[str, str]] = {}
    for key, value in header.items():
        if match := re.fullmatch(r"Segment(\d+)_(\w+)", key):
            found.setdefault(int(match.group(1)), {})[match.group(2)] = value
    return [found[i] for i in sorted(found) if "Name" in found[i]]


def _segment_names(path: Path) -> dict[str, tuple[int, ...]] | None:
    with open(path, "rb") as handle:
        text = handle.read(1 << 20).split(b"\n\n")[0].decode("utf-8", "replace")
    header = dict(line.split(":=", 1) for line in text.splitlines() if ":=" in line)
    found = segments(header)
    return {s["Name"].strip(): (int(s.get("LabelValue", 0)),) for s in found} or None


def _json_names(path: Path) -> dict[str, tuple[int, ...]]:
    advice = 'it should read {"gluteus_maximus_left": 1, "gluteus_maximus_right": 2, ...}'
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        msg = f"{path} cannot be read as JSON ({error}); {advice}"
        raise MskdexError(msg) from error
    if isinstance(content, dict) and isinstance(content.get("labels"), dict):
        content = content["labels"]
    names: dict[str, tuple[int, ...]] = {}
    for key, value in content.items() if isinstance(content, dict) else ():
        name, ids = (value, key) if isinstance(value, str) and re.fullmatch(r"\d+", key) else (key, value)
        try:
            names[str(name)] = tuple(int(i) for i in (ids if isinstance(ids, list) else [ids]))
        except (TypeError, ValueError) as error:
            msg = f"{path}: {key} has no id but {value!r}; {advice}"
            raise MskdexError(msg) from error
    if not names:
        msg = f"{path} names no structure; {advice}"
        raise MskdexError(msg)
    return names
