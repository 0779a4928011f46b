"""Label maps as others deliver them, brought to the CT's grid and the project's label ids."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mskdex.anatomy import LabelSource
from mskdex.config.imaging import CtSettings
from mskdex.config.objects import Channel
from mskdex.errors import MskdexError
from mskdex.imaging.files import content_hash, file_kind
from mskdex.imaging.grid import embed, grid_difference, resample_onto, to_ras
from mskdex.imaging.label_names import MASK_SUFFIXES, match_names, names_in, segments, source_keys
from mskdex.imaging.tilt import ROUNDED, skew
from mskdex.imaging.volume import Volume
from mskdex.imaging.volume_files import read_volume_file

_LARGEST_ID = 65535
_OVERLAP_SHARE = 0.02
"""Masks of two structures may share this part of the smaller one; more is an error."""


@dataclass(frozen=True)
class LabelRequest:
    """What is read from where.

    Attributes:
        path: label map, folder of masks, or DICOM SEG.
        source_name: the sheet's label_source.
        source: its keys, or None where it is read by name.
        channels: the config's.
        series_uid: the DICOM SEG to take where a folder has several.
        root: folder that links may lead into.
    """

    path: Path
    source_name: str
    source: LabelSource | None
    channels: Sequence[Channel]
    series_uid: str | None = None
    root: Path | None = None


@dataclass(frozen=True)
class Labels:
    """Labels on the CT's grid.

    Attributes:
        volume: uint8, Channel.label where a structure is, else 0.
        facts: what import.json records.
        warnings: what a human should know.
    """

    volume: Volume
    facts: dict[str, Any]
    warnings: list[str]


def read_labels(request: LabelRequest, ct: Volume, settings: CtSettings) -> Labels:
    """Reads labels and lays them on the CT's grid.

    Args:
        request: what to read.
        ct: the CT in RAS order on its native grid.
        settings: the config's ct section.

    Raises:
        MskdexError: unreadable, on another grid than the CT, or with none of the config's structures.
    """
    path = Path(request.path)
    if path.is_dir() and names_in(path):
        return _from_masks(request, ct, settings)
    if path.is_dir() or file_kind(path) == "dicom":
        from mskdex.imaging.dicom_multiframe import read_segmentation

        named, files = read_segmentation(path, request.series_uid, request.root, settings.max_megavoxels)
        return _combine(request, named, ct, settings, {"format": "dicom_seg", "sha256": content_hash(files)})
    return _from_map(request, ct, settings)


def _from_map(request: LabelRequest, ct: Volume, settings: CtSettings) -> Labels:
    path = request.path
    raw, found = read_volume_file(path, "labels", settings.max_megavoxels, layers=True, tilted=settings.resample_tilted)
    raw = Volume(_require_ids(raw.array, path), raw.world_from_voxel)
    facts = {"format": found["format"], "sha256": content_hash(found["files"])}
    listed = segments(found["header"])
    if raw.array.ndim == 4 or (listed and len({s.get("Layer", "0") for s in listed}) > 1):
        layered = {s["Name"].strip(): _layer(raw, s, path) for s in listed}
        return _combine(request, layered, ct, settings, facts)
    ids = _ids_by_channel(request)
    table = np.zeros(1 + max([_LARGEST_ID, *(i for claimed in ids.values() for i in claimed)]), np.uint8)
    for channel in request.channels:
        for i in ids.get(channel.name, ()):
            table[i] = channel.label
    in_file_order = Volume(_translated(raw.array, table), raw.world_from_voxel)
    mapped, warnings = lay_on(to_ras(in_file_order), ct, path, settings)
    if not mapped.array.any():
        have = np.unique(raw.array)
        msg = (
            f"{path} has none of the structures that label source {request.source_name} maps "
            f"(it has the ids {', '.join(str(i) for i in have[:20])}{', ...' if have.size > 20 else ''}); "
            f"correct label_source in the sheet or label_sources in config.yaml"
        )
        raise MskdexError(msg)
    return Labels(mapped, facts, [*found["warnings"], *warnings])


def _translated(ids: np.ndarray, table: np.ndarray) -> np.ndarray:
    """`table[ids]`, slice by slice, contiguous; bytes go through a table of bytes, which is several times faster."""
    out = np.zeros(ids.shape, np.uint8)
    bytes_table = table[:256].tobytes()
    for k, plane in enumerate(ids):
        if not plane.any():
            continue
        if ids.dtype == np.uint8:
            out[k] = np.frombuffer(plane.tobytes().translate(bytes_table), np.uint8).reshape(plane.shape)
        else:
            out[k] = table[plane]
    return out


def _ids_by_channel(request: LabelRequest) -> dict[str, tuple[int, ...]]:
    """Ids in the label map of every channel that it can have."""
    names = names_in(request.path)
    found: dict[str, tuple[int, ...]] = {}
    for channel in request.channels:
        keys = source_keys(channel, request.source)
        if keys is not None and all(isinstance(k, int) for k in keys):
            found[channel.name] = tuple(int(k) for k in keys)
        elif names is not None and (keys is not None or request.source is None):
            wanted = [str(k) for k in keys] if keys is not None else match_names(channel, names)
            if ids := tuple(i for n in wanted for i in names.get(n, ())):
                found[channel.name] = ids
    if request.source is None and names is None:
        msg = (
            f"{request.path} carries no names of structures, and label source {request.source_name} is not in "
            f"label_sources; add it to config.yaml, or put a JSON of names and ids beside the file "
            f"({request.path.name.split('.')[0]}.json)"
        )
        raise MskdexError(msg)
    claimed = [i for ids in found.values() for i in ids]
    if twice := {i for i in claimed if claimed.count(i) > 1}:
        msg = (
            f"{request.path}: id {', '.join(map(str, sorted(twice)))} would belong to several objects; give each "
            "its own"
        )
        raise MskdexError(msg)
    return found


def _from_masks(request: LabelRequest, ct: Volume, settings: CtSettings) -> Labels:
    masks: dict[str, Volume] = {}
    files: list[Path] = []
    names = names_in(request.path) or {}
    for name in _wanted(request, names):
        path = request.path / name
        if path.is_symlink() and not path.resolve().is_relative_to((request.root or request.path).resolve()):
            msg = f"{path} is a link that leads out of the data root; copy the file there or set cohort.data_root"
            raise MskdexError(msg)
        raw, found = read_volume_file(path, "a mask", settings.max_megavoxels, tilted=settings.resample_tilted)
        _require_ids(raw.array, path)
        if raw.array.max() > 1 and np.unique(raw.array).size > 2:
            msg = f"{path} is a label map of several ids, not a mask; give the file itself as labels"
            raise MskdexError(msg)
        masks[name] = Volume((raw.array > 0).astype(np.uint8), raw.world_from_voxel)
        files += found["files"]
    return _combine(request, masks, ct, settings, {"format": "masks", "sha256": content_hash(sorted(files))})


def _wanted(request: LabelRequest, names: dict[str, Any]) -> list[str]:
    """The names that some channel takes, each once, in the channels' order."""
    return list(dict.fromkeys(n for c in request.channels for n in _names_of(request, c, names)))


