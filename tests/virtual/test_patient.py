"""A whole patient, as its files."""

import hashlib
import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import PIL.Image
import pydicom
import pytest
import SimpleITK as sitk

from mskdex.anatomy import STRUCTURES
from mskdex.config.virtual import ExposureSettings, VirtualSettings
from mskdex.deformation.coarse_grid import Grid
from mskdex.errors import MskdexError
from mskdex.geometry.camera import Camera
from mskdex.io.arrays import read_arrays
from mskdex.io.volume import read_volume
from mskdex.pipeline.stages.synthesize import posed_labels, preview, synthesize
from mskdex.quantities import lean_mass_density_g_cm3
from mskdex.virtual.patient import VirtualPatient, make_patient
from mskdex.virtual.population import person_of
from mskdex.virtual.preview import _object_drrs
from mskdex.virtual.scanner import scan, thick_slices
from mskdex.virtual.streaks import streaks

SETTINGS = VirtualSettings(voxel_mm=4.0, radiograph_pixel_mm=1.6, patients=9)
COARSE = SETTINGS.model_copy(update={"voxel_mm": 6.0, "radiograph_pixel_mm": 3.2})


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("virtual") / "V0003"
    synthesize("V0003", SETTINGS, out)
    return out


def hashes(folder: Path) -> dict[str, str]:
    found = {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in folder.iterdir() if p.name != "truth.json"}
    truth = json.loads((folder / "truth.json").read_text(encoding="utf-8"))
    truth.pop("manifest")
    return found | {"truth": json.dumps(truth)}


def test_files_and_grids(folder):
    assert {p.name for p in folder.iterdir()} == {
        "ct.nii.gz",
        "labels.nii.gz",
        "labels.json",
        "radiograph.dcm",
        "truth.json",
        "truth_images.safetensors",
    }
    ct, labels = (read_volume(folder / f"{name}.nii.gz") for name in ("ct", "labels"))
    assert ct.array.dtype == np.int16
    assert ct.array.shape == labels.array.shape
    assert np.allclose(ct.world_from_voxel, labels.world_from_voxel)
    assert ct.array.min() == -1024
    names = json.loads((folder / "labels.json").read_text(encoding="utf-8"))
    present = set(np.unique(labels.array))
    for name in ("gluteus_maximus_left", "pelvis_right", "sacrum", "femur_left"):
        assert names[name] in present


def test_tissue_looks_like_a_ct(folder):
    ct, labels = (read_volume(folder / f"{name}.nii.gz").array for name in ("ct", "labels"))
    names = json.loads((folder / "labels.json").read_text(encoding="utf-8"))
    mean = {name: float(np.mean(ct[labels == i])) for name, i in names.items() if (labels == i).any()}
    assert mean["fat"] == pytest.approx(-95.0, abs=12.0)
    assert 10.0 < mean["gluteus_maximus_left"] < 55.0
    assert mean["iliacus_left"] > mean["gluteus_maximus_left"]
    assert 250.0 < mean["pelvis_left"] < 700.0
    assert mean["femur_left"] > mean["sacrum"]
    assert 8.0 < np.std(ct[labels == names["bladder"]]) < 40.0


def test_truth_s_quantities_are_those_of_the_noise_free_ct(folder):
    ct, labels = (read_volume(folder / f"{name}.nii.gz") for name in ("ct", "labels"))
    names = json.loads((folder / "labels.json").read_text(encoding="utf-8"))
    truth = json.loads((folder / "truth.json").read_text(encoding="utf-8"))["quantities"]
    for name in ("gluteus_maximus_left", "pelvis_left"):
        mask = labels.array == names[name]
        assert truth[name]["volume_cm3"] == pytest.approx(mask.sum() * ct.voxel_volume_cm3, rel=1e-4)
        mass = lean_mass_density_g_cm3(ct.array[mask]).sum() * ct.voxel_volume_cm3
        assert truth[name]["lean_mass_g"] == pytest.approx(mass, rel=0.05)


