"""The mutations of `benchmarks/fuzz.py`: each kind makes cases, and their check finds what is wrong."""

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))
from fuzzing import contradictions, kinds, outcomes, worker
from fuzzing.case import Case

FAULTS = {"SILENT", "TRACEBACK", "UNCLEAR", "MEMORY", "TIME"}


@pytest.mark.parametrize("kind", [k.name for k in kinds.KINDS])
@pytest.mark.filterwarnings("ignore")
def test_a_case_of_each_kind_has_a_good_outcome_that_its_number_gives_again(tmp_path, kind):
    index = next(i for i in range(1000) if kinds.of(i).name == kind)
    record = worker.run(index, 7, tmp_path / "one")
    assert record["outcome"] not in FAULTS, record
    again = worker.run(index, 7, tmp_path / "two")
    assert (again["what"], again["outcome"]) == (record["what"], record["outcome"])


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    return worker.valid_import("NIfTI, header", tmp_path_factory.mktemp("good") / "p")


def test_the_check_finds_numbers_that_changed_in_silence(good):
    numbers, row = good
    case = Case(row, "a field without effect", "free", "ct")
    assert outcomes.outcome(numbers, numbers, case, {})[0] == "same"
    for changed in (
        replace(numbers, ct=np.where(numbers.ct > 0, numbers.ct + 5, numbers.ct)),
        replace(numbers, affine=numbers.affine @ np.diag([1.1, 1, 1, 1])),
        replace(numbers, labels=np.roll(numbers.labels, 1, axis=2)),
        replace(numbers, image=numbers.image + np.float32(0.1)),
        replace(numbers, camera=numbers.camera | {"sdd_mm": 1200.0}),
    ):
        assert outcomes.outcome(changed, numbers, case, {})[0] == "SILENT"
        told = replace(changed, warnings=("it was converted",))
        assert outcomes.outcome(told, numbers, case, {})[0] == "said"


def test_the_check_asks_a_second_reader_where_numbers_should_change(good):
    numbers, row = good
    case = Case(row, "scl_inter", "used", "ct")
    channels: dict[str, int] = {}  # a label map of none of them is empty
    blank = replace(numbers, labels=np.zeros_like(numbers.labels))
    assert outcomes.outcome(blank, blank, case, channels)[0] == "same"
    passed_over = replace(blank, ct=np.clip(blank.ct + 7, -1024, 3071))
    assert outcomes.outcome(passed_over, blank, case, channels)[0] == "SILENT"


def test_what_two_readers_read_alike_is_wrong_where_other_inputs_contradict_it(good):
    numbers, row = good
    ids = {"pelvis_left": 1, "femur_left": 2, "gluteus_maximus_left": 3}
    labels = np.zeros_like(numbers.labels)
    labels[-4:-1, 8:10, 5:8], labels[1:4, 8:10, 5:8], labels[5:8, 4:6, 5:8] = 1, 2, 3
    ct = np.full(numbers.ct.shape, -1000, np.int16)
    ct[(labels == 1) | (labels == 2)], ct[labels == 3] = 400, 60
    base = replace(numbers, ct=ct, labels=labels)
    both = Case(row, "a header", "used", "both")
    assert contradictions.of(base, base, both, ids) == ""
    assert "air at -500 HU" in contradictions.of(replace(base, ct=ct // 2), base, both, ids)
    assert "muscle at 120 HU" in contradictions.of(replace(base, ct=np.maximum(ct * 2, -1024)), base, both, ids)
    upside_down = replace(base, ct=ct[::-1], labels=labels[::-1])
    assert "femur_left lies above pelvis_left" in contradictions.of(upside_down, base, both, ids)
    moved = replace(base, affine=base.affine @ np.diag([1.1, 1, 1, 1]))
    assert contradictions.of(moved, base, both, ids) == "", "no other input says where the scanner stood"
    assert "the CT alone is on another grid" in contradictions.of(moved, base, replace(both, part="ct"), ids)
    other = replace(base, labels=np.roll(labels, 1, axis=2))
    assert "differ over an unchanged CT" in contradictions.of(other, base, replace(both, part="labels"), ids)


def test_an_error_must_name_patient_and_file():
    case = Case({"ct": "/data/P01/ct.nii.gz"}, "", "free", "ct")
    assert outcomes.error_outcome(ValueError("patient P01: /data/P01/ct.nii.gz is empty"), case)[0] == "clear error"
    for text in ("/data/P01/ct.nii.gz is empty", "patient P01: it is empty", "patient P01: /data/P01/ct\nx"):
        assert outcomes.error_outcome(ValueError(text), case)[0] == "UNCLEAR"
