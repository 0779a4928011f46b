"""A patient's own CT in another posture, its muscles and fat grown if asked: bones rigid, volume and mass kept."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from mskdex.deformation.coarse_grid import Grid
from mskdex.deformation.flow import displacement
from mskdex.deformation.following import displaced, distances_to, follow_bones, restore_volume, soft_mobility
from mskdex.deformation.labelled_ct import LabelledCt, amounts
from mskdex.deformation.shape import FINE, cell_means, rates
from mskdex.errors import MskdexError
from mskdex.quantities import HU_MAX, HU_MIN, density_table

_CELL_MM = 8.0
_BEYOND_MM = 60.0
_MARGIN_MM = 12.0
_MOST = 0.2
_PASSES = 12
_FULL_STEPS, _DAMPED = 2, 0.6
"""Later steps are smaller: a muscle that wraps another answers to twice what it is asked for, and would swing."""

TOLERANCE = 0.005
"""Of each whole muscle's volume and lean mass."""

_GOOD_ENOUGH = 0.0015
_CLOSE, _ALIKE = 0.003, 0.004
_MOST_HU = 10


@dataclass(frozen=True)
class PosedCt:
    """The deformed CT.

    Attributes:
        hu: int16 (z, y, x). labels: uint8. beyond: uint8, 1 where the CT has ended and goes on as at its edge.
        world_from_voxel: 4×4 of the three, in the posed frame.
        amounts: volume in cm³ and lean mass in g of each label, float64 (2, labels).
        wanted: the amounts that were aimed at; NaN where a label was free.
        hu_shift: what was added to the HU of each label, int (labels,).
    """

    hu: np.ndarray
    labels: np.ndarray
    beyond: np.ndarray
    world_from_voxel: np.ndarray
    amounts: np.ndarray
    wanted: np.ndarray
    hu_shift: np.ndarray

    @property
    def errors(self) -> np.ndarray:
        """Relative errors of volume and lean mass, (2, labels); NaN where a label was free."""
        return self.amounts / self.wanted - 1.0


@dataclass(frozen=True)
class _SoftTissueMap:
    """Soft tissue of the posed frame comes from the CT's x + shift(x)."""

    ct: LabelledCt
    poses: dict[str, np.ndarray]
    grid: Grid
    shift: np.ndarray

    @property
    def soft(self) -> tuple[Grid, np.ndarray]:
        return self.grid, self.shift


def pose_ct(
    ct: LabelledCt,
    poses: Mapping[str, np.ndarray],
    whole: frozenset[int],
    growth: Mapping[int, float] | None = None,
    *,
    voxel_mm: float | None = None,
) -> PosedCt:
    """Moves a CT's bones to `poses`; soft tissue follows, keeps its volume and grows as asked.

    Soft tissue first follows the bones by the mean of their inverse poses, weighted by distance; the flow then undoes
    what that squeezes and stretches, cell by cell; what remains is made up for muscle by muscle, as counted on the
    voxels that are returned. What no body holds in another place stays where it is: identical poses without
    growth give the CT back.

    Args:
        ct: the patient's CT.
        poses: by body, 4×4, posed from CT (RAS mm); a body that is left out moves with the first one.
        whole: labels of the objects that the CT does not cut; their amounts are kept, bones' by being rigid.
        growth: factors on the amounts of muscles, by label, and of unlabelled fat, by `LabelledCt.fat`.
        voxel_mm: edge of the voxels that are returned, along RAS; None keeps the CT's own, with as many more of them as
            the posed body needs.

    Raises:
        MskdexError: a pose that is not rigid, of a body that the CT does not hold, or a factor that is not positive.
    """
    moves = _checked(ct, poses)
    growth = {k: v for k, v in (growth or {}).items() if v != 1.0}
    if bad := [v for v in growth.values() if not 0.2 <= v <= 5.0]:
        msg = f"growth by the factor {bad[0]:g}; factors from 0.2 to 5 are possible"
        raise MskdexError(msg)
    at_rest = all(np.allclose(pose, np.eye(4), atol=1e-9) for pose in moves.values())
    soft_map = _follow(ct, moves, max(1.0, growth.get(ct.fat, 1.0)), at_rest=at_rest)
    from_index, shape = _output(soft_map, voxel_mm)
    if at_rest and not growth:
        if voxel_mm is None:
            from_index, shape = np.array(ct.world_from_voxel, dtype=np.float64), ct.hu.shape
        return _result(soft_map, from_index, shape, _wanted(ct, whole, {}))
    return _with_wanted_amounts(soft_map, from_index, shape, whole, growth)


