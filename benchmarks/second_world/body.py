"""A person of the second world, lying in the CT and standing before the detector."""

from dataclasses import dataclass

import numpy as np
from people import Person
from scan import hu_of
from scipy import ndimage
from template import Template
from warp import SIDES, Lattice, backward_shift, bone_points, layers_grown, look_up, muscle_points, skin_points

_BODY_SPACING_MM = np.array([2.0, 2.0, 2.0])
_COUNTING_MM = 4.0
_PASSES = 3
_BEHIND_BONE_HU = 45.0
_MOST_GROWTH_MM = 8.0


@dataclass(frozen=True)
class Body:
    """A person on a lattice of the reference posture: labels uint8 and noise-free HU float32, (z, y, x)."""

    lattice: Lattice
    labels: np.ndarray
    hu: np.ndarray
    heads_mm: dict[str, np.ndarray]


@dataclass(frozen=True)
class Posed:
    """The person in the radiograph's posture; `poses` maps reference points of each rigid body to posed ones."""

    lattice: Lattice
    labels: np.ndarray
    hu: np.ndarray
    poses: dict[str, np.ndarray]


def make_body(person: Person, template: Template, seed: int) -> Body:
    """Shapes the template into the person: bones scaled, muscles and fat brought near to their sizes."""
    draw = np.random.default_rng((seed, person.number, 31))
    bones = np.concatenate(list(bone_points(template, 350, draw).values()))
    skin, outward = skin_points(template, 700, draw)
    # Women's fat lies more on hips and thighs, men's on the belly.
    low = 1.0 / (1.0 + np.exp(skin[:, 2] / 40.0))
    regional = 0.7 + 0.6 * (low if person.sex == "F" else 1.0 - low)
    thicker = np.maximum(person.fat_mm, -14.0) * regional
    voxels = {i: int((template.labels == i).sum()) for i in template.muscles}
    unit = template.voxel_mm**3 / 1000.0 * float(person.scale.prod())
    wanted = {}
    for label, name in ((i, template.names[i]) for i in template.muscles):
        scaled = voxels[label] * unit
        target = person.wanted_cm3.get(
            name, person.factors.get(name, 1.0) * voxels[label] * template.voxel_mm**3 / 1000.0
        )
        wanted[label] = float(np.clip(target / scaled, 0.35, 1.8))
    factors = dict(wanted)
    low_mm, high_mm = _box(template, person, thicker)
    sources = muscle_points(template, np.random.default_rng((seed, person.number, 32)))
    every = np.concatenate([bones, skin, sources])
    fatter = np.concatenate([np.zeros_like(bones), outward * thicker[:, None], np.zeros_like(sources)])
    for _ in range(_PASSES):
        ends = (every + layers_grown(template, every, factors)) * person.scale + fatter
        coarse = Lattice.around(low_mm, high_mm, np.full(3, _COUNTING_MM))
        labels = look_up(template.labels, template, coarse.points() + backward_shift(ends, every, coarse), 0)
        for label, factor in wanted.items():
            now = (labels == label).sum() * _COUNTING_MM**3 / 1000.0 / (voxels[label] * unit)
            factors[label] = float(np.clip(factors[label] * (factor / max(now, 0.05)), 0.2, 3.0))
    lattice = Lattice.around(low_mm, high_mm, _BODY_SPACING_MM)
    labels = look_up(template.labels, template, lattice.points() + backward_shift(ends, every, lattice), 0)
    bring_to_volume(labels, template, {i: f * voxels[i] * unit for i, f in wanted.items()}, _BODY_SPACING_MM)
    hu = hu_of(labels, template, person, _BODY_SPACING_MM, np.random.default_rng((seed, person.number, 33)))
    return Body(lattice, labels, hu, {s: h * person.scale for s, h in template.heads_mm.items()})


def bring_to_volume(
    labels: np.ndarray, template: Template, wanted_cm3: dict[int, float], spacing_mm: np.ndarray
) -> None:
    """Turns the outermost voxels of too large muscles to fat, and fat beside too small ones to muscle, in place.

    The warp leaves muscles tens of per cent beside what they are to have. Bone and other muscles stay.

    Args:
        labels: (z, y, x), of the whole person.
        template: names of labels.
        wanted_cm3: volume of each muscle, by label.
        spacing_mm: (x, y, z).
    """
    fat, voxel = template.id_of("fat"), float(spacing_mm.prod()) / 1000.0
    boxes = ndimage.find_objects(labels)
    margin = np.ceil(_MOST_GROWTH_MM / spacing_mm[::-1]).astype(int)
    for grows in (False, True):
        for label, wanted in wanted_cm3.items():
            box = tuple(slice(max(s.start - m, 0), s.stop + m) for s, m in zip(boxes[label - 1], margin, strict=True))
            part = labels[box]
            mine = part == label
            change = round(wanted / voxel) - int(mine.sum())
            if change == 0 or (change > 0) != grows:
                continue
            if grows:
                depth = ndimage.distance_transform_edt(~mine, sampling=spacing_mm[::-1])
                free = np.flatnonzero((part == fat) & (depth <= _MOST_GROWTH_MM))
            else:
                depth = ndimage.distance_transform_edt(mine | np.isin(part, template.bones), sampling=spacing_mm[::-1])
                free = np.flatnonzero(mine)
            nearest = free[np.argsort(depth.ravel()[free], kind="stable")][: abs(change)]
            labels[box].flat[nearest] = label if grows else fat


