"""Every kind of artifact: a flipped bit, another patient's file, one of an older version, one that is gone."""

import json
import os
import pickle
import random
import shutil

import numpy as np
import pandas as pd
import pyarrow.parquet
import pytest
import SimpleITK as sitk
import torch
from safetensors.numpy import save_file

from mskdex.config.objects import channels, default_objects
from mskdex.errors import MskdexError
from mskdex.geometry.camera import Camera
from mskdex.imaging.radiograph import write_image
from mskdex.io.arrays import Crops, read_arrays, read_crops, write_arrays
from mskdex.io.artifacts import (
    read_json,
    read_parquet,
    read_rows,
    write_json,
    write_parquet,
    write_plain_json,
    write_rows,
)
from mskdex.io.csv_files import spreadsheet_text, write_csv
from mskdex.io.stack import Stack, read_stack, write_stack
from mskdex.io.tensors import read_tensors, write_tensors
from mskdex.io.user_files import read_user_json, read_user_parquet
from mskdex.io.volume import Volume, read_labelled, read_volume, write_volume
from mskdex.pipeline.stages.cohort_init import draft_sheet
from mskdex.training.stack_store import StackStore

CHANNELS = channels(default_objects(), frozenset())[:3]
NOISE = np.random.default_rng(0).normal(size=(6, 8, 8)).astype(np.float32)
TABLE = pd.DataFrame({"object": ["pelvis", "sacrum"] * 20, "volume_cm3": NOISE.ravel()[:40].astype(float)})
FLIPS = 60


def _stack(patient):
    drr = np.abs(NOISE[None, :3]).repeat(3, axis=0)
    return Stack(
        patient=patient,
        channels=CHANNELS,
        camera=Camera(1000.0, 2.0, (8, 8), (3.5, 3.5)),
        radiograph=NOISE[0],
        field=np.ones((8, 8), bool),
        drr=Crops.of(drr),
        aligned=Crops.of(drr[:, :1]),
        aligned_objects=(CHANNELS[0].name,),
        truth=np.ones((3, 3)),
        known=np.ones(3, bool),
        visible=np.ones(3),
        source_to_isocentre_mm=800.0,
    )


def _tensors(path):
    write_tensors(path, {"weight": torch.from_numpy(NOISE)}, {"card": {"format": 4}})


KINDS = {
    "patients/A1/ct.nii.gz": (
        lambda path: write_volume(path, Volume((900 * NOISE).astype(np.int16), np.eye(4))),
        lambda path: (read_volume(path).array, read_volume(path).world_from_voxel),
    ),
    "patients/A1/radiograph.nii.gz": (lambda path: write_image(path, NOISE[0], 0.5), lambda p: read_volume(p).array),
    "patients/A1/camera.json": (lambda path: write_json(path, {"sdd_mm": 1000.5, "view": "AP"}), read_json),
    "cohort/objects.json": (lambda path: write_json(path, [{"name": "pelvis_left"}]), read_json),
    "patients/A1/quantities.parquet": (lambda path: write_rows(path, TABLE.to_dict("records")), read_rows),
    "evaluation/agreement.parquet": (lambda path: write_parquet(path, TABLE), read_parquet),
    "patients/A1/drr.safetensors": (lambda path: write_arrays(path, {"drr": NOISE}, {}, exact=("drr",)), read_arrays),
    "experiments/mskdex/fold0/decompositions/A1.safetensors": (
        lambda path: write_arrays(path, {"drr": NOISE}, {}, crop=("drr",)),
        read_crops,
    ),
    "patients/A1/stack.safetensors": (lambda path: write_stack(path, _stack("A1")), read_stack),
    "experiments/mskdex/fold0/model.safetensors": (_tensors, lambda path: read_tensors(path, made_here=True)),
    "experiments/mskdex/fold0/checkpoint/last.safetensors": (_tensors, lambda path: read_tensors(path, made_here=True)),
}


def _other(name):
    return name.replace("A1", "B2") if "A1" in name else name.replace("fold0", "fold1")


@pytest.fixture(params=KINDS)
def kind(request, tmp_path):
    write, read = KINDS[request.param]
    path = tmp_path / request.param
    write(path)
    return request.param, path, write, read


