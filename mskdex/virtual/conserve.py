"""Muscles of the posed body get back the last half per cent of the volume and lean mass that they had in the CT."""

from dataclasses import replace

import numpy as np

from mskdex.deformation.coarse_grid import Grid
from mskdex.deformation.flow import displacement
from mskdex.deformation.following import displaced, soft_mobility
from mskdex.deformation.posture import Posture
from mskdex.deformation.shape import cell_means, rates
from mskdex.virtual.body import BodyModel, box_of, posed_body
from mskdex.virtual.tissue import Composition

_MOST = 0.2


def conserve_muscles(
    tissues: Composition, posture: Posture, grid: Grid, reference: BodyModel, muscles: list[int]
) -> Posture:
    """Grows or shrinks muscles of the posed body by what they lack or have too much.

    A posture's flow conserves volume cell by cell, but where a rigid bone sweeps over the soft tissue beside it,
    a small muscle may lose a percent. The second pass brings volume and lean mass to equal and opposite errors: a
    muscle's density is not the same everywhere, so that both cannot be kept.

    Args:
        tissues: the person's tissues.
        posture: the posture.
        grid: voxels of the posed body on which volumes and masses are counted.
        reference: the body in the reference posture.
        muscles: labels that the reference has whole.
    """
    template = posture.shape.template
    part = _part(grid, *box_of(np.isin(posture.labels, muscles), posture.grid))
    for weigh in (False, True):
        now = posed_body(tissues, posture, part, with_hu=weigh)
        wanted = np.zeros(len(template.names))
        wanted[muscles] = _amounts(reference, weigh)[muscles]
        (rate,) = cell_means(posture.labels, rates(posture.labels, wanted, _amounts(now, weigh), _MOST)[None])
        mobility, _ = soft_mobility(posture.labels, template.tissues)
        move = displacement(rate, mobility, posture.grid.cell_mm, np.zeros(rate.shape))
        posture = replace(posture, shift=displaced(posture.shift, posture.grid, move))
    return posture


def _amounts(body: BodyModel, weigh: bool) -> np.ndarray:
    return np.sqrt(body.volumes_cm3 * body.masses_g) if weigh else body.volumes_cm3


def _part(grid: Grid, low_mm: np.ndarray, high_mm: np.ndarray, margin_mm: float = 12.0) -> Grid:
    """The voxels of a grid within a box: the same lattice, so that the same points are counted."""
    first = np.floor((low_mm - margin_mm - grid.origin_mm) / grid.cell_mm).astype(int)
    last = np.ceil((high_mm + margin_mm - grid.origin_mm) / grid.cell_mm).astype(int)
    first, last = np.maximum(first, 0), np.minimum(last, np.array(grid.shape[::-1]) - 1)
    nx, ny, nz = (int(n) for n in last - first + 1)
    return Grid((nz, ny, nx), grid.origin_mm + grid.cell_mm * first, grid.cell_mm)