def test_true_poses_are_rigid_and_show_the_hips(folder):
    truth = json.loads((folder / "truth.json").read_text(encoding="utf-8"))
    labels = read_volume(folder / "labels.nii.gz")
    names = json.loads((folder / "labels.json").read_text(encoding="utf-8"))
    camera = Camera.from_dict(truth["camera"])
    assert set(truth["bodies"]) == {"pelvis", "femur_left", "femur_right"}
    columns = {}
    for body, pose in truth["bodies"].items():
        pose = np.array(pose)
        assert pose[:3, :3] @ pose[:3, :3].T == pytest.approx(np.eye(3), abs=1e-9)
        name = "sacrum" if body == "pelvis" else body
        voxels = np.argwhere(labels.array == names[name])[:, ::-1]
        world = voxels @ labels.world_from_voxel[:3, :3].T + labels.world_from_voxel[:3, 3]
        pixels = camera.project(world @ pose[:3, :3].T + pose[:3, 3])
        columns[body] = pixels[:, 1].mean()
        assert 0 < columns[body] < camera.shape[1]
    assert columns["femur_right"] < columns["pelvis"] < columns["femur_left"]


def test_posed_labels_stand_where_the_true_poses_say(folder, tmp_path):
    posed_labels("V0003", SETTINGS, tmp_path / "posed.nii.gz")
    truth = json.loads((folder / "truth.json").read_text(encoding="utf-8"))
    names = json.loads((folder / "labels.json").read_text(encoding="utf-8"))
    assert json.loads((tmp_path / "posed.json").read_text(encoding="utf-8")) == names
    posed = read_volume(tmp_path / "posed.nii.gz")
    seen = [
        centre(read_volume(folder / "labels.nii.gz"), names["sacrum"], truth["bodies"]["pelvis"]),
        centre(posed, names["sacrum"], truth["camera_from_posed"]),
    ]
    assert seen[0] == pytest.approx(seen[1], abs=0.6)  # mm; voxels are of 4
    for name in ("gluteus_maximus_left", "pelvis_right"):
        volume = (posed.array == names[name]).sum() * posed.voxel_volume_cm3
        assert volume == pytest.approx(truth["posed_volumes_cm3"][name], rel=0.05)


def centre(volume, label, pose):
    voxels = np.argwhere(volume.array == label)[:, ::-1].mean(axis=0)
    matrix = np.array(pose) @ volume.world_from_voxel
    return matrix[:3, :3] @ voxels + matrix[:3, 3]


def test_bones_stand_where_the_true_poses_say(folder):
    """The femur's shaft, projected by its true pose, attenuates more than what is beside it."""
    truth = json.loads((folder / "truth.json").read_text(encoding="utf-8"))
    dataset = pydicom.dcmread(folder / "radiograph.dcm")
    grey = dataset.pixel_array.astype(float) * (1 if dataset.PhotometricInterpretation == "MONOCHROME2" else -1)
    labels = read_volume(folder / "labels.nii.gz")
    names = json.loads((folder / "labels.json").read_text(encoding="utf-8"))
    camera = Camera.from_dict(truth["camera"])
    for side in ("left", "right"):
        voxels = np.argwhere(labels.array == names[f"femur_{side}"])[:, ::-1]
        low = voxels[voxels[:, 2] < np.quantile(voxels[:, 2], 0.25)]
        pose = np.array(truth["bodies"][f"femur_{side}"])
        world = low @ labels.world_from_voxel[:3, :3].T + labels.world_from_voxel[:3, 3]
        pixels = camera.project(world @ pose[:3, :3].T + pose[:3, 3])
        row = int(np.median(pixels[:, 0]))
        here = pixels[np.abs(pixels[:, 0] - row) < 3, 1]
        width = int(here.max() - here.min())
        line = grey[row - 3 : row + 4].mean(axis=0)
        shaft = line[int(here.min()) : int(here.max()) + 1].mean()
        beside = [
            line[int(here.min()) - width : int(here.min()) - 2],
            line[int(here.max()) + 3 : int(here.max()) + width],
        ]
        assert all(shaft > part.mean() for part in beside if part.size)


def test_same_seed_same_bytes_on_any_number_of_cores(folder, tmp_path):
    code = (
        "from pathlib import Path; from mskdex.config.virtual import VirtualSettings;"
        "from mskdex.pipeline.stages.synthesize import synthesize;"
        "settings = VirtualSettings(voxel_mm=4.0, radiograph_pixel_mm=1.6, patients=500);"
        f"synthesize('V0003', settings, Path({str(tmp_path)!r}))"
    )
    environment = os.environ | {"NUMBA_NUM_THREADS": "2", "OMP_NUM_THREADS": "2"}
    subprocess.run([sys.executable, "-c", code], check=True, env=environment)
    assert hashes(tmp_path) == hashes(folder)