def test_a_flipped_bit_is_damage_that_is_named_and_moved_away(kind):
    name, path, _, read = kind
    whole, right = path.read_bytes(), pickle.dumps(read(path))
    harmless = 0
    for bit in random.Random(name).sample(range(8 * len(whole)), FLIPS):
        spoilt = bytearray(whole)
        spoilt[bit // 8] ^= 1 << bit % 8
        path.write_bytes(spoilt)
        if error := _refusal(read, path, right):
            assert error.startswith("patient A1: " if name.startswith("patients") else str(path))
            assert f"{path} is damaged" in error
            assert not path.exists()
            assert path.with_name(f"{path.name}.damaged").read_bytes() == spoilt
        harmless += not error
    # In gzip, the time and the system in its header mean nothing; in the others every bit counts.
    assert harmless <= (FLIPS // 4 if path.suffix == ".gz" else 0)


def _refusal(read, path, right):
    """What a reader says against a file; None where it reads what is right."""
    try:
        found = read(path)
    except MskdexError as error:
        return str(error)
    assert pickle.dumps(found) == right, "a flipped bit changes what is read, and nobody says so"
    return None


def test_a_patients_damaged_file_names_the_patient(tmp_path):
    path = tmp_path / "patients" / "A1" / "stack.safetensors"
    write_stack(path, _stack("A1"))
    path.write_bytes(path.read_bytes()[:-1] + b"\x55")
    with pytest.raises(MskdexError, match=r"^patient A1: .*stack\.safetensors is damaged .*digest.*moved to"):
        read_stack(path)


@pytest.mark.parametrize("name", [name for name in KINDS if _other(name) != name])
def test_the_artifact_of_another_is_an_error_that_names_both_and_moves_nothing(tmp_path, name):
    write, read = KINDS[name]
    place, other = tmp_path / name, tmp_path / _other(name)
    write(place)
    write(other)
    shutil.copy(other, place)
    names = ("patient A1", "patient B2") if "A1" in name else ("fold 0", "fold 1")
    with pytest.raises(MskdexError, match=rf"should be .*{names[0]}, but holds .*{names[1]}; .*run the same command"):
        read(place)
    assert place.read_bytes() == other.read_bytes()


def test_another_kind_of_artifact_in_its_place_is_named(tmp_path):
    write_parquet(tmp_path / "cohort" / "patients.parquet", TABLE)
    shutil.copy(tmp_path / "cohort" / "patients.parquet", tmp_path / "cohort" / "folds.parquet")
    with pytest.raises(MskdexError, match=r"folds\.parquet should be folds, but holds patients"):
        read_parquet(tmp_path / "cohort" / "folds.parquet")


def test_a_stack_under_another_name_is_not_trained_on(tmp_path):
    """Outside the results folder the path does not say whose it is; whoever asks for a patient does."""
    write_stack(tmp_path / "stack.safetensors", _stack("A1"))
    store = StackStore({"B2": tmp_path / "stack.safetensors"}, 1e9)
    with pytest.raises(MskdexError, match=r"patient B2: .* holds the stack of patient A1"):
        store["B2"]


def test_ct_and_labels_of_two_patients_do_not_go_together(tmp_path):
    write_volume(tmp_path / "ct.nii.gz", Volume((900 * NOISE).astype(np.int16), np.eye(4)), of="patient A1")
    write_volume(tmp_path / "labels.nii.gz", Volume(NOISE.astype(np.uint8), np.eye(4)), of="patient B2")
    with pytest.raises(MskdexError, match=r"is of patient A1, but .*labels\.nii\.gz is of patient B2"):
        read_labelled(tmp_path / "ct.nii.gz", tmp_path / "labels.nii.gz")


def _older_nifti(path):
    sitk.WriteImage(sitk.GetImageFromArray((900 * NOISE).astype(np.int16)), str(path))


@pytest.mark.parametrize(
    ("name", "write"),
    [
        ("ct.nii.gz", _older_nifti),
        ("pose.json", lambda path: write_plain_json(path, {"bodies": {}})),
        ("objects.json", lambda path: write_plain_json(path, [{"name": "pelvis_left"}])),
        ("quantities.parquet", TABLE.to_parquet),
        ("model.safetensors", lambda path: save_file({"x": NOISE}, path, metadata={"mskdex": json.dumps({})})),
    ],
)
def test_an_artifact_without_a_digest_is_said_to_be_of_an_older_version(tmp_path, name, write):
    readers = {
        "nii.gz": read_volume,
        "json": read_json,
        "parquet": read_parquet,
        "safetensors": lambda path: read_tensors(path, made_here=True),
    }
    path = tmp_path / name
    write(path)
    content = path.read_bytes()
    with pytest.raises(MskdexError, match=r"no digest: it was written by an older version of MSKdeX.*; delete it"):
        readers[name.partition(".")[2]](path)
    assert path.read_bytes() == content


def test_what_is_gone_or_refused_is_said_and_stays(kind):
    _, path, _, read = kind
    path.unlink()
    with pytest.raises(MskdexError, match=r"cannot be read \(No such file or directory\); run the same command again"):
        read(path)
    path.symlink_to(path.name)  # a loop: the system refuses it to whoever asks, root too
    with pytest.raises(MskdexError, match=r"cannot be read \(.*symbolic links"):
        read(path)
    assert path.is_symlink()
    assert [p.name for p in path.parent.iterdir()] == [path.name]


def test_a_file_without_the_right_to_read_says_so(tmp_path, monkeypatch):
    write_json(tmp_path / "a.json", {})

    def refuse(*_):
        raise PermissionError(13, "Permission denied", "a.json")

    monkeypatch.setattr("pathlib.Path.read_bytes", refuse)
    with pytest.raises(MskdexError, match=r"a\.json cannot be read \(Permission denied\); give yourself the right"):
        read_json(tmp_path / "a.json")


@pytest.mark.parametrize("read", [read_user_json, read_user_parquet, lambda path: read_tensors(path)])
@pytest.mark.parametrize("content", [b"", b"{", b"PAR1", b"[" * 100_000, b"\xff\xfe"])
def test_a_users_file_is_left_where_it_is(tmp_path, read, content):
    path = tmp_path / "mine"
    path.write_bytes(content)
    with pytest.raises(MskdexError, match="mine cannot be read"):
        read(path)
    assert path.read_bytes() == content
    assert list(tmp_path.iterdir()) == [path]


def test_a_users_own_table_is_read_and_a_damaged_one_of_ours_is_not(tmp_path):
    TABLE.to_parquet(tmp_path / "own.parquet")
    assert len(read_user_parquet(tmp_path / "own.parquet")) == len(TABLE)
    write_parquet(tmp_path / "ours.parquet", TABLE)
    content = bytearray((tmp_path / "ours.parquet").read_bytes())
    content[200] ^= 1
    (tmp_path / "ours.parquet").write_bytes(content)
    with pytest.raises(MskdexError, match=r"ours\.parquet cannot be read \(its bytes are not those"):
        read_user_parquet(tmp_path / "ours.parquet")
    assert (tmp_path / "ours.parquet").read_bytes() == content


def test_a_carried_off_model_is_read_under_any_name(tmp_path):
    _tensors(tmp_path / "experiments/mskdex/fold0/model.safetensors")
    shutil.copy(tmp_path / "experiments/mskdex/fold0/model.safetensors", tmp_path / "ours.safetensors")
    tensors, facts = read_tensors(tmp_path / "ours.safetensors")
    np.testing.assert_array_equal(tensors["weight"], NOISE)
    assert facts == {"card": {"format": 4}}


def test_other_programs_read_what_is_sealed(tmp_path):
    write_parquet(tmp_path / "t.parquet", TABLE)
    pd.testing.assert_frame_equal(pd.read_parquet(tmp_path / "t.parquet"), TABLE)
    pd.testing.assert_frame_equal(read_parquet(tmp_path / "t.parquet"), TABLE)
    assert pyarrow.parquet.read_table(tmp_path / "t.parquet").num_rows == len(TABLE)
    write_volume(tmp_path / "v.nii.gz", Volume((900 * NOISE).astype(np.int16), np.eye(4)), of="patient A1")
    image = sitk.ReadImage(str(tmp_path / "v.nii.gz"))
    np.testing.assert_array_equal(sitk.GetArrayFromImage(image), (900 * NOISE).astype(np.int16))
    assert image.GetMetaData("descrip") == "MSKdeX patient A1"


@pytest.mark.parametrize(("umask", "mode"), [(0o022, 0o644), (0o077, 0o600), (0o002, 0o664)])
def test_modes_follow_the_umask(tmp_path, umask, mode):
    before = os.umask(umask)
    try:
        for name, (write, _) in KINDS.items():
            write(tmp_path / name)
        write_csv(tmp_path / "t.csv", TABLE)
    finally:
        os.umask(before)
    found = {p.name: p.stat().st_mode & 0o777 for p in tmp_path.rglob("*") if p.is_file()}
    assert len(found) == len({name.rsplit("/")[-1] for name in KINDS}) + 1
    assert set(found.values()) == {mode}, found


@pytest.mark.parametrize(
    "text", ["=HYPERLINK(1)", "+1+cmd|' /C calc'!A0", "-2+3", "@SUM(1)", "\t=1", "\n=1", " =1", "＝1"]
)
def test_a_formula_reaches_a_csv_as_text(tmp_path, text):
    write_csv(tmp_path / "t.csv", pd.DataFrame({"reason": [text], "change": ["-3.5 %"], "x": [-1.25], text: ["-"]}))
    table = pd.read_csv(tmp_path / "t.csv")
    assert list(table.iloc[0]) == [f"'{text}", "-3.5 %", -1.25, "'-"]
    assert table.columns[-1] == f"'{text}"


@pytest.mark.parametrize("ending", ["\r", "\r\n"])
def test_a_line_break_in_a_cell_begins_no_new_row(tmp_path, ending):
    write_csv(tmp_path / "t.csv", pd.DataFrame({"reason": [f"no air{ending}=HYPERLINK(1)"]}))
    assert (tmp_path / "t.csv").read_bytes() == b'reason\n"no air\n=HYPERLINK(1)"\n'


@pytest.mark.parametrize("text", ["no air", "-1", "+1.5e-3", "-12,5 %", "", "P-1", "a=b"])
def test_numbers_and_words_stay_as_they_are(text):
    assert spreadsheet_text(text) == text


def test_a_draft_sheet_holds_no_formula_and_its_paths_stay_paths(tmp_path):
    (tmp_path / "=1+1").mkdir()
    sitk.WriteImage(sitk.GetImageFromArray(np.zeros((8, 8), np.uint8)), str(tmp_path / "=1+1" / "r.png"))
    draft_sheet(tmp_path, tmp_path / "cohort.tsv")
    row = pd.read_csv(tmp_path / "cohort.tsv", sep="\t", dtype=str, keep_default_na=False).iloc[0]
    assert not any(str(cell).startswith("=") for cell in row)
    assert row["patient_id"] == "'=1+1"
    assert (tmp_path / row["radiograph"]).is_file()
