"""The mutations of `benchmarks/fuzz.py`: each kind makes cases that are judged, and the judge can say no."""

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))
from fuzzing import judging, kinds, worker
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


def test_the_judge_finds_numbers_that_changed_in_silence(good):
    numbers, row = good
    case = Case(row, "a field without effect", "free", "ct")
    assert judging.outcome(numbers, numbers, case, {})[0] == "same"
    for changed in (
        replace(numbers, ct=np.where(numbers.ct > 0, numbers.ct + 5, numbers.ct)),
        replace(numbers, affine=numbers.affine @ np.diag([1.1, 1, 1, 1])),
        replace(numbers, labels=np.roll(numbers.labels, 1, axis=2)),
        replace(numbers, image=numbers.image + np.float32(0.1)),
        replace(numbers, camera=numbers.camera | {"sdd_mm": 1200.0}),
    ):
        assert judging.outcome(changed, numbers, case, {})[0] == "SILENT"
        told = replace(changed, warnings=("it was converted",))
        assert judging.outcome(told, numbers, case, {})[0] == "said"


def test_the_judge_asks_a_second_reader_where_numbers_should_change(good):
    numbers, row = good
    case = Case(row, "scl_inter", "used", "ct")
    channels: dict[str, int] = {}  # a label map of none of them is empty
    blank = replace(numbers, labels=np.zeros_like(numbers.labels))
    assert judging.outcome(blank, blank, case, channels)[0] == "same"
    passed_over = replace(blank, ct=np.clip(blank.ct + 7, -1024, 3071))
    assert judging.outcome(passed_over, blank, case, channels)[0] == "SILENT"


def test_an_error_must_name_patient_and_file():
    case = Case({"ct": "/data/P01/ct.nii.gz"}, "", "free", "ct")
    assert judging.error_outcome(ValueError("patient P01: /data/P01/ct.nii.gz is empty"), case)[0] == "clear error"
    for text in ("/data/P01/ct.nii.gz is empty", "patient P01: it is empty", "patient P01: /data/P01/ct\nx"):
        assert judging.error_outcome(ValueError(text), case)[0] == "UNCLEAR"