def _names_of(request: LabelRequest, channel: Channel, names: dict[str, Any]) -> list[str]:
    keys = source_keys(channel, request.source)
    if keys is not None and any(isinstance(k, str) for k in keys):
        asked = {str(k) for k in keys}
        return [n for n in names if n in asked or any(n == k + s for k in asked for s in MASK_SUFFIXES)]
    if request.source is not None and keys is None:
        return []
    return match_names(channel, names)


def _combine(
    request: LabelRequest, named: dict[str, Volume], ct: Volume, settings: CtSettings, facts: dict[str, Any]
) -> Labels:
    """Unites masks in the channels' order; a voxel that two claim stays with the first."""
    out = np.zeros(ct.array.shape, np.uint8)
    warnings: list[str] = []
    for channel in request.channels:
        for name in _names_of(request, channel, named):
            mask, told = lay_on(to_ras(named[name]), ct, request.path / name, settings)
            warnings += told
            inside = mask.array > 0
            shared = int(np.count_nonzero(inside & (out > 0) & (out != channel.label)))
            smaller = int(np.count_nonzero(inside))
            if shared > _OVERLAP_SHARE * max(smaller, 1):
                msg = (
                    f"{request.path}: {name} shares {shared} of its {smaller} voxels with other structures; "
                    f"correct the masks"
                )
                raise MskdexError(msg)
            if shared:
                warnings.append(f"{name} shares {shared} voxels with other structures; they stay with those")
            out[inside & (out == 0)] = channel.label
    if not out.any():
        have = ", ".join(sorted(named or names_in(request.path) or {})[:20])
        msg = (
            f"{request.path} has none of the config's structures, or they are empty (it has {have}); correct the "
            "names or label_sources"
        )
        raise MskdexError(msg)
    return Labels(Volume(out, ct.world_from_voxel), facts, warnings)


