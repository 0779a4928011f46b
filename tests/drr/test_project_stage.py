"""The stage's files: shapes, order, conserved sums, visibility, and plain errors."""

import json
from pathlib import Path

import numpy as np
import pytest
from rendering_phantoms import labelled_balls
from typer.testing import CliRunner

from mskdex.config.imaging import ImageSettings, RenderingSettings
from mskdex.config.objects import Channel
from mskdex.errors import MskdexError
from mskdex.geometry.camera import Camera, nominal_pose
from mskdex.geometry.pose import moved
from mskdex.imaging.radiograph import write_image
from mskdex.io.arrays import read_arrays
from mskdex.io.artifacts import write_json
from mskdex.io.volume import Volume, write_volume
from mskdex.pipeline.cli import app
from mskdex.pipeline.stages.project import render_aligned, render_nominal

IMAGE = ImageSettings(rows=64, columns=48, pixel_mm=3.0)
PHANTOM = labelled_balls()


def channel(name: str, label: int, body: str | None) -> Channel:
    kind = "bone" if body else "muscle"
    return Channel(name=name, object=name, side="midline", kind=kind, label=label, body=body, bone_loss=bool(body))  # type: ignore[arg-type]


CHANNELS = (
    channel("hip", 3, "pelvis"),
    channel("thigh", 5, "femur"),
    channel("flesh", 7, None),
    channel("gone", 9, None),
)


@pytest.fixture
def patient(tmp_path: Path) -> Path:
    # A rigid grid without shear, as NIfTI keeps it.
    affine = np.diag([2.0, 1.5, 2.5, 1.0])
    affine[:3, 3] = [-40.0, 12.0, -60.0]
    write_volume(tmp_path / "ct.nii.gz", Volume(PHANTOM.ct, affine))
    write_volume(tmp_path / "labels.nii.gz", Volume(PHANTOM.labels, affine))
    middle = (affine @ [*((np.array(PHANTOM.ct.shape[::-1]) - 1) / 2), 1])[:3]
    camera = Camera(1000.0, 0.5, (400, 300), (199.5, 149.5)).as_dict()
    write_json(tmp_path / "camera.json", {**camera, "camera_from_ct": nominal_pose(middle, 820.0), "view": "AP"})
    return tmp_path


def nominal(patient: Path, **changes: object) -> Path:
    arguments = {
        "ct": patient / "ct.nii.gz",
        "labels": patient / "labels.nii.gz",
        "camera_json": patient / "camera.json",
    }
    out = patient / "drr.safetensors"
    render_nominal(**{**arguments, **changes}, channels=CHANNELS, image=IMAGE, rendering=RenderingSettings(), out=out)  # type: ignore[arg-type]
    return out


def test_nominal_drrs_hold_each_object_s_totals(patient: Path) -> None:
    arrays, meta = read_arrays(nominal(patient))
    assert meta["objects"] == ["hip", "thigh", "flesh", "gone"]
    assert arrays["drr"].shape == (3, 4, 64, 48)
    assert arrays["drr"].dtype == np.float32
    volumes = [(PHANTOM.labels == c.label).sum() * 7.5 / 1000 for c in CHANNELS]
    np.testing.assert_allclose(arrays["drr"][1].sum(axis=(1, 2)), volumes, rtol=2e-3)
    assert meta["outside"][:3] == [0.0, 0.0, 0.0]
    assert meta["outside"][3] is None
    assert Camera.from_dict(meta["camera"]).shape == (64, 48)
    assert meta["manifest"]["stage"] == "render_nominal"


def test_aligned_bones_stand_at_their_own_poses(patient: Path) -> None:
    start = np.array(json.loads((patient / "camera.json").read_text(encoding="utf-8"))["camera_from_ct"])
    hip = moved(start, np.array([0, 0, 0, 12.0, 0, 0]))
    bodies = {
        "pelvis": {"accepted": True, "camera_from_ct": hip},
        "femur": {"accepted": False, "camera_from_ct": None},
    }
    write_json(patient / "pose.json", {"bodies": bodies})
    files = [patient / name for name in ("ct.nii.gz", "labels.nii.gz", "camera.json", "pose.json")]
    render_aligned(*files, CHANNELS, IMAGE, RenderingSettings(), patient / "aligned.safetensors")
    aligned, meta = read_arrays(patient / "aligned.safetensors")
    drr, _ = read_arrays(nominal(patient))
    assert meta["objects"] == ["hip"]
    assert aligned["aligned"].shape == (3, 1, 64, 48)
    columns = np.arange(48)

    def middle(image: np.ndarray) -> float:
        return float((image.sum(axis=0) * columns).sum() / image.sum())

    moved_by = middle(aligned["aligned"][1, 0]) - middle(drr["drr"][1, 0])
    assert moved_by == pytest.approx(12.0 * 1000 / 820 / 3.0, rel=0.03)
    assert meta["visible"]["hip"] == 1.0
    assert meta["visible"]["gone"] is None


