"""Grids whose axes are not at right angles: rounding, which is mended, and the shear of a tilted gantry."""

from pathlib import Path

import numpy as np

from mskdex.errors import MskdexError
from mskdex.io.volume import Volume
from mskdex.io.volume_grid import resample_onto

EXACT = 1e-5
"""Cosine between two axes up to which they are at right angles: single precision and six decimals stay below."""

ROUNDED = 1e-3
"""Cosine up to which axes are taken for rounded ones and turned to the nearest right angles; 0.06 degrees."""

_FARTHEST_MM = 1e4
_LEAST_TILT_DEG = 1.0
_MOST_TILT_DEG = 40.0
"""A gantry tilts by up to 30 degrees."""


def skew(world_from_voxel: np.ndarray) -> float:
    """Largest cosine between two of the axes; 0 where all are at right angles."""
    direction = world_from_voxel[:3, :3] / np.linalg.norm(world_from_voxel[:3, :3], axis=0)
    return float(np.abs(direction.T @ direction - np.eye(3)).max())


def at_right_angles(world_from_voxel: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """The grid with its axes turned to the nearest ones at right angles, about its middle.

    Args:
        world_from_voxel: 4×4.
        shape: (z, y, x) of the array.
    """
    spacing = np.linalg.norm(world_from_voxel[:3, :3], axis=0)
    left, _, right = np.linalg.svd(world_from_voxel[:3, :3] / spacing)
    middle = np.append((np.array(shape[::-1]) - 1) / 2, 1.0)
    out = world_from_voxel.copy()
    out[:3, :3] = left @ right * spacing
    out[:3, 3] += ((world_from_voxel - out) @ middle)[:3]
    return out


def require_orthogonal(
    world_from_voxel: np.ndarray, shape: tuple[int, ...], where: Path | str, *, tilted: bool = False
) -> tuple[np.ndarray, list[str]]:
    """A grid whose axes are at right angles, or sheared as by a tilted gantry where that is allowed.

    Args:
        world_from_voxel: 4×4.
        shape: (z, y, x) of the array.
        where: the file, for messages.
        tilted: whether the grid of a tilted gantry is returned as it is.

    Returns:
        The grid, and what a reader should know: rounded axes were turned.

    Raises:
        MskdexError: a voxel size that is zero or no number, or axes that are not at right angles.
    """
    if not np.isfinite(world_from_voxel).all() or (np.linalg.norm(world_from_voxel[:3, :3], axis=0) < 1e-6).any():
        msg = f"{where}: its voxel size or position is zero or not a number; export it again"
        raise MskdexError(msg)
    if np.abs(world_from_voxel[:3, 3]).max() > _FARTHEST_MM:
        msg = (
            f"{where}: its first voxel lies at {world_from_voxel[:3, 3].round(1).tolist()} mm, farther than any "
            "scanner reaches; export it again"
        )
        raise MskdexError(msg)
    off = skew(world_from_voxel)
    if off <= EXACT:
        return world_from_voxel, []
    if off <= ROUNDED:
        warning = (
            f"{Path(where).name}: its axes are rounded ({off:.1e} off right angles); the nearest rotation was taken"
        )
        return at_right_angles(world_from_voxel, shape), [warning]
    axis = slice_axis(world_from_voxel)
    if tilted and axis is not None:
        return world_from_voxel, []
    angle = np.degrees(np.arcsin(min(off, 1.0))) if axis is None else tilt_deg(world_from_voxel, axis)
    if axis is not None and angle >= _LEAST_TILT_DEG:
        msg = (
            f"{where}: its axes are not at right angles (gantry tilt?): slices are displaced against each other by "
            f"{angle:.1f} degrees; set ct.resample_tilted: true to resample it, or name a file with the tilt corrected "
            "(dcm2niix writes one, ending in _Tilt)"
        )
    else:
        msg = (
            f"{where}: its axes are not at right angles: their cosine is {off:.2g} ({angle:.2g} degrees), and up to "
            f"{ROUNDED:g} is taken for rounding; export it again"
        )
    raise MskdexError(msg)


def slice_axis(world_from_voxel: np.ndarray) -> int | None:
    """The axis along which slices are displaced: the other two are at right angles; the last such; None where none."""
    direction = world_from_voxel[:3, :3] / np.linalg.norm(world_from_voxel[:3, :3], axis=0)
    for axis in (2, 1, 0):
        one, other = (direction[:, a] for a in range(3) if a != axis)
        if abs(one @ other) <= ROUNDED and tilt_deg(world_from_voxel, axis) <= _MOST_TILT_DEG:
            return axis
    return None


def tilt_deg(world_from_voxel: np.ndarray, axis: int) -> float:
    """Angle in degrees between an axis and the normal of the other two."""
    one, other = (world_from_voxel[:3, a] for a in range(3) if a != axis)
    normal = np.cross(one, other)
    along = world_from_voxel[:3, axis]
    cosine = abs(normal @ along) / (np.linalg.norm(normal) * np.linalg.norm(along))
    return float(np.degrees(np.arccos(min(cosine, 1.0))))


def straight_grid(world_from_voxel: np.ndarray, shape: tuple[int, ...]) -> tuple[np.ndarray, tuple[int, ...]]:
    """The grid at right angles that holds a sheared one whole.

    The planes of the slices stay what they are and each slice keeps its place along their normal, so that values move
    within their slice alone; the planes grow by what the slices are displaced.

    Args:
        world_from_voxel: 4×4, sheared along `slice_axis`.
        shape: (z, y, x) of the array.

    Returns:
        World from voxel and shape (z, y, x).
    """
    axis = slice_axis(world_from_voxel)
    if axis is None:
        msg = "no two of the grid's axes are at right angles"
        raise ValueError(msg)
    out = at_right_angles(unsheared(world_from_voxel, axis), shape)
    out[:3, 3] = world_from_voxel[:3, 3]
    size = np.array(shape[::-1])
    shift = np.linalg.solve(out[:3, :3], world_from_voxel[:3, axis]) * (size[axis] - 1)  # of the last slice, in voxels
    low, high = np.floor(np.minimum(shift, 0) + 1e-6), np.ceil(np.maximum(shift, 0) - 1e-6)
    low[axis] = high[axis] = 0
    out[:3, 3] += out[:3, :3] @ low
    size = size + (high - low).astype(int)
    return out, tuple(int(n) for n in size[::-1])


def straighten(volume: Volume, *, nearest: bool, outside: float) -> Volume:
    """Resamples a sheared volume to `straight_grid`: linear or nearest voxel, `outside` where the scan has none."""
    affine, shape = straight_grid(volume.world_from_voxel, volume.array.shape)
    reference = Volume(np.broadcast_to(np.uint8(0), shape), affine)
    return resample_onto(volume, reference, nearest=nearest, outside=outside)


def unsheared(world_from_voxel: np.ndarray, axis: int) -> np.ndarray:
    """The grid with one axis along the normal of the other two, as long as its part along that normal."""
    one, other = (world_from_voxel[:3, a] for a in range(3) if a != axis)
    normal = np.cross(one, other)
    normal /= np.linalg.norm(normal)
    out = world_from_voxel.copy()
    out[:3, axis] = normal * (normal @ world_from_voxel[:3, axis])
    return out
