"""HU per voxel: what each label is made of, fat within muscle, the shell and the inside of bone."""

from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

from mskdex.compute.kernels import kernel
from mskdex.deformation.template import Template, Tissue
from mskdex.quantities import FAT_HU
from mskdex.virtual.population import Person

_ORGAN_HU = {"bladder": 8.0, "rectum": 25.0, "bowel": 28.0, "vessels": 42.0, "cartilage": 75.0, "fat": FAT_HU}
_TISSUE_HU = {Tissue.AIR: -1000.0, Tissue.SKIN: 15.0, Tissue.ORGAN: 35.0, Tissue.GAS: -850.0, Tissue.METAL: 3071.0}
_CORTEX_HU, MARROW_HU = 1350.0, -20.0
_CONTRAST_HU = 170.0
_TRABECULAR = {"pelvis": (230.0, 1.9), "femur": (260.0, 2.2), "sacrum": (150.0, 1.2), "lumbar_spine": (150.0, 1.0)}
"""HU inside and thickness of the cortical shell in mm."""

SHAFT_FROM_MM, SHAFT_TO_MM, SHAFT_CORTEX_MM = -35.0, -95.0, 6.0
"""Between these heights a femur turns from a shell around trabecular bone to a thick cortex around marrow."""

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
    draw.normal(size=3)
    count = len(template.names)
    hu, threshold, cortex = np.zeros(count), np.full(count, 9.0), np.zeros(count)
    for label, (name, tissue) in enumerate(zip(template.names, template.tissues, strict=True)):
        bare, _, side = name.rpartition("_")
        bare = bare if side in ("left", "right") else name
        if tissue == Tissue.MUSCLE:
            hu[label] = person.lean_hu
            share = person.fat_share(bare, side)
            threshold[label] = -np.hypot(1.0, STREAK_SHARPNESS) * NormalDist().inv_cdf(share)
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
    smooth = np.fft.irfftn(white * np.exp(-square * (2 * np.pi * 1.1) ** 2 / 2), s=(NOISE_SIZE,) * 3, axes=(0, 1, 2))
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
        for i, a in enumerate((x, y, z))
        for j, b in enumerate((x, y, z))
        if i <= j
    }
    for label in np.flatnonzero(template.tissues == Tissue.MUSCLE):
        m = np.array([[products[min(i, j), max(i, j)][label] for i in range(3)] for j in range(3)])
        axes[label] = np.linalg.eigh(m - np.outer(first[label], first[label]))[1][:, 2]
    return axes


@kernel
def noise_at(noise, x, y, z):
    """Periodic noise at the index (x, y, z); its size is a power of two."""
    last = noise.shape[0] - 1
    x0, y0, z0 = np.floor(x), np.floor(y), np.floor(z)
    fx, fy, fz = x - x0, y - y0, z - z0
    i, j, k = int(x0) & last, int(y0) & last, int(z0) & last
    a, b, c = (i + 1) & last, (j + 1) & last, (k + 1) & last
    low = (1 - fy) * ((1 - fx) * noise[k, j, i] + fx * noise[k, j, a])
    low += fy * ((1 - fx) * noise[k, b, i] + fx * noise[k, b, a])
    high = (1 - fy) * ((1 - fx) * noise[c, j, i] + fx * noise[c, j, a])
    high += fy * ((1 - fx) * noise[c, b, i] + fx * noise[c, b, a])
    return (1 - fz) * low + fz * high


@kernel
def fat_share(x, y, z, axis_x, axis_y, axis_z, threshold, noise, depth):
    """Share of fat in muscle at a template point: streaks along the fibres, and a rim under the surface."""
    along = (x * axis_x + y * axis_y + z * axis_z) * (1.0 - STREAK_STRETCH)
    value = 1.1 * noise_at(
        noise, (x - along * axis_x) / NOISE_MM, (y - along * axis_y) / NOISE_MM, (z - along * axis_z) / NOISE_MM
    )
    value += 0.5 * np.exp(-depth / RIM_MM) - 0.1
    u = (value - threshold) / STREAK_SHARPNESS
    return 1.0 / (1.0 + np.exp(-1.702 * u))


@kernel
def bone_hu(x, y, z, inside, cortex_mm, cortex_hu, depth, noise, shaft):
    """HU of bone at a depth under its surface: cortex outside, trabecular bone or, in a shaft, marrow inside."""
    if shaft:
        share = min(max((SHAFT_FROM_MM - z) / (SHAFT_FROM_MM - SHAFT_TO_MM), 0.0), 1.0)
        share = share * share * (3.0 - 2.0 * share)
        cortex_mm += share * (SHAFT_CORTEX_MM - cortex_mm)
        inside += share * (MARROW_HU - inside)
    edge = 1.0 / (1.0 + np.exp(-(depth - cortex_mm) / (0.35 + 0.12 * cortex_mm)))
    texture = 1.0 + 0.12 * noise_at(noise, x / 3.0, y / 3.0, z / 3.0)
    return cortex_hu * (1.0 - edge) + inside * texture * edge
