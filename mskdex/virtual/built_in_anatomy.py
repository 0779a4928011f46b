"""The built-in hip anatomy: swept sections of the atlas's figures, bones first, no overlaps."""

from functools import cache

import numpy as np

from mskdex.deformation.template import Template, Tissue, label_depth
from mskdex.virtual import skeleton
from mskdex.virtual.cached import cached
from mskdex.virtual.outline import outline_depth
from mskdex.virtual.profiles import Profile, atlas_volumes_cm3, profiles
from mskdex.virtual.solids import Points, capsule, ellipsoid, join, sweep

_LOW_MM, _HIGH_MM = (-255.0, -185.0, -205.0), (255.0, 215.0, 215.0)
_SKIN_MM = 2.5
_FITS = 4

PAIRED_BONES = ("pelvis", "femur")
MIDLINE_BONES = ("sacrum", "lumbar_spine")
_NOT_MUSCLES = (*PAIRED_BONES, "sacrum", "other_soft_tissue")
ORGANS = ("bladder", "rectum", "bowel")
_CAVITY_FLOOR_MM = 48.0


@cache
def muscles() -> tuple[str, ...]:
    """Names of the muscles of one side."""
    swept = [name for name in profiles() if name not in _NOT_MUSCLES]
    return (*swept, "erector_spinae", "abdominal_wall")


def _paired() -> tuple[str, ...]:
    return (*PAIRED_BONES, *muscles(), "vessels")


def structures() -> tuple[str, ...]:
    """Names of the built-in anatomy's labels, with sides, in the order of their ids."""
    sided = (f"{n}_{s}" for n in _paired() for s in ("left", "right"))
    return ("air", *sided, *MIDLINE_BONES, *ORGANS, "bowel_gas", "cartilage", "fat", "skin")


def built_in(voxel_mm: float) -> Template:
    """The built-in anatomy as a label map.

    Args:
        voxel_mm: its voxel size; volumes of the atlas's structures are met to a few percent at any size.
    """
    names, paired = list(structures()), _paired()
    tissues = np.array([_tissue(n) for n in names])
    swap = np.arange(len(names), dtype=np.uint8)
    swap[1 : 2 * len(paired) : 2], swap[2 : 2 * len(paired) + 1 : 2] = (
        np.arange(2, 2 * len(paired) + 1, 2),
        np.arange(1, 2 * len(paired), 2),
    )
    labels, depth, origin = cached(f"anatomy-{voxel_mm:g}", 3, lambda: _both_halves(names, tissues, swap, voxel_mm))
    left = np.array(skeleton.HEAD_MM)
    heads = {"left": left, "right": left * (-1.0, 1.0, 1.0)}
    return Template(labels, origin, voxel_mm, tuple(names), tissues, depth, heads)


def _tissue(name: str) -> Tissue:
    bare = name.removesuffix("_left").removesuffix("_right")
    if bare in (*PAIRED_BONES, *MIDLINE_BONES):
        return Tissue.BONE
    if bare in muscles():
        return Tissue.MUSCLE
    other = {"air": Tissue.AIR, "fat": Tissue.FAT, "skin": Tissue.SKIN, "bowel_gas": Tissue.GAS}
    return other.get(bare, Tissue.ORGAN)


def _both_halves(names: list[str], tissues: np.ndarray, swap: np.ndarray, voxel_mm: float) -> list[np.ndarray]:
    """Labels, depth and origin."""
    left, origin = _left_half(names, voxel_mm)
    # No path across the midplane is shorter than its mirror image on this side.
    beyond = np.concatenate([left, swap[left[:, :, -1:]]], axis=2)
    depth = label_depth(beyond, tissues, voxel_mm)[:, :, :-1]
    labels = np.concatenate([left, swap[left[:, :, ::-1]]], axis=2)
    return [labels, np.concatenate([depth, depth[:, :, ::-1]], axis=2), origin]


def _left_half(names: list[str], voxel_mm: float) -> tuple[np.ndarray, np.ndarray]:
    axes = [np.arange(low + voxel_mm / 2, high, voxel_mm) for low, high in zip(_LOW_MM, _HIGH_MM, strict=True)]
    half = len(axes[0]) // 2
    x = (np.arange(half) - half + 0.5) * voxel_mm
    grid = (x[None, None, :], axes[1][None, :, None], axes[2][:, None, None])
    points: Points = tuple(p.astype(np.float32) for p in grid)  # type: ignore[assignment]
    labels = _background(points, names)
    occupied = _put_bones(points, labels, names)
    _put_muscles(points, labels, occupied, names, voxel_mm)
    return labels, np.array([x[0], axes[1][0], axes[2][0]])


