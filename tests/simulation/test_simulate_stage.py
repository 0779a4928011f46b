"""Pairs from a patient's own CT: they agree pixel by pixel, follow the patient's camera and pose, and repeat."""

import hospital
import numpy as np
import pytest

from mskdex.config import Config
from mskdex.config.imaging import ImageSettings
from mskdex.config.simulation import SimulationSettings
from mskdex.deformation.posture import rotation_about
from mskdex.errors import MskdexError
from mskdex.geometry.camera import Camera, nominal_pose
from mskdex.imaging.radiograph import write_image
from mskdex.io.artifacts import write_json
from mskdex.io.simulated import Simulated, read_simulated
from mskdex.io.volume import Volume, write_volume
from mskdex.pipeline.settings import SimulateStage, simulate_stage
from mskdex.pipeline.stages.simulate import simulate
from mskdex.quantities import density_table

OBJECTS = [
    {"name": "pelvis", "kind": "bone", "body": "pelvis"},
    {"name": "femur", "kind": "bone", "body": "femur"},
    {"name": "sacrum", "kind": "bone", "body": "pelvis", "paired": False},
    {"name": "gluteus_maximus", "kind": "muscle"},
]
IMAGE = ImageSettings(rows=32, columns=32, pixel_mm=13.0)
MUSCLES = (5, 6)


def stage(**simulation) -> SimulateStage:
    section = SimulationSettings.model_validate({"variants": 2, "voxel_mm": 5.0} | simulation)
    config = Config.model_validate({"objects": OBJECTS, "image": IMAGE})
    return simulate_stage(config).model_copy(update={"simulation": section})


def patient(folder, *, table=False, bare=False, scale="absolute", accepted=True, turn=(4.0, 0.0, 8.0)):
    """A hospital's patient as the import and the registration leave one."""
    ct, ids = hospital.phantom((32, 40, 50), (7.0, 7.0, 8.0))
    if table:
        ct.array[:, 3, 5:45] = np.where(ct.array[:, 3, 5:45] < -500, 120, ct.array[:, 3, 5:45])
    if bare:
        ct.array[ids.array == 0] = -1000
    write_volume(folder / "ct.nii.gz", ct)
    write_volume(folder / "labels.nii.gz", ids)
    middle = (ct.world_from_voxel @ [*((np.array(ct.array.shape[::-1]) - 1) / 2), 1])[:3]
    nominal = nominal_pose(middle, 900.0)
    camera = Camera(1050.0, 3.25, (128, 128), (63.5, 63.5))
    field = np.ones(camera.shape, bool)
    field[:, :8] = False
    write_image(folder / "radiograph.nii.gz", np.ones(camera.shape, np.float32), camera.pixel_mm)
    write_image(folder / "field.nii.gz", field.astype(np.uint8), camera.pixel_mm)
    facts = {"camera_from_ct": nominal, "view": "AP", "source_to_isocentre_mm": 900.0, "radiograph_scale": scale}
    write_json(folder / "camera.json", {**camera.as_dict(), **facts})
    write_json(folder / "import.json", {"structures": {}})
    poses = dict.fromkeys(("pelvis", "femur_left", "femur_right"), nominal)
    poses["femur_left"] = nominal @ rotation_about(middle, np.array(turn))
    bodies = {b: {"accepted": accepted, "camera_from_ct": p if accepted else None} for b, p in poses.items()}
    write_json(folder / "pose.json", {"bodies": bodies})
    return ct, ids


def made(folder, settings=None, **how) -> tuple[Simulated, Volume, Volume]:
    folder.mkdir(parents=True, exist_ok=True)
    ct, ids = patient(folder, **how)
    simulate(folder, settings or stage(), folder / "simulated.safetensors")
    return read_simulated(folder / "simulated.safetensors", folder.name), ct, ids


@pytest.fixture(scope="module")
def pairs(tmp_path_factory):
    return made(tmp_path_factory.mktemp("simulated") / "P01")


def test_shapes_and_names(pairs):
    found, _, _ = pairs
    assert found.objects == hospital.CHANNELS
    assert found.radiograph.shape == found.weight.shape == (2, 32, 32)
    assert [c.shape for c in found.drr] == [(3, 7, 32, 32)] * 2
    assert found.camera.shape == (32, 32)
    assert found.registered
    assert not found.field[:, 0].any()
    assert found.field[:, 4:].all()
    assert np.isfinite(found.radiograph).all()
    assert found.weight.min() >= 0.0
    assert found.weight.max() == 1.0


def test_first_pair_has_the_cts_own_amounts(pairs):
    found, ct, ids = pairs
    table = density_table()
    for number in MUSCLES:
        hu = ct.array[ids.array == number + 1].astype(int)
        sums = table[:, hu + 1024].sum(axis=1, dtype=np.float64) * ct.voxel_volume_cm3
        assert found.sums[0][1:, number] == pytest.approx(sums[1:], rel=0.008)  # rendering adds 0.3 %
    assert found.known[0, list(MUSCLES)].all()


