"""Masks of single structures, united to one label map."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from mskdex.config.imaging import CtSettings
from mskdex.config.objects import Channel
from mskdex.errors import MskdexError
from mskdex.imaging.label_extent import cut_by_own_edge, to_ct_grid
from mskdex.imaging.label_findings import expected_channels, findings, unused_synonyms
from mskdex.imaging.label_ids import ids_in
from mskdex.imaging.label_names import names_of_channel, require_one_each
from mskdex.imaging.label_request import LabelRequest, Labels, cut_warnings
from mskdex.io.volume import Volume
from mskdex.io.volume_grid import to_ras

_OVERLAP_SHARE = 0.02
"""Masks of two structures may share this part of the smaller one; more is an error."""

Masks = Mapping[str, Callable[[], Volume]]
"""uint8 masks by name, each read when it is asked for."""


@dataclass
class UnitedMasks:
    """Masks united so far, on the CT's grid."""

    out: np.ndarray
    warnings: list[str] = field(default_factory=list)
    cut: set[int] = field(default_factory=set)
    taken: set[str] = field(default_factory=set)
    names: tuple[str, ...] = ()


def combine(
    request: LabelRequest, masks: Masks, ct: Volume, settings: CtSettings, *, leaves_out_empty: bool
) -> UnitedMasks:
    """Unites masks in the channels' order; a voxel that two claim stays with the first."""
    found = UnitedMasks(np.zeros(ct.array.shape, np.uint8), names=tuple(masks))
    for channel in request.channels:
        names = names_of_channel(channel, request.source, masks)
        require_one_each(channel, request.source, names, request.path)
        for name in names:
            found.taken.add(name)
            in_order = to_ras(masks[name]())
            if not in_order.array.any():
                continue
            mask, notes = to_ct_grid(in_order, ct, request.path / name, settings)
            found.warnings += [t for t in notes if t not in found.warnings]
            if cut_by_own_edge(in_order, ct, leaves_out_empty=leaves_out_empty):
                found.cut.add(channel.label)
            _unite(found, channel, name, mask.array > 0, request.path)
    return found


def _unite(united: UnitedMasks, channel: Channel, name: str, inside: np.ndarray, path: Path) -> None:
    out = united.out
    shared = int(np.count_nonzero(inside & (out > 0) & (out != channel.label)))
    smaller = int(np.count_nonzero(inside))
    if shared > _OVERLAP_SHARE * max(smaller, 1):
        msg = f"{path}: {name} shares {shared} of its {smaller} voxels with other structures; correct the masks"
        raise MskdexError(msg)
    if shared:
        united.warnings.append(f"{name} shares {shared} voxels with other structures; they stay with those")
    out[inside & (out == 0)] = channel.label


def finished(
    request: LabelRequest, combined: UnitedMasks, unused: Sequence[str], ct: Volume, facts: dict[str, Any]
) -> Labels:
    """Labels of united masks, with what they lack.

    Args:
        request: what was asked for.
        combined: of `combine`.
        unused: names in the file that no channel took.
        ct: the CT in RAS order on its native grid.
        facts: what is known of the file already.

    Raises:
        MskdexError: no voxel of any channel.
    """
    same = unused_synonyms(request, unused, combined.taken)
    unused = [n for n in unused if n not in combined.taken and n not in same]
    present_labels = ids_in(combined.out)
    if not present_labels:
        have = ", ".join(sorted(combined.names)[:20])
        msg = (
            f"{request.path} has none of the config's structures, or they are empty (it has {have}); correct the "
            "names or label_sources, or name the file itself where it is one label map"
        )
        raise MskdexError(msg)
    expected = expected_channels(request.channels, request.source, combined.taken)
    present = {c.name for c in request.channels if c.label in present_labels}
    found = findings(expected, present, unused, request.channels)
    warnings = combined.warnings + list(same.values()) + found.warnings + cut_warnings(request, combined.cut)
    return Labels(Volume(combined.out, ct.world_from_voxel), facts | found.facts, warnings, frozenset(combined.cut))
