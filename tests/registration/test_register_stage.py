"""The stage on files: pose.json, the picture, and plain errors."""

import json
import shutil

import numpy as np
import pytest

from mskdex.config import Config
from mskdex.errors import MskdexError
from mskdex.io.artifacts import write_json
from mskdex.io.volume import read_volume, write_volume
from mskdex.pipeline.stages.qc import qc
from mskdex.pipeline.stages.register import register
from mskdex.registration.pose_error import pose_error

CONFIG = Config()


@pytest.fixture(scope="module")
def folder(case, patients, tmp_path_factory):
    """The imported virtual patient alone: no truth beside it."""
    assert case.name == "V0001"  # it is there
    out = tmp_path_factory.mktemp("imported") / "V0001"
    shutil.copytree(patients / "3mm" / "imported" / "V0001", out)
    register(
        out / "ct.nii.gz",
        out / "labels.nii.gz",
        out,
        CONFIG.channels,
        CONFIG.registration,
        CONFIG.rendering,
        out / "pose.json",
    )
    return out


def test_poses_are_written_with_what_tells_their_worth(folder, case):
    content = json.loads((folder / "pose.json").read_text(encoding="utf-8"))
    assert list(content["bodies"]) == ["pelvis", "femur_left", "femur_right"]
    assert content["manifest"]["accepted"] == 3
    assert content["voxel_mm"] == pytest.approx(3.0, abs=0.1)
    for name, entry in content["bodies"].items():
        assert entry["accepted"]
        assert entry["reason"] is None
        assert 0.5 < entry["confidence"] <= 1
        assert 0 < entry["sd_mm"] < 2
        assert entry["confidence_image"] == entry["confidence"]
        assert entry["confidence_space"] <= entry["confidence_image"]
        assert entry["expected_mpd_mm"] < 1.0
        assert 5.0 < entry["sd_space_mm"] < 20.0, "the principal point is assumed to be the middle of the image"
        assert np.array(entry["camera_from_ct_estimated"]).shape == (4, 4)
        assert np.array(entry["start"]).shape == (4, 4)
        body = case.patient.bodies[name]
        error = pose_error(
            np.array(entry["camera_from_ct"]), case.truth[name], body.targets_mm, case.patient.view.camera
        )
        assert error.mtre_mm < 2.0
    assert content["bodies"]["pelvis"]["objects"] == ["pelvis_left", "pelvis_right", "sacrum"]
    camera = content["camera"]
    wanted = {"sdd_mm": 1.0, "principal_row_mm": 10.0, "principal_column_mm": 10.0, "source_to_isocentre_mm": 30.0}
    assert camera["prior_sd"] == wanted
    assert 0.9 < camera["sd"]["sdd_mm"] <= 1.0
    assert all(2.0 < camera["sd"][f"principal_{axis}_mm"] < 10.0 for axis in ("row", "column"))
    assert camera["sdd_mm"] == pytest.approx(case.patient.view.camera.sdd_mm, abs=1.0)


def test_picture_shows_outlines_before_and_after_and_a_checkerboard(folder, tmp_path):
    from matplotlib.image import imread

    qc(folder / "ct.nii.gz", folder / "labels.nii.gz", folder, folder / "pose.json", CONFIG.channels, folder / "qc.png")
    picture = imread(folder / "qc.png")[..., :3]
    assert picture.shape[1] == 1200
    start, registered, checkerboard = (picture[:, left : left + 240] for left in (480, 720, 960))
    assert orange(start) > 100
    assert orange(registered) > 100

    content = json.loads((folder / "pose.json").read_text(encoding="utf-8"))
    for entry in content["bodies"].values():
        entry |= {"camera_from_ct": None, "accepted": False, "reason": "noise"}
    write_json(tmp_path / "pose.json", content)
    out = tmp_path / "qc.png"
    qc(folder / "ct.nii.gz", folder / "labels.nii.gz", folder, tmp_path / "pose.json", CONFIG.channels, out)
    refused = imread(out)[..., :3]
    assert orange(refused[:, 480:720]) > 100
    assert orange(refused[:, 720:960]) == 0
    assert np.abs(refused[:, 960:] - checkerboard).max() > 0.3