def stand(body: Body, template: Template, person: Person, seed: int) -> Posed:
    """Another posture: the whole body turns, each femur turns in its hip, soft tissue is interpolated between."""
    draw = np.random.default_rng((seed, person.number, 41))
    whole = _turn(np.zeros(3), draw.normal(size=3) * (5.0, 2.0, 2.0))
    poses = {"pelvis": whole}
    for side in SIDES:
        poses[f"femur_{side}"] = whole @ _turn(
            body.heads_mm[side], np.clip(draw.normal(size=3), -2, 2) * (4.0, 2.5, 5.0)
        )
    sources, targets = _posture_controls(template, person, poses, draw)
    corners = np.array([_moved(whole, c) for c in _corners(body.lattice)])
    lattice = Lattice.around(corners.min(axis=0), corners.max(axis=0), _BODY_SPACING_MM)
    points = lattice.points() + backward_shift(targets, sources, lattice)
    labels, hu = _taken(body.labels, body.lattice, points, 0), _taken(body.hu, body.lattice, points, 1, -1000.0)
    bones = np.isin(labels, template.bones)
    labels[bones], hu[bones] = template.id_of("fat"), _BEHIND_BONE_HU
    grid = lattice.points()
    for name, pose in poses.items():
        back = _moved(np.linalg.inv(pose), grid).astype(np.float32)
        found = _taken(body.labels, body.lattice, back, 0)
        mine = np.isin(found, _labels_of(name, template))
        labels[mine] = found[mine]
        hu[mine] = _taken(body.hu, body.lattice, back[mine], 1)
    return Posed(lattice, labels, hu, poses)


def _box(template: Template, person: Person, thicker: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    index = np.argwhere(template.labels > 0)
    low = (template.origin_mm + template.voxel_mm * index.min(axis=0)[::-1]) * person.scale
    high = (template.origin_mm + template.voxel_mm * index.max(axis=0)[::-1]) * person.scale
    margin = np.array([1.0, 1.0, 0.0]) * (max(float(thicker.max()), 0.0) + 14.0)
    low, high = low - margin, high + margin
    low[2], high[2] = -215.0, 215.0
    return low, high


def _posture_controls(
    template: Template, person: Person, poses: dict[str, np.ndarray], draw: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    sources, targets = [], []
    for name, points in bone_points(template, 400, draw).items():
        reference = points * person.scale
        sources.append(reference)
        targets.append(_moved(poses[name], reference))
    skin, _ = skin_points(template, 500, draw)
    reference = skin * person.scale
    side = np.where(reference[:, 0] > 0, "left", "right")
    thigh = 1.0 / (1.0 + np.exp((reference[:, 2] + 40.0) / 25.0))[:, None]
    femoral = np.where(
        (side == "left")[:, None], _moved(poses["femur_left"], reference), _moved(poses["femur_right"], reference)
    )
    sources.append(reference)
    targets.append((1.0 - thigh) * _moved(poses["pelvis"], reference) + thigh * femoral)
    return np.concatenate(sources), np.concatenate(targets)


def _labels_of(body: str, template: Template) -> list[int]:
    if body == "pelvis":
        return [template.id_of(n) for n in ("pelvis_left", "pelvis_right", "sacrum")]
    return [template.id_of(body)]


def _taken(values: np.ndarray, lattice: Lattice, points: np.ndarray, order: int, outside: float = 0.0) -> np.ndarray:
    index = [(points[..., 2 - d] - lattice.origin_mm[2 - d]) / lattice.spacing_mm[2 - d] for d in range(3)]
    index[0] = np.clip(index[0], 0, values.shape[0] - 1)
    return ndimage.map_coordinates(values, index, order=order, mode="constant", cval=outside)


def _turn(centre: np.ndarray, angles_deg: np.ndarray) -> np.ndarray:
    from scipy.spatial.transform import Rotation

    pose = np.eye(4)
    pose[:3, :3] = Rotation.from_euler("zyx", angles_deg[::-1], degrees=True).as_matrix()
    pose[:3, 3] = centre - pose[:3, :3] @ centre
    return pose


def _moved(pose: np.ndarray, points: np.ndarray) -> np.ndarray:
    return points @ pose[:3, :3].T + pose[:3, 3]


def _corners(lattice: Lattice) -> np.ndarray:
    far = lattice.origin_mm + lattice.spacing_mm * (np.array(lattice.shape[::-1]) - 1)
    low, high = lattice.origin_mm, far
    return np.array([[x, y, z] for x in (low[0], high[0]) for y in (low[1], high[1]) for z in (low[2], high[2])])
