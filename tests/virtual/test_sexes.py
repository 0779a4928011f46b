"""Pelvis and fat of women and men."""

import numpy as np
import pytest

from mskdex.config.virtual import VirtualSettings
from mskdex.deformation.shape import Shape, grow
from mskdex.virtual.built_in_anatomy import built_in
from mskdex.virtual.population import Person, person
from mskdex.virtual.sexes import draw_femininity, landmark, sexed_shift

LEFT_TO_RIGHT = np.array([-1.0, 1.0, 1.0])
MEAN = {"F": 154.4, "M": 168.6}


def mean_person(sex: str) -> Person:
    return Person(1, 0, sex, 64.0, MEAN[sex], 23.3 * (MEAN[sex] / 100.0) ** 2, "left", False)


def scale_of(sex: str) -> np.ndarray:
    """Mean over 40 people of one height: what is drawn for the person goes away."""
    drawn = [Person(n, 0, sex, 64.0, MEAN[sex], 57.0, "left", False).skeleton_scale for n in range(40)]
    return np.exp(np.mean(np.log(drawn), axis=0))


@pytest.fixture(scope="module")
def shapes() -> dict[str, Shape]:
    """The mean woman and the mean man, without a warp of their own and with the atlas's soft tissue."""
    template = built_in(6.0)
    box = (np.array([-300.0, -240.0, -250.0]), np.array([300.0, 260.0, 250.0]))
    made = {}
    for sex, femininity in (("F", 1.0), ("M", 0.0)):
        scale = scale_of(sex)
        wanted = {template.label("fat"): template.volumes_cm3[template.label("fat")] * scale.prod()}
        made[sex] = grow(
            template,
            scale,
            wanted,
            box,
            np.random.default_rng(0),
            0.0,
            lambda points, scale=scale, much=femininity: sexed_shift(points, scale, much),
        )
    return made


def across(shape: Shape, name: str) -> float:
    left, right = (shape.from_template(landmark(name) * side) for side in (1.0, LEFT_TO_RIGHT))
    return float(np.linalg.norm(left - right))


def subpubic_angle_deg(shape: Shape) -> float:
    sides = (1.0, LEFT_TO_RIGHT)
    middle = np.mean([shape.from_template(landmark("lower_symphysis") * side) for side in sides], axis=0)
    first, second = (shape.from_template(landmark("tuberosity") * side) - middle for side in sides)
    return float(np.degrees(np.arccos(first @ second / np.linalg.norm(first) / np.linalg.norm(second))))


def test_subpubic_angle_differs_as_published(shapes):
    """82.9° and 67.9°, SD 15 and 9, on CT (50 women, 50 men): standard errors 2.1 and 1.3."""
    assert subpubic_angle_deg(shapes["F"]) == pytest.approx(82.9, abs=3 * 2.1)
    assert subpubic_angle_deg(shapes["M"]) == pytest.approx(67.9, abs=3 * 1.3)


def test_hips_of_a_woman_are_as_far_apart_as_published(shapes):
    """From the midline 91.5 mm in women and 95.0 in men (radiographs of 250 each)."""
    assert across(shapes["F"], "femoral_head") / across(shapes["M"], "femoral_head") == pytest.approx(0.963, abs=0.01)


def test_a_woman_s_inlet_is_wider_though_she_is_smaller(shapes):
    assert 1.02 < across(shapes["F"], "inlet") / across(shapes["M"], "inlet") < 1.10


def widths_mm(shape: Shape, heights_mm: np.ndarray) -> np.ndarray:
    step = shape.grid.cell_mm / 2.0
    z = shape.grid.origin_mm[2] + step * (np.arange(shape.labels.shape[0]) - 0.5)
    rows = [(shape.labels[np.argmin(np.abs(z - at))] > 0).any(axis=0).sum() * step for at in heights_mm]
    return np.array(rows)


def test_fat_lies_at_a_man_s_waist_and_a_woman_s_hips(shapes):
    ratio = {}
    for sex, shape in shapes.items():
        waist, hip = widths_mm(shape, np.array([180.0, -20.0]) * shape.scale[2])
        ratio[sex] = waist / hip
    assert ratio["M"] > 1.05 * ratio["F"]


def test_people_lie_between_and_beyond_the_sexes():
    settings = VirtualSettings()
    people = [person(settings, n) for n in range(1, 301)]
    drawn = {s: [draw_femininity(p.sex, p.random("shape")) for p in people if p.sex == s] for s in "FM"}
    assert np.mean(drawn["F"]) == pytest.approx(1.0, abs=0.08)
    assert np.mean(drawn["M"]) == pytest.approx(0.0, abs=0.2)
    assert max(drawn["F"]) > 1.3
    assert min(drawn["M"]) < -0.2


def test_the_displacement_moves_each_landmark_to_its_place_and_is_symmetric():
    scale = np.array([0.9, 0.92, 0.88])
    for name in ("femoral_head", "tuberosity", "inlet", "hip_skin"):
        moved = landmark(name, 1.0) * scale
        back = sexed_shift(moved[None], scale, 1.0)[0]
        assert moved + back == pytest.approx(landmark(name) * scale, abs=0.6)
        mirrored = sexed_shift((moved * LEFT_TO_RIGHT)[None], scale, 1.0)[0]
        assert mirrored == pytest.approx(back * LEFT_TO_RIGHT, abs=1e-4)
    assert np.abs(sexed_shift(np.array([[400.0, 400.0, 400.0]]), scale, 1.0)).max() < 0.1
    assert not sexed_shift(np.zeros((1, 3)), scale, 0.0).any()