def lay_on(volume: Volume, ct: Volume, path: Path, settings: CtSettings) -> tuple[Volume, list[str]]:
    """Brings labels in RAS order to the CT's grid: as they are, as a part of it, or resampled if allowed.

    Raises:
        MskdexError: another grid, and resampling is not allowed.
    """
    if skew(volume.world_from_voxel) > ROUNDED:
        laid = resample_onto(volume, ct, nearest=True, outside=0)
        return laid, [f"{path.name} lay on the grid of a tilted gantry and was resampled (nearest voxel)"]
    difference = grid_difference(volume, ct)
    if difference is None:
        return Volume(volume.array, ct.world_from_voxel), []
    part = embed(volume, ct)
    if part is not None and part[1] == 0:
        return part[0], []
    if settings.resample_labels:
        laid = resample_onto(volume, ct, nearest=True, outside=0)
        return laid, [f"{path.name} lay on another grid ({difference}) and was resampled (nearest voxel)"]
    lost = f" and {part[1]} labelled voxels lie outside the CT" if part is not None else ""
    msg = (
        f"{path} lies on another grid than the CT: {difference}{lost}; make labels of this very CT, or set "
        f"ct.resample_labels: true if the positions in both headers are right"
    )
    raise MskdexError(msg)


def _layer(raw: Volume, segment: dict[str, str], path: Path) -> Volume:
    layer, value = int(segment.get("Layer", 0)), int(segment.get("LabelValue", 1))
    array = raw.array if raw.array.ndim == 3 else raw.array[..., min(layer, raw.array.shape[3] - 1)]
    if raw.array.ndim == 4 and layer >= raw.array.shape[3]:
        msg = f"{path}: segment {segment['Name']} is in layer {layer}, which the file lacks; save it again"
        raise MskdexError(msg)
    return Volume((array == value).astype(np.uint8), raw.world_from_voxel)


def _require_ids(array: np.ndarray, path: Path) -> np.ndarray:
    """The array as integers; fractions, negative values and an empty map are refused."""
    if np.issubdtype(array.dtype, np.floating) and not (np.isfinite(array).all() and (array == np.rint(array)).all()):
        msg = f"{path} holds fractions, not label ids (interpolated or a probability map?); export the label map itself"
        raise MskdexError(msg)
    low, high = array.min(), array.max()
    if low < 0 or high > _LARGEST_ID:
        msg = f"{path} holds values from {low} to {high}; label ids are 0 to {_LARGEST_ID} (is it the CT?)"
        raise MskdexError(msg)
    if high == 0:
        msg = f"{path} is empty: every voxel is 0; run the segmentation again"
        raise MskdexError(msg)
    return array.astype(np.uint16) if array.dtype != np.uint8 else array
