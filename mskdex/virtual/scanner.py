"""The CT scanner: slices, blur, noise, table and the circular field of view."""

from dataclasses import dataclass

import numpy as np
from scipy.ndimage import gaussian_filter

from mskdex.config.virtual import VirtualSettings
from mskdex.deformation.coarse_grid import Grid
from mskdex.quantities import HU_MAX, HU_MIN
from mskdex.virtual.streaks import streaks

FIELD_RADIUS_MM = 250.0
TABLE_HU, TABLE_CORE_HU = -250.0, -900.0
_TABLE_RADIUS_MM, _TABLE_HALF_WIDTH_MM, _TABLE_SHELL_MM = 600.0, 215.0, 5.0
_TABLE_THICKNESS_MM = 45.0
_SHARP_NOISE, _OVERSHOOT, _OVERSHOOT_MM = 2.0, 0.5, 2.0
_BONE_FROM_HU = 200.0


def scan(
    hu: np.ndarray,
    metal: np.ndarray,
    grid: Grid,
    skin_y_mm: float,
    settings: VirtualSettings,
    draw: np.random.Generator,
) -> np.ndarray:
    """A CT of a body.

    Args:
        hu: float32 (z, y, x) without noise.
        metal: where it is metal, bool (z, y, x).
        grid: its voxels, in the CT's frame, the body's middle at x = 0.
        skin_y_mm: the most dorsal skin, where the table touches.
        settings: noise and blur.
        draw: source of the noise.

    Returns:
        int16 HU, -1024 outside the circular field.
    """
    points_y = (grid.origin_mm[1] + grid.cell_mm * np.arange(grid.shape[1]))[:, None]
    points_x = (grid.origin_mm[0] + grid.cell_mm * np.arange(grid.shape[2]))[None, :]
    hu = hu.copy()
    _put_table(hu, points_x, points_y, skin_y_mm)
    how = draw_protocol(settings, draw)
    if settings.ct_hardening_hu > 0:
        hu += hardening(hu, settings.ct_hardening_hu)
    if settings.ct_blur_mm > 0:
        gaussian_filter(hu, (0.0, *[settings.ct_blur_mm / grid.cell_mm] * 2), truncate=3.0, output=hu)
    if how.sharp:
        hu += _OVERSHOOT * (hu - gaussian_filter(hu, (0.0, *[_OVERSHOOT_MM / grid.cell_mm] * 2), truncate=2.5))
    if how.noise_hu > 0:
        noise = draw.standard_normal(hu.shape, dtype=np.float32)
        width = 0.3 if how.sharp else 0.6
        gaussian_filter(noise, (0.0, width, width), truncate=2.0, output=noise)
        noise *= how.noise_hu / noise.std()
        hu += noise
    if metal.any():
        hu += streaks(hu, metal, grid.cell_mm, draw)
    middle_y = skin_y_mm + 130.0
    hu[:, points_x**2 + (points_y - middle_y) ** 2 > FIELD_RADIUS_MM**2] = HU_MIN
    return as_stored(hu)


@dataclass(frozen=True)
class Protocol:
    """How a patient's CT is made.

    Attributes:
        noise_hu: SD of its noise.
        sharp: whether its kernel is a sharp one.
    """

    noise_hu: float
    sharp: bool


def draw_protocol(settings: VirtualSettings, draw: np.random.Generator) -> Protocol:
    """Draws noise and kernel; both draws are made whatever the settings."""
    spread, kernel = float(np.clip(draw.normal(), -2.0, 2.0)), draw.random()
    sharp = bool(kernel < settings.ct_sharp_fraction)
    noise = settings.ct_noise_hu * np.exp(settings.ct_noise_spread * spread)
    return Protocol(float(noise * (_SHARP_NOISE if sharp else 1.0)), sharp)


def hardening(hu: np.ndarray, most_hu: float) -> np.ndarray:
    """Beam hardening's dark band between the hips, float32 (z, y, x), zero or less.

    What a beam from side to side has lost of its soft part follows the bone on its way; tissue on lines through much
    bone comes out darker. Bone itself and air stay as they are.

    Args:
        hu: (z, y, x). most_hu: darkening along the line of the CT that passes most bone.
    """
    bone = np.maximum(hu - _BONE_FROM_HU, 0.0).sum(axis=2)
    if not bone.any():
        return np.zeros(hu.shape, np.float32)
    share = gaussian_filter(bone, (0.0, 1.0))
    tissue = (hu > -300.0) & (hu < _BONE_FROM_HU)
    return np.where(tissue, (-most_hu / share.max() * share)[:, :, None], 0.0).astype(np.float32)


def as_stored(hu: np.ndarray) -> np.ndarray:
    """HU as a CT's file has them, int16; `hu`, float32, is rounded and limited in place."""
    return np.clip(np.rint(hu, out=hu), HU_MIN, HU_MAX, out=hu).astype(np.int16)


def thick_slices(
    ct: np.ndarray, labels: np.ndarray, world_from_voxel: np.ndarray, voxels: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A CT whose slices are several voxels thick: mean HU, and the label that most of a slice's voxels have.

    Args:
        ct: int16 HU (z, y, x). labels: uint8 (z, y, x). world_from_voxel: 4×4 of both.
        voxels: thickness; slices at the top that do not fill a thick one are left out.

    Returns:
        ct, labels and world_from_voxel of the thick slices.
    """
    if voxels == 1:
        return ct, labels, world_from_voxel
    count = ct.shape[0] // voxels
    parts = labels[: count * voxels].reshape(count, voxels, *labels.shape[1:])
    votes = np.stack([(parts == parts[:, [i]]).sum(axis=1, dtype=np.uint8) for i in range(voxels)], axis=1)
    most = np.take_along_axis(parts, votes.argmax(axis=1)[:, None], axis=1)[:, 0]
    mean = ct[: count * voxels].reshape(count, voxels, *ct.shape[1:]).mean(axis=1, dtype=np.float32)
    thick = np.diag([1.0, 1.0, voxels, 1.0])
    thick[2, 3] = (voxels - 1) / 2.0
    return np.rint(mean).astype(np.int16), most, world_from_voxel @ thick


def _put_table(hu: np.ndarray, x: np.ndarray, y: np.ndarray, skin_y_mm: float) -> None:
    depth = skin_y_mm - 4.0 - y + x**2 / (2.0 * _TABLE_RADIUS_MM)
    table = (np.abs(x) < _TABLE_HALF_WIDTH_MM) & (depth > 0) & (depth < _TABLE_THICKNESS_MM)
    shell = table & ((depth < _TABLE_SHELL_MM) | (depth > _TABLE_THICKNESS_MM - _TABLE_SHELL_MM))
    for where, value in ((table, TABLE_CORE_HU), (shell, TABLE_HU)):
        part = hu[:, where]
        hu[:, where] = np.where(part < -950.0, value, part)
