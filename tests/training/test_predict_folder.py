"""Prediction of folders and sheets of real files: none is lost, none costs another."""

import json
import shutil
from pathlib import Path

import hospital as make
import numpy as np
import pandas as pd
import pytest
from test_predict_radiographs import SETTINGS, _card, model, radiograph  # noqa: F401

from mskdex.cohort.radiograph_list import list_radiographs
from mskdex.errors import MskdexError
from mskdex.pipeline.stages import predict_radiographs as stage
from mskdex.pipeline.stages.predict_radiographs import predict_radiographs

OBJECTS = 2 * len(_card().channels)


def broken_files(folder):
    """Ten files as they happen: empty, cut off, of another kind, of another body part or modality."""
    folder.mkdir()
    good = make.save(make.radiograph(), folder / "good.dcm").read_bytes()
    (folder / "good.dcm").unlink()
    ct = make.slice_datasets(make.phantom()[0])[0]
    contents = {
        "empty.dcm": b"",
        "cut.dcm": good[: len(good) // 2],
        "head.dcm": good[:140],
        "text.png": b"no picture",
        "cut.png": b"\x89PNG\r\n\x1a\n" + bytes(20),
        "word.dcm": b"PK\x03\x04" + bytes(100),
        "noise": bytes(range(256)),
    }
    for name, content in contents.items():
        (folder / name).write_bytes(content)
    make.save(ct, folder / "ct.dcm")
    make.save(make.radiograph(Rows=7), folder / "rows.dcm")
    make.save(make.radiograph(BodyPartExamined="CHEST"), folder / "chest.dcm")
    return folder


@pytest.fixture
def folder(tmp_path, radiograph):  # noqa: F811
    folder = broken_files(tmp_path / "in")
    for n in range(10):
        place = folder / f"P{n:02d}"
        place.mkdir()
        shutil.copy(radiograph, place / "ap.png")
    (folder / "notes.txt").write_text("not an image", encoding="utf-8")
    (folder / ".hidden.png").write_bytes(b"")
    return folder


def test_ten_broken_files_of_twenty_cost_none_of_the_others(tmp_path, model, folder):  # noqa: F811
    predict_radiographs(model, [folder], SETTINGS, tmp_path / "out")
    images = pd.read_csv(tmp_path / "out" / "radiographs.csv", keep_default_na=False)
    assert len(images) == 20
    assert images["status"].value_counts().to_dict() == {"failed": 10, "predicted": 10}
    assert images["radiograph"].str.casefold().is_unique
    failed = images[images["status"] == "failed"]
    assert all(Path(f).name in r for f, r in zip(failed["file"], failed["reason"], strict=True))
    assert not failed["reason"].str.contains("Traceback").any()
    table = pd.read_csv(tmp_path / "out" / "predictions.csv")
    assert len(table) == 10 * OBJECTS + 10
    assert set(table["radiograph"]) == set(images["radiograph"])
    assert table.loc[table["status"] == "failed", "predicted"].isna().all()
    assert np.isfinite(table.loc[table["status"] == "predicted", "predicted"]).all()
    pages = json.loads((tmp_path / "out" / "predictions.json").read_text(encoding="utf-8"))["radiographs"]
    assert len(pages) == 20


def test_the_tables_are_written_where_nothing_could_be_predicted(tmp_path, model):  # noqa: F811
    with pytest.raises(MskdexError, match="none of 10 radiographs could be predicted"):
        predict_radiographs(model, [broken_files(tmp_path / "in")], SETTINGS, tmp_path / "out")
    assert len(pd.read_csv(tmp_path / "out" / "predictions.csv")) == 10
    assert len(pd.read_csv(tmp_path / "out" / "radiographs.csv")) == 10


def test_a_batch_that_fails_is_done_singly(model, folder, monkeypatch):  # noqa: F811
    alone = stage.predict_batch

    def no_memory(loaded, images, known, persons):
        if len(images) > 1:
            msg = "out of memory"
            raise RuntimeError(msg)
        return alone(loaded, images, known, persons)

    monkeypatch.setattr(stage, "predict_batch", no_memory)
    listed, _ = list_radiographs([folder])
    loaded = stage.load_model(model, "cpu")
    found = list(stage._outcomes(loaded, listed, stage._Reader(SETTINGS, {}), stage.ModelCalibration(), 8))
    assert [o.item for o in found] == listed
    assert sum(o.prediction is not None for o in found) == 10


def test_results_within_the_folder_are_not_predicted_again(tmp_path, model, radiograph):  # noqa: F811
    folder = tmp_path / "in"
    folder.mkdir()
    shutil.copy(radiograph, folder)
    for _ in range(2):
        predict_radiographs(model, [folder], SETTINGS, folder / "out")
    assert len(pd.read_csv(folder / "out" / "radiographs.csv")) == 1


def test_a_sheet_gives_ids_and_cameras(tmp_path, model, radiograph):  # noqa: F811
    for name in ("a", "b", "c"):
        shutil.copy(radiograph, tmp_path / f"{name}.png")
    text = (
        "patient_id,radiograph,sdd_mm,exclude,exclude_reason\nX1,a.png,1200,,\nX2,b.png,oops,,\nX3,c.png,,yes,metal\n"
    )
    sheet = tmp_path / "sheet.csv"
    sheet.write_text(text + "X4,absent.png,,,\n", encoding="utf-8")
    predict_radiographs(model, [], SETTINGS, tmp_path / "out", sheet=sheet)
    images = pd.read_csv(tmp_path / "out" / "radiographs.csv", keep_default_na=False).set_index("radiograph")
    assert images["status"].to_dict() == {"X1": "predicted", "X2": "failed", "X3": "excluded", "X4": "failed"}
    assert "source to detector is 1200 mm" in images.loc["X1", "flags"]
    assert "row 3 of sheet.csv: column sdd_mm" in images.loc["X2", "reason"]
    assert images.loc["X3", "reason"] == "metal"


def test_files_take_their_rows_of_a_sheet(tmp_path, radiograph):  # noqa: F811
    sheet = tmp_path / "sheet.csv"
    sheet.write_text(f"patient_id,radiograph\nX1,{radiograph.name}\n", encoding="utf-8")
    (listed,), _ = list_radiographs([radiograph], sheet)
    assert (listed.name, listed.patient_id) == ("X1", "X1")
    sheet.write_text("patient_id,radiograph\nX1,other.png\n", encoding="utf-8")
    with pytest.raises(MskdexError, match="none of the given files"):
        list_radiographs([radiograph], sheet)
    sheet.write_text("id,radiograph\nX1,other.png\n", encoding="utf-8")
    with pytest.raises(MskdexError, match="needs one column patient_id"):
        list_radiographs([radiograph], sheet)


def test_names_are_unlike_each_other(tmp_path):
    for name in ("a/ap.png", "b/AP.png", "b/x/ap.dcm", "c.png", "c.dcm", "c-2.dcm", "d (1).png", "d_1.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"1")
    listed, _ = list_radiographs([tmp_path, tmp_path / "c.png"])
    names = [item.name.casefold() for item in listed]
    assert len(names) == len(set(names)) == 8
    assert all(set(name) <= set("abcdefghijklmnopqrstuvwxyz0123456789_.-") for name in names)


def test_nothing_given_is_told():
    with pytest.raises(MskdexError, match="no radiograph is given"):
        list_radiographs([])


def test_a_file_that_is_not_there_is_a_row(tmp_path):
    (listed,), _ = list_radiographs([tmp_path / "absent.dcm"])
    assert "absent.dcm does not exist" in listed.problem
