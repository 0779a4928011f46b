"""People between and beyond two templates whose difference is known in closed form."""

import json
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from mskdex.config.virtual import VirtualSettings
from mskdex.deformation.template import Template, Tissue
from mskdex.errors import MskdexError
from mskdex.virtual.atlas import read_atlas
from mskdex.virtual.correspondence import Correspondence, draw_weights
from mskdex.virtual.names import structure_names
from mskdex.virtual.patient import _template, grow_person
from mskdex.virtual.population import person_of

NAMES = ("air", "pelvis_left", "pelvis_right", "femur_left", "femur_right", "muscle_left", "muscle_right", "fat")
TISSUES = [Tissue.AIR, *[Tissue.BONE] * 4, *[Tissue.MUSCLE] * 2, Tissue.FAT]
BOXES = {  # centre and half size, mm, of the left half
    "pelvis": ((-70.0, 0.0, 60.0), (40.0, 35.0, 50.0)),
    "femur": ((-100.0, 0.0, -90.0), (25.0, 25.0, 90.0)),
    "muscle": ((-95.0, -75.0, 10.0), (40.0, 25.0, 90.0)),
}
VOXEL_MM = 5.0
UNIT = np.ones(3)


def made(stretch=1.0, lateral_mm=0.0) -> Template:
    """A body of ellipsoids, made `stretch` times as wide, its muscles moved outwards."""
    shape = (72, 56, 90)
    origin = -VOXEL_MM * (np.array(shape[::-1]) - 1) / 2.0
    axes = [origin[d] + VOXEL_MM * np.arange(shape[2 - d]) for d in range(3)]
    x, y, z = axes[0][None, None] / stretch, axes[1][None, :, None], axes[2][:, None, None]
    labels = np.where((x / 185.0) ** 2 + (y / 125.0) ** 2 + 0.0 * z <= 1.0, NAMES.index("fat"), 0).astype(np.uint8)
    for name, (centre, half) in BOXES.items():
        for side, sign in (("left", 1.0), ("right", -1.0)):
            middle = centre[0] * sign - sign * lateral_mm / stretch * (name == "muscle")
            inside = ((x - middle) / half[0]) ** 2 + ((y - centre[1]) / half[1]) ** 2 + ((z - centre[2]) / half[2]) ** 2
            labels[inside <= 1.0] = NAMES.index(f"{name}_{side}")
    heads = {"left": np.array([-100.0 * stretch, 0.0, 0.0]), "right": np.array([100.0 * stretch, 0.0, 0.0])}
    return Template(labels, origin, VOXEL_MM, NAMES, np.array(TISSUES), np.zeros(shape, np.float32), heads)


def between(other: Template) -> Correspondence:
    return Correspondence.of([made(), other], NAMES[1:7])


def weights(second: float) -> np.ndarray:
    return np.array([1.0 - second, second])


@pytest.mark.parametrize("second", [-0.25, 0.0, 0.5, 1.0, 1.25])
def test_a_wider_body_is_met_and_passed_in_proportion(second):
    """The second body is 1.15 times as wide, so the person is 1 + 0.15 w times as wide as the first."""
    width = 1.0 + 0.15 * second
    places = np.array([[-100.0, 0.0, -60.0], [95.0, -75.0, 20.0], [-70.0, 10.0, 60.0], [170.0, 0.0, 40.0]])
    shift = between(made(stretch=1.15)).shift(places * (width, 1.0, 1.0), UNIT, weights(second))
    assert shift == pytest.approx(places * (1.0 - width, 0.0, 0.0), abs=1.5)


def test_a_muscle_that_lies_elsewhere_moves_and_bones_stay():
    """The second body's muscles lie 16 mm farther out: half of it in the person between; the sides scale with them."""
    correspondence = between(made(lateral_mm=16.0))
    muscle, bone = np.array([[-103.0, -75.0, 10.0]]), np.array([[-100.0, 10.0, -120.0], [60.0, 20.0, 70.0]])
    assert correspondence.shift(muscle, UNIT, weights(0.5))[0] == pytest.approx([8.0, 0.0, 0.0], abs=1.5)
    assert correspondence.shift(bone, UNIT, weights(0.5)) == pytest.approx(np.zeros((2, 3)), abs=1.5)
    scaled = correspondence.shift(muscle * 1.1, 1.1 * UNIT, weights(0.5))[0]
    assert scaled == pytest.approx([8.8, 0.0, 0.0], abs=1.5)


def test_templates_that_no_smooth_map_joins_are_refused():
    """Muscles that lie on the other side of the body in the second template would have to pass through the bones."""
    body = np.stack(np.meshgrid(*[np.linspace(-150.0, 150.0, 9)] * 3), axis=-1)
    with pytest.raises(MskdexError, match=r"virtual\.atlas: the label maps differ so much.*left and right"):
        between(made(lateral_mm=-190.0)).shift(body, UNIT, weights(1.0))


def test_weights_add_up_and_go_beyond_the_templates():
    drawn = np.array([draw_weights(2, np.random.default_rng(n)) for n in range(500)])
    assert drawn.sum(axis=1) == pytest.approx(np.ones(500))
    assert drawn[:, 1].mean() == pytest.approx(0.5, abs=0.06)
    assert drawn.min() >= -0.25
    assert drawn.max() <= 1.25
    assert 0.04 < (drawn[:, 1] > 1.0).mean() < 0.12


def written(template: Template, folder: Path, names: tuple[str, ...] = NAMES) -> str:
    """An atlas's folder."""
    image = sitk.GetImageFromArray(template.labels)
    image.SetSpacing([VOXEL_MM] * 3)
    image.SetOrigin([-template.origin_mm[0], -template.origin_mm[1], template.origin_mm[2]])
    image.SetDirection([-1.0, 0, 0, 0, -1.0, 0, 0, 0, 1.0])
    folder.mkdir()
    sitk.WriteImage(image, str(folder / "labels.nii.gz"))
    (folder / "labels.json").write_text(json.dumps({n: i for i, n in enumerate(names) if i}), encoding="utf-8")
    return str(folder)


def test_a_list_of_atlases_gives_people_of_their_own_shape(tmp_path):
    """Read from files: the heads lie as far apart as the person's weight of the second, 1.2 times as wide, says."""
    folders = [written(made(), tmp_path / "a"), written(made(stretch=1.2), tmp_path / "b")]
    settings = VirtualSettings.model_validate({"atlas": folders, "voxel_mm": 5.0})
    assert structure_names(settings) == structure_names(settings.model_copy(update={"atlas": folders[0]}))
    template, others = _template(settings)
    one = person_of(settings, "V0002")
    second = draw_weights(2, np.random.default_rng((one.seed, one.number, 102)))[1]
    found = [
        np.linalg.norm(np.subtract(*(shape.from_template(template.heads_mm[s]) for s in ("left", "right"))))
        for shape in (grow_person(one, template), grow_person(one, template, others))
    ]
    assert found[1] / found[0] == pytest.approx(1.0 + 0.2 * second, abs=0.03)


def test_an_atlas_with_exchanged_sides_is_refused(tmp_path):
    exchanged = tuple(NAMES[i] for i in (0, 2, 1, 4, 3, 6, 5, 7))
    folder = written(made(), tmp_path / "exchanged", exchanged)
    with pytest.raises(MskdexError, match=r"exchanged: femur_left lies to the right of femur_right; exchange"):
        read_atlas(Path(folder))