@pytest.mark.parametrize("blur_mm", [0.0, 0.8])
def test_a_scan_leaves_the_noise_free_body_as_it_was(blur_mm):
    grid = Grid((6, 60, 60), np.array([-177.0, -177.0, 0.0]), 6.0)
    hu = np.full(grid.shape, -1000.0, np.float32)
    hu[:, 20:40, 15:45] = 55.0
    before = hu.copy()
    settings = VirtualSettings(ct_blur_mm=blur_mm)
    ct = scan(hu, np.zeros(grid.shape, bool), grid, -57.0, settings, np.random.default_rng(0))
    assert np.array_equal(hu, before)
    assert ct[hu > 0].std() > settings.ct_noise_hu / 2
    assert (ct > -950).sum() > 1.1 * (hu > 0).sum()  # the table


def test_thick_slices_are_means_whose_labels_most_voxels_have():
    ct = np.arange(7 * 2, dtype=np.int16).reshape(7, 1, 2) * 10
    labels = np.array([[1, 4], [2, 5], [2, 6], [3, 7], [3, 7], [1, 7], [9, 9]], np.uint8)[:, None]
    world = np.diag([2.0, 2.0, 2.0, 1.0])
    world[:3, 3] = 5.0, 6.0, 7.0
    thick, named, affine = thick_slices(ct, labels, world, 3)
    assert thick[:, 0].tolist() == [[20, 30], [80, 90]]
    assert named[:, 0].tolist() == [[2, 4], [3, 7]]
    assert affine @ [0, 0, 1, 1] == pytest.approx([5.0, 6.0, 15.0, 1.0])  # the middle of the fifth slice
    assert affine[2, 2] == 6.0


def test_a_patient_of_thick_slices_is_the_same_person(thin):
    thick = make_patient(person_of(COARSE, "V0001"), COARSE.model_copy(update={"slice_voxels": 2}))
    assert thick.truth["quantities"] == thin.truth["quantities"]
    assert np.array_equal(thick.exposure, thin.exposure)
    voxels = [abs(np.linalg.det(p.world_from_voxel)) for p in (thin, thick)]
    assert voxels[1] == pytest.approx(2 * voxels[0])
    label = thin.names.index("gluteus_maximus_left")
    volumes = [v * (p.labels == label).sum() for v, p in zip(voxels, (thin, thick), strict=True)]
    assert volumes[1] == pytest.approx(volumes[0], rel=0.05)


@pytest.fixture(scope="module")
def thin() -> VirtualPatient:
    return make_patient(person_of(COARSE, "V0001"), COARSE)


@pytest.fixture(scope="module")
def metal() -> VirtualPatient:
    settings = COARSE.model_copy(update={"implant_fraction": 1.0})
    return make_patient(person_of(settings, "V0001"), settings)


def test_a_metal_hip(metal, thin):
    stem = next(i for i, n in enumerate(metal.names) if n.startswith("stem_"))
    assert (metal.labels == stem).sum() * 6.0**3 / 1000.0 > 15.0
    assert np.median(metal.ct[metal.labels == stem]) > 2500
    assert metal.exposure.min() < thin.exposure.min()
    # Streaks in the slices with metal, and nowhere else.
    touched = (metal.labels >= stem - 1).any(axis=(1, 2))
    fat = (thin.labels == metal.labels) & (thin.labels == thin.names.index("fat"))
    change = metal.ct.astype(int) - thin.ct
    assert np.std(change[touched][fat[touched]]) > 20.0
    assert np.std(change[~touched][fat[~touched]]) < 3.0


def test_streaks_are_dark_between_two_pieces_of_metal():
    hu, metal = np.full((1, 100, 120), -1000.0, np.float32), np.zeros((1, 100, 120), bool)
    y, x = np.indices(hu.shape[1:])
    hu[0, np.hypot((x - 60) / 50.0, (y - 50) / 40.0) < 1] = 0.0
    for middle in (35, 85):
        metal[0, np.hypot(x - middle, y - 50) < 5] = True
    hu[metal] = 3000.0
    added = streaks(hu, metal, 3.0, np.random.default_rng(0))[0]
    assert not added[metal[0]].any()
    between, across = added[48:53, 50:71].mean(), added[65:75, 55:66].mean()
    assert between < across - 50.0
    assert np.abs(added[:8]).mean() < 0.5 * abs(between)


def test_preview_is_written(metal, tmp_path, monkeypatch):
    monkeypatch.setattr("mskdex.pipeline.stages.synthesize.make_patient", lambda *_: metal)
    preview("V0001", COARSE, tmp_path / "preview.png")
    with PIL.Image.open(tmp_path / "preview.png") as image:
        assert image.width > 1000
        assert np.asarray(image.convert("L")).std() > 20


