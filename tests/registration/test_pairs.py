"""A radiograph and a CT that do not belong together count nowhere, and that is told where people look."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from fabricated import Fabrication, fabricate

from mskdex.config import Config
from mskdex.config.registration import BodySettings, RegistrationSettings
from mskdex.errors import MskdexError
from mskdex.evaluation.points import Cohort
from mskdex.io.artifacts import read_json, write_json, write_parquet
from mskdex.io.stack import read_stack, write_stack
from mskdex.pipeline.settings import stack_stage
from mskdex.pipeline.stages.collect import collect
from mskdex.pipeline.stages.quality import _findings
from mskdex.pipeline.stages.train import paired
from mskdex.pipeline.workflow import check_kept_pairs
from mskdex.registration.patient_match import read_finding, refusal, unmatched
from mskdex.registration.registering import register_bodies

QUICK = RegistrationSettings(attempts=1, bodies=(BodySettings(name="pelvis"),))
MIRRORED = "the radiograph fits better when flipped left-right"


def bodies(*, pelvis: str | None, femur: str | None = None) -> dict:
    """Entries of pose.json, accepted where there is no reason."""
    given = {"pelvis": pelvis, "femur_left": femur}
    return {n: {"accepted": r is None, "reason": r, "similarity": 0.4} for n, r in given.items()}


def test_one_accepted_body_shows_that_the_pair_belongs_together():
    assert unmatched(bodies(pelvis=None)) is None
    assert unmatched(bodies(pelvis="the CT holds only 30 mm of it")) is None
    assert unmatched({}) is None
    told = unmatched(bodies(pelvis=MIRRORED, femur="pelvis, which gives its start, is not registered"))
    assert told == f"radiograph and CT are not shown to belong together: pelvis is not registered: {MIRRORED}"


def test_the_reason_is_that_of_the_first_body_that_was_tried():
    entries = bodies(pelvis="the CT's labels do not hold it", femur="confidence 0.10 is below 0.50")
    entries["pelvis"]["similarity"] = None
    assert "femur_left is not registered: confidence 0.10" in str(unmatched(entries))


def test_a_coarse_ct_cannot_tell_and_the_patient_counts_but_is_flagged(tmp_path):
    content = {"bodies": bodies(pelvis="uncertain", femur="pelvis, ..."), "voxel_mm": 3.0}
    assert "uncertain" in str(refusal(content))
    assert refusal(content | {"voxel_mm": 6.0}) is None
    write_json(tmp_path / "pose.json", content | {"voxel_mm": 6.0})
    assert "voxels of 6.0 mm are too coarse to tell" in str(read_finding(tmp_path / "pose.json"))


@pytest.fixture
def cohort(tmp_path):
    """Eight patients; the radiograph of P001 is mirrored, that of P002 too but kept."""
    root = fabricate(tmp_path, Fabrication(patients=8))
    for name in (f"P{i:03d}" for i in range(8)):
        pose = root / "patients" / name / "pose.json"
        content = read_json(pose)
        for entry in content["bodies"].values():
            refused = name in ("P001", "P002")
            entry |= {"accepted": not refused, "reason": MIRRORED if refused else None}
        write_json(pose, content)
    sheet = pd.DataFrame({"patient_id": ["X9"], "reason": ["failed segmentation"]})
    write_parquet(root / "cohort" / "excluded.parquet", sheet)
    kept = {"P002": "seen by two readers"}
    collect(root / "patients", root / "cohort" / "patients.parquet", root / "cohort", kept)
    return root


def test_refused_pairs_stand_in_the_list_of_the_excluded_with_their_reason(cohort):
    table = pd.read_csv(cohort / "cohort" / "excluded.csv")
    assert list(table["patient_id"]) == ["X9", "P001"]
    assert table["reason"][0] == "failed segmentation"
    assert MIRRORED in table["reason"][1]
    pairs = pd.read_parquet(cohort / "cohort" / "pairs.parquet").set_index("patient_id")
    assert pairs.loc["P002", "kept_because"] == "seen by two readers"
    assert list(pairs.index[pairs["refused"].notna()]) == ["P001", "P002"]


def test_the_evaluation_knows_no_refused_pair(cohort):
    found = Cohort.read(cohort / "cohort")
    everyone = {f"P{i:03d}" for i in range(8)} - {"P001"}
    assert set(found.folds.index) == set(found.patients.index) == set(found.quantities["patient_id"]) == everyone
    assert set(found.truth.index) == everyone


def test_a_refused_pair_is_not_trained_on(cohort):
    stacks = {p: cohort / "patients" / p / "stack.safetensors" for p in ("P000", "P001", "P002")}
    write_stack(stacks["P001"], replace(read_stack(stacks["P001"]), refused=MIRRORED))
    assert list(paired(stacks)[0]) == ["P000", "P002"]


def test_it_is_the_first_flag(cohort):
    assert _findings(cohort / "patients" / "P000") == []
    told = _findings(cohort / "patients" / "P001")
    assert len(told) == 1
    assert MIRRORED in told[0]


def test_only_the_patient_that_is_kept_gets_another_stack():
    config = Config.model_validate({"cohort": {"keep_pairs": {"P002": "seen by two readers"}}})
    assert stack_stage(config, config.channels, "P002").kept_because == "seen by two readers"
    assert stack_stage(config, config.channels, "P003") == stack_stage(Config(), config.channels, "P003")


@pytest.mark.parametrize(("kept", "words"), [({"P9": "why"}, "P9 is not in"), ({"P1": " "}, "P1 has no reason")])
def test_a_kept_pair_has_to_be_in_the_sheet_and_have_a_reason(kept, words):
    config = Config.model_validate({"cohort": {"keep_pairs": kept}})
    with pytest.raises(MskdexError, match=words):
        check_kept_pairs(config, pd.DataFrame({"patient_id": ["P1"]}))


def chest(view):
    """A chest: two dark lungs with ribs, the spine and the diaphragm, where the pelvis should be."""
    rows, columns = (np.linspace(-1, 1, n) for n in view.image.shape)
    y, x = np.meshgrid(rows, columns, indexing="ij")
    lungs = sum(((x - side) / 0.38) ** 2 + ((y + 0.1) / 0.7) ** 2 < 1 for side in (-0.45, 0.45))
    ribs = 0.35 * (np.abs((y * 7 + 2.2 * x**2) % 1 - 0.5) < 0.12)
    image = 4.0 - 2.6 * lungs + ribs * (np.abs(x) < 0.85) + 0.9 * (np.abs(x) < 0.08) + 0.8 * (y > 0.6)
    return replace(view, image=image.astype(np.float32))


def saturated(view):
    """The detector's range ended where the soft tissue begins: bone is all that it does not show."""
    return replace(view, image=np.minimum(view.image, np.quantile(view.image[view.field], 0.1)).astype(np.float32))


@pytest.mark.parametrize("change", [chest, saturated, lambda view: view.mirrored()], ids=["chest", "saturated", "flip"])
def test_radiographs_that_do_not_belong_to_the_ct_are_refused(case, change):
    patient = replace(case.patient, view=change(case.patient.view))
    found = register_bodies(patient, QUICK, 1.0)
    told = unmatched({n: vars(r) for n, r in found.items()})
    assert told is not None
    assert "pelvis is not registered" in told


def test_a_strangers_radiograph_is_refused(case, patients):
    from registration_cases import virtual

    other = virtual(2, patients, 3.0).patient
    found = register_bodies(replace(case.patient, view=other.view, nominal=other.nominal), QUICK, 1.0)["pelvis"]
    assert unmatched({"pelvis": vars(found)})
