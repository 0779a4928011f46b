"""Label maps: one volume whose voxels are ids."""

from typing import Any

from mskdex.config.imaging import CtSettings
from mskdex.config.objects import Channel
from mskdex.errors import MskdexError
from mskdex.imaging.label_extent import cut_by_own_edge, to_ct_grid
from mskdex.imaging.label_findings import expected_channels, findings, refuse_another_source, unused_synonyms
from mskdex.imaging.label_ids import ids_in, translated
from mskdex.imaging.label_json import words_in
from mskdex.imaging.label_names import (
    lists_ids,
    match_names,
    names_beside,
    names_in,
    names_of_channel,
    require_one_each,
    sideless,
    source_keys,
)
from mskdex.imaging.label_request import LabelRequest, Labels, cut_warnings
from mskdex.io.files import quote
from mskdex.io.volume import Volume
from mskdex.io.volume_grid import to_ras

_MOST_IDS = 200
"""TotalSegmentator has 117 structures, MuscleMap about a hundred."""


def from_map(
    request: LabelRequest,
    raw: Volume,
    ct: Volume,
    settings: CtSettings,
    facts: dict[str, Any],
    *,
    leaves_out_empty: bool,
) -> Labels:
    """Takes a label map to the project's labels and lays it on the CT's grid.

    Args:
        request: what was asked for.
        raw: ids of `mskdex.imaging.label_ids.as_ids`, in the file's voxel order.
        ct: the CT in RAS order on its native grid.
        settings: the config's ct section.
        facts: what is known of the file already.
        leaves_out_empty: see `mskdex.imaging.label_extent.cut_by_own_edge`.

    Raises:
        MskdexError: on another grid, of another source, or with none of the config's structures.
    """
    path, names = request.path, _names(request)
    ids_of = _ids_by_channel(request, names)
    label_of = {i: c.label for c in request.channels for i in ids_of.get(c.name, ())}
    have = ids_in(raw.array)
    if len(have) > _MOST_IDS:
        msg = (
            f"{path} holds {len(have)} different values, more than the {_MOST_IDS} ids of a label map (is it an image "
            "or a probability map?); export the label map itself"
        )
        raise MskdexError(msg)
    warnings = refuse_another_source(request, have)
    if not have & set(label_of):
        _raise_none_found(request, have, names)
    in_order = to_ras(Volume(translated(raw.array, label_of), raw.world_from_voxel))
    mapped, laid = to_ct_grid(in_order, ct, path, settings)
    cut = cut_by_own_edge(in_order, ct, leaves_out_empty=leaves_out_empty)
    present = {c.name for c in request.channels if have & set(ids_of.get(c.name, ()))}
    expected = expected_channels(request.channels, request.source, names)
    if names is not None and not lists_ids(request.source):
        taken = {n for n, ids in names.items() if set(ids) <= set(label_of)}
        unused = [n for n, ids in names.items() if n not in taken and have & set(ids)]
        same = unused_synonyms(request, unused, taken)
        warnings += same.values()
        named = {i for ids in names.values() for i in ids}
        unused = [n for n in unused if n not in same] + [f"id {i} without a name" for i in sorted(have - named)]
    else:
        lacking = any(c.name not in present for c in expected)
        unused = [str(i) for i in sorted(have - set(label_of))] if lacking else []
    found = findings(expected, present, unused, request.channels)
    warnings += laid + found.warnings + cut_warnings(request, cut)
    return Labels(mapped, facts | found.facts, warnings, frozenset(cut))


def _names(request: LabelRequest) -> dict[str, tuple[int, ...]] | None:
    """The file's own names; None without, and where the JSON beside a map of known ids is about other things (BIDS)."""
    beside = names_beside(request.path)
    if lists_ids(request.source) and beside.is_file() and (words := words_in(beside)):
        known = [w for c in request.channels for w in match_names(c, words)] or sideless(request.channels, words)
        if not known:
            return None
    return names_in(request.path, request.root)


def _require_agreement(
    request: LabelRequest, channel: Channel, ids: tuple[int, ...], names: dict[str, tuple[int, ...]]
) -> None:
    """Refuses a source that gives an id to one object where the file's own names give it to another."""
    for name, own in names.items():
        if len(own) != 1 or own[0] not in ids or match_names(channel, [name]):
            continue
        if other := next((c.name for c in request.channels if match_names(c, [name])), None):
            meant = "" if name == other else f", which is {other}"
            msg = (
                f"{request.path}: label source {quote(request.source_name, 60)} says that id {own[0]} is "
                f"{channel.name}, but the file's own names say {name}{meant}; correct label_source, or remove the names"
            )
            raise MskdexError(msg)


def _raise_none_found(request: LabelRequest, have: set[int], names: dict[str, tuple[int, ...]] | None) -> None:
    if names is not None and not lists_ids(request.source):
        detail = f"{', '.join(quote(n, 40) for n in list(names)[:12])}{', ...' if len(names) > 12 else ''}"
        msg = (
            f"{request.path}: none of its names is one of the config's structures, or they have no voxel (it names "
            f"{detail}); rename them, or list their ids in label_sources in config.yaml"
        )
        raise MskdexError(msg)
    ids = [0, *sorted(have)]
    detail = f"{', '.join(str(i) for i in ids[:20])}{', ...' if len(ids) > 20 else ''}"
    msg = (
        f"{request.path} has none of the structures that label source {quote(request.source_name, 60)} maps (it has "
        f"the ids {detail}); correct label_source in the sheet or label_sources in config.yaml"
    )
    raise MskdexError(msg)


def _ids_by_channel(request: LabelRequest, names: dict[str, tuple[int, ...]] | None) -> dict[str, tuple[int, ...]]:
    """Ids in the label map of every channel that it can have."""
    found: dict[str, tuple[int, ...]] = {}
    for channel in request.channels:
        keys = source_keys(channel, request.source)
        if keys is not None and all(isinstance(k, int) for k in keys):
            found[channel.name] = tuple(int(k) for k in keys)
            _require_agreement(request, channel, found[channel.name], names or {})
        elif names is not None and (keys is not None or request.source is None):
            wanted = names_of_channel(channel, request.source, names)
            require_one_each(channel, request.source, wanted, request.path)
            numbers = tuple(int(k) for k in keys or () if isinstance(k, int))
            if ids := (*numbers, *(i for n in wanted for i in names[n])):
                found[channel.name] = ids
    if request.source is None and names is None:
        msg = (
            f"{request.path} carries no names of structures, and label source {quote(request.source_name, 60)} is "
            f"not in label_sources; add it to config.yaml, or put a JSON of names and ids beside the file "
            f"({request.path.name.split('.')[0]}.json)"
        )
        raise MskdexError(msg)
    all_ids = [i for ids in found.values() for i in set(ids)]
    if twice := {i for i in all_ids if all_ids.count(i) > 1}:
        msg = (
            f"{request.path}: id {', '.join(map(str, sorted(twice)))} would belong to several objects; give each "
            "its own"
        )
        raise MskdexError(msg)
    if 0 in all_ids:
        msg = f"{request.path}: {next(n for n, ids in found.items() if 0 in ids)} has id 0, the background's"
        raise MskdexError(msg)
    return found
