"""What a patient's labels lack and what in them means no object: facts for import.json and warnings."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from mskdex.anatomy import LABEL_SOURCES, LabelSource
from mskdex.config.objects import Channel
from mskdex.errors import MskdexError
from mskdex.imaging.label_names import (
    channels_of_source,
    lists_ids,
    match_names,
    names_of_channel,
    sideless,
    source_keys,
    strip_suffix,
)
from mskdex.imaging.label_request import LabelRequest
from mskdex.io.files import quote

_MOST_NAMED = 8
_MOST_RECORDED = 200
_FEW = 0.25
_MANY = 0.5


@dataclass(frozen=True)
class Findings:
    """What was found out about labels.

    Attributes:
        facts: `absent`, channels that source or file should hold and that have no voxel; `unused`, names or ids in the
            file that mean no object.
        warnings: what a human should know.
    """

    facts: dict[str, Any]
    warnings: list[str]


def expected_channels(
    channels: Sequence[Channel], source: LabelSource | None, names: Iterable[str] | None
) -> list[Channel]:
    """The channels that labels should hold: those of the source, or without one those that the file names.

    Args:
        channels: the config's.
        source: the label source's keys, or None where the file is read by name.
        names: names that the file carries, or None.
    """
    if source is not None:
        return channels_of_source(channels, source)
    names = list(names or ())
    return [c for c in channels if names_of_channel(c, None, names)]


def findings(
    expected: Sequence[Channel], present: set[str], unused: Sequence[str], channels: Sequence[Channel]
) -> Findings:
    """Compares what was expected with what is there.

    Args:
        expected: of `expected_channels`.
        present: names of the channels that have voxels.
        unused: names, or ids as text, that have voxels and mean no object.
        channels: the config's.
    """
    absent = [c.name for c in expected if c.name not in present]
    warnings = []
    without_side = sideless([c for c in channels if c.name not in present], unused)
    for name, thing in without_side.items():
        warnings.append(
            f"label {name} means {thing}, a paired structure, without a side; it is not used: name the left "
            f"and the right one apart, e.g. {thing}_left and {thing}_right"
        )
    if absent:
        warnings.append(f"the labels have no voxel of {_names_text(absent)}, which their source promises")
    others = [n for n in unused if n not in without_side]
    missing = [c.name for c in channels if c.name not in present]
    if others and missing:
        warnings.append(
            f"the labels hold what means no object: {_names_text(others)}; if one of them is an absent object "
            f"({_names_text(missing, 4)}), name it in label_sources; is the label source the right one?"
        )
    return Findings({"absent": absent, "unused": list(unused)[:_MOST_RECORDED]}, warnings)


def unused_synonyms(request: LabelRequest, names: Iterable[str], used: set[str]) -> dict[str, str]:
    """Names of the same meaning as one that is spelt exactly as the channel, which wins; a warning for each.

    Args:
        request: what was asked for.
        names: all that the file carries.
        used: those that were used.
    """
    warnings: dict[str, str] = {}
    rest = [n for n in names if n not in used]
    for channel in request.channels:
        if request.source is not None and source_keys(channel, request.source) is None:
            continue
        exact = [n for n in used if strip_suffix(n) == channel.name]
        for other in match_names(channel, rest) if exact else ():
            warnings[other] = f"{channel.name} is taken from label {exact[0]}; {other} means the same and is not used"
    return warnings


def refuse_another_source(request: LabelRequest, ids: set[int]) -> list[str]:
    """Compares the ids that occur with those of the known label sources.

    TotalSegmentator numbers its structures otherwise in version 1 than in 2: read with the other's ids, a map has next
    to none of them, or a vertebra in place of the sacrum.

    Args:
        request: what was asked for; nothing is compared unless its source lists ids.
        ids: that occur in the label map.

    Returns:
        A warning where another source fits better and this one lacks structures; else none.

    Raises:
        MskdexError: hardly any structure of the source, and most of another's.
    """
    if request.source is None or not lists_ids(request.source):
        return []
    have, of = _count(request.source, ids, request.channels)
    for name, other in LABEL_SOURCES.items() if have < of else ():
        fits, most = _count(other, ids, request.channels)
        if name == request.source_name or fits <= have or fits < _MANY * most:
            continue
        warning = (
            f"the labels have {have} of the {of} structures of label source {quote(request.source_name, 60)}, but "
            f"{fits} of the {most} of {name}; if it is of {name}, correct label_source"
        )
        if have <= _FEW * of:
            raise MskdexError(warning.replace("the labels have", f"{request.path} has", 1))
        return [warning]
    return []


def _count(source: LabelSource, ids: set[int], channels: Sequence[Channel]) -> tuple[int, int]:
    keys = [source_keys(c, source) for c in channels if source_keys(c, source) is not None]
    return sum(bool(ids & {k for k in group or () if isinstance(k, int)}) for group in keys), len(keys)


def _names_text(names: Sequence[str], most: int = _MOST_NAMED) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more