def _background(points: Points, names: list[str]) -> np.ndarray:
    """Everything but bones and muscles: skin, fat, organs, vessels."""
    skin = outline_depth(points)
    labels = np.zeros(skin.shape, np.uint8)
    labels[skin > 0] = names.index("skin")
    labels[skin > _SKIN_MM] = names.index("fat")
    put_organs(points, skin, labels, names)
    box, vessels = _boxed(points, (_vessels, ((-100, -15), (0, 60), (-215, 225))))
    labels[box][vessels > 0] = names.index("vessels_left")
    return labels


def _vessels(points: Points) -> np.ndarray:
    return join(
        [
            capsule(points, (-30, 12, 215), (-32, 14, 120), (9, 8)),
            capsule(points, (-32, 14, 120), (-66, 46, 20), (7, 6)),
            capsule(points, (-66, 46, 20), (-88, 32, -205), (6, 5)),
        ],
        4.0,
    )


def put_organs(points: Points, skin: np.ndarray, labels: np.ndarray, names: list[str]) -> None:
    """Writes bowel with gas, rectum and bladder into `labels`.

    Args:
        points: left half, x ≤ 0.
        skin: depth under the skin in mm.
        labels: (z, y, x), changed in place.
        names: name of each label.
    """
    top = points[2].ravel() > _CAVITY_FLOOR_MM
    x, y, z = points[0], points[1], points[2][top]
    floor = np.minimum(z - _CAVITY_FLOOR_MM, y + 40.0 - 0.25 * (z - 100.0))
    cavity = np.minimum(skin[top] - 46.0, floor)
    loops = np.sin(x / 8.5 + np.sin(z / 13.0)) + np.sin(y / 9.5 + np.sin(x / 17.0)) + np.sin(z / 8.0 + np.sin(y / 15.0))
    here = labels[top]
    here[(cavity > 4) & (loops > 0.1)] = names.index("bowel")
    here[(cavity > 12) & (loops > 1.9) & (y > 45)] = names.index("bowel_gas")
    labels[top] = here
    for name, solid in _ORGANS.items():
        box, depth = _boxed(points, solid)
        labels[box][depth > 0] = names.index(name)


def _rectum(points: Points) -> np.ndarray:
    upper, lower = (0, -62, 62), (0, -38, -55)
    parts = [capsule(points, upper, (0, -58, 0), (18, 17)), capsule(points, (0, -58, 0), lower, (17, 9))]
    return join(parts, 6.0)


_ORGANS = {
    "rectum": (_rectum, ((-25, 0), (-90, -20), (-70, 90))),
    "bladder": (lambda points: ellipsoid(points, (0, 14, 14), (40, 34, 30)), ((-45, 0), (-25, 55), (-20, 50))),
}
"""Organs with a wall, each with its box in mm."""

_BONES = {
    "lumbar_spine": (skeleton.lumbar_spine, ((-70, 0), (-110, 40), (115, 215))),
    "sacrum": (skeleton.sacrum, ((-80, 0), (-125, 15), (-15, 145))),
    "pelvis_left": (skeleton.pelvis, ((-165, 0), (-115, 70), (-75, 165))),
    "femur_left": (skeleton.femur, ((-185, -55), (-65, 45), (-205, 35))),
}
"""Bones in the order in which they are put, each with its box in mm."""


def _put_bones(points: Points, labels: np.ndarray, names: list[str]) -> np.ndarray:
    occupied = np.zeros(labels.shape, bool)
    for name, solid in _BONES.items():
        box, depth = _boxed(points, solid)
        here = labels[box]
        if name == "pelvis_left":
            joint = ellipsoid(_within(points, box), skeleton.HEAD_MM, (skeleton.SOCKET_RADIUS_MM + 1.0,) * 3)
            here[(joint > 0) & (depth > -6.0)] = names.index("cartilage")
        here[depth > 0] = names.index(name)
        occupied[box] |= depth > 0
    return occupied


