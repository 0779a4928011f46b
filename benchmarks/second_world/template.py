"""The second world's anatomy: a label map of the Visible Human Male, read from a folder that the user has.

Frame of all modules here: LPS millimetres (ITK's) from the midpoint of the femoral heads; arrays are z, y, x.
"""

import functools
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from scipy import ndimage, optimize

BONES = ("pelvis_left", "pelvis_right", "sacrum", "femur_left", "femur_right")
_MISSING_RIGHT = ("rectus_femoris", "sartorius")
_OTHER = "other_soft_tissue"
_SUBCUTANEOUS_MM = 22.0
"""Soft tissue that has no label of its own and lies deeper than this, between the iliac bones, is bowel and bladder."""


@dataclass(frozen=True)
class Template:
    """A label map.

    Attributes:
        labels: uint8 (z, y, x), 0 is air.
        origin_mm: centre of voxel (0, 0, 0), (x, y, z).
        voxel_mm: voxel size.
        names: by label id; `fat`, `organ` and `skin` are made here from what the atlas leaves without a name.
        heads_mm: centre of each femoral head, by side.
    """

    labels: np.ndarray
    origin_mm: np.ndarray
    voxel_mm: float
    names: dict[int, str]
    heads_mm: dict[str, np.ndarray]

    def id_of(self, name: str) -> int:
        """Label id of a name."""
        return next(i for i, n in self.names.items() if n == name)

    @property
    def muscles(self) -> list[int]:
        """Ids of all muscles."""
        return [i for i, n in self.names.items() if n not in (*BONES, "fat", "organ", "skin")]

    @property
    def bones(self) -> list[int]:
        """Ids of all bones."""
        return [self.id_of(n) for n in BONES]

    @functools.cached_property
    def boxes(self) -> dict[int, tuple[slice, ...]]:
        """The box of voxels that holds each label."""
        return {i: box for i, box in enumerate(ndimage.find_objects(self.labels), start=1) if box is not None}

    @functools.cached_property
    def bone_distance_mm(self) -> np.ndarray:
        """Distance of every voxel to the nearest bone, float32 (z, y, x)."""
        return ndimage.distance_transform_edt(~np.isin(self.labels, self.bones), sampling=self.voxel_mm).astype(
            np.float32
        )

    @functools.cached_property
    def nearest_bone(self) -> np.ndarray:
        """Index of the bone voxel nearest to every voxel, int32 (3, z, y, x)."""
        free = ~np.isin(self.labels, self.bones)
        return ndimage.distance_transform_edt(free, return_distances=False, return_indices=True)

    @functools.cached_property
    def inward(self) -> list[np.ndarray]:
        """Slopes of the smoothed body along x and y, float32 (z, y, x), which point inwards."""
        smooth = ndimage.gaussian_filter((self.labels > 0).astype(np.float32), 4.0)
        return [np.gradient(smooth, axis=d) for d in (2, 1)]

    def points_of(self, mask: np.ndarray, count: int, draw: np.random.Generator) -> np.ndarray:
        """At most `count` voxel centres of a mask, (n, 3) mm."""
        index = np.argwhere(mask)
        if len(index) > count:
            index = index[draw.choice(len(index), count, replace=False)]
        return self.origin_mm + self.voxel_mm * index[:, ::-1]


@functools.cache
def read_template(folder: Path) -> Template:
    """Reads `labels.nii.gz` and `labels.json` (name to id) of the atlas's folder, once in a process.

    Source of the atlas: D. Denver's Visible Human surfaces and the HuBMAP reference atlas, CC BY 4.0.
    """
    image = sitk.DICOMOrient(sitk.ReadImage(str(folder / "labels.nii.gz")), "LPS")
    ids = json.loads((folder / "labels.json").read_text(encoding="utf-8"))
    labels, voxel = sitk.GetArrayFromImage(image).astype(np.uint8), float(image.GetSpacing()[0])
    names = {int(i): n for n, i in ids.items() if n != _OTHER}
    heads = {s: _head(labels == ids[f"femur_{s}"], labels == ids[f"pelvis_{s}"]) * voxel for s in ("left", "right")}
    middle = (heads["left"] + heads["right"]) / 2.0
    _mirror(labels, names, ids, middle[0] / voxel)
    _name_the_rest(labels, names, ids[_OTHER], voxel)
    return Template(labels, -middle, voxel, names, {s: h - middle for s, h in heads.items()})


def _head(femur: np.ndarray, pelvis: np.ndarray) -> np.ndarray:
    """Centre of the femoral head, (x, y, z) in voxels: the sphere through the femur's surface beside the socket."""
    surface = femur & ~ndimage.binary_erosion(femur)
    near = surface & (ndimage.distance_transform_edt(~pelvis) < 4.0)
    points = np.argwhere(near)[:, ::-1].astype(float)

    def misfit(sphere: np.ndarray) -> np.ndarray:
        return np.linalg.norm(points - sphere[:3], axis=1) - sphere[3]

    return optimize.least_squares(misfit, [*points.mean(axis=0), 12.0], loss="soft_l1").x[:3]


def _mirror(labels: np.ndarray, names: dict[int, str], ids: dict[str, int], middle: float) -> None:
    """Gives the right side the muscles that the atlas has on the left alone."""
    for number, bare in enumerate(_MISSING_RIGHT):
        label = max(i for i in names if i < 200) + 1 + number
        z, y, x = np.nonzero(labels == ids[f"{bare}_left"])
        mirrored = np.rint(2.0 * middle - x).astype(int)
        inside = (mirrored >= 0) & (mirrored < labels.shape[2])
        z, y, mirrored = z[inside], y[inside], mirrored[inside]
        free = labels[z, y, mirrored] == ids[_OTHER]
        labels[z[free], y[free], mirrored[free]] = label
        names[label] = f"{bare}_right"


def _name_the_rest(labels: np.ndarray, names: dict[int, str], other: int, voxel: float) -> None:
    body = labels > 0
    depth = ndimage.distance_transform_edt(np.pad(body, 1)[:, 1:-1, 1:-1][1:-1], sampling=voxel)
    rest = labels == other
    pelvis = [i for i, n in names.items() if n.startswith("pelvis")]
    _, y, x = np.nonzero(np.isin(labels, pelvis))
    between = np.zeros_like(body)
    between[:, y.min() : y.max(), x.min() : x.max()] = True
    z = np.nonzero(np.isin(labels, pelvis).any(axis=(1, 2)))[0]
    between[: z.min() + round(45 / voxel)] = False
    organ, fat, skin = (max(names) + 1 + i for i in range(3))
    labels[rest] = fat
    labels[rest & between & (depth > _SUBCUTANEOUS_MM)] = organ
    labels[rest & (depth <= voxel)] = skin
    names.update({organ: "organ", fat: "fat", skin: "skin"})