def test_a_preview_of_an_atlas_without_a_structure_has_an_empty_image_of_it(metal):
    without = replace(metal, names=tuple("other" if n == "sacrum" else n for n in metal.names))
    images, some = _object_drrs(without), _object_drrs(metal)
    place = [s.name for s in STRUCTURES].index("sacrum")
    assert some[place].sum() > 100.0
    assert not images[place].any()
    others = [i for i in range(len(STRUCTURES)) if i != place]
    assert images[others].sum(axis=(1, 2)) == pytest.approx(some[others].sum(axis=(1, 2)), rel=1e-2)


def test_an_atlas_takes_the_place_of_the_built_in_anatomy(shared_data, tmp_path):
    atlas = tmp_path / "atlas"
    atlas.mkdir()
    image = sitk.ReadImage(str(shared_data / "vhm_atlas" / "labels.nii.gz"))
    sitk.WriteImage(image[::2, ::2, ::2], str(atlas / "labels.nii.gz"))
    (atlas / "labels.json").write_text(
        (shared_data / "vhm_atlas" / "labels.json").read_text(encoding="utf-8"), encoding="utf-8"
    )
    settings = COARSE.model_copy(update={"atlas": str(atlas)})
    patient = make_patient(person_of(settings, "V0002"), settings)
    counts = np.bincount(patient.labels.ravel(), minlength=len(patient.names))
    for name in ("gluteus_maximus_left", "obturator_externus_right", "sacrum", "femur_right", "lumbar_spine"):
        assert counts[patient.names.index(name)] > 100
    # The donor's right rectus femoris is missing from the atlas, so from the patient.
    assert "rectus_femoris_left" in patient.names
    assert "rectus_femoris_right" not in patient.names


@pytest.mark.parametrize(
    ("content", "told"), [(None, "labels.json"), ('{"pelvis_left": 1}', "femur_left"), ("{", "labels.json")]
)
def test_an_atlas_that_cannot_serve_is_refused(tmp_path, content, told):
    if content:
        (tmp_path / "labels.json").write_text(content, encoding="utf-8")
    with pytest.raises(MskdexError, match=told):
        synthesize("V0001", SETTINGS.model_copy(update={"atlas": str(tmp_path)}), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_true_images_add_up_to_the_standing_volume_and_the_mass_of_the_ct(tmp_path):
    """At the default voxel size: between 2 and 6 mm the CT's own mass of obturator externus moves by a tenth."""
    folder = tmp_path / "V0003"
    synthesize("V0003", SETTINGS.model_copy(update={"voxel_mm": VirtualSettings().voxel_mm}), folder)
    arrays, meta = read_arrays(folder / "truth_images.safetensors")
    truth = json.loads((folder / "truth.json").read_text(encoding="utf-8"))
    for name in ("gluteus_medius_left", "obturator_externus_right"):
        weighted, volume, mass = arrays["drr"][:, meta["objects"].index(name)].sum(axis=(1, 2))
        assert volume == pytest.approx(truth["posed_volumes_cm3"][name], rel=0.03)
        assert mass == pytest.approx(truth["quantities"][name]["lean_mass_g"], rel=0.05)
        assert weighted == pytest.approx(volume, rel=0.1)


def test_the_exact_attenuation_agrees_with_the_radiograph(folder):
    arrays, meta = read_arrays(folder / "truth_images.safetensors")
    truth = json.loads((folder / "truth.json").read_text(encoding="utf-8"))
    assert arrays["drr"].shape[:2] == (3, len(meta["objects"]))
    # The exact attenuation, seen through the tone curve, is the image but for scatter, noise and enhancement.
    camera = Camera.from_dict(meta["attenuation_camera"])
    grey = pydicom.dcmread(folder / "radiograph.dcm").pixel_array.astype(float)
    block = round(camera.pixel_mm / truth["camera"]["pixel_mm"])
    rows, columns = camera.shape
    grey = grey[: rows * block, : columns * block].reshape(rows, block, columns, block).mean(axis=(1, 3))
    curve = truth["tone_curve"]
    expected = np.interp(arrays["attenuation"], curve["nepers"], curve["grey"])
    part = (slice(rows // 4, 3 * rows // 4), slice(columns // 4, 3 * columns // 4))
    assert np.corrcoef(expected[part].ravel(), grey[part].ravel())[0, 1] > 0.85
    assert camera.shape == arrays["attenuation"].shape


def test_nonsense_exposure_settings_are_refused():
    with pytest.raises(ValueError, match="sdd_min_mm"):
        ExposureSettings.model_validate({"sdd_min_mm": 1200.0, "sdd_max_mm": 1100.0})