def test_visibility_follows_the_best_known_pose(patient: Path) -> None:
    start = np.array(json.loads((patient / "camera.json").read_text(encoding="utf-8"))["camera_from_ct"])
    away = start.copy()
    away[0, 3] += 1000.0
    write_json(patient / "pose.json", {"bodies": {"pelvis": {"accepted": True, "camera_from_ct": away}}})
    files = [patient / name for name in ("ct.nii.gz", "labels.nii.gz", "camera.json", "pose.json")]
    render_aligned(*files, CHANNELS, IMAGE, RenderingSettings(), patient / "aligned.safetensors")
    _, meta = read_arrays(patient / "aligned.safetensors")
    assert [meta["visible"][n] for n in ("hip", "thigh", "flesh")] == [0.0, 0.0, 0.0]


def test_labels_of_another_grid_are_refused(patient: Path) -> None:
    write_volume(patient / "other.nii.gz", Volume(PHANTOM.labels, np.diag([2.0, 1.5, 2.6, 1.0])))
    with pytest.raises(MskdexError, match=r"other\.nii\.gz lies on another grid"):
        nominal(patient, labels=patient / "other.nii.gz")


def test_an_impossible_pose_names_the_patient_s_file(patient: Path) -> None:
    camera = json.loads((patient / "camera.json").read_text(encoding="utf-8"))
    camera["camera_from_ct"][2][3] = 0.0
    write_json(patient / "camera.json", camera)
    with pytest.raises(MskdexError, match=r"ct\.nii\.gz: the X-ray source lies inside"):
        nominal(patient)


def test_a_failed_render_leaves_no_file(patient: Path) -> None:
    (patient / "camera.json").write_text("{", encoding="utf-8")
    with pytest.raises(MskdexError, match=r"camera\.json is damaged"):
        nominal(patient)
    assert not (patient / "drr.safetensors").exists()


def test_several_patients_in_one_process(patient: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    other = tmp_path_factory.mktemp("other")
    for file in patient.iterdir():
        (other / file.name).write_bytes(file.read_bytes())
    objects = [{"name": "first", "kind": "muscle", "paired": False}, {"name": "hip", "kind": "muscle"}]
    settings = json.dumps({"image": IMAGE.model_dump(), "objects": objects})
    many = ["--out", "many.safetensors", "--patient", str(patient), "--patient", str(other)]
    for arguments in (many, ["--out", str(patient / "one.safetensors"), "--patient", str(patient)]):
        result = CliRunner().invoke(app, ["render", "--settings", settings, *arguments])
        assert result.exit_code == 0, result.output
    one, meta = read_arrays(patient / "one.safetensors")
    assert meta["objects"] == ["first", "hip_left", "hip_right"]
    assert one["drr"][1, 2].sum() > 0
    for folder in (patient, other):
        np.testing.assert_array_equal(read_arrays(folder / "many.safetensors")[0]["drr"], one["drr"])


def test_what_the_collimator_hides_is_not_visible(patient: Path) -> None:
    start = np.array(json.loads((patient / "camera.json").read_text(encoding="utf-8"))["camera_from_ct"])
    write_json(patient / "pose.json", {"bodies": {"pelvis": {"accepted": True, "camera_from_ct": start}}})
    files = [patient / name for name in ("ct.nii.gz", "labels.nii.gz", "camera.json", "pose.json")]
    drr = read_arrays(nominal(patient))[0]["drr"][0, :3]
    field = np.ones((400, 300), np.uint8)
    field[:, 150:] = 0
    write_image(patient / "field.nii.gz", field, 0.5)
    out = patient / "aligned.safetensors"
    render_aligned(*files, CHANNELS, IMAGE, RenderingSettings(), out, patient / "field.nii.gz")
    visible = read_arrays(out)[1]["visible"]
    left = drr[..., :24].sum(axis=(1, 2)) / drr.sum(axis=(1, 2))
    np.testing.assert_allclose([visible[n] for n in ("hip", "thigh", "flesh")], left, atol=1e-3)
    assert 0.01 < min(left) < max(left) < 0.98
    write_image(patient / "field.nii.gz", field[:-1], 0.5)
    with pytest.raises(MskdexError, match="different shapes"):
        render_aligned(*files, CHANNELS, IMAGE, RenderingSettings(), out, patient / "field.nii.gz")
