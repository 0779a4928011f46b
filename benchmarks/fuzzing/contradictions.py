"""What the other inputs of a patient say against the numbers of a changed file, which two readers may read alike."""

import numpy as np

from fuzzing.case import Case
from fuzzing.numbers import Numbers, grid_differs

_AIR_HU = (-1100, -850)
_MUSCLE_HU = (-100, 100)
_BONE_HU = (100, 2000)
_VOXEL_SHARE = 0.12
_AIR_NEPERS = 0.1


def of(found: Numbers, base: Numbers, case: Case, channels: dict[str, int]) -> str:
    """In words, empty where nothing contradicts.

    CT and labels lie on one grid, so that a place that changed in one of them alone is wrong in it; air, muscle and
    bone have their HU; a radiograph with air has it at 0 nepers.
    """
    if case.part == "radiograph":
        return _of_radiograph(found, base)
    if case.part == "labels" and found.labels.shape == base.labels.shape and (found.labels != base.labels).any():
        return f"labels of {int((found.labels != base.labels).sum())} voxels differ over an unchanged CT"
    alone = case.part == "ct" and not case.settings.get("ct")
    if alone and (moved := grid_differs(found.ct, found.affine, base.ct, base.affine, _VOXEL_SHARE)):
        return f"the CT alone is on another grid: {moved}"
    return _of_hu(found, base, channels)


def _of_hu(found: Numbers, base: Numbers, channels: dict[str, int]) -> str:
    if found.ct.shape != base.ct.shape:
        return ""
    muscles = [i for name, i in channels.items() if name.startswith("gluteus")]
    bones = [i for name, i in channels.items() if not name.startswith("gluteus")]
    parts = (
        ("air", _outside(found), _AIR_HU),
        ("muscle", np.isin(found.labels, muscles), _MUSCLE_HU),
        ("bone", np.isin(found.labels, bones), _BONE_HU),
    )
    told = _of_anatomy(found, channels)
    told += [
        f"{name} at {np.median(found.ct[inside]):.0f} HU"
        for name, inside, (low, high) in parts
        if inside.any() and not low <= np.median(found.ct[inside]) <= high
    ]
    if not told and (odd := np.abs(found.ct.astype(int) - base.ct).mean(axis=(1, 2))).max() > 20 + 10 * np.median(odd):
        told.append(f"slice {int(odd.argmax())} is off by {odd.max():.0f} HU, the others by {np.median(odd):.0f}")
    return ", ".join(told)


def _of_anatomy(found: Numbers, channels: dict[str, int]) -> list[str]:
    """The hip bones lie above the femurs, and before the sacrum; the left side lies to the left."""
    middle = {n: np.argwhere(found.labels == i).mean(axis=0) for n, i in channels.items() if (found.labels == i).any()}
    pairs = (("pelvis_left", "femur_left", 0), ("pelvis_left", "sacrum", 1), ("pelvis_right", "pelvis_left", 2))
    return [
        f"{low} lies {('above', 'before', 'to the right of')[axis]} {high}"
        for high, low, axis in pairs
        if high in middle and low in middle and middle[high][axis] < middle[low][axis]
    ]


def _outside(found: Numbers) -> np.ndarray:
    """The corners of each slice, where the phantom is not."""
    inside = np.zeros(found.ct.shape, bool)
    inside[:, :2, :2] = inside[:, -2:, :2] = inside[:, :2, -2:] = inside[:, -2:, -2:] = True
    return inside


def _of_radiograph(found: Numbers, base: Numbers) -> str:
    inside = found.field > 0
    air = float(np.quantile(found.image[inside], 0.005))
    if found.camera.get("radiograph_scale") == "absolute" and abs(air) > _AIR_NEPERS:
        return f"air is at {air:.2f} nepers"
    same = found.image.shape == base.image.shape
    if same and np.allclose(found.image, base.image, atol=0.02) and (found.field != base.field).mean() > 0.02:
        return "the field changed, the image did not"
    return ""