def test_other_pairs_have_muscles_of_other_sizes(pairs):
    found, _, _ = pairs
    growth = found.facts[1]["growth"]
    for number in MUSCLES:
        ratio = found.sums[1][1, number] / found.sums[0][1, number]
        assert ratio == pytest.approx(growth[str(number + 1)], rel=0.012)
        assert abs(ratio - 1.0) > 0.012
    assert found.facts[0]["growth"] == found.facts[0]["infiltration"] == {}


def test_sums_are_those_of_the_images(pairs):
    found, _, _ = pairs
    for crops, sums in zip(found.drr, found.sums, strict=True):
        assert crops.dense().sum(axis=(-2, -1)) == pytest.approx(sums, rel=1e-3)


def test_radiograph_and_drrs_agree_pixel_by_pixel(tmp_path):
    """With nothing in the CT but the objects, attenuation is where their DRRs are, and as much as they are thick."""
    found, _, _ = made(tmp_path / "P01", bare=True)
    for image, crops in zip(found.radiograph, found.drr, strict=True):
        objects = crops.dense()[0].sum(axis=0)
        assert np.corrcoef(image[found.field], objects[found.field])[0, 1] > 0.98
        assert image[found.field & (objects == 0)].max() < 0.15 * image.max()
        thick = found.field & (objects > 0.2 * objects.max())
        assert (image[thick] > 0.1 * image.max()).all()


def test_the_registered_pose_moves_the_bone(tmp_path):
    straight, _, _ = made(tmp_path / "P01", stage(variants=1), turn=(0.0, 0.0, 0.0))
    turned, _, _ = made(tmp_path / "P02", stage(variants=1), turn=(0.0, 12.0, 0.0))
    moved = [
        np.abs(a - b).sum() / a.sum() for a, b in zip(straight.drr[0].dense()[1], turned.drr[0].dense()[1], strict=True)
    ]
    assert moved[2] > 0.3
    assert max(moved[i] for i in (0, 1, 3, 4)) < 0.05


def test_a_large_turn_is_trusted_less(tmp_path):
    found, _, _ = made(tmp_path / "P01", stage(variants=1), turn=(0.0, 0.0, 30.0))
    assert found.facts[0]["trust"] == pytest.approx(0.5, abs=0.01)
    assert found.weight.max() == pytest.approx(0.5, abs=0.01)


def test_no_accepted_pose_is_said(tmp_path):
    found, _, _ = made(tmp_path / "P01", stage(variants=1), accepted=False)
    assert not found.registered
    assert found.facts[0]["poses"]["femur_left"] == np.eye(4).tolist()


def test_each_patient_has_randomness_of_its_own_and_it_repeats(pairs, tmp_path):
    again, _, _ = made(tmp_path / "P01")
    other, _, _ = made(tmp_path / "P02")
    first = pairs[0]
    assert np.array_equal(again.radiograph, first.radiograph)
    assert again.facts == first.facts
    assert other.facts[1]["exposure"] != first.facts[1]["exposure"]
    assert other.facts[1]["growth"] != first.facts[1]["growth"]


def test_the_table_is_not_in_the_radiograph(pairs, tmp_path):
    with_table, _, _ = made(tmp_path / "P01", table=True)
    assert np.abs(with_table.radiograph[0] - pairs[0].radiograph[0])[pairs[0].field].mean() < 0.02


def test_a_relative_radiograph_has_relative_pairs(pairs, tmp_path):
    relative, _, _ = made(tmp_path / "P01", stage(variants=1), scale="relative")
    assert relative.scale == "relative"
    a, b = relative.radiograph[0].ravel(), pairs[0].radiograph[0].ravel()
    assert np.corrcoef(a, b)[0, 1] > 0.9999
    assert not np.allclose(a, b, atol=0.05)


def test_what_cannot_be_simulated_says_whose(tmp_path):
    folder = tmp_path / "P07"
    folder.mkdir()
    ct, _ = patient(folder)
    inside = np.eye(4)
    inside[:3, 3] = -(ct.world_from_voxel @ [25, 20, 16, 1])[:3]
    write_json(folder / "pose.json", {"bodies": {"pelvis": {"accepted": True, "camera_from_ct": inside}}})
    with pytest.raises(MskdexError, match=r"patient P07: no radiograph can be simulated from .*ct.nii.gz"):
        simulate(folder, stage(), folder / "simulated.safetensors")
    made(tmp_path / "P08", stage(variants=1))
    with pytest.raises(MskdexError, match="holds the pairs of patient P08"):
        read_simulated(tmp_path / "P08" / "simulated.safetensors", "P07")