def orange(picture):
    return (np.abs(picture - np.array([1.0, 0.69, 0.0])).max(axis=-1) < 0.15).sum()


def test_a_start_file_replaces_the_nominal_start(folder, case, tmp_path):
    """The nominal camera lies 300 mm to the side, where no search would find the bone."""
    astray, starts = tmp_path / "V0001", tmp_path / "starts"
    shutil.copytree(folder, astray)
    camera = json.loads((astray / "camera.json").read_text(encoding="utf-8"))
    camera["camera_from_ct"][0][3] += 300.0
    write_json(astray / "camera.json", camera)
    body, view = case.patient.bodies["pelvis"], case.patient.view
    points = body.surface_mm[:: len(body.surface_mm) // 6]
    pixels = view.camera.project(points @ case.truth["pelvis"][:3, :3].T + case.truth["pelvis"][:3, 3]) + 3.0
    landmarks = [{"ct_mm": p.tolist(), "radiograph_px": q.tolist()} for p, q in zip(points, pixels, strict=True)]
    starts.mkdir()
    (starts / "V0001.json").write_text(json.dumps({"pelvis": {"landmarks": landmarks}}), encoding="utf-8")
    settings = CONFIG.registration.model_copy(
        update={"attempts": 1, "bodies": CONFIG.registration.bodies[:1], "starts": str(starts)}
    )
    register(
        astray / "ct.nii.gz",
        astray / "labels.nii.gz",
        astray,
        CONFIG.channels,
        settings,
        CONFIG.rendering,
        astray / "pose.json",
    )
    entry = json.loads((astray / "pose.json").read_text(encoding="utf-8"))["bodies"]["pelvis"]
    assert entry["accepted"], entry["reason"]
    error = pose_error(np.array(entry["start"]), case.truth["pelvis"], body.targets_mm, view.camera)
    assert 1.0 < error.mpd_mm < 6.0
    assert pose_error(np.array(entry["camera_from_ct"]), case.truth["pelvis"], body.targets_mm, view.camera).mtre_mm < 2


def test_a_body_without_labels_is_an_entry_with_a_reason(folder, tmp_path):
    labels = read_volume(folder / "labels.nii.gz")
    femur = next(c.label for c in CONFIG.channels if c.name == "femur_right")
    labels.array[labels.array == femur] = 0
    write_volume(tmp_path / "labels.nii.gz", labels)
    settings = CONFIG.registration.model_copy(update={"attempts": 1, "restarts": 2})
    register(
        folder / "ct.nii.gz",
        tmp_path / "labels.nii.gz",
        folder,
        CONFIG.channels,
        settings,
        CONFIG.rendering,
        tmp_path / "pose.json",
    )
    entry = json.loads((tmp_path / "pose.json").read_text(encoding="utf-8"))["bodies"]["femur_right"]
    assert entry["camera_from_ct"] is None
    assert not entry["accepted"]
    assert entry["reason"] == "the CT's labels do not hold it"


def test_labels_of_another_grid_are_an_error(folder, tmp_path):
    labels = read_volume(folder / "labels.nii.gz")
    write_volume(tmp_path / "labels.nii.gz", type(labels)(labels.array[:-1], labels.world_from_voxel))
    with pytest.raises(MskdexError, match="import the patient again"):
        register(
            folder / "ct.nii.gz",
            tmp_path / "labels.nii.gz",
            folder,
            CONFIG.channels,
            CONFIG.registration,
            CONFIG.rendering,
            tmp_path / "pose.json",
        )
    assert not (tmp_path / "pose.json").exists()