def _put_muscles(points: Points, labels: np.ndarray, occupied: np.ndarray, names: list[str], voxel_mm: float) -> None:
    """Muscles compete for the space that bones leave; each one's margin is fitted to the atlas's volume."""
    solids = {name: _boxed(points, _muscle_depth(name)) for name in muscles()}
    free = ~occupied & (labels != names.index("air")) & (labels != names.index("skin"))
    margin = dict.fromkeys(solids, 0.0)
    for _ in range(_FITS):
        owner, best = np.zeros(labels.shape, np.uint8), np.zeros(labels.shape, np.float32)
        for number, (name, (box, depth)) in enumerate(solids.items(), 1):
            wins = (depth + margin[name] > best[box]) & free[box]
            owner[box][wins] = number
            best[box][wins] = (depth + margin[name])[wins]
        counts = np.bincount(owner.ravel(), minlength=len(solids) + 1)[1:] * voxel_mm**3
        for (name, (_, depth)), volume in zip(solids.items(), counts, strict=True):
            margin[name] += _correction(name, depth + margin[name], volume, voxel_mm)
    ids = np.array([0, *(names.index(f"{n}_left") for n in solids)], np.uint8)
    labels[owner > 0] = ids[owner[owner > 0]]


def _correction(name: str, depth: np.ndarray, volume_mm3: float, voxel_mm: float) -> float:
    wanted = atlas_volumes_cm3().get(name)
    if wanted is None:
        return 0.0
    surface_mm2 = np.count_nonzero(np.abs(depth) < voxel_mm) * voxel_mm**3 / (2.0 * voxel_mm)
    return float(np.clip((wanted * 1000.0 - volume_mm3) / max(surface_mm2, 1.0), -4.0, 4.0))


def _muscle_depth(name: str):
    if name == "erector_spinae":
        return _erector, ((-90, 0), (-125, -30), (60, 215))
    if name == "abdominal_wall":
        return _wall, ((-255, 0), (-60, 215), (40, 215))
    profile = profiles()[name]
    cx, cy, a = profile.rows[:, 0], profile.rows[:, 1], profile.rows[:, 2] + 14.0
    z = profile.z_mm
    box = ((min(cx - a), max(cx + a)), (min(cy - a), max(cy + a)), (z[0] - 10, z[-1] + 10))
    return (lambda points: sweep(points, _open_ended(profile))), box


def _open_ended(profile: Profile) -> Profile:
    # A structure that reaches the atlas's lower or upper edge goes on beyond it.
    if profile.z_mm[0] > -200.0 and profile.z_mm[-1] < 180.0:
        return profile
    z, rows = profile.z_mm, profile.rows
    if z[0] <= -200.0:
        z, rows = np.r_[-260.0, z[1:]], np.vstack([rows[1], rows[1:]])
    if z[-1] >= 180.0:
        z, rows = np.r_[z[:-1], 260.0], np.vstack([rows[:-1], rows[-2]])
    return Profile(z, rows)


def _erector(points: Points) -> np.ndarray:
    x, y, z = points
    lean = 0.18 * (z - 130.0)
    return join(
        [
            np.minimum(ellipsoid((x, y - lean, 0.0 * z), (-34, -80, 0), (30, 20, 1), 2.5), z - 75.0),
            capsule(points, (-16, -96, 60), (-20, -92, 100), (6, 12)),
        ],
        6.0,
    )


def _wall(points: Points) -> np.ndarray:
    _, y, z = points
    skin = outline_depth(points)
    layer = 7.0 - np.abs(skin - 36.0)
    return np.minimum(np.minimum(layer, z - 50.0), y + 20.0 + 0.0 * skin)


def _boxed(points: Points, solid) -> tuple[tuple[slice, ...], np.ndarray]:
    """The part of the grid in the solid's box, and the depth there."""
    function, box = solid
    parts = []
    for values, (low, high) in zip(points, box, strict=True):
        inside = np.flatnonzero((values.ravel() >= low) & (values.ravel() <= high))
        parts.append(slice(int(inside[0]), int(inside[-1]) + 1))
    part = tuple(reversed(parts))
    depth = np.broadcast_to(function(_within(points, part)), [p.stop - p.start for p in part])
    return part, depth.astype(np.float32)


def _within(points: Points, box: tuple[slice, ...]) -> Points:
    pz, py, px = box
    return points[0][:, :, px], points[1][:, py], points[2][pz]
