"""Names of structures in label files, and which channel each one means."""

import unicodedata
from collections.abc import Collection, Iterable, Mapping, Sequence
from itertools import zip_longest
from pathlib import Path

from mskdex.anatomy import LabelSource
from mskdex.config.objects import Channel
from mskdex.errors import MskdexError
from mskdex.imaging.label_json import read_names
from mskdex.imaging.label_vocabulary import MASK_SUFFIXES, parse_name, same_spelling, strip_suffix, without_side
from mskdex.io.files import file_kind, reading
from mskdex.io.slicer_segments import read_segments

__all__ = [
    "MASK_SUFFIXES",
    "channels_named",
    "channels_of_source",
    "ids_of_channels",
    "lists_ids",
    "mask_files",
    "match_names",
    "names_beside",
    "names_in",
    "names_of_channel",
    "parse_name",
    "require_one_each",
    "sideless",
    "source_keys",
    "strip_suffix",
]
_LARGEST_ID = 2**53


def match_names(channel: Channel, names: Iterable[str]) -> list[str]:
    """The names among `names` that mean a channel, best kind of match first and alone.

    A name spelt exactly as the channel's wins; then those with the same structure and side. An object without
    sides takes both sides of its structure.
    """
    names = list(names)
    exact = [n for n in names if strip_suffix(n).strip() == channel.name]
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
        MskdexError: a paired object without exactly two keys, or an id that no label map can have.
    """
    if source is None or channel.object not in source:
        return None
    keys = source[channel.object]
    if channel.side == "midline":
        found = tuple(k for item in keys for k in (item if isinstance(item, tuple) else (item,)))
    elif len(keys) != 2:
        msg = f"label_sources: {channel.object} is paired, so it needs [left, right], not {list(keys)}"
        raise MskdexError(msg)
    else:
        side = keys[0 if channel.side == "left" else 1]
        found = side if isinstance(side, tuple) else (side,)
    if wrong := [k for k in found if isinstance(k, int) and not 0 < k < _LARGEST_ID]:
        msg = f"label_sources: {channel.object} has the id {wrong[0]}; ids are whole numbers from 1 on"
        raise MskdexError(msg)
    return found


def lists_ids(source: LabelSource | None) -> bool:
    """Whether a source lists ids alone, no names."""
    keys = [
        k for item in (source or {}).values() for side in item for k in (side if isinstance(side, tuple) else (side,))
    ]
    return bool(keys) and all(isinstance(k, int) for k in keys)


def names_of_channel(channel: Channel, source: LabelSource | None, names: Iterable[str]) -> list[str]:
    """The names among `names` that a channel takes: those that the source's entry lists, else by their meaning.

    A source that lists ids, but is given masks that carry names, is read by the names' meaning.
    """
    names = list(names)
    keys = source_keys(channel, source)
    if keys is not None and any(isinstance(k, str) for k in keys):
        asked = [str(k) for k in keys]
        return [n for n in names if any(same_spelling(n, k) or same_spelling(strip_suffix(n), k) for k in asked)]
    if source is not None and keys is None:
        return []
    return match_names(channel, names)


def require_one_each(channel: Channel, source: LabelSource | None, names: Sequence[str], where: Path) -> None:
    """Refuses two names that mean one channel by their meaning; the two sides of an object without sides may.

    Raises:
        MskdexError: names both.
    """
    keys = source_keys(channel, source)
    if keys is not None and any(isinstance(k, str) for k in keys):
        return
    sides = [parse_name(n)[1] for n in names]
    for i, name in enumerate(names):
        if sides[i] in sides[:i]:
            msg = (
                f"{where} has two labels of {channel.name}: {names[sides.index(sides[i])]} and {name}; rename the one "
                "that is not meant, or remove it"
            )
            raise MskdexError(msg)


def sideless(channels: Sequence[Channel], names: Iterable[str]) -> dict[str, str]:
    """Names that mean a paired object but give no side, or both: the object, by name."""
    paired = {parse_name(c.object)[0]: c.object for c in channels if c.side != "midline"}
    found = {n: paired.get(without_side(n) or "") for n in names}
    return {n: o for n, o in found.items() if o is not None}


def ids_of_channels(
    channels: Sequence[Channel], source: LabelSource | None, names: Mapping[str, tuple[int, ...]]
) -> dict[str, tuple[int, ...]]:
    """The ids in a label map of every channel that it can have, by the channel's name.

    Args:
        channels: the config's.
        source: that lists ids; None where the map is read by name.
        names: ids by name.
    """
    found = {}
    for channel in channels:
        keys = source_keys(channel, source)
        ids = tuple(k for k in keys or () if isinstance(k, int))
        if keys is None and source is None:
            ids = tuple(i for name in match_names(channel, names) for i in names[name])
        if ids:
            found[channel.name] = ids
    return found


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
        from mskdex.imaging.dicom_seg import segment_names

        return segment_names(path, series_uid)
    return found or ()


def names_in(path: Path, root: Path | None = None) -> dict[str, tuple[int, ...]] | None:
    """Names that a label file carries, without reading its voxels.

    Args:
        path: a folder of masks; a label map with a `.json` of names beside it; a `.seg.nrrd`.
        root: folder that a link to the `.json` may lead into; None does not look where it leads.

    Returns:
        Ids by name, (0,) for a mask of its own; None if the file carries no names (or is DICOM, whose names
        `mskdex.imaging.dicom_seg` reads).

    Raises:
        MskdexError: names that cannot be read, two ids for one name, two names for one id, two masks of one name, or a
            link that leads out of `root`.
    """
    with reading(path):
        if path.is_dir():
            masks = mask_files(path)
            return dict.fromkeys(masks, (0,)) if masks else None
        if (beside := names_beside(path)).is_file():
            if root is not None and not beside.resolve().is_relative_to(root.resolve()):
                msg = f"{beside} is a link that leads out of {root}; copy the file there or set cohort.data_root"
                raise MskdexError(msg)
            return read_names(beside)
        if file_kind(path) == "nrrd":
            return {s.name: (s.value,) for s in read_segments(path)} or None
    return None


def names_beside(path: Path) -> Path:
    """Where the JSON of names and ids of a label map stands, if there is one."""
    return path.with_name(strip_suffix(path.name).removesuffix(".seg") + ".json")


def mask_files(folder: Path) -> list[str]:
    """Names of a folder's mask files, sorted; hidden files, as macOS leaves them (`._femur_left.nii.gz`), do not count.

    Raises:
        MskdexError: two files of one name but for the suffix.
    """
    found = sorted(
        p.name for p in folder.iterdir() if p.name.lower().endswith(MASK_SUFFIXES) and not p.name.startswith(".")
    )
    found = [name for name in found if (folder / name).is_file()]
    known: dict[str, str] = {}
    for name in found:
        stem = unicodedata.normalize("NFC", strip_suffix(name))
        if stem in known:
            msg = f"{folder} has {known[stem]} and {name}, two masks of one structure; remove the one that is not meant"
            raise MskdexError(msg)
        known[stem] = name
    return found
