"""A body from a label map that others drew."""

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from scipy.ndimage import binary_erosion, center_of_mass

from mskdex.deformation.template import Template, Tissue, label_depth
from mskdex.errors import MskdexError
from mskdex.io.user_files import read_user_json
from mskdex.io.volume import volume_from_sitk
from mskdex.virtual.built_in_anatomy import ORGANS, put_organs
from mskdex.virtual.skeleton import lumbar_spine

_SOFT = ("other_soft_tissue", "soft_tissue", "fat")
_BONES = ("pelvis", "femur", "sacrum", "lumbar_spine", "coccyx")
_NEEDED = ("pelvis_left", "pelvis_right", "femur_left", "femur_right")
_HEAD_SEARCH_MM = 60.0


def read_atlas(folder: Path) -> Template:
    """Reads an atlas: labels.nii.gz, and labels.json with the id of each name.

    Names are those of the project's structures, with _left or _right; `other_soft_tissue` is fat, every name that is
    no bone is a muscle. Skin, and the organs and vertebrae that the atlas lacks, are added inside its soft tissue.

    Args:
        folder: the atlas's folder.

    Raises:
        MskdexError: a file is missing or unreadable, the voxels are not isotropic, a needed bone is missing, sides are
            exchanged.
    """
    folder = Path(folder)
    ids = atlas_ids(folder)
    if missing := [n for n in (*_NEEDED,) if n not in ids] + ([] if any(n in ids for n in _SOFT) else [_SOFT[0]]):
        needed = "an atlas needs both hip bones, both femurs and the soft tissue around"
        msg = f"{folder / 'labels.json'} lacks {', '.join(missing)}; {needed}"
        raise MskdexError(msg)
    array, origin, voxel_mm = _read_ras(folder / "labels.nii.gz")
    names = atlas_structures(ids)
    table = np.zeros(256, np.uint8)
    for name, value in ids.items():
        table[value] = names.index("fat" if name in _SOFT else name)
    labels = np.pad(table[array], ((0, 0), (2, 2), (2, 2)))
    tissues = np.array([_tissue(n) for n in names])
    origin = origin - voxel_mm * np.array([2.0, 2.0, 0.0])
    heads = {side: origin + _head(labels == names.index(f"femur_{side}"), voxel_mm) for side in ("left", "right")}
    if heads["left"][0] >= heads["right"][0]:
        msg = f"{folder}: femur_left lies to the right of femur_right; exchange the sides' names in labels.json"
        raise MskdexError(msg)
    middle = (heads["left"] + heads["right"]) / 2.0
    origin, heads = origin - middle, {side: head - middle for side, head in heads.items()}
    _complete(labels, origin, voxel_mm, names)
    return Template(labels, origin, voxel_mm, tuple(names), tissues, label_depth(labels, tissues, voxel_mm), heads)


def atlas_ids(folder: Path) -> dict[str, int]:
    """The id of each name in an atlas's labels.json."""
    return {str(n): int(i) for n, i in read_user_json(Path(folder) / "labels.json").items()}


def common_structures(folders: Sequence[Path]) -> list[str]:
    """Names of bones and muscles that several atlases have, with sides, in the order of the first one's ids."""
    first, *others = [atlas_ids(f) for f in folders]
    wanted = (Tissue.BONE, Tissue.MUSCLE)
    return [n for n in first if n not in _SOFT and _tissue(n) in wanted and all(n in o for o in others)]


def atlas_structures(ids: Iterable[str]) -> list[str]:
    """Names of a virtual patient's labels, with sides, in the order of their ids, from an atlas's names."""
    names = ["air", *(n for n in ids if n not in _SOFT), "cartilage", "fat", "skin"]
    return names + [n for n in (*ORGANS, "bowel_gas", "lumbar_spine") if n not in names]


def _read_ras(path: Path) -> tuple[np.ndarray, np.ndarray, float]:
    try:
        image = sitk.DICOMOrient(sitk.ReadImage(str(path)), "RAS")
    except RuntimeError as error:
        msg = f"{path} cannot be read as an image ({str(error).splitlines()[-1]}); virtual.atlas needs a folder with it"
        raise MskdexError(msg) from error
    volume = volume_from_sitk(image)
    spacing = np.array(volume.spacing_mm)
    if spacing.max() - spacing.min() > 0.01 * spacing.max() or volume.array.min() < 0 or volume.array.max() > 255:
        found = f"voxels of {np.round(spacing, 3).tolist()} mm and labels up to {volume.array.max()}"
        msg = f"{path} has {found}; an atlas needs isotropic voxels and labels of 0 to 255"
        raise MskdexError(msg)
    flips = np.sign(np.diag(volume.world_from_voxel)[:3])
    array = volume.array[:: int(flips[2]), :: int(flips[1]), :: int(flips[0])]
    far = volume.world_from_voxel @ np.r_[np.where(flips < 0, np.array(volume.array.shape[::-1]) - 1, 0), 1.0]
    return np.ascontiguousarray(array).astype(np.uint8), far[:3], float(spacing.mean())


def _tissue(name: str) -> Tissue:
    bare = name.removesuffix("_left").removesuffix("_right")
    if bare in _BONES or bare.startswith("vertebra"):
        return Tissue.BONE
    if bare in ORGANS or bare == "cartilage":
        return Tissue.ORGAN
    other = {"air": Tissue.AIR, "fat": Tissue.FAT, "skin": Tissue.SKIN, "bowel_gas": Tissue.GAS}
    return other.get(bare, Tissue.MUSCLE)


def _head(femur: np.ndarray, voxel_mm: float) -> np.ndarray:
    """Centre of the femoral head in mm from the first voxel (x, y, z): the deepest point of the femur's top."""
    top = int(np.flatnonzero(femur.any(axis=(1, 2)))[-1])
    part = femur[max(0, top - round(_HEAD_SEARCH_MM / voxel_mm)) : top + 1].astype(np.uint8)
    depth = label_depth(part, np.array([Tissue.AIR, Tissue.BONE]), voxel_mm)
    z, y, x = center_of_mass(depth > depth.max() - 0.6 * voxel_mm)
    return voxel_mm * np.array([x, y, z + max(0, top - round(_HEAD_SEARCH_MM / voxel_mm))])


def _complete(labels: np.ndarray, origin: np.ndarray, voxel_mm: float, names: list[str]) -> None:
    """Adds skin, and within the soft tissue the organs and vertebrae that the atlas lacks."""
    soft = labels == names.index("fat")
    body = labels > 0
    ends = np.pad(body, ((1, 1), (0, 0), (0, 0)), mode="edge")
    labels[soft & ~binary_erosion(ends)[1:-1]] = names.index("skin")
    axes = [(origin[d] + voxel_mm * np.arange(labels.shape[2 - d])).astype(np.float32) for d in range(3)]
    points = (-np.abs(axes[0])[None, None, :], axes[1][None, :, None], axes[2][:, None, None])
    inside = label_depth(body.astype(np.uint8), np.array([Tissue.AIR, Tissue.BONE]), voxel_mm)
    added = labels.copy()
    put_organs(points, inside, added, names)
    added[lumbar_spine(points) > 0] = names.index("lumbar_spine")
    soft &= labels != names.index("skin")
    labels[soft] = added[soft]
