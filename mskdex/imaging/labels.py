"""Label maps, masks and segmentations as others deliver them, brought to the CT's grid and the project's label ids."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from mskdex.config.imaging import CtSettings
from mskdex.errors import MskdexError
from mskdex.imaging.label_ids import as_ids, ids_in
from mskdex.imaging.label_map import from_map
from mskdex.imaging.label_masks import combine, finished
from mskdex.imaging.label_names import MASK_SUFFIXES, mask_files, names_in, sideless
from mskdex.imaging.label_request import LabelRequest, Labels
from mskdex.io.files import content_hash, file_kind, reading
from mskdex.io.slicer_segments import Segment, read_segments
from mskdex.io.volume import Volume
from mskdex.io.volume_files import read_volume_file

__all__ = ["LabelRequest", "Labels", "read_labels"]


def read_labels(request: LabelRequest, ct: Volume, settings: CtSettings) -> Labels:
    """Reads labels and lays them on the CT's grid.

    Args:
        request: what to read.
        ct: the CT in RAS order on its native grid.
        settings: the config's ct section.

    Raises:
        MskdexError: unreadable, on another grid than the CT, with two labels of one structure, with labels of another
            source, or with none of the config's structures.
    """
    path = Path(request.path)
    with reading(path):
        if path.is_dir() and names_in(path):
            return _from_folder(request, ct, settings)
        if path.is_dir() and (deeper := _folders_with_masks(path)):
            msg = f"{path} holds no mask itself, but its folder {' and its folder '.join(deeper)} does; name that one"
            raise MskdexError(msg)
        if path.is_dir() and not any(file_kind(p) in ("dicom", "archive") for p in _files_below(path)):
            msg = (
                f"{path} holds neither masks ({', '.join(MASK_SUFFIXES)}) nor a DICOM SEG; surfaces and contours are "
                "not read: export them as a label map or masks"
            )
            raise MskdexError(msg)
        if path.is_dir() or file_kind(path) == "dicom":
            return _from_dicom(request, ct, settings)
        return _from_file(request, ct, settings)


def _files_below(path: Path) -> list[Path]:
    return [p for p in sorted(path.rglob("*")) if p.is_file() and p.stat().st_size and not p.name.startswith(".")]


def _folders_with_masks(path: Path) -> list[str]:
    return sorted(p.name for p in path.iterdir() if p.is_dir() and not p.name.startswith(".") and mask_files(p))


def _from_file(request: LabelRequest, ct: Volume, settings: CtSettings) -> Labels:
    path = request.path
    raw, found = read_volume_file(path, "labels", settings.max_megavoxels, layers=True, tilted=settings.resample_tilted)
    ids, rounded = as_ids(raw.array, path)
    if not ids.any():
        msg = f"{path} is empty: every voxel is 0; run the segmentation again"
        raise MskdexError(msg)
    raw = Volume(ids, raw.world_from_voxel)
    facts = {"format": found["format"], "sha256": content_hash(found["files"])}
    listed = read_segments(path) if found["format"] == "nrrd" else []
    if ids.ndim == 4 or len({s.layer for s in listed}) > 1:
        labels = _from_layers(request, raw, listed, ct, settings, facts)
    else:
        labels = from_map(request, raw, ct, settings, facts, leaves_out_empty=bool(listed))
    labels.warnings[:0] = [*found["warnings"], *([rounded] if rounded else [])]
    return labels


def _from_layers(
    request: LabelRequest,
    raw: Volume,
    listed: list[Segment],
    ct: Volume,
    settings: CtSettings,
    facts: dict[str, Any],
) -> Labels:
    if not listed:
        msg = f"{request.path} has {raw.array.shape[-1]} values per voxel and no segments; export one label map"
        raise MskdexError(msg)
    masks = {s.name: _layer(raw, s, request.path) for s in listed}
    combined = combine(request, masks, ct, settings, leaves_out_empty=True)
    unused = [n for n in masks if n not in combined.taken and masks[n]().array.any()]
    return finished(request, combined, unused + _without_segment(raw, listed), ct, facts)


def _without_segment(raw: Volume, listed: list[Segment]) -> list[str]:
    """Values that occur in a layer and that no segment describes."""
    layers = [raw.array] if raw.array.ndim == 3 else [raw.array[..., n] for n in range(raw.array.shape[3])]
    return [
        f"value {i} without a segment in layer {n}"
        for n, layer in enumerate(layers)
        for i in sorted(ids_in(layer) - {s.value for s in listed if s.layer == n})
    ]


def _layer(raw: Volume, segment: Segment, path: Path) -> Callable[[], Volume]:
    layers = raw.array.shape[3] if raw.array.ndim == 4 else 1
    if segment.layer >= layers:
        msg = f"{path}: segment {segment.name} is in layer {segment.layer} of {layers}, counted from 0; save it again"
        raise MskdexError(msg)

    def read() -> Volume:
        array = raw.array if raw.array.ndim == 3 else raw.array[..., segment.layer]
        return Volume((array == segment.value).astype(np.uint8), raw.world_from_voxel)

    return read


def _from_folder(request: LabelRequest, ct: Volume, settings: CtSettings) -> Labels:
    names = names_in(request.path) or {}
    files: list[Path] = []
    notes: list[str] = []
    masks = {n: _mask(request, n, settings, files, notes) for n in names}
    combined = combine(request, masks, ct, settings, leaves_out_empty=False)
    combined.warnings[:0] = notes
    facts = {"format": "masks", "sha256": content_hash(sorted(files))}
    unused = [n for n in masks if n not in combined.taken]
    if request.source is not None:
        unused = list(sideless(request.channels, unused))
    return finished(request, combined, unused, ct, facts)


def _mask(
    request: LabelRequest, name: str, settings: CtSettings, files: list[Path], notes: list[str]
) -> Callable[[], Volume]:
    path = request.path / name

    def read() -> Volume:
        if path.is_symlink() and not path.resolve().is_relative_to((request.root or request.path).resolve()):
            msg = f"{path} is a link that leads out of the data root; copy the file there or set cohort.data_root"
            raise MskdexError(msg)
        with reading(path):
            raw, found = read_volume_file(path, "a mask", settings.max_megavoxels, tilted=settings.resample_tilted)
            ids, rounded = as_ids(raw.array, path)
        if ids.max() > 1 and len(ids_in(ids)) > 1:
            msg = f"{path} is a label map of several ids, not a mask; give the file itself as labels"
            raise MskdexError(msg)
        notes.extend([*found["warnings"], *([rounded] if rounded else [])])
        files.extend(found["files"])
        return Volume((ids > 0).astype(np.uint8), raw.world_from_voxel)

    return read


def _from_dicom(request: LabelRequest, ct: Volume, settings: CtSettings) -> Labels:
    from mskdex.imaging.dicom_seg import read_segmentation

    found = read_segmentation(request.path, request.series_uid, request.root, settings.max_megavoxels)
    warnings = found.reference_warnings(request.ct, request.ct_series, request.root)
    combined = combine(request, found.masks, ct, settings, leaves_out_empty=True)
    combined.warnings[:0] = warnings
    facts = {"format": "dicom_seg", "sha256": content_hash(found.files)}
    return finished(request, combined, [n for n in found.masks if n not in found.empty], ct, facts)
