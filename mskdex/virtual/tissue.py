"""HU per voxel: what each label is made of, fat within muscle, the shell and the inside of bone."""

from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numba import njit

from mskdex.virtual.population import Person
from mskdex.virtual.template import Template, Tissue

FAT_HU, LEAN_HU = -100.0, 57.0
_ORGAN_HU = {"bladder": 8.0, "rectum": 25.0, "bowel": 28.0, "vessels": 42.0, "cartilage": 75.0, "fat": FAT_HU}
_TISSUE_HU = {Tissue.AIR: -1000.0, Tissue.SKIN: 15.0, Tissue.ORGAN: 35.0, Tissue.GAS: -850.0, Tissue.METAL: 3071.0}
_CORTEX_HU, _MARROW_HU = 1350.0, -20.0
_CONTRAST_HU = 170.0
_TRABECULAR = {"pelvis": (230.0, 1.9), "femur": (260.0, 2.2), "sacrum": (150.0, 1.2), "lumbar_spine": (150.0, 1.0)}
"""HU inside and thickness of the cortical shell in mm."""

SHAFT_BELOW_MM, SHAFT_CORTEX_MM = -62.0, 6.0
"""Below this height a femur is a shaft: a thick cortex around marrow."""

NOISE_SIZE, NOISE_MM = 64, 2.5
STREAK_SHARPNESS = 0.5
STREAK_STRETCH = 0.3
RIM_MM = 1.5


@dataclass(frozen=True)
class Composition:
    """A person's tissues, per label of the template.

    Attributes:
        hu: float32 (labels,), HU of the pure tissue: lean muscle, trabecular bone.
        tissue: int (labels,), see `Tissue`.
        threshold: float32 (labels,), of the streak noise above which muscle turns to fat.
        cortex_mm: float32 (labels,), thickness of the cortical shell.
        axis: float32 (labels, 3), direction of the fibres.
        cortex_hu: HU of cortical bone.
        noise: float32 (n, n, n), periodic, standard normal at its nodes.
        lean_hu: HU of lean muscle, the person's.
    """

    hu: np.ndarray
    tissue: np.ndarray
    threshold: np.ndarray
    cortex_mm: np.ndarray
    axis: np.ndarray
    cortex_hu: float
    noise: np.ndarray


def composition(person: Person, template: Template, contrast: bool) -> Composition:
    """What a person's labels are made of."""
    draw = person.random("tissue")
    draw.normal(size=2)
    lean = LEAN_HU + float(np.clip(draw.normal() * 2.5, -5, 5))
    count = len(template.names)
    hu, threshold, cortex = np.zeros(count), np.full(count, 9.0), np.zeros(count)
    for label, (name, tissue) in enumerate(zip(template.names, template.tissues, strict=True)):
        bare, _, side = name.rpartition("_")
        bare = bare if side in ("left", "right") else name
        if tissue == Tissue.MUSCLE:
            hu[label] = lean
            share = np.clip((lean - person.muscle_hu(bare, side)) / (lean - FAT_HU), 0.004, 0.6)
            threshold[label] = -np.hypot(1.0, STREAK_SHARPNESS) * NormalDist().inv_cdf(float(share))
        elif tissue == Tissue.BONE:
            inside, cortex[label] = _TRABECULAR.get(bare, (180.0, 1.5))
            hu[label] = inside * person.bone_density
        else:
            hu[label] = _ORGAN_HU.get(bare, _TISSUE_HU.get(tissue, FAT_HU))
        if contrast and bare == "vessels":
            hu[label] = _CONTRAST_HU
    return Composition(
        hu.astype(np.float32),
        template.tissues.astype(np.int64),
        threshold.astype(np.float32),
        cortex.astype(np.float32),
        _fibre_axes(template),
        _CORTEX_HU * person.bone_density**0.3,
        _streak_noise(draw),
    )


def _streak_noise(draw: np.random.Generator) -> np.ndarray:
    white = np.fft.rfftn(draw.normal(size=(NOISE_SIZE,) * 3))
    k = np.fft.fftfreq(NOISE_SIZE)
    square = k[:, None, None] ** 2 + k[None, :, None] ** 2 + np.fft.rfftfreq(NOISE_SIZE)[None, None] ** 2
    # Between fascicles (about 5 mm) and lobules: a band, so that streaks have a width and not only an edge.
    smooth = np.fft.irfftn(white * np.exp(-square * (2 * np.pi * 1.1) ** 2 / 2), s=(NOISE_SIZE,) * 3)
    return (smooth / smooth.std()).astype(np.float32)


def _fibre_axes(template: Template) -> np.ndarray:
    """Longest axis of each label, from its second moments on every fourth voxel."""
    part = template.labels[::4, ::4, ::4]
    z, y, x = np.indices(part.shape, dtype=np.float32)
    flat, count = part.ravel(), len(template.names)
    sums = np.maximum(np.bincount(flat, minlength=count), 1)
    first = np.stack([np.bincount(flat, v.ravel(), count) / sums for v in (x, y, z)], axis=1)
    axes = np.zeros((count, 3), np.float32)
    products = {
        (i, j): np.bincount(flat, (a * b).ravel(), count) / sums
        for i, a in enumerate((x, y, z)) for j, b in enumerate((x, y, z)) if i <= j
    }  # fmt: skip
    for label in np.flatnonzero(template.tissues == Tissue.MUSCLE):
        m = np.array([[products[min(i, j), max(i, j)][label] for i in range(3)] for j in range(3)])
        axes[label] = np.linalg.eigh(m - np.outer(first[label], first[label]))[1][:, 2]
    return axes


