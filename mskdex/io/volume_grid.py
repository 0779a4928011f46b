"""Grids: orientation to RAS, agreement of two, resampling."""

import itertools

import numpy as np
import SimpleITK as sitk

from mskdex.io.volume import Volume, volume_from_sitk, volume_to_sitk

_AXES = ("LR", "PA", "IS")


def orientation(world_from_voxel: np.ndarray) -> str:
    """Where i, j and k point to, by the closest axes.

    Args:
        world_from_voxel: 4×4, voxel (i, j, k, 1) to RAS mm.

    Returns:
        Three letters of R/L, A/P and S/I, e.g. RAS or LPS.
    """
    letters = ""
    for column in _closest_axes(world_from_voxel):
        letters += _AXES[column[0]][1 if column[1] > 0 else 0]
    return letters


def obliquity_deg(world_from_voxel: np.ndarray) -> float:
    """Largest angle in degrees between a voxel axis and the closest world axis, 0 for a grid along R, A and S.

    Args:
        world_from_voxel: 4×4, voxel (i, j, k, 1) to RAS mm.
    """
    direction = _direction(world_from_voxel)
    cosines = [abs(direction[axis, i]) for i, (axis, _) in enumerate(_closest_axes(world_from_voxel))]
    return float(np.degrees(np.arccos(np.clip(min(cosines), 0.0, 1.0))))


def to_ras(volume: Volume) -> Volume:
    """Permutes and flips the axes so that i, j, k point most nearly right, anterior, superior.

    No voxel is interpolated: an oblique volume keeps its direction cosines. The array is a view.
    """
    order = [0, 0, 0]
    for i, (axis, _) in enumerate(_closest_axes(volume.world_from_voxel)):
        order[axis] = i
    affine = volume.world_from_voxel[:, [*order, 3]].copy()
    array = volume.array.transpose([2 - i for i in reversed(order)])
    for i in range(3):
        if affine[i, i] < 0:
            affine[:3, 3] += affine[:3, i] * (array.shape[2 - i] - 1)
            affine[:3, i] *= -1
            array = np.flip(array, 2 - i)
    return Volume(array, affine)


def grid_difference(one: Volume, other: Volume) -> str | None:
    """How the grids of two volumes in RAS order differ, in words; None where they agree.

    Positions may differ by a tenth of a voxel, over the whole volume.
    """
    sizes = f"{_size(one)} voxels against {_size(other)}" if one.array.shape != other.array.shape else ""
    if not np.allclose(one.spacing_mm, other.spacing_mm, rtol=1e-3):
        spacings = f"voxels of {_mm(one.spacing_mm)} mm against {_mm(other.spacing_mm)} mm"
        return f"{sizes}, {spacings}" if sizes else spacings
    if sizes:
        return sizes
    corners = np.array([[*c, 1.0] for c in itertools.product(*[(0, n - 1) for n in one.array.shape[::-1]])])
    shifts = (corners @ (one.world_from_voxel - other.world_from_voxel).T)[:, :3]
    largest = shifts[np.argmax(np.linalg.norm(shifts, axis=1))]
    if np.linalg.norm(largest) > 0.1 * min(one.spacing_mm):
        kind = "shifted" if np.allclose(shifts, shifts[0], atol=0.05 * min(one.spacing_mm)) else "turned"
        return f"{kind} by ({_mm(largest)}) mm to the right, front and top"
    return None


def same_lattice_offset(volume: Volume, onto: Volume) -> tuple[int, int, int] | None:
    """Offset (i, j, k) in voxels of `volume`'s first voxel in the grid of `onto`, if the voxels coincide; else None."""
    if not np.allclose(
        volume.world_from_voxel[:3, :3], onto.world_from_voxel[:3, :3], atol=2e-3 * min(onto.spacing_mm)
    ):
        return None
    shift = volume.world_from_voxel[:3, 3] - onto.world_from_voxel[:3, 3]
    offset = np.linalg.solve(onto.world_from_voxel[:3, :3], shift)
    if np.abs(offset - offset.round()).max() > 0.1:
        return None
    i, j, k = (int(v) for v in offset.round())
    return i, j, k


def embed(volume: Volume, onto: Volume) -> tuple[Volume, int] | None:
    """Lays a volume whose voxels coincide with those of `onto` onto that grid; zero elsewhere.

    Returns:
        The volume on the grid of `onto` and the number of non-zero voxels that fell outside; None if the voxels
        do not coincide.
    """
    offset = same_lattice_offset(volume, onto)
    if offset is None:
        return None
    out = np.zeros(onto.array.shape, volume.array.dtype)
    into, of = [], []
    for start, have, want in zip(offset[::-1], volume.array.shape, onto.array.shape, strict=True):
        low, high = max(start, 0), min(start + have, want)
        into.append(slice(low, max(high, low)))
        of.append(slice(low - start, max(high, low) - start))
    out[tuple(into)] = volume.array[tuple(of)]
    lost = int(np.count_nonzero(volume.array)) - int(np.count_nonzero(out))
    return Volume(out, onto.world_from_voxel.copy()), lost


