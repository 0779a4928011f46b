"""A patient in two postures, made once."""

from dataclasses import dataclass

import numpy as np
import pytest

from mskdex.config.virtual import VirtualSettings
from mskdex.deformation.coarse_grid import Grid
from mskdex.deformation.posture import Posture, draw_poses, take_posture
from mskdex.deformation.shape import Shape
from mskdex.deformation.template import Template
from mskdex.virtual.body import BodyModel, lying_body, posed_body, posed_box
from mskdex.virtual.built_in_anatomy import built_in
from mskdex.virtual.conserve import conserve_muscles
from mskdex.virtual.patient import grow_person, whole_muscles
from mskdex.virtual.population import Person, person
from mskdex.virtual.tissue import composition

SETTINGS = VirtualSettings(voxel_mm=2.5, ct_noise_hu=0.0)


@dataclass(frozen=True)
class TwoPostures:
    person: Person
    shape: Shape
    posture: Posture
    lying: BodyModel
    posed: BodyModel


@pytest.fixture(scope="session")
def template() -> Template:
    return built_in(2.5)


@pytest.fixture(scope="session")
def two_postures(template) -> TwoPostures:
    """A patient whose radiograph's posture differs as much as two standard deviations allow."""
    one = person(SETTINGS, 2)
    shape = grow_person(one, template)
    heads = {side: shape.from_template(head) for side, head in template.heads_mm.items()}
    poses = draw_poses(SETTINGS.posture, heads, np.random.default_rng(5))
    posture = take_posture(shape, poses)
    tissues = composition(one, template, contrast=False)
    low = shape.grid.origin_mm
    high = low + shape.grid.cell_mm * (np.array(shape.grid.shape[::-1]) - 1)
    first = lying_body(shape, tissues, Grid.around(low, high, SETTINGS.voxel_mm), np.eye(4))
    grid = Grid.around(*posed_box(posture), SETTINGS.voxel_mm)
    posture = conserve_muscles(tissues, posture, grid, first, whole_muscles(template, first))
    second = posed_body(tissues, posture, grid)
    return TwoPostures(one, shape, posture, first, second)
