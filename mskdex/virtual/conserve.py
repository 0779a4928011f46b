"""The last half percent: muscles of the posed body regain exactly the volume that they had in the CT."""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from mskdex.virtual.body import box_of, posed
from mskdex.virtual.flow import displacement
from mskdex.virtual.grid import Grid, sample
from mskdex.virtual.posture import Posture, soft_mobility
from mskdex.virtual.shape import cell_means, rates
from mskdex.virtual.tissue import Composition

_PASSES = 2
_MOST = 0.2


def keep_volumes(made_of: Composition, posture: Posture, grid: Grid, volumes_cm3: Mapping[int, float]) -> Posture:
    """Grows or shrinks each label of the posed body by what it lacks or has too much.

    A posture's flow conserves volume cell by cell, but where a rigid bone sweeps over the soft tissue beside it,
    a small muscle may lose a percent.

    Args:
        made_of: the person's tissues.
        posture: the posture.
        grid: voxels of the posed body on which volumes are counted.
        volumes_cm3: volume of each label in the reference posture.
    """
    template = posture.shape.template
    part = _part(grid, *box_of(np.isin(posture.labels, list(volumes_cm3)), posture.grid))
    wanted = np.zeros(len(template.names))
    wanted[list(volumes_cm3)] = list(volumes_cm3.values())
    asked, before = np.zeros((2, len(wanted)))
    for _ in range(_PASSES):
        now = posed(made_of, posture, part, with_hu=False).volumes_cm3
        asked, before = rates(wanted, now, before, asked, _MOST), now
        (rate,) = cell_means(posture.labels, asked[None])
        mobility, _ = soft_mobility(posture.labels, template.tissues)
        move = displacement(rate, mobility, posture.grid.cell_mm, np.zeros(rate.shape))
        shift = sample(posture.shift, posture.grid, posture.grid.points() - move) - move
        posture = replace(posture, shift=shift)
    return posture


def _part(grid: Grid, low_mm: np.ndarray, high_mm: np.ndarray, margin_mm: float = 12.0) -> Grid:
    """The voxels of a grid within a box: the same lattice, so that the same points are counted."""
    first = np.floor((low_mm - margin_mm - grid.origin_mm) / grid.cell_mm).astype(int)
    last = np.ceil((high_mm + margin_mm - grid.origin_mm) / grid.cell_mm).astype(int)
    first, last = np.maximum(first, 0), np.minimum(last, np.array(grid.shape[::-1]) - 1)
    nx, ny, nz = (int(n) for n in last - first + 1)
    return Grid((nz, ny, nx), grid.origin_mm + grid.cell_mm * first, grid.cell_mm)