def tissues(points: np.ndarray, template: Template, made_of: Composition, rigid: np.ndarray | None = None):
    """Labels and HU at template points.

    Args:
        points: float32 (z, y, x, 3), template points in mm.
        template: the body.
        made_of: the person's tissues.
        rigid: uint8 (z, y, x), where not None: 1 where a voxel is claimed by a rigid bone; bone elsewhere is
            what a soft deformation folds out of a bone, and becomes lean tissue.

    Returns:
        labels uint8 (z, y, x), HU float32 (z, y, x), and the volume of each label in voxels, partial voxels counted
        in part.
    """
    flat = points.reshape(-1, 3)
    claimed = np.ones(len(flat), np.uint8) if rigid is None else rigid.ravel()
    labels, hu, volumes = _tissues(
        flat, claimed, template.labels, template.depth_mm, template.origin_mm, template.voxel_mm, made_of.hu,
        made_of.tissue, made_of.threshold, made_of.cortex_mm, made_of.axis, made_of.cortex_hu, made_of.noise,
        template.label("cartilage") if "cartilage" in template.names else 0,
    )  # fmt: skip
    shape = points.shape[:-1]
    return labels.reshape(shape), hu.reshape(shape), volumes


@njit(cache=True, fastmath=True)
def _noise_at(noise, x, y, z):
    n = noise.shape[0]
    i, j, k = int(np.floor(x)), int(np.floor(y)), int(np.floor(z))
    fx, fy, fz = x - i, y - j, z - k
    total = 0.0
    norm = 0.0
    for c in range(2):
        wz = fz if c else 1 - fz
        for b in range(2):
            wy = fy if b else 1 - fy
            for a in range(2):
                w = wz * wy * (fx if a else 1 - fx)
                total += w * noise[(k + c) % n, (j + b) % n, (i + a) % n]
                norm += w
    return total / norm


@njit(cache=True, fastmath=True)
def _fat_share(p, axis, threshold, noise, depth):
    along = (p[0] * axis[0] + p[1] * axis[1] + p[2] * axis[2]) * (1.0 - STREAK_STRETCH)
    x, y, z = p[0] - along * axis[0], p[1] - along * axis[1], p[2] - along * axis[2]
    value = 1.1 * _noise_at(noise, x / NOISE_MM, y / NOISE_MM, z / NOISE_MM)
    value += 0.5 * np.exp(-depth / RIM_MM) - 0.1
    u = (value - threshold) / STREAK_SHARPNESS
    return 1.0 / (1.0 + np.exp(-1.702 * u))


@njit(cache=True, fastmath=True)
def _bone_hu(p, inside, cortex_mm, cortex_hu, depth, noise, shaft):
    if shaft:
        cortex_mm, inside = SHAFT_CORTEX_MM, _MARROW_HU
    edge = 1.0 / (1.0 + np.exp(-(depth - cortex_mm) / (0.35 + 0.12 * cortex_mm)))
    texture = 1.0 + 0.12 * _noise_at(noise, p[0] / 3.0, p[1] / 3.0, p[2] / 3.0)
    return cortex_hu * (1.0 - edge) + inside * texture * edge


@njit(cache=True, fastmath=True)
def _tissues(
    points,
    claimed,
    labels,
    depths,
    origin,
    voxel,
    hu_of,
    tissue_of,
    threshold,
    cortex,
    axis,
    cortex_hu,
    noise,
    lean_label,
):
    nz, ny, nx = labels.shape
    out, hu = np.zeros(len(points), np.uint8), np.empty(len(points), np.float32)
    volumes = np.zeros(len(hu_of))
    found, weight = np.empty(8, np.int64), np.empty(8)
    for n in range(len(points)):
        p = points[n]
        x, y, z = (p[0] - origin[0]) / voxel, (p[1] - origin[1]) / voxel, (p[2] - origin[2]) / voxel
        z = min(max(z, 0.0), nz - 1.001)
        if x < 0 or y < 0 or x >= nx - 1 or y >= ny - 1:
            hu[n] = hu_of[0]
            volumes[0] += 1.0
            continue
        i, j, k = int(x), int(y), int(z)
        fx, fy, fz = x - i, y - j, z - k
        many, depth = 0, 0.0
        for corner in range(8):
            a, b, c = corner & 1, (corner >> 1) & 1, corner >> 2
            w = (fx if a else 1 - fx) * (fy if b else 1 - fy) * (fz if c else 1 - fz)
            label = labels[k + c, j + b, i + a]
            if tissue_of[label] == 3 and not claimed[n]:
                label = lean_label
            depth += w * depths[k + c, j + b, i + a]
            for m in range(many):
                if found[m] == label:
                    weight[m] += w
                    break
            else:
                found[many], weight[many] = label, w
                many += 1
        best, value = 0, 0.0
        for m in range(many):
            label = found[m]
            volumes[label] += weight[m]
            if weight[m] > weight[best]:
                best = m
            here = hu_of[label]
            if tissue_of[label] == 2:
                here += _fat_share(p, axis[label], threshold[label], noise, depth) * (FAT_HU - here)
            elif tissue_of[label] == 3:
                shaft = cortex[label] > 2.0 and p[2] < SHAFT_BELOW_MM
                here = _bone_hu(p, here, cortex[label], cortex_hu, depth, noise, shaft)
            value += weight[m] * here
        out[n] = found[best]
        hu[n] = value
    return out, hu, volumes