def resample_isotropic(volume: Volume, spacing_mm: float, *, nearest: bool, outside: float) -> Volume:
    """Resamples to cubic voxels over the same extent: the outer faces of the first voxels coincide."""
    shape = [
        max(1, round(n * s / spacing_mm)) for n, s in zip(volume.array.shape[::-1], volume.spacing_mm, strict=True)
    ]
    direction = _direction(volume.world_from_voxel)
    affine = np.eye(4)
    affine[:3, :3] = direction * spacing_mm
    corner = volume.world_from_voxel @ np.array([-0.5, -0.5, -0.5, 1.0])
    affine[:3, 3] = corner[:3] + affine[:3, :3] @ [0.5, 0.5, 0.5]
    at = [(spacing_mm * (np.arange(n) + 0.5)) / s - 0.5 for n, s in zip(shape, volume.spacing_mm, strict=True)][::-1]
    return Volume(_along_axes(volume.array, at, outside, nearest=nearest), affine)


def _along_axes(array: np.ndarray, at: list[np.ndarray], outside: float, *, nearest: bool) -> np.ndarray:
    """An array (z, y, x) at every combination of the indices `at` along its axes; half a voxel beyond it still counts.

    Works in the order in which the voxels lie in memory, so that a flipped or transposed view is not copied first.
    """
    order = sorted(range(3), key=lambda axis: -abs(array.strides[axis]))
    flips = [array.strides[axis] < 0 for axis in order]
    base = np.ascontiguousarray(array.transpose(order)[tuple(slice(None, None, -1 if f else 1) for f in flips)])
    first, share, within = [], [], []
    for axis, flipped, n in zip(order, flips, base.shape, strict=True):
        index = n - 1 - at[axis] if flipped else at[axis]
        within.append((index >= -0.5) & (index <= n - 0.5))
        index = np.clip(index, 0.0, n - 1.0)
        first.append(np.minimum(index.astype(np.int64), max(n - 2, 0)))
        share.append((index - first[-1]).astype(np.float32))
    if nearest:
        out = base[np.ix_(*[f + (s >= 0.5) for f, s in zip(first, share, strict=True)])]
    else:
        out = _interpolated(base, first, share)
    for axis, inside in enumerate(within):
        np.moveaxis(out, axis, 0)[~inside] = outside
    return out.transpose(np.argsort(order))


def _interpolated(base: np.ndarray, first: list[np.ndarray], share: list[np.ndarray]) -> np.ndarray:
    """Trilinear, plane by plane and rounded half up; `share` of the voxel after `first` along each axis.

    In NumPy, as numba's loop is three times as fast but takes half a second to load in each process that imports.
    """
    out = np.empty([len(f) for f in first], base.dtype)
    after = [np.minimum(f + 1, n - 1) for f, n in zip(first, base.shape, strict=True)]
    for k, weight in enumerate(share[0]):
        plane = _between(base[first[0][k]].astype(np.float32), base[after[0][k]], weight)
        rows = _between(plane[first[1]], plane[after[1]], share[1][:, None])
        out[k] = np.floor(_between(rows[:, first[2]], rows[:, after[2]], share[2]) + np.float32(0.5))
    return out


def _between(one: np.ndarray, other: np.ndarray, share: np.ndarray) -> np.ndarray:
    found: np.ndarray = one + share * (other - one)
    return found


def resample_onto(volume: Volume, reference: Volume, *, nearest: bool, outside: float) -> Volume:
    """Interpolates a volume on the grid of `reference`: nearest voxel or trilinear, `outside` beyond its extent."""
    target = volume_to_sitk(Volume(np.empty(reference.array.shape, np.uint8), reference.world_from_voxel))
    how = sitk.sitkNearestNeighbor if nearest else sitk.sitkLinear
    image = volume_to_sitk(volume)
    return volume_from_sitk(sitk.Resample(image, target, sitk.Transform(), how, outside, image.GetPixelID()))


def _direction(world_from_voxel: np.ndarray) -> np.ndarray:
    axes = world_from_voxel[:3, :3]
    return axes / np.linalg.norm(axes, axis=0)


def _closest_axes(world_from_voxel: np.ndarray) -> list[tuple[int, float]]:
    """For each voxel axis, (world axis, sign): the assignment with the largest product of cosines."""
    direction = _direction(world_from_voxel)
    best = max(
        itertools.permutations(range(3)),
        key=lambda p: abs(direction[p[0], 0] * direction[p[1], 1] * direction[p[2], 2]),
    )
    return [(axis, float(np.sign(direction[axis, i]))) for i, axis in enumerate(best)]


def _size(volume: Volume) -> str:
    return " x ".join(str(n) for n in volume.array.shape[::-1])


def _mm(values: tuple[float, ...] | np.ndarray) -> str:
    return ", ".join(f"{v:.4g}" for v in values)