def _checked(ct: LabelledCt, poses: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """A pose of every body that the CT holds, in its order."""
    if unknown := [b for b in poses if b not in ct.bodies]:
        msg = f"the CT holds no bone of {', '.join(unknown)}; it holds {', '.join(ct.bodies) or 'none'}"
        raise MskdexError(msg)
    for body, pose in poses.items():
        if not _is_rigid(np.asarray(pose, dtype=np.float64)):
            msg = f"the pose of {body} is not a rigid motion: {np.asarray(pose).tolist()}"
            raise MskdexError(msg)
    others = next(iter(poses.values()), np.eye(4))
    return {body: np.asarray(poses.get(body, others), dtype=np.float64) for body in ct.bodies}


def _is_rigid(pose: np.ndarray) -> bool:
    if pose.shape != (4, 4) or not np.all(np.isfinite(pose)):
        return False
    turn = pose[:3, :3]
    return np.allclose(turn @ turn.T, np.eye(3), atol=1e-5) and np.linalg.det(turn) > 0


def _follow(ct: LabelledCt, poses: dict[str, np.ndarray], fatter: float, *, at_rest: bool) -> _SoftTissueMap:
    """The map of soft tissue that follows the bones and has regained its volume, with room for fat to grow."""
    reference = _around(ct.box_mm, np.full(3, _MARGIN_MM))
    resting = (reference, np.zeros((*reference.shape, 3), np.float32))
    first = next(iter(poses.values()), np.eye(4))
    corners = _corners(ct.box_mm) @ first[:3, :3].T + first[:3, 3]
    low, high = corners.min(axis=0), corners.max(axis=0)
    room = _MARGIN_MM + (np.sqrt(fatter) - 1.0) * (high - low) / 2.0
    grid = _around((low, high), np.array([room[0], room[1], _MARGIN_MM + _BEYOND_MM]))
    if at_rest:
        return _SoftTissueMap(ct, poses, grid, np.zeros((*grid.shape, 3), np.float32))
    codes = ct.codes_on(reference, resting, {b: np.eye(4) for b in poses})
    shares = {body: cell_means(codes, ct.of_body(body)[None])[0] for body in poses}
    points = grid.points()
    shift = follow_bones(distances_to(shares, reference.cell_mm), reference, poses, points) - points
    shift = restore_volume(shift, grid, lambda s: ct.codes_on(grid, (grid, s), poses), ct.tissues)
    return _SoftTissueMap(ct, poses, grid, shift)


def _corners(box: tuple[np.ndarray, np.ndarray]) -> np.ndarray:
    return np.stack(np.meshgrid(*np.stack(box, axis=1), indexing="ij"), axis=-1).reshape(-1, 3)


def _around(box: tuple[np.ndarray, np.ndarray], margin_mm: np.ndarray) -> Grid:
    return Grid.around(box[0] - margin_mm, box[1] + margin_mm, _CELL_MM)


def _output(soft_map: _SoftTissueMap, voxel_mm: float | None) -> tuple[np.ndarray, tuple[int, ...]]:
    """world_from_voxel and shape of what is returned."""
    size = soft_map.grid.cell_mm * (np.array(soft_map.grid.shape[::-1]) - 1)
    box = soft_map.grid.origin_mm, soft_map.grid.origin_mm + size
    if voxel_mm is not None:
        fine = Grid.around(*box, voxel_mm)
        return fine.world_from_voxel, fine.shape
    own = np.array(soft_map.ct.world_from_voxel, dtype=np.float64)
    back = np.linalg.inv(own)
    index = _corners(box) @ back[:3, :3].T + back[:3, 3]
    low, high = np.floor(index.min(axis=0)).astype(int), np.ceil(index.max(axis=0)).astype(int)
    own[:3, 3] += own[:3, :3] @ low
    return own, tuple(int(n) for n in (high - low + 1)[::-1])


def _result(soft_map: _SoftTissueMap, from_index: np.ndarray, shape: tuple[int, ...], wanted: np.ndarray) -> PosedCt:
    labels, hu, _, beyond = soft_map.ct.filled(from_index, shape, soft_map.soft, soft_map.poses)
    voxel_cm3 = float(abs(np.linalg.det(from_index[:3, :3]))) / 1000.0
    found = amounts(hu, labels, soft_map.ct.count, voxel_cm3)
    return PosedCt(hu, labels, beyond, from_index, found, wanted, np.zeros(found.shape[1], np.int64))


def _wanted(ct: LabelledCt, whole: frozenset[int], growth: Mapping[int, float]) -> np.ndarray:
    """Volume and mass that whole muscles shall have, (2, labels), NaN elsewhere."""
    wanted = np.full((2, ct.count + 1), np.nan)
    muscles = [c.label for c in ct.channels if c.kind == "muscle" and c.label in whole and ct.amounts[0, c.label] > 0]
    wanted[:, muscles] = ct.amounts[:, muscles] * [growth.get(m, 1.0) for m in muscles]
    return wanted


def _with_wanted_amounts(
    soft_map: _SoftTissueMap,
    from_index: np.ndarray,
    shape: tuple[int, ...],
    whole: frozenset[int],
    growth: Mapping[int, float],
) -> PosedCt:
    """Grows or shrinks muscle by muscle until volume and lean mass are off by equal and opposite errors.

    A muscle's density is not the same everywhere, so that the flow cannot meet both exactly: the geometric mean of both
    is. Where that leaves more than the tolerance, `_shift_density` closes the rest.
    """
    ct = soft_map.ct
    wanted = _wanted(ct, whole, growth)
    known = np.isfinite(wanted[0])
    aim = np.zeros(len(ct.tissues))
    for number in range(_PASSES):
        codes = ct.codes_on(soft_map.grid, soft_map.soft, soft_map.poses)
        now = np.bincount(codes.ravel(), minlength=len(aim)) * (soft_map.grid.cell_mm / FINE) ** 3 / 1000.0
        if number == 0:
            for code, factor in growth.items():
                aim[code] = now[code] * factor
        result = _result(soft_map, from_index, shape, wanted)
        now[: ct.count + 1][known], aim[: ct.count + 1][known] = _wanted_and_present(result)[:, known]
        off = np.abs(np.log(np.maximum(now[aim > 0], 1e-9) / aim[aim > 0]))
        if off.max(initial=0.0) < _GOOD_ENOUGH:
            break
        part = 1.0 if number < _FULL_STEPS else _DAMPED
        (rate,) = cell_means(codes, part * rates(codes, aim, now, _MOST)[None])
        mobility, _ = soft_mobility(codes, ct.tissues)
        move = displacement(rate, mobility, soft_map.grid.cell_mm, np.zeros(rate.shape))
        soft_map = replace(soft_map, shift=displaced(soft_map.shift, soft_map.grid, move))
    return _shift_density(result)


def _wanted_and_present(result: PosedCt) -> np.ndarray:
    """What each label has and what it shall have, (2, labels): geometric means of volume and lean mass.

    Of a muscle whose density has changed too much for that, or that has no lean mass, the volumes.
    """
    pair = np.stack([result.amounts, result.wanted], axis=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        alike = np.abs(np.diff(np.log(pair[1] / pair[0]), axis=0)[0]) < _ALIKE
    return np.where(alike, np.sqrt(pair[0] * pair[1]), pair[0])


def _shift_density(result: PosedCt) -> PosedCt:
    """Shifts the HU of muscles whose mean lean density has left the tolerance, by whole HU and 10 at most.

    Bone that sweeps along a small muscle takes its rim, which the CT's resolution has mixed with bone and which is
    denser than the rest. A few HU, less than a CT's noise, give the lean mass back; so that the radiograph agrees, they
    are added to the voxels themselves.
    """
    (lean,) = density_table(("lean_mass",))
    hu, shifts, total = result.hu.copy(), result.hu_shift.copy(), result.amounts.copy()
    steps = np.arange(-_MOST_HU, _MOST_HU + 1)
    off = np.nan_to_num(np.abs(result.errors).max(axis=0)) > _CLOSE
    for label in np.flatnonzero(off & (result.wanted[1] > 0.01 * result.wanted[0])):
        where = result.labels == label
        values = hu[where].astype(np.int64)
        density = np.array([lean[np.clip(values + s, HU_MIN, HU_MAX) - HU_MIN].mean(dtype=np.float64) for s in steps])
        best = int(np.argmin(np.abs(density * result.wanted[0, label] / result.wanted[1, label] - 1.0)))
        hu[where] = np.clip(values + steps[best], HU_MIN, HU_MAX)
        shifts[label], total[1, label] = steps[best], density[best] * result.amounts[0, label]
    return replace(result, hu=hu, amounts=total, hu_shift=shifts)
